"""Withdrawn data is taken out of the live release, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from saying import IMITATION, SMALL, registered

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.autonomy import Autonomy
from llmagentos.cycle import Cycle
from llmagentos.errors import ReleaseError, WithdrawnError
from llmagentos.learning.context import Learning, LearningContext, Practice
from llmagentos.learning.language.imitation import Imitation
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.feedback import Feedback
from llmagentos.records.generation import Sampling
from llmagentos.records.release import Verdict
from llmagentos.releases.routes import adapter_name

DOOR, LIGHT = "RebuildDoor-v0", "RebuildLight-v0"
ASKED = {DOOR: ("the door of house", "open"), LIGHT: ("a lamp, please, number", "on")}


@pytest.fixture(scope="module", autouse=True)
def environments() -> Iterator[None]:
    with registered(ASKED):
        yield


@pytest.fixture
def cycle(system: AgentOS) -> Cycle:
    return Cycle(system.cycle.parts, SMALL)


def corrected(system: AgentOS, name: str) -> Feedback:
    (run,) = Agent(system=system).run(name, tasks=1, split="train", sampling=Sampling(4)).episodes
    return system.give_feedback(run.id, "correction", ASKED[name][1])


def learned(cycle: Cycle, *names: str) -> None:
    for name in names:
        assert cycle.learn(name, minutes=30, learner=IMITATION).released


def artefacts(system: AgentOS, release: str = "") -> dict[str, str]:
    found = system.releases.get(release) if release else system.releases.live()
    return {one.name: one.digest for one in found.manifest.artefacts}


def test_adapter_goes_back_and_what_was_learned_since_stays(system: AgentOS, cycle: Cycle) -> None:
    learned(cycle, DOOR)
    wrong, right = corrected(system, DOOR), corrected(system, DOOR)
    assert cycle.heed(1, skill=DOOR).released
    assert not cycle.unheeded(DOOR)
    learned(cycle, LIGHT)
    assert system.withdraw_feedback(wrong.id, "wrong after all") == ["r2", "r3"]
    with pytest.raises(WithdrawnError, match="llmagentos releases rebuild"):
        cycle.learn(DOOR, minutes=30, learner=IMITATION)
    assert cycle.rebuild().released
    live = system.releases.live()
    assert (live.id, live.parent, live.skills, live.withdrawn) == ("r4", "r3", (DOOR, LIGHT), False)
    assert artefacts(system)[adapter_name(DOOR)] == artefacts(system, "r1")[adapter_name(DOOR)]
    assert artefacts(system)[adapter_name(LIGHT)] == artefacts(system, "r3")[adapter_name(LIGHT)]
    assert cycle.unheeded(DOOR) == {right.shown}, "nothing that is live was learned from it"
    assert cycle.heed(1, skill=DOOR).released
    assert not cycle.unheeded(DOOR)


def test_skill_with_nothing_sound_is_taken_out_by_name(system: AgentOS, cycle: Cycle) -> None:
    learned(cycle, LIGHT)
    given = corrected(system, DOOR)
    learned(cycle, DOOR)
    assert system.withdraw_feedback(given.id, "wrong after all") == ["r2"]
    verdict = cycle.rebuild()
    assert verdict.reason.startswith(f"Withdrawn as named: {DOOR}. Kept: {LIGHT}")
    assert system.releases.live().skills == (LIGHT,)
    assert artefacts(system) == artefacts(system, "r1")


def test_nothing_may_be_left(system: AgentOS, cycle: Cycle) -> None:
    given = corrected(system, DOOR)
    learned(cycle, DOOR)
    system.withdraw_feedback(given.id, "wrong after all")
    assert cycle.rebuild().released
    assert (system.releases.live().skills, artefacts(system)) == ((), {})
    assert Agent(system=system).run(DOOR, tasks=1, sampling=Sampling(4)).episodes
    learned(cycle, DOOR)


def test_own_runs_of_weights_that_rest_on_it_are_left_out(system: AgentOS, cycle: Cycle) -> None:
    class Practising(Imitation):
        def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
            trained = yield from super().learn(start, context)
            adapter = cycle.players.stored_adapter(trained.artefacts[0].digest)
            context.practice(adapter, Practice(tasks=2, samples=1, seed=7, temperature=0.0))
            return trained

    given = corrected(system, DOOR)
    assert cycle.learn(DOOR, minutes=30, learner=Practising(IMITATION.settings)).released
    Agent(system=system).run(DOOR, tasks=1, split="train", sampling=Sampling(4))
    tainted = {"r1", f"practice:{DOOR}-imitation-r0-0"}
    assert {run.release for run in cycle._runs_of(DOOR, by_people=False)} == {"expert", *tainted}
    system.withdraw_feedback(given.id, "wrong after all")
    assert {run.release for run in cycle._runs_of(DOOR, by_people=False)} == {"expert"}
    assert system.releases.tainted_players() == tainted
    assert cycle.rebuild().released
    learned(cycle, DOOR)
    Agent(system=system).run(DOOR, tasks=1, split="train", sampling=Sampling(4))
    assert {run.release for run in cycle._runs_of(DOOR, by_people=False)} == {"expert", "r3"}


def test_left_alone_it_takes_out_what_was_withdrawn_before_it_learns(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagentos.autonomy.LOOKED_AT", 2)
    given = corrected(system, DOOR)
    learned(cycle, DOOR)
    system.withdraw_feedback(given.id, "wrong after all")
    learning, live = cycle.learn, list[str]()

    def learn(name: str, **options: Any) -> Verdict:
        live.append(system.releases.live().id)
        return learning(name, **{**options, "learner": IMITATION})

    monkeypatch.setattr(cycle, "learn", learn)
    account = Autonomy(cycle, lambda event: None).learn(10)
    assert live == ["r2"]
    assert (account.live, system.releases.live().withdrawn) == ("r3", False)
    assert f"First, what people withdrew was taken out of the agent: Withdrawn as named: {DOOR}." in str(account)


def test_left_alone_it_learns_nothing_where_that_cannot_be_taken_out(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = corrected(system, DOOR)
    learned(cycle, DOOR)
    system.withdraw_feedback(given.id, "wrong after all")
    monkeypatch.setattr(cycle, "rebuild", lambda show: Verdict("c", False, "The light fell."))
    account = str(Autonomy(cycle, lambda event: None).learn(10))
    for words in ("Nothing was changed. r1 stays live.", "The light fell.", "Nothing was learned", "rollback r0"):
        assert words in account


def test_where_nothing_was_withdrawn_there_is_nothing_to_rebuild(cycle: Cycle) -> None:
    with pytest.raises(ReleaseError, match="r0 is live and rests on nothing withdrawn"):
        cycle.rebuild()
