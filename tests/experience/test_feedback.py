"""What people say becomes what is learned, under their name, until they take it back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from saying import IMITATION, SMALL

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.autonomy import Autonomy
from llmagentos.cycle import CONVERSATIONS, Cycle
from llmagentos.errors import ConfigError, LearningError, NotFoundError, WithdrawnError
from llmagentos.learning.language.imitation import PASSES, Imitation, ImitationSettings
from llmagentos.learning.lessons import Lessons
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, from_transcript
from llmagentos.learning.worked import expert_runs
from llmagentos.records.document import Document
from llmagentos.records.episode import Episode
from llmagentos.records.generation import Sampling
from llmagentos.records.release import Verdict
from llmagentos.records.task import reset_options
from llmagentos.records.transcript import TRAINABLE

SKILL = "Drills-v0?kind=lookup"
TALK = [{"role": "user", "content": "Where is my order?"}]


@pytest.fixture
def talk(system: AgentOS) -> Episode:
    return Agent(system=system).chat(TALK, max_tokens=6).episode


def played(system: AgentOS, split: Any = "train") -> Episode:
    (episode,) = Agent(system=system).run(SKILL, tasks=1, split=split, sampling=Sampling(6)).episodes
    return episode


def worked(system: AgentOS) -> Episode:
    """An expert's run of several replies."""
    desk = system.make_environment("SupportDesk-v0")
    (episode,) = expert_runs(desk, system.cycle.rollouts, desk.tasks("train", 1))
    return episode


def lessons(system: AgentOS) -> Lessons:
    cycle = system.cycle
    return Lessons(cycle._services(system.releases.live()), system.make_environment(SKILL), 0, ())


def test_correction_stands_where_the_reply_was(system: AgentOS, talk: Episode) -> None:
    given = system.give_feedback(talk.id, "correction", " It is on its way. ", reviewer="ann")
    shown = system.episodes.get(given.shown)
    before, said = talk.transcript.segments[:-1], shown.transcript.segments[-1]
    assert shown.transcript.segments[:-1] == before
    assert said == system.engine.renderer.force("It is on its way.")
    assert (shown.origin, shown.success, shown.labels["reviewer"]) == ("person", True, "ann")
    assert system.people.list() == [given]


def test_an_agent_takes_feedback_on_answers_runs_and_identifiers(system: AgentOS, talk: Episode) -> None:
    agent = Agent(system=system)
    answer = agent.chat(TALK, max_tokens=4)
    given = [
        agent.give_feedback(answer, "good"),
        agent.give_feedback(talk, "bad", reviewer="ann"),
        agent.give_feedback(talk.id, "better", "Soon."),
    ]
    assert [one.episode for one in given] == [answer.episode.id, talk.id, talk.id]
    assert system.people.list() == given


def test_only_the_judged_reply_may_train(system: AgentOS) -> None:
    episode = worked(system)
    replies = [s for s in episode.transcript.segments if s.origin in TRAINABLE]
    assert len(replies) >= 2
    given = system.give_feedback(episode.id, "better", "I see.", place=1)
    (judged,) = system.people.of_skill("SupportDesk-v0")
    assert judged.feedback == given
    assert judged.better is not None
    for transcript in (judged.said, judged.better):
        trainable = [segment for segment in transcript.segments if segment.origin in TRAINABLE]
        assert trainable == [transcript.segments[-1]]
    assert judged.said.segments[-1].tokens == replies[1].tokens
    assert judged.said.tokens == episode.transcript.tokens[: len(judged.said.tokens)]


def test_people_reach_every_kind_of_learner(system: AgentOS, talk: Episode) -> None:
    run = played(system)
    corrected = system.give_feedback(run.id, "correction", "17")
    system.give_feedback(run.id, "bad")
    chat = system.give_feedback(talk.id, "correction", "It is on its way.")
    source = lessons(system)
    ((better, said),) = source.preferences(4, 0)
    assert better.segments[-1] == system.engine.renderer.force("17")
    assert said.segments[-1].tokens == [s for s in run.transcript.segments if s.origin in TRAINABLE][-1].tokens
    assert [good for _, good in source.verdicts(4, 0)] == [False]
    demonstrations = source.demonstrations(8, 0)
    assert [one.segments[-1] for one in demonstrations].count(better.segments[-1]) == 1
    replayed = source.replay(8, 0)
    assert any(one.segments[-1] == system.engine.renderer.force("It is on its way.") for one in replayed)
    assert {corrected.id, corrected.shown, chat.shown} <= source.rests_on


def test_where_nothing_is_replayed_nothing_rests_on_corrected_conversations(system: AgentOS, talk: Episode) -> None:
    given = system.give_feedback(talk.id, "correction", "It is on its way.")
    cycle = system.cycle
    services, env = cycle._services(system.releases.live()), system.make_environment(SKILL)
    for replays, rests_on in ((False, set()), (True, {given.shown})):
        source = Lessons(services, env, 0, (), replays=replays)
        for given_out in (source.replay(8, 0), source.kept(8, 0), source.general(2, 0)):
            assert bool(given_out) == replays
        assert source.rests_on == rests_on


def test_corrected_conversations_are_learned_by_a_run_of_their_own(system: AgentOS, talk: Episode) -> None:
    agent = Agent(system=system)
    with pytest.raises(LearningError, match="Nobody has corrected a conversation yet"):
        agent.learn(CONVERSATIONS, minutes=1)
    given = system.give_feedback(talk.id, "correction", "It is on its way.")
    right = system.episodes.get(given.shown).transcript
    verdict = agent.learn(CONVERSATIONS, minutes=1)
    (candidate,) = system.releases.candidates()
    assert (candidate.change, verdict.candidate) == ("consolidation", candidate.id)
    assert candidate.episodes == (given.shown,)
    assert candidate.evidence["steps"] == PASSES
    assert verdict.released, verdict.reason
    trainer = AdapterTrainer(
        system.engine.decoder, AdapterSettings(), start=system.cycle.players.adapter(system.releases.live())
    )
    bare = AdapterTrainer(system.engine.decoder, AdapterSettings())
    after, before = (float(one.logprobs([from_transcript(right)])[0].detach().sum()) for one in (trainer, bare))
    assert after > before
    assert system.withdraw_feedback(given.id, "taken back") == ["r1"]


def test_corrected_conversations_are_learned_unattended_and_once(system: AgentOS, talk: Episode) -> None:
    with pytest.raises(ConfigError, match="no skill to learn yet"):
        Autonomy(system.cycle, lambda event: None).learn(1)
    given = system.give_feedback(talk.id, "correction", "It is on its way.")
    assert system.cycle.unheeded() == {given.shown}
    account = Autonomy(system.cycle, lambda event: None).learn(1)
    assert account.chosen is not None
    assert account.chosen.skill == CONVERSATIONS
    assert account.verdict is not None
    assert "people corrected 1 conversation that nothing was learned from yet" in str(account)
    assert "| conversations | – | about 1 of 100 tasks |" in str(account)
    assert [one.episodes for one in system.releases.candidates()] == [(given.shown,)]
    assert not system.cycle.unheeded()


def test_corrected_answer_of_a_skill_is_taken_over_although_no_score_moves(
    system: AgentOS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "doors.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"the door of house {n}", "answer": "open"}) + "\n" for n in range(200))
    )
    cycle = Cycle(system.cycle.parts, SMALL)
    name, agent = f"Requests-v0?data={path}", Agent(system=system)
    assert cycle.learn(name, minutes=30, learner=IMITATION).released
    (skill,) = system.releases.live().skills
    with pytest.raises(LearningError, match=f"corrected a run of {re.escape(skill)} yet"):
        cycle.heed(1, skill=skill)
    sharply = ImitationSettings(AdapterSettings(4, 8.0, 1e-2), batch=1, pool=1, limit=40)
    monkeypatch.setattr("llmagentos.learning.language.imitation.for_few", lambda count, **others: sharply)
    answer = agent.ask(skill, "a lamp, please, number 3")
    assert answer.text == "open"
    given = agent.give_feedback(answer, "correction", "on")
    notes: list[str] = []
    verdict = cycle.learn(skill, minutes=5, on_progress=lambda event: notes.append(event.note))
    candidate = system.releases.candidates()[-1]
    assert (candidate.change, candidate.skill, candidate.episodes) == ("consolidation", skill, (given.shown,))
    assert verdict.released, verdict.reason
    said = "1 of 1 corrected replies are given as corrected now, 0 before."
    assert verdict.reason.startswith(f"{said} Kept: {skill}")
    assert any("imitation of what people corrected: 1 of its runs" in note for note in notes)
    assert agent.ask(skill, "a lamp, please, number 3").text == "on"
    assert agent.ask(skill, "the door of house 7000").text == "open", "beside it the skill was replayed"
    assert not cycle.unheeded(skill)
    other = agent.give_feedback(agent.ask(skill, "a lamp, please, number 4"), "correction", "open")
    env = system.make_environment(name)
    place = cycle.places.find(env, system.releases.live())
    mixed = cycle.teach(env, IMITATION, place.start, minutes=30, place=place)
    system.releases.publish(mixed, Verdict(mixed.id, True, "a test"))
    assert other.shown in mixed.episodes
    assert cycle.unheeded(skill) == {other.shown}, "among many runs a few may come to nothing"
    assert system.withdraw_feedback(given.id, "wrong after all") == ["r2", "r3"]
    assert system.releases.rollback("r1").id == "r1", (
        "it has the same routes, and its weights rest on nothing withdrawn"
    )


def test_what_people_called_good_is_replayed_beside_corrections_alone(system: AgentOS) -> None:
    first, second = Agent(system=system).run(SKILL, tasks=2, sampling=Sampling(6)).episodes
    corrected = system.give_feedback(first.id, "correction", "17")
    liked = system.give_feedback(second.id, "good")
    cycle, env = system.cycle, system.make_environment(SKILL)
    services = cycle._services(system.releases.live())
    alone = Lessons(services, env, 0, (), from_people=True)
    (shown,) = alone.demonstrations(8, 0)
    assert shown.segments[-1] == system.engine.renderer.force("17")
    assert [one.tokens for one in alone.kept(1, 0)] == [second.transcript.tokens]
    assert alone.rests_on == {corrected.shown, liked.id}
    assert Lessons(services, env, 0, ()).kept(1, 0) == []


def test_own_runs_never_push_out_what_people_said(system: AgentOS) -> None:
    run = played(system)
    given = system.give_feedback(run.id, "correction", "17")
    own = [replace(run, id=f"own_{n}", success=True, lenient=True, process="") for n in range(600)]
    system.episodes.add_many(own)
    assert system.cycle.unheeded(SKILL) == {given.shown}
    assert len(system.cycle._runs_of(SKILL, by_people=False)) == 512


def test_held_out_request_is_not_learned_from_by_correcting_it(system: AgentOS, tmp_path: Path) -> None:
    path = tmp_path / "doors.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"the door of house {n}", "answer": "open"}) + "\n" for n in range(200))
    )
    env = system.make_environment(f"Requests-v0?data={path}")
    (task,) = env.tasks("report", 1)
    asked, _ = env.reset(seed=task.seed, options=reset_options(task))
    answer = Agent(system=system).ask(env.name, asked)
    with pytest.raises(ConfigError, match="report task"):
        system.give_feedback(answer.episode.id, "correction", "on")


def test_reading_rests_on_the_corrections_that_it_replays(system: AgentOS, talk: Episode) -> None:
    given = system.give_feedback(talk.id, "correction", "It is on its way.")
    text = "the shop sells a lamp and a door and the order of the house " * 40
    system.cycle.study([Document(str(n), f"/{n}.txt", "lamps", text, "x") for n in range(4)], 0.05)
    assert [one.episodes for one in system.releases.candidates()] == [(given.shown,)]


def test_withdrawn_feedback_is_learned_no_more_and_its_releases_are_marked(system: AgentOS) -> None:
    given = system.give_feedback(played(system).id, "correction", "17")
    learner = Imitation(ImitationSettings(AdapterSettings(rank=2), batch=2, pool=4, limit=1))
    cycle, env = system.cycle, system.make_environment(SKILL)
    candidate = cycle.teach(env, learner, None, minutes=5)
    waiting = cycle.teach(env, learner, None, minutes=5, seed=1)
    assert given.shown in candidate.episodes
    release = system.releases.publish(candidate, Verdict(candidate.id, True, "a test"))
    assert system.withdraw_feedback(given.id, "wrong after all") == [release.id]
    assert system.people.list() == []
    assert system.people.list(withdrawn=True)[0].withdrawn_reason == "wrong after all"
    assert system.people.of_skill(SKILL) == []
    source = lessons(system)
    assert source.preferences(4, 0) == []
    assert given.shown not in source.rests_on
    with pytest.raises(NotFoundError, match="wrong after all"):
        system.episodes.get(given.shown)
    system.releases.rollback("r0")
    with pytest.raises(WithdrawnError):
        system.releases.rollback(release.id)
    with pytest.raises(WithdrawnError):
        system.releases.publish(waiting, Verdict(waiting.id, True, "a test"))


def test_withdrawing_twice_keeps_the_first_reason(system: AgentOS, talk: Episode) -> None:
    given = system.give_feedback(talk.id, "good")
    system.withdraw_feedback(given.id, "first")
    system.withdraw_feedback(given.id, "second")
    assert system.people.list(withdrawn=True)[0].withdrawn_reason == "first"
    with pytest.raises(NotFoundError, match="feedback list"):
        system.withdraw_feedback("feedback_unknown", "x")


@pytest.mark.parametrize(
    ("kind", "text", "place", "said"),
    [
        ("good", "text", -1, "no text"),
        ("correction", "  ", -1, "needs the right text"),
        ("better", "x" * 20_001, -1, "20,000"),
        ("good", "", 1, "1 replies"),
        ("bad", "", -2, "1 replies"),
    ],
)
def test_feedback_that_makes_no_sense_is_refused(
    system: AgentOS, talk: Episode, kind: Any, text: str, place: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        system.give_feedback(talk.id, kind, text, place=place)
    assert system.people.list() == []


def test_what_was_said_is_no_correction(system: AgentOS) -> None:
    episode = worked(system)
    with pytest.raises(ConfigError, match="what was said"):
        system.give_feedback(episode.id, "correction", episode.steps[-1].action)


@pytest.mark.parametrize("split", ["development", "gate", "report"])
def test_held_out_runs_cannot_be_corrected(system: AgentOS, split: Any) -> None:
    with pytest.raises(ConfigError, match=f"{split} task"):
        system.give_feedback(played(system, split).id, "correction", "17")


def test_feedback_is_there_after_a_restart(system: AgentOS, talk: Episode, tmp_path: Path, tiny_model: Path) -> None:
    given = system.give_feedback(talk.id, "better", "It is on its way.")
    system.close()
    with AgentOS(tmp_path / "home", str(tiny_model)) as again:
        assert again.people.list() == [given]
        assert again.people.of_skill("")[0].better is not None
