"""The cycle over a real engine, kernel and store: what helps goes live, what harms does not, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from saying import registered
from small_cycle import ASKED, DOOR, LIGHT, RULES, SMALL, WALL

import llmagentos.cycle
import llmagentos.places
from llmagentos.agentos import AgentOS
from llmagentos.cycle import Cycle
from llmagentos.environments.language import LanguageEnvironment
from llmagentos.errors import AdapterError, ConfigError, GateError, LearningError, WithdrawnError
from llmagentos.evaluation.gate import Gate, KeptSkill
from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.routes import fit_route
from llmagentos.learning.tempering import TEMPERED, between
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, from_transcript
from llmagentos.learning.unproven import AFTER, MORE, harmed, tried_from, unproven
from llmagentos.models.adapters import FusedAdapter, new_adapter, write_adapter
from llmagentos.models.decoder import Decoder
from llmagentos.models.rendering import Renderer
from llmagentos.models.routing import Route
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.records.document import Document
from llmagentos.records.identity import JSON, new_id
from llmagentos.records.message import Message
from llmagentos.records.progress import Progress
from llmagentos.records.release import Artefact, Candidate, Interval, SkillCheck, Verdict
from llmagentos.records.transcript import Transcript


@pytest.fixture(scope="module", autouse=True)
def environments() -> Iterator[None]:
    with registered(ASKED, unknown=WALL):
        yield


@dataclass
class Given:
    """A learner that was told the result."""

    adapter: FusedAdapter
    change: Any = "improvement"
    skill: str = ""
    name: str = "given"
    base: str = ""
    episodes: tuple[str, ...] = ()
    """What the weights rest on."""
    curve: tuple[dict[str, float], ...] = ()
    """What it measured of own runs."""
    begun: list[tuple[FusedAdapter | None, int]] = field(default_factory=list)
    """Start and seed of each learning."""

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        self.begun.append((start, context.seed))
        yield Progress("given", 1, 1)
        data = write_adapter(self.adapter, context.decoder.config, self.base or context.base)
        artefact = Artefact("adapter", "adapter", context.store(data), context.skill)
        skill = self.skill or context.skill
        evidence: dict[str, JSON] = {"curve": list(self.curve)}
        return Candidate(
            new_id("candidate"), skill, (artefact,), self.name, self.change, evidence=evidence, episodes=self.episodes
        )


@pytest.fixture(scope="module")
def taught(tiny_model: Path) -> dict[str, FusedAdapter]:
    """Adapters that answer the door, the light, or both; `light` has never heard of doors."""
    decoder, renderer = Decoder.load(tiny_model, dtype=torch.float32), Renderer(tiny_model)

    def run(name: str, seed: int) -> Transcript:
        asked, answer = ASKED[name]
        prompt = renderer.render((Message("user", f"{asked} {seed}", outside=True),), first=True)
        return Transcript("tiny", (*prompt, renderer.force(answer)))

    made = {}
    for key, names in {"door": [DOOR], "light": [LIGHT], "both": [DOOR, LIGHT]}.items():
        trainer = AdapterTrainer(decoder, AdapterSettings(rank=4, alpha=8.0, learning_rate=1e-2), seed=1)
        for step in range(40):
            batch = [from_transcript(run(name, step * 99_991 + n)) for n in range(6) for name in names]
            (-torch.cat(trainer.logprobs(batch)).mean()).backward()  # type: ignore[no-untyped-call]
            trainer.step()
        made[key] = trainer.exact()
    return made


@pytest.fixture
def cycle(system: AgentOS) -> Cycle:
    return Cycle(system.cycle.parts, SMALL)


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two skills can be told apart: all are learned in one adapter."""
    monkeypatch.setattr(llmagentos.places, "TOLD_APART", 1.1)


def live_weights(system: AgentOS) -> list[bytes]:
    artefacts = system.releases.live().manifest.artefacts
    return [system.store.blobs.get(one.digest) for one in artefacts if one.kind == "adapter"]


def learn(cycle: Cycle, name: str, adapter: FusedAdapter, **options: Any) -> Any:
    return cycle.learn(name, minutes=5, learner=Given(adapter), **options)


def success(cycle: Cycle, name: str, release: str | None = None) -> float:
    return cycle.evaluate(name, release=release, tasks=8).score.strict.estimate


# Released, refused, rolled back.


def test_gain_is_released_and_served_at_once(system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]) -> None:
    engine, decoder = system.engine, cycle.engine.decoder
    assert success(cycle, DOOR) == 0
    verdict = learn(cycle, DOOR, taught["door"])
    assert verdict.released
    assert [(check.skill, check.rule, check.candidate, check.reference) for check in verdict.checks] == [
        (DOOR, "gain", 1.0, 0.0)
    ]
    live = system.releases.live()
    assert (live.id, live.skills, live.parent) == ("r1", (DOOR,), "r0")
    assert live.verdict == verdict == system.releases.verdicts()[-1]
    assert (system.engine, cycle.engine.decoder) == (engine, decoder)
    assert success(cycle, DOOR) == 1
    assert success(cycle, DOOR, "r0") == 0
    assert system.llm().generate(f"{ASKED[DOOR][0]} 5", max_tokens=6) == "open"


def test_candidate_that_gains_and_damages_is_refused(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter], alike: None
) -> None:
    learn(cycle, DOOR, taught["door"])
    before, played = live_weights(system), cycle.evaluate(DOOR, tasks=4).episodes
    verdict = learn(cycle, LIGHT, taught["light"])
    assert not verdict.released
    target, kept = verdict.checks
    assert (target.skill, target.passed, target.candidate) == (LIGHT, True, 1.0)  # it is a plausible one
    assert (kept.skill, kept.passed, kept.reference_release) == (DOOR, False, "r1")
    assert DOOR in verdict.reason
    assert system.releases.verdicts()[-1] == verdict
    assert system.releases.live().id == "r1"
    assert live_weights(system) == before
    assert [one.transcript.tokens for one in cycle.evaluate(DOOR, tasks=4).episodes] == [
        one.transcript.tokens for one in played
    ]
    assert success(cycle, LIGHT) == 0


def test_close_refusal_is_looked_at_again(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter], monkeypatch: pytest.MonkeyPatch, alike: None
) -> None:
    learn(cycle, DOOR, taught["door"])
    first_looks: list[int] = []

    def close(gate: Gate, kept: KeptSkill) -> bool:
        first_looks.append(len(kept.scores.keys))
        return True

    monkeypatch.setattr(Gate, "is_close", close)
    verdict = learn(cycle, LIGHT, taught["both"])
    target, kept = verdict.checks
    assert first_looks == [100]
    assert (target.skill, target.tasks) == (LIGHT, 8)
    assert (kept.skill, kept.tasks, kept.candidate, kept.reference) == (DOOR, 300, 1.0, 1.0)
    assert "at a second look" in kept.detail
    seen = [run.task.seed for run in system.episodes.select(environment=DOOR, split="gate", limit=2000)]
    assert len(seen) == 2 * 300 + 2 * 8
    assert len(set(seen)) == 300 + 8, "all play the same tasks, each look at others"


def test_half_of_a_harmful_step_is_tried(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter], alike: None
) -> None:
    learn(cycle, DOOR, taught["door"])
    door, both = taught["door"], taught["both"]
    beyond = between(door, both, 2.0)
    assert beyond is not None
    events: list[Progress] = []
    verdict = learn(cycle, LIGHT, beyond, on_progress=events.append)
    refused, released = system.releases.verdicts()[-2:]
    assert (refused.released, released) == (False, verdict)
    assert verdict.released, verdict.reason
    assert any(event.stage.startswith("tempering") and DOOR in event.note for event in events)
    assert (success(cycle, DOOR), success(cycle, LIGHT)) == (1, 1)
    live = cycle.players.adapter(system.releases.live(), LIGHT)
    assert live is not None
    for key, pair in both.pairs.items():
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(live.pairs[key], pair, strict=True))


def test_learning_goes_on_from_a_sure_gain_and_replays_what_it_harmed(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter], alike: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(cycle, DOOR, taught["door"])
    assert not learn(cycle, LIGHT, taught["light"]).released
    whole, part = system.releases.candidates()[-2:]
    asked: list[list[str]] = []
    lessons = llmagentos.cycle.Lessons

    def watched(services: Any, env: Any, seed: int, kept: list[LanguageEnvironment], **more: Any) -> Any:
        asked.append([one.skill for one in kept])
        return lessons(services, env, seed, kept, **more)

    monkeypatch.setattr(llmagentos.cycle, "Lessons", watched)
    second, notes = Given(taught["both"]), list[str]()
    verdict = cycle.learn(LIGHT, minutes=5, learner=second, on_progress=lambda event: notes.append(event.note))
    assert verdict.released, verdict.reason
    earlier = whole if system.releases.candidates()[-1].evidence[AFTER] == whole.id else part
    (start,) = [one for one, _ in second.begun]
    assert start is not None
    for key, pair in cycle.players.candidate_adapter(earlier).pairs.items():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(start.pairs[key], pair, strict=True))
    assert asked == [[DOOR] * (1 + MORE)]
    assert any(DOOR in note and note.startswith("from what") for note in notes)


def test_candidate_that_keeps_what_was_known_is_released(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    learn(cycle, DOOR, taught["door"])
    verdict = learn(cycle, LIGHT, taught["both"])
    assert verdict.released
    assert system.releases.live().skills == (DOOR, LIGHT)
    assert (success(cycle, DOOR), success(cycle, LIGHT)) == (1, 1)


def test_rollback_restores_the_same_bytes_and_the_same_answers(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    learn(cycle, DOOR, taught["door"])
    before, played = live_weights(system), cycle.evaluate(LIGHT, tasks=4).episodes
    learn(cycle, LIGHT, taught["both"])
    assert live_weights(system) != before
    system.releases.rollback("r1")
    assert live_weights(system) == before
    assert [one.transcript.tokens for one in cycle.evaluate(LIGHT, tasks=4).episodes] == [
        one.transcript.tokens for one in played
    ]


def test_released_weights_are_the_ones_that_were_judged(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    learn(cycle, DOOR, taught["door"])
    expected = write_adapter(taught["door"], cycle.engine.decoder.config, system.settings.model)
    assert live_weights(system) == [expected]


def test_candidate_without_gain_is_refused(system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]) -> None:
    assert not learn(cycle, DOOR, taught["light"]).released
    assert system.releases.live().id == "r0"
    assert len(system.releases.verdicts()) == 1


def test_practice_that_went_better_than_the_gate_is_told(cycle: Cycle, taught: dict[str, FusedAdapter]) -> None:
    told: list[Progress] = []
    practised = Given(taught["light"], curve=({"reward": 1.0, "strict": 1.0},) * 12)
    assert not cycle.learn(DOOR, minutes=5, learner=practised, on_progress=told.append).released
    notes = [event.note for event in told if event.stage == llmagentos.cycle.WATCHING]
    assert len(notes) == 1
    assert "100% of the runs in practice succeeded and 0% of those on fresh tasks" in notes[0]


def test_candidate_that_strays_too_far_is_refused(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wide(*arguments: Any) -> Route:
        return replace(fit_route(*arguments), threshold=0.0)

    monkeypatch.setattr(llmagentos.places, "fit_route", wide)
    strict = Cycle(cycle.parts, replace(SMALL, rules=replace(RULES, divergence_budget=0.001)))
    verdict = learn(strict, DOOR, taught["door"])
    assert not verdict.released
    assert verdict.divergence > 0.001
    assert "diverges" in verdict.reason


def test_gate_plays_tasks_that_nobody_has_seen(system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]) -> None:
    learn(cycle, DOOR, taught["door"])
    learn(cycle, DOOR, taught["both"])
    runs = list(system.episodes.select(environment=DOOR, split="gate"))
    by_release: dict[str, set[int]] = {}
    for run in runs:
        by_release.setdefault(run.release, set()).add(run.task.seed)
    seen = [seeds for release, seeds in by_release.items() if release.startswith("candidate")]
    assert len(seen) == 2
    assert not seen[0] & seen[1]
    assert by_release["r0"] == seen[0] or by_release["r0"] == seen[1]
    assert {run.labels["purpose"] for run in runs} == {"gate"}


def test_candidates_are_not_served_after_their_verdict(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    learn(cycle, DOOR, taught["door"])
    door = system.engine.adapters
    assert not learn(cycle, LIGHT, taught["door"]).released
    assert (system.engine.adapters, len(door), door[-1]) == (door, 2, "r1")


def test_interruption_of_the_gate_leaves_everything_as_it_was(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    def interrupt(event: Progress) -> None:
        if event.stage.startswith("gate") and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(cycle, DOOR, taught["door"], on_progress=interrupt)
    assert system.releases.live().id == "r0"
    assert system.releases.verdicts() == []
    assert system.engine.adapters == ()
    assert learn(cycle, DOOR, taught["door"]).released


# Learning, interrupted and resumed.


def imitation(limit: int) -> Imitation:
    adapter = AdapterSettings(rank=4, alpha=8.0, learning_rate=1e-2)
    return Imitation(ImitationSettings(adapter=adapter, batch=4, pool=16, limit=limit))


def interrupt_at(step: int) -> Callable[[Progress], None]:
    def interrupt(event: Progress) -> None:
        if event.stage.startswith("imitation") and event.done == step:
            raise KeyboardInterrupt

    return interrupt


def test_what_is_unusual_about_an_environment_is_said_first(
    cycle: Cycle, taught: dict[str, FusedAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(LanguageEnvironment, "remark", "Runs are short.")
    assert learn(cycle, DOOR, taught["door"], on_progress=lambda event: notes.append(event.note)).released
    assert notes[0] == "Runs are short."


def test_imitating_the_expert_reaches_release(system: AgentOS, cycle: Cycle) -> None:
    stages: list[str] = []
    verdict = cycle.learn(DOOR, minutes=30, learner=imitation(40), on_progress=lambda event: stages.append(event.stage))
    assert verdict.released
    assert f"imitation: {DOOR}" in stages
    shown = system.episodes.select(environment=DOOR, split="train")
    assert shown
    assert all(run.release == "expert" for run in shown)


def test_interrupted_learning_goes_on_to_the_same_weights(
    system: AgentOS, cycle: Cycle, tiny_model: Path, tmp_path: Path
) -> None:
    env = system.make_environment(DOOR)
    whole = cycle.teach(env, imitation(14), None, minutes=600)
    folder = system.home / "checkpoints"
    assert not list(folder.glob("*"))
    with AgentOS(tmp_path / "other", str(tiny_model)) as other:
        again = Cycle(other.cycle.parts, SMALL)
        with pytest.raises(KeyboardInterrupt):
            again.teach(env, imitation(14), None, minutes=600, on_progress=interrupt_at(12))
        (left,) = (other.home / "checkpoints").glob("*")
        assert left.stat().st_size > 0
    with AgentOS(tmp_path / "other", str(tiny_model)) as other:  # as another process would find it
        again = Cycle(other.cycle.parts, SMALL)
        steps: list[float] = []
        candidate = again.teach(
            env, imitation(14), None, minutes=600, on_progress=lambda event: steps.append(event.done)
        )
        assert steps == [11, 12, 13, 14]
        assert not left.exists()
        assert candidate.artefacts[0].digest == whole.artefacts[0].digest


def test_other_seed_does_not_go_on_from_a_stranger_s_checkpoint(system: AgentOS, cycle: Cycle) -> None:
    env = system.make_environment(DOOR)
    with pytest.raises(KeyboardInterrupt):
        cycle.teach(env, imitation(12), None, minutes=600, on_progress=interrupt_at(11))
    steps: list[float] = []
    cycle.teach(env, imitation(2), None, minutes=600, seed=5, on_progress=lambda event: steps.append(event.done))
    assert steps == [1, 2]


def unsure(candidate: Candidate, gain: float = 0.2, *, kept: bool = True) -> Verdict:
    """A refusal for a gain that could be chance, or for more than that."""
    checks = [
        SkillCheck(DOOR, 8, 0.5, 0.3, "r0", Interval(gain, gain - 0.3, gain + 0.3), "gain", passed=False),
        SkillCheck(LIGHT, 8, 0.5, 0.5, "r0", Interval(0, -0.1, 0.1), "point-estimate", passed=kept),
    ]
    return Verdict(candidate.id, False, "It could be chance.", tuple(checks), 0.1, 0.5)


def test_learning_goes_on_from_what_was_not_proven(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    first = cycle.teach(system.make_environment(DOOR), Given(taught["light"], episodes=("one",)), None, minutes=5)
    system.releases.refuse(first, unsure(first))
    notes: list[str] = []
    second = Given(taught["door"], episodes=("two",))
    verdict = cycle.learn(DOOR, minutes=5, learner=second, on_progress=lambda event: notes.append(event.note))
    assert verdict.released, verdict.reason
    ((start, seed),) = second.begun
    assert start is not None
    for key, pair in taught["light"].pairs.items():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(start.pairs[key], pair, strict=True))
    assert seed == 1, "other tasks than before"
    assert system.releases.candidates()[-1].episodes == ("one", "two")
    assert any("It could be chance" in note for note in notes)


@pytest.mark.parametrize(
    ("gain", "kept", "go_on"), [(0.2, True, True), (0.0, True, False), (-0.1, True, False), (0.2, False, False)]
)
def test_only_an_unsure_gain_without_harm_is_gone_on_from(gain: float, kept: bool, go_on: bool) -> None:
    made = (("a", "r0"), ("b", "r1"), ("c", "r0"))
    tried = [Candidate(name, DOOR, (), "given", parent=parent) for name, parent in made]
    from_bare = tried_from("r0", DOOR, "given", tried)
    assert [one.id for one in from_bare] == ["a", "c"]
    assert tried_from("r0", LIGHT, "given", tried) == tried_from("r0", DOOR, "other", tried) == []
    verdicts = [unsure(from_bare[0]), unsure(from_bare[1], gain, kept=kept)]
    assert unproven(from_bare, verdicts) == (from_bare[1] if go_on else None)
    assert unproven(from_bare, verdicts[:1]) is None, "not judged"
    assert unproven([], verdicts) is None
    far = replace(unsure(from_bare[1]), divergence=0.6)
    assert unproven(from_bare, [far]) is None


def harming(candidate: Candidate, loss: float, *, sure: bool = True, moved: float = 0.1) -> Verdict:
    """A refusal for what was taken from another skill."""
    checks = (
        SkillCheck(LIGHT, 8, 0.9, 0.3, "r1", Interval(0.6, 0.4, 0.8), "gain", passed=sure),
        SkillCheck(DOOR, 8, 0.5, 0.9, "r1", Interval(-loss, -0.5, 0), "point-estimate", passed=False),
        SkillCheck(WALL, 8, 0.5, 0.5, "r1", Interval(0, -0.1, 0.1), "point-estimate", passed=True),
    )
    return Verdict(candidate.id, False, "The door lost.", checks, moved, 0.5)


def test_sure_gain_is_gone_on_from_as_long_as_the_harm_shrinks() -> None:
    whole = Candidate("whole", LIGHT, (), "given", parent="r1")
    part = replace(whole, id="part", evidence={TEMPERED: {"from": "whole", "share": 0.5}})
    further = replace(whole, id="further", evidence={AFTER: "whole"})
    said = harming(whole, 0.3)
    assert harmed(said) == [DOOR]
    assert unproven([whole], [said], [DOOR, WALL]) == whole
    assert unproven([whole], [said], [WALL]) is None, "no replay in this adapter brings the door back"
    assert unproven([whole], [harming(whole, 0.3, sure=False)], [DOOR]) is None
    assert unproven([whole], [harming(whole, 0.3, moved=0.6)], [DOOR]) is None
    assert unproven([whole, part], [said, harming(part, 0.1)], [DOOR]) == part
    assert unproven([whole, part], [said, harming(part, 0.1, sure=False)], [DOOR]) == whole
    assert unproven([whole, further], [said, harming(further, 0.2)], [DOOR]) == further
    assert unproven([whole, further], [said, harming(further, 0.3)], [DOOR]) is None


def test_withdrawn_data_is_not_gone_on_from(system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]) -> None:
    first = cycle.teach(system.make_environment(DOOR), Given(taught["light"], episodes=("one",)), None, minutes=5)
    system.releases.refuse(first, unsure(first))
    system.releases.withdraw_episodes(["one"])
    second = Given(taught["door"])
    assert cycle.learn(DOOR, minutes=5, learner=second).released
    assert second.begun == [(None, 1)]
    assert system.releases.candidates()[-1].episodes == ()


def test_waiting_candidate_whose_data_was_withdrawn_is_learned_anew(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    cycle.teach(system.make_environment(DOOR), Given(taught["door"], episodes=("one",)), None, minutes=5)
    system.releases.withdraw_episodes(["one"])
    second = Given(taught["door"])
    assert cycle.learn(DOOR, minutes=5, learner=second).released
    assert len(second.begun) == 1


def test_nothing_is_taught_from_a_release_that_rests_on_withdrawn_data(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    assert cycle.learn(DOOR, minutes=5, learner=Given(taught["door"], episodes=("one",))).released
    system.releases.withdraw_episodes(["one"])
    again = Given(taught["light"])
    with pytest.raises(WithdrawnError, match="rollback r0"):
        cycle.learn(DOOR, minutes=5, learner=again)
    assert again.begun == []


def test_kept_skills_are_replayed(system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter], alike: None) -> None:
    learn(cycle, DOOR, taught["door"])
    asked: list[list[Transcript]] = []

    class Curious(Given):
        def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
            asked.append(context.replay(6, 7))
            asked.append(context.kept(6, 7))
            asked.append(context.general(3, 7))
            return (yield from super().learn(start, context))

    env = system.make_environment(LIGHT)
    cycle.teach(env, Curious(taught["both"]), None, minutes=5)
    cycle.teach(env, Curious(taught["both"]), None, minutes=5, replay=False)
    texts = [[system.engine.renderer.decode(one.tokens) for one in found] for found in asked]
    door = [[ASKED[DOOR][0] in text for text in found] for found in texts[:3]]
    assert (door[0].count(True), len(door[0])) == (4, 6), "the others are general answers"
    assert (door[1], door[2]) == ([True] * 6, [False] * 3)
    assert [len(set(found)) for found in texts[:3]] == [6, 6, 3]
    assert texts[3:] == [[], [], []]


def test_practice_uses_the_learner_s_own_weights_and_train_tasks(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    from llmagentos.learning.context import Practice

    found: dict[str, Any] = {}

    class Practising(Given):
        def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
            found["good"] = context.practice(taught["door"], Practice(3, 2, seed=5, temperature=0.0))
            found["bad"] = context.practice(taught["light"], Practice(3, 2, seed=5, temperature=0.0))
            found["score"] = context.evaluate(taught["door"])
            return (yield from super().learn(start, context))

    cycle.teach(system.make_environment(DOOR), Practising(taught["door"]), None, minutes=5)
    assert [len(group) for group in found["good"]] == [2, 2, 2]
    assert all(run.success and run.task.split == "train" for group in found["good"] for run in group)
    assert not any(run.success for group in found["bad"] for run in group)
    assert [len({run.task.key for run in group}) for group in found["good"]] == [1, 1, 1]
    assert (found["score"].strict, found["score"].tasks) == (1.0, 4)
    assert system.engine.adapters == ()
    splits = {run.task.split for run in system.episodes.select(environment=DOOR)}
    assert splits == {"train", "development"}


def test_reading_documents_keeps_the_skills_and_later_learning_possible(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    learn(cycle, DOOR, taught["door"])
    text = "the shop sells a lamp and a door and the order of the house " * 40
    verdict = cycle.study([Document(str(n), f"/{n}.txt", "lamps", text, "x") for n in range(4)], 0.02)
    assert system.releases.verdicts()[-1] == verdict
    assert system.releases.live().skills == (DOOR,)
    assert learn(cycle, LIGHT, taught["both"]).released


def test_reading_whose_gate_was_interrupted_is_judged_and_not_done_again(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]
) -> None:
    learn(cycle, DOOR, taught["door"])
    text = "the shop sells a lamp and a door and the order of the house " * 40
    documents = [Document(str(n), f"/{n}.txt", "lamps", text, "x") for n in range(4)]

    def interrupt(event: Progress) -> None:
        if event.stage.startswith("gate"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cycle.study(documents, 0.02, interrupt)
    (waiting,) = system.releases.open_candidates()
    stages: list[str] = []
    verdict = cycle.study(documents, 0.02, lambda event: stages.append(event.stage))
    assert verdict.candidate == waiting.id
    assert all(stage.startswith("gate") for stage in stages), "nothing was learned again"


def test_reading_that_does_not_help_is_recorded(
    system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vain(Given):
        def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
            candidate = yield from super().learn(start, context)
            return replace(candidate, evidence={"held_out_loss_before": 2.0, "held_out_loss_after": 2.5})

    module = "llmagentos.learning.language.language_modelling.LanguageModelling"
    monkeypatch.setattr(module, lambda: Vain(taught["door"]))
    for _ in range(2):
        with pytest.raises(LearningError, match=r"from 2\.000 to 2\.500"):
            cycle.study([Document("1", "/1.txt", "lamps", "a lamp", "x")], 0.02)
    assert system.releases.open_candidates() == []
    assert ["did not help" in verdict.reason for verdict in system.releases.verdicts()] == [True, True]


# Refusals.


def test_candidate_that_brings_no_adapter_is_refused(system: AgentOS, cycle: Cycle) -> None:
    with pytest.raises(GateError, match="no adapter"):
        cycle.judge(Candidate("c", DOOR, (), "given"))


def test_candidate_of_another_base_is_refused(system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]) -> None:
    with pytest.raises(AdapterError, match="another/model"):
        cycle.learn(DOOR, minutes=5, learner=Given(taught["door"], base="another/model"))
    assert system.releases.live().id == "r0"


def test_engine_without_weights_cannot_learn(system: AgentOS) -> None:
    scripted = ScriptedEngine(system.engine.renderer, ["x"])
    with pytest.raises(ConfigError, match="embedded engine"):
        Cycle(replace(system.cycle.parts, engine=scripted))
    scripted.close()


def test_time_of_a_candidate_is_recorded(system: AgentOS, cycle: Cycle, taught: dict[str, FusedAdapter]) -> None:
    candidate = cycle.teach(
        system.make_environment(DOOR), Given(new_adapter(cycle.engine.decoder.config, 1, 1.0, 0)), None, minutes=5
    )
    assert abs(candidate.created - time.time()) < 600
    assert candidate.parent == "r0"
