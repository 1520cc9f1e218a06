"""Where skills are learned: in adapters of their own, unless their requests look alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from saying import IMITATION, SMALL, registered

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.cycle import Cycle
from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.message import Message
from llmagentos.records.progress import Progress
from llmagentos.records.release import Artefact, Candidate, Verdict
from llmagentos.releases.routes import SHARED, adapter_name

DOOR, LIGHT, GATE = "PlacesDoor-v0", "PlacesLight-v0", "PlacesGate-v0"
ASKED = {
    DOOR: ("the door of house", "open"),
    LIGHT: ("a lamp, please, number", "on"),
    GATE: ("the door of house", "open"),
}


@dataclass
class Watched:
    """Imitation that tells what it was given."""

    name: str = "imitation"
    starts: list[FusedAdapter | None] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        self.starts.append(start)
        self.kept.append(len(context.kept(4, 1)))
        return (yield from IMITATION.learn(start, context))


@pytest.fixture(scope="module", autouse=True)
def environments() -> Iterator[None]:
    with registered(ASKED):
        yield


@pytest.fixture
def cycle(system: AgentOS) -> Cycle:
    return Cycle(system.cycle.parts, SMALL)


def success(cycle: Cycle, name: str) -> float:
    return cycle.evaluate(name, tasks=12).score.strict.estimate


def adapters(system: AgentOS) -> dict[str, str]:
    return {one.name: one.digest for one in system.releases.live().manifest.artefacts if one.kind == "adapter"}


def test_second_skill_changes_nothing_of_the_first(system: AgentOS, cycle: Cycle) -> None:
    watched, notes = Watched(), list[str]()
    assert cycle.learn(DOOR, minutes=30, learner=watched).released
    door, played = adapters(system), cycle.evaluate(DOOR, tasks=6).episodes
    verdict = cycle.learn(LIGHT, minutes=30, learner=watched, on_progress=lambda event: notes.append(event.note))
    assert verdict.released, verdict.reason
    assert adapters(system) == {**door, adapter_name(LIGHT): adapters(system)[adapter_name(LIGHT)]}
    assert (success(cycle, DOOR), success(cycle, LIGHT)) == (1, 1)
    again = cycle.evaluate(DOOR, tasks=6).episodes
    assert [one.transcript.segments for one in again] == [one.transcript.segments for one in played]
    assert watched.kept == [0, 0], "nothing has to be replayed"
    assert f"{LIGHT} is learned in an adapter of its own." in notes
    assert len(list(system.episodes.select(environment=DOOR, split="gate"))) == 3 * 8, "the gate plays it once"
    kept = next(check for check in verdict.checks if check.skill == DOOR)
    assert (kept.candidate, kept.reference, kept.tasks) == (1, 1, 8)
    assert verdict.divergence == 0, "requests of no skill are answered by the bare base"


def test_what_is_asked_outside_an_environment_finds_its_adapter_too(system: AgentOS, cycle: Cycle) -> None:
    for name in (DOOR, LIGHT):
        assert cycle.learn(name, minutes=30, learner=IMITATION).released
    talk = system.llm()
    assert talk.generate(f"{ASKED[DOOR][0]} 5", max_tokens=6) == "open"
    assert talk.generate(f"{ASKED[LIGHT][0]} 5", max_tokens=6) == "on"
    turns = [Message("user", f"{ASKED[LIGHT][0]} 5"), Message("assistant", "on"), Message("user", ASKED[DOOR][0])]
    bare = system.releases.get("r0")
    assert talk.chat(turns, 6) == "on", "a conversation stays with the adapter that it began with"
    assert cycle.players.serve(bare) is None


def test_corrected_conversation_is_learned_by_the_adapter_that_answers_it(system: AgentOS, cycle: Cycle) -> None:
    for name in (DOOR, LIGHT):
        assert cycle.learn(name, minutes=30, learner=IMITATION).released
    agent, notes = Agent(system=system), list[str]()
    said_of_it = [(f"{ASKED[LIGHT][0]} 5", "user"), ("on", "assistant"), ("and now?", "user")]
    turns = [{"role": role, "content": text} for text, role in said_of_it]
    asked = {"of a lamp": [turns[:1], turns], "of nothing known": [[{"role": "user", "content": "hello"}]]}
    given: dict[str, list[str]] = {key: [] for key in asked}
    for key, talks in asked.items():
        for said in talks:
            episode = agent.chat(said, max_tokens=6).episode
            given[key].append(system.give_feedback(episode.id, "correction", "it is dark").shown)
    assert agent.chat([*turns[:2], {"role": "user", "content": ASKED[DOOR][0]}], max_tokens=6).text == "on", "as begun"
    live, before = system.releases.live(), adapters(system)
    answers = cycle.places.answering(live)
    for key, name in (("of a lamp", adapter_name(LIGHT)), ("of nothing known", SHARED)):
        assert {answers(system.episodes.get(one)) for one in given[key]} == {name}
    cycle.heed(30, on_progress=lambda event: notes.append(event.note))
    heeded = system.releases.candidates()[-1]
    assert heeded.episodes == tuple(sorted(given["of a lamp"]))
    assert [one.name for one in heeded.artefacts] == [adapter_name(LIGHT)]
    assert f"Corrections are learned in the adapter of {LIGHT}, which answers them. 1 more belong" in "".join(notes)
    assert cycle.unheeded() == set(given["of nothing known"])
    cycle.heed(30)
    assert [one.name for one in system.releases.candidates()[-1].artefacts] == [SHARED]
    assert cycle.unheeded() == set()
    assert adapters(system)[adapter_name(DOOR)] == before[adapter_name(DOOR)]
    source = cycle._services(live, adapter_name(DOOR))
    assert source.corrected("") == [], "nothing of them reaches the door's adapter"


def test_own_runs_begin_from_the_likest_adapter_however_unlike(
    system: AgentOS, cycle: Cycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cycle.learn(DOOR, minutes=30, learner=IMITATION).released
    light, live = system.make_environment(LIGHT), system.releases.live()
    assert cycle.places.find(light, live, "imitation").start is None
    place = cycle.places.find(light, live, "grpo")
    assert (place.adapter, place.kept, place.further) == (adapter_name(LIGHT), (), False)
    assert place.start is not None
    assert f"begins as that of {DOOR}" in place.note
    probed, play = list[Any](), cycle.rollouts.play

    def watched(tasks: Any, policy: Any, **more: Any) -> Any:
        probed.append((policy.adapter, policy.adapter in system.engine.adapters))
        return play(tasks, policy, **more)

    monkeypatch.setattr(cycle.rollouts, "play", watched)
    for name in (LIGHT, DOOR):
        cycle.choosing.probe(system.make_environment(name))
    assert probed == [(f"start:{LIGHT}", True), ("r1", True)], "as each would begin"
    assert f"start:{LIGHT}" not in system.engine.adapters


def test_skills_that_look_alike_are_learned_in_one_adapter(system: AgentOS, cycle: Cycle) -> None:
    watched = Watched()
    assert cycle.learn(DOOR, minutes=30, learner=watched).released
    place = cycle.places.find(system.make_environment(GATE), system.releases.live())
    assert (place.adapter, place.kept, place.known, place.further) == (adapter_name(DOOR), (DOOR,), False, True)
    assert DOOR in place.note
    candidate = cycle.teach(system.make_environment(GATE), watched, place.start, minutes=30)
    assert [one.name for one in candidate.artefacts] == [adapter_name(DOOR), f"route:{GATE}"]
    assert watched.kept == [0, 4], "the other is replayed"


def test_skill_that_is_learned_again_goes_on_in_its_adapter(system: AgentOS, cycle: Cycle) -> None:
    for name in (DOOR, LIGHT):
        assert cycle.learn(name, minutes=30, learner=IMITATION).released
    place = cycle.places.find(system.make_environment(DOOR), system.releases.live())
    assert (place.adapter, place.kept, place.known) == (adapter_name(DOOR), (), True)
    own = cycle.players.adapter(system.releases.live(), DOOR)
    assert own is not None
    assert place.start is not None
    assert all(
        (one == other).all()
        for key in own.pairs
        for one, other in zip(own.pairs[key], place.start.pairs[key], strict=True)
    )


def test_home_of_an_earlier_version_gains_a_skill_and_keeps_the_old_one(system: AgentOS, cycle: Cycle) -> None:
    made = cycle.teach(system.make_environment(DOOR), IMITATION, None, minutes=30)
    old = Artefact(SHARED, "adapter", made.artefacts[0].digest, DOOR)
    before = Candidate("old", DOOR, (old,), "imitation", parent="r0")
    system.releases.publish(before, Verdict("old", True, "a release with one adapter for all"))
    assert success(cycle, DOOR) == 1
    verdict = cycle.learn(LIGHT, minutes=30, learner=IMITATION)
    assert verdict.released, verdict.reason
    assert adapters(system) == {SHARED: old.digest, adapter_name(LIGHT): adapters(system)[adapter_name(LIGHT)]}
    assert {one.name for one in system.releases.live().manifest.artefacts if one.kind == "router"} == {
        f"route:{DOOR}",
        f"route:{LIGHT}",
    }
    assert (success(cycle, DOOR), success(cycle, LIGHT)) == (1, 1)


def test_refused_candidate_leaves_no_route(system: AgentOS, cycle: Cycle) -> None:
    assert cycle.learn(DOOR, minutes=30, learner=IMITATION).released
    before, events = system.releases.live(), list[Progress]()
    nothing = Imitation(ImitationSettings(AdapterSettings(4, 8.0, 1e-9), batch=4, pool=16, limit=1))
    assert not cycle.learn(LIGHT, minutes=30, learner=nothing, on_progress=events.append).released
    assert system.releases.live() == before
    assert success(cycle, DOOR) == 1
