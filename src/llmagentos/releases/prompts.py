"""Prompts that became short: what a release's runs of a skill are told in place of instructions and tools.

In: a manifest's artefacts of kind `settings`. Out: the arguments by which a skill's runs are played.
It does not know how a model has learned what it is not told any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from llmagentos.records.identity import JSON
from llmagentos.records.release import Artefact


def artefact_name(skill: str) -> str:
    """Under which name a manifest holds the prompt of a skill."""
    return f"prompt:{skill}"


def prompt_artefact(skill: str, brief: str, store: Callable[[bytes], str]) -> Artefact:
    """The artefact that says `brief`; `store` keeps a blob and returns its digest."""
    return Artefact(artefact_name(skill), "settings", store(json.dumps({"brief": brief}).encode()), skill)


def brief_of(artefacts: Iterable[Artefact], skill: str, read: Callable[[str], bytes]) -> str:
    """What runs of `skill` are told in place of instructions and tools; empty for everything."""
    name = artefact_name(skill)
    found = [one.digest for one in artefacts if one.name == name and one.digest]
    return str(json.loads(read(found[-1]))["brief"]) if found else ""


def play_arguments(brief: str, *, constrained: bool) -> dict[str, JSON]:
    """Arguments of `react` for a skill with this prompt; only what differs from its defaults."""
    arguments: dict[str, JSON] = {"constrained": True} if constrained else {}
    return {**arguments, "brief": brief} if brief else arguments
