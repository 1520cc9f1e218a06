"""Part of a step lies between its ends, and is taken only where the whole one did nothing but harm something else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from llmagentos.learning.tempering import SHARE, TEMPERED, between, only_harmed, share_of, tempered
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.release import Artefact, Candidate, Interval, SkillCheck, Verdict


def adapter(value: float, rank: int = 2, layers: int = 1) -> FusedAdapter:
    pairs = {(n, "qkv"): (torch.full((rank, 3), value), torch.full((4, rank), -value)) for n in range(layers)}
    return FusedAdapter(rank, 8.0, pairs)


def check(rule: Any, passed: bool) -> SkillCheck:
    return SkillCheck("S", 60, 0.5, 0.5, "r1", Interval(0, 0, 0), rule, passed)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.0), (1.0, 3.0)])
def test_share_of_the_way(share: float, value: float) -> None:
    start, end = adapter(1.0), adapter(3.0)
    found = between(start, end, share)
    assert found is not None
    a, b = found.pairs[0, "qkv"]
    assert torch.equal(a, torch.full((2, 3), value))
    assert torch.equal(b, torch.full((4, 2), -value))
    assert (found.rank, found.alpha) == (end.rank, end.alpha)
    assert found.serial not in (start.serial, end.serial)
    assert torch.equal(end.pairs[0, "qkv"][0], torch.full((2, 3), 3.0))


def test_without_a_start_it_is_a_share_of_what_is_added_to_the_bare_model() -> None:
    found = between(None, adapter(3.0), 0.25)
    assert found is not None
    a, b = found.pairs[0, "qkv"]
    assert torch.equal(b @ a, torch.full((4, 3), -3.0 * 3.0 * 2 * 0.25))


@pytest.mark.parametrize("start", [adapter(1.0, rank=1), adapter(1.0, layers=2)])
def test_nothing_lies_between_adapters_that_do_not_come_from_each_other(start: FusedAdapter) -> None:
    assert between(start, adapter(3.0), SHARE) is None


@pytest.mark.parametrize(
    ("checks", "released", "evidence", "expected"),
    [
        ((check("gain", True), check("point-estimate", False)), False, {}, True),
        ((check("gain", True),), False, {}, True),  # it moved too far from the live release
        ((check("gain", False), check("point-estimate", False)), False, {}, False),
        ((check("gain", False),), False, {}, False),
        ((check("point-estimate", False),), False, {}, False),  # a consolidation
        ((), False, {}, False),
        ((check("gain", True),), True, {}, False),
        ((check("gain", True), check("point-estimate", False)), False, {TEMPERED: {"share": SHARE}}, False),
    ],
)
def test_only_what_had_learned_is_tempered_and_only_once(
    checks: tuple[SkillCheck, ...], released: bool, evidence: dict[str, Any], expected: bool
) -> None:
    candidate = Candidate("c", "S", (), "given", evidence=evidence)
    assert only_harmed(candidate, Verdict("c", released, "", checks)) is expected


def test_tempered_candidate_is_another_one_with_the_same_roots() -> None:
    artefacts = (Artefact("adapter", "adapter", "old", "S"), Artefact("prompt:S", "settings", "told", "S"))
    whole = Candidate("c", "S", artefacts, "given", parent="r1", evidence={"steps": 3}, episodes=("e_1",))
    part = tempered(whole, adapter(1.0), 0.8, lambda stored: "new")
    assert part.id != whole.id
    assert [one.digest for one in part.artefacts] == ["new", "told"]
    assert (part.parent, part.episodes, part.learner) == ("r1", ("e_1",), "given")
    assert part.evidence == {"steps": 3, TEMPERED: {"from": "c", "share": 0.8}}


@pytest.mark.parametrize(
    ("passed", "moved", "share"),
    [(True, 0.51, 0.891), (True, 0.9, 0.671), (True, 5.0, SHARE), (False, 0.51, SHARE), (False, 0.1, SHARE)],
)
def test_step_that_only_went_too_far_is_shortened_to_where_it_is_near_enough(
    passed: bool, moved: float, share: float
) -> None:
    checks = (check("gain", True), check("point-estimate", passed))
    verdict = Verdict("c", False, "", checks, divergence=moved, divergence_budget=0.5)
    assert share_of(verdict) == pytest.approx(share, abs=1e-3)
