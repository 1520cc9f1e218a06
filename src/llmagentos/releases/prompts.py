"""How a release's runs of a skill are played: what they are told in place of instructions and tools, when they abstain,
and which prototypes of requests are asked as well.

In: a manifest's artefacts of the kinds `settings` and `classifier`. Out: the arguments by which a skill's runs are
played. It does not know how a model has learned what it is not told any more, nor how a threshold was found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict

import msgspec

from llmagentos.records.calls import Abstention
from llmagentos.records.identity import JSON
from llmagentos.records.release import Artefact, latest
from llmagentos.releases.classifiers import classifier_of

Store = Callable[[bytes], str]
"""Keeps a blob, returns its digest."""
Read = Callable[[str], bytes]


def artefact_name(skill: str) -> str:
    """Under which name a manifest holds the prompt of a skill."""
    return f"prompt:{skill}"


def prompt_artefact(skill: str, brief: str, store: Store) -> Artefact:
    """The artefact that says `brief`."""
    return Artefact(artefact_name(skill), "settings", store(json.dumps({"brief": brief}).encode()), skill)


def abstention_artefact(skill: str, abstention: Abstention, store: Store) -> Artefact:
    """The artefact that says when runs of `skill` abstain."""
    return Artefact(_abstention_name(skill), "settings", store(json.dumps(asdict(abstention)).encode()), skill)


def brief_of(artefacts: Iterable[Artefact], skill: str, read: Read) -> str:
    """What runs of `skill` are told in place of instructions and tools; empty for everything."""
    return str(_latest(artefacts, artefact_name(skill), read).get("brief", ""))


def abstention_of(artefacts: Iterable[Artefact], skill: str, read: Read) -> Abstention | None:
    """When runs of `skill` abstain; None for never."""
    found = _latest(artefacts, _abstention_name(skill), read)
    abstention = msgspec.convert(found, Abstention) if found else None
    return abstention if abstention and abstention.words else None


def play_arguments(artefacts: Iterable[Artefact], skill: str, read: Read, *, constrained: bool) -> dict[str, JSON]:
    """Arguments of `react` for runs of a skill; only what differs from its defaults."""
    known = tuple(artefacts)
    brief, abstention = brief_of(known, skill, read), abstention_of(known, skill, read)
    arguments: dict[str, JSON] = {"constrained": True} if constrained else {}
    arguments |= {"brief": brief} if brief else {}
    arguments |= {"abstain": asdict(abstention)} if abstention else {}
    classifier = classifier_of(known, skill)
    return arguments | ({"classifier": classifier} if classifier else {})


def _abstention_name(skill: str) -> str:
    return f"abstention:{skill}"


def _latest(artefacts: Iterable[Artefact], name: str, read: Read) -> dict[str, JSON]:
    found = latest(artefacts).get(name)
    return dict(json.loads(read(found.digest))) if found is not None else {}
