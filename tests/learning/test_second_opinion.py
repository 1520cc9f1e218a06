"""What is right for the nearest known requests is heard beside the model where it helps, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.cycle import Cycle, CycleSettings
from llmagentos.environments.registry import write_query
from llmagentos.environments.requests import NAME, NOTHING_FITS
from llmagentos.errors import EngineError
from llmagentos.evaluation.gate import GateRules
from llmagentos.kernel.rollouts import Policy
from llmagentos.learning.abstention import NEVER
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.replying import alone, settled
from llmagentos.learning.second_opinion import remember
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.models.prototypes import Prototypes
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate
from llmagentos.records.task import reset_options
from llmagentos.releases.classifiers import Classifiers

TOPICS = {"refund": "money", "delay": "parcel", "address": "street"}
SHORT = Imitation(ImitationSettings(AdapterSettings(rank=4, alpha=8.0), batch=2, pool=8, limit=1))
"""Too short to learn anything."""


class Words:
    """An embedder that sees which of a few words stand in a text, and now and then another one."""

    seen = (*TOPICS.values(), "please")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(word in text) + 0.01 for word in self.seen] for text in texts]

    def close(self) -> None:
        """Holds nothing."""


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> type[Words]:
    """The embedder of every system."""
    monkeypatch.setattr("llmagentos.runtime.Runtime.embedder", lambda self, on_progress: Words())
    monkeypatch.setattr("llmagentos.releases.classifiers.Classifiers.name", "words")
    return Words


def tickets(path: Path, count: int = 240, **more: Any) -> str:
    """A file of requests that their words tell."""
    topics = list(TOPICS)
    rows = [
        {"text": f"My {TOPICS[topics[n % 3]]}, case {n}{', please' if n % 5 == 0 else ''}", "label": topics[n % 3]}
        for n in range(count)
    ]
    path.write_text("".join(f"{json.dumps(row | more)}\n" for row in rows), encoding="utf-8")
    return NAME + write_query({"data": str(path)})


def with_requests_that_nothing_fits(path: Path) -> str:
    """The name of an environment of 320 tickets, a quarter of which are about something else."""
    topics = [*TOPICS, "oos"]
    rows = [{"text": f"{TOPICS.get(topics[n % 4], 'weather')} {n}", "label": topics[n % 4]} for n in range(320)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return NAME + write_query({"data": str(path)})


def system_of(tmp_path: Path, tiny_model: Path) -> AgentOS:
    return AgentOS(tmp_path / "home", str(tiny_model))


def cycle_of(system: AgentOS) -> Cycle:
    rules = GateRules(minimum_tasks=6, divergence_budget=None, resamples=400)
    return Cycle(system.cycle.parts, CycleSettings(gate_tasks=24, development_tasks=4, rules=rules))


def parts(system: AgentOS) -> tuple[Classifiers, Callable[[bytes], str]]:
    """What reads requests, and what stores an artefact."""
    return system.cycle.parts.classifiers, system.store.blobs.put


def remembered(system: AgentOS, name: str, corrected: Sequence[tuple[str, str]] = ()) -> Prototypes | None:
    cycle = system.cycle
    return remember(cycle.players.environment(name), cycle.parts.classifiers, corrected, "note")


def test_requests_that_look_planted_are_told_of_and_learned(
    tmp_path: Path, tiny_model: Path, words: type[Words]
) -> None:
    name, told = tickets(tmp_path / "tickets.jsonl"), list[str]()
    with system_of(tmp_path, tiny_model) as system:
        parts = (system.cycle.players.environment(name), system.cycle.parts.classifiers, (), "note")
        remember(*parts, told.append)
        assert told == []
    planted = [{"text": f"My money zq, case {900 + n}", "label": "address"} for n in range(4)]
    with (tmp_path / "tickets.jsonl").open("a") as file:
        file.write("".join(json.dumps(one) + "\n" for one in planted))
    with system_of(tmp_path, tiny_model) as system:
        env = system.cycle.players.environment(name)
        asked = [env.reset(seed=task.seed, options=reset_options(task))[0] for task in env.tasks("train", 1000)]
        assert remember(env, system.cycle.parts.classifiers, (), "note", told.append) is not None
    (message,) = told
    count = sum("zq" in one for one in asked)
    assert count > 1
    assert message.startswith(f"{count} of {len(asked)} requests that are learned look mislabelled or planted, such as")
    assert "data check" in message


def test_what_is_known_answers_where_the_model_has_learned_nothing(
    tmp_path: Path, tiny_model: Path, words: type[Words]
) -> None:
    """An untrained model says anything; together with the prototypes it is right."""
    name, said = tickets(tmp_path / "tickets.jsonl"), list[Progress]()
    with system_of(tmp_path, tiny_model) as system:
        verdict = cycle_of(system).learn(name, minutes=30, learner=SHORT, on_progress=said.append)
        assert verdict.released, verdict.reason
        live = system.releases.live()
        assert {one.kind for one in live.manifest.artefacts} == {"adapter", "router", "classifier"}
        (candidate,) = system.releases.candidates()
        heard = candidate.evidence["opinion"]
        assert heard["after"] == 1
        assert heard["gained"] > heard["lost"] == 0
        (note,) = [event.note for event in said if "second opinion" in event.note]
        assert f"{heard['gained']} gained" in note
        answer = Agent(system=system).ask(live.skills[0], "Where is the money that I sent")
        assert answer.text == '{"refund": {}}'
        assert answer.episode.transcript.segments[-1].origin == "demonstration"
        own = system.cycle.players.policy(system.cycle.players.environment(name), live).arguments
        assert set(own) - set(alone(own)) == {"classifier"}, "lessons are the model's own"
    with system_of(tmp_path, tiny_model) as system:
        assert Agent(system=system).ask(live.skills[0], "The parcel is not here").text == '{"delay": {}}'


def test_without_an_embedder_the_weights_learn_alone(tmp_path: Path, tiny_model: Path) -> None:
    name, said = tickets(tmp_path / "tickets.jsonl"), list[Progress]()
    with system_of(tmp_path, tiny_model) as system:
        cycle = cycle_of(system)
        candidate = cycle.teach(cycle.players.environment(name), SHORT, None, minutes=30, on_progress=said.append)
        assert {one.kind for one in candidate.artefacts} == {"adapter", "router"}
        assert any("not compared with those that are known" in event.note for event in said)


def test_prototypes_of_another_embedder_are_not_asked(
    tmp_path: Path, tiny_model: Path, words: type[Words], monkeypatch: pytest.MonkeyPatch
) -> None:
    with system_of(tmp_path, tiny_model) as system:
        made = remembered(system, tickets(tmp_path / "tickets.jsonl"))
        assert made is not None
        digest = system.store.blobs.put(made.to_bytes())
        classifiers = system.cycle.parts.classifiers
        assert classifiers.classify("money", digest).replies[0] == '{"refund": {}}'
        assert len(classifiers.classify("", digest).replies) == 3, "an empty text is a text"
        monkeypatch.setattr("llmagentos.releases.classifiers.Classifiers.name", "others")
        with pytest.raises(EngineError, match="LLMAGENTOS_EMBEDDING_MODEL=words"):
            classifiers.classify("money", digest)


def test_held_out_requests_are_known_and_bear_no_witness_for_themselves(
    tmp_path: Path, tiny_model: Path, words: type[Words]
) -> None:
    with system_of(tmp_path, tiny_model) as system:
        name = tickets(tmp_path / "tickets.jsonl")
        env, made = system.cycle.players.environment(name), remembered(system, name)
        assert made is not None
        apart = sum(len(env.tasks(split, 1000)) for split in ("development", "gate", "report"))  # type: ignore[arg-type]
        assert len(made.held.reply_N) == apart > 30
        assert made.found == 1


def test_corrected_request_is_answered_as_corrected(tmp_path: Path, tiny_model: Path, words: type[Words]) -> None:
    with system_of(tmp_path, tiny_model) as system:
        right = '{"address": {}}'
        made = remembered(system, tickets(tmp_path / "tickets.jsonl"), [("please, money and parcel", right)])
        assert made is not None
        vectors = words().embed(["please, money and parcel", "money", "parcel"])
        assert [made.opinion(vector).replies[0] for vector in vectors] == [right, '{"refund": {}}', '{"delay": {}}']


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([{"text": f"Say {n}", "answer": f"{n} it is"} for n in range(200)], "every request has a reply of its own"),
        ([{"text": f"Case {n}", "label": "ab"[n * 7 % 11 % 2]} for n in range(200)], "nothing in the words tells"),
        (
            [
                {"turns": [{"request": f"money {n}", "answer": "When?"}, {"request": "now", "answer": "Done."}]}
                for n in range(200)
            ],
            "a conversation goes on",
        ),
        (
            [{"turns": [{"request": "money", "answer": "When?"}, {"request": "now", "answer": "Done."}]}]
            + [{"text": f"money {n}" if n % 2 else f"parcel {n}", "answer": "ab"[n % 2]} for n in range(200)],
            "one conversation among single requests goes on",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_where_nothing_repeats_itself_nothing_is_remembered(
    tmp_path: Path, tiny_model: Path, words: type[Words], rows: list[dict[str, Any]], why: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with system_of(tmp_path, tiny_model) as system:
        assert remembered(system, NAME + write_query({"data": str(path)})) is None, why


def test_harmful_opinion_is_left_out_and_one_that_is_live_is_taken_out(
    tmp_path: Path, tiny_model: Path, words: type[Words], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tickets(tmp_path / "tickets.jsonl", 240)
    with system_of(tmp_path, tiny_model) as system:
        cycle = cycle_of(system)
        assert cycle.learn(name, minutes=30, learner=SHORT).released
        monkeypatch.setattr("llmagentos.learning.second_opinion.Heard.helps", False)
        said = list[Progress]()
        candidate = cycle.teach(cycle.players.environment(name), SHORT, None, minutes=30, on_progress=said.append)
        (found,) = [one for one in candidate.artefacts if one.kind == "classifier"]
        assert found.digest == ""
        assert any("is left out" in event.note for event in said)
        skill = cycle.players.environment(name).skill
        assert "classifier" not in cycle.players.told(skill, candidate.upon(system.releases.live()))


def test_words_for_nothing_fits_are_weighed_with_both_voices(
    tmp_path: Path, tiny_model: Path, words: type[Words]
) -> None:
    with system_of(tmp_path, tiny_model) as system:
        cycle, name = cycle_of(system), with_requests_that_nothing_fits(tmp_path / "rows.jsonl")
        candidate = cycle.teach(cycle.players.environment(name), SHORT, None, minutes=30)
        assert candidate.evidence["abstention"]["before"] == candidate.evidence["opinion"]["after"] > 0.9
        kinds = sorted(one.kind for one in candidate.artefacts)
        assert kinds == ["adapter", "classifier", "router", "settings"]
        (made,) = [one for one in candidate.artefacts if one.kind == "classifier"]
        assert NOTHING_FITS in Prototypes.from_bytes(system.store.blobs.get(made.digest)).replies


def test_opinion_that_has_no_say_still_tells_what_is_like_nothing_known(
    tmp_path: Path, tiny_model: Path, words: type[Words], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmagentos.learning.second_opinion.Heard.helps", False)
    with system_of(tmp_path, tiny_model) as system:
        name, classifiers, put = with_requests_that_nothing_fits(tmp_path / "rows.jsonl"), *parts(system)
        env, prototypes = system.make_environment(name), remembered(system, name)
        assert prototypes is not None
        topics = {word: topic for topic, word in TOPICS.items()}
        calls = {"function": lambda request: f'{{"{topics.get(request.split()[0], "refund")}": {{}}}}'}
        policy, candidate = Policy("c", program="policy", arguments=calls), Candidate("c", env.skill, (), "imitation")
        made = settled(env, system.cycle.rollouts, policy, candidate, prototypes, classifiers, put)
        (kept,) = [one for one in made.artefacts if one.kind == "classifier"]
        assert Prototypes.from_bytes(system.store.blobs.get(kept.digest)).weight == 0
        weighed = made.evidence["abstention"]
        assert weighed["farther"] > NEVER
        assert (weighed["before"], weighed["after"]) == (0.75, 1.0)


def test_withdrawn_correction_is_in_no_prototype(tmp_path: Path, tiny_model: Path, words: type[Words]) -> None:
    """What people corrected is heard at once, and goes back with the weights when they take it back."""
    name, odd = tickets(tmp_path / "tickets.jsonl"), "If you please"
    with system_of(tmp_path, tiny_model) as system:
        cycle = cycle_of(system)
        assert cycle.learn(name, minutes=30, learner=SHORT).released
        (skill,) = system.releases.live().skills

        def classifiers() -> list[str]:
            return [one.digest for one in system.releases.live().manifest.artefacts if one.kind == "classifier"]

        before, agent = classifiers(), Agent(system=system)
        answer = agent.ask(skill, odd)
        assert answer.text != '{"address": {}}'
        given = system.give_feedback(answer.episode.id, "correction", "address")
        assert cycle.heed(1, skill=skill).released
        assert classifiers() != before
        assert agent.ask(skill, odd).text == '{"address": {}}'
        assert agent.ask(skill, "money").text == '{"refund": {}}'
        assert system.withdraw_feedback(given.id, "wrong after all") == [system.releases.live().id]
        assert cycle.rebuild().released
        assert classifiers() == before
        assert agent.ask(skill, odd).text == answer.text
