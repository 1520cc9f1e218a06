"""What is shown is learned: imitation, its correction on own runs, documents, and prompts that go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from learners import (
    ADAPTER,
    DOCUMENTS,
    Bandit,
    briefing,
    dagger,
    imitation,
    language_modelling,
    prompt_distillation,
)

from llmagentos.errors import LearningError
from llmagentos.learning.context import Corrected, Practice
from llmagentos.learning.language.imitation import fitting, for_few
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, from_transcript
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.transcript import Segment, Transcript


def test_imitation_lowers_the_loss(workshop: Any) -> None:
    events, candidate = workshop.run(imitation(25), workshop.context())
    losses = [event.metrics["loss"] for event in events]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.5
    assert [event.done for event in events] == list(range(1, 26))
    assert (candidate.learner, candidate.skill) == ("imitation", "toy")
    assert candidate.evidence["steps"] == 25
    assert [point["step"] for point in candidate.evidence["curve"]] == list(range(1, 26))


@pytest.mark.parametrize(("minutes", "size"), [(0.5, 2), (15.0, 4), (30.0, 8), (1000.0, 32)])
def test_batch_grows_with_the_time(workshop: Any, clock: Any, minutes: float, size: int) -> None:
    context = workshop.context(minutes=minutes, clock=clock())
    workshop.run(imitation(3000, batch=0, pool=64), context, kill_after=10)
    assert context.checkpoint.load()["extra"]["batch"] == size


def test_batch_of_few_demonstrations_is_no_larger_than_they_are(workshop: Any, demonstration: Any) -> None:
    context = workshop.context(demonstrations=lambda count, seed: [demonstration(n) for n in range(5)])
    _, candidate = workshop.run(imitation(8, batch=0, pool=64), context)
    assert candidate.evidence["batch"] == 4


def test_batch_is_the_largest_that_leaves_enough_steps() -> None:
    tokens = {2: 100, 4: 150, 8: 250, 16: 450}
    assert [fitting(tokens, 4, steps, 240) for steps in (0, 200, 240, 399, 400, 720)] == [2, 2, 4, 4, 8, 16]
    assert fitting(tokens, 4, 60, 20) == 16


def test_nothing_to_imitate_says_what_to_do_next(workshop: Any) -> None:
    with pytest.raises(LearningError, match=r"nothing to imitate for toy.*--learner policy-gradient"):
        workshop.run(imitation(), workshop.context(demonstrations=lambda count, seed: []))


def test_demonstrations_without_own_words_are_refused(workshop: Any) -> None:
    silent = Transcript("tiny", (Segment("prompt", (4, 5, 6)), Segment("environment", (7,))))
    with pytest.raises(LearningError, match="No token in this batch may train"):
        workshop.run(imitation(), workshop.context(demonstrations=lambda count, seed: [silent] * count))


# What is kept beside.


def test_anchored_imitation_stays_nearer_where_nothing_is_to_be_learned(workshop: Any) -> None:
    general = [Transcript("tiny", (Segment("prompt", tuple(range(80 + n, 95 + n))),)) for n in range(6)]
    moved, losses = [], []
    for anchor in (0.0, 4.0):
        context = workshop.context(f"{anchor}", general=lambda count, seed: general[seed % 3 : seed % 3 + count])
        events, candidate = workshop.run(imitation(25, anchor=anchor), context)
        assert ("moved" in events[-1].metrics) == (anchor > 0)
        learned = workshop.learned(candidate)
        trainer = AdapterTrainer(workshop.decoder, ADAPTER, start=learned)
        moved.append(float(trainer.departure([one.tokens for one in general[4:]], None).detach()))
        losses.append(events[-1].metrics["loss"])
    assert moved[1] < 0.6 * moved[0]
    assert losses[1] < losses[0] + 0.3


def test_anchored_imitation_replays_what_is_kept_and_no_general_answers_beside(
    workshop: Any, demonstration: Any
) -> None:
    asked: list[str] = []

    def source(name: str) -> Callable[[int, int], list[Transcript]]:
        def given(count: int, seed: int) -> list[Transcript]:
            asked.append(name)
            return [demonstration(seed)] * count

        return given

    for anchor, expected in ((0.0, {"replay"}), (1.0, {"kept", "general"})):
        asked.clear()
        sources = {name: source(name) for name in ("replay", "kept", "general")}
        workshop.run(imitation(2, anchor=anchor), workshop.context(f"{anchor}", **sources))
        assert set(asked) == expected


def corrected(shown: Transcript) -> Transcript:
    """The first reply of a demonstration, something else in its place."""
    return replace(shown, segments=(*shown.segments[:1], Segment("demonstration", (90, 2))))


def taught(workshop: Any, demonstration: Any, **options: Any) -> tuple[AdapterTrainer, FusedAdapter]:
    """What two replies beside runs that are to be kept made of an adapter that knows those, and that adapter."""
    kept = [demonstration(n) for n in range(8)]
    _, known = workshop.run(imitation(25), workshop.context(f"known{options}", demonstrations=lambda count, seed: kept))
    start = workshop.learned(known)
    elsewhere = [corrected(one) for one in kept[:2]]
    sources: Any = {"demonstrations": lambda count, seed: elsewhere, "kept": lambda count, seed: kept[2 : 2 + count]}
    quick = AdapterSettings(rank=2, alpha=4.0, learning_rate=3e-2)
    few = {"adapter": quick, "batch": 2, "pool": 2, "replay_share": 3.0, **options}
    _, candidate = workshop.run(imitation(100, **few), workshop.context(f"few{options}", **sources), start=start)
    learned = workshop.learned(candidate)
    return AdapterTrainer(workshop.decoder, ADAPTER, start=learned), start


def test_what_is_kept_stays_as_it_is_beside_a_few_replies(workshop: Any, demonstration: Any) -> None:
    moved = []
    for options in ({}, {"keep": 20.0}):
        trainer, start = taught(workshop, demonstration, **options)
        unseen = [from_transcript(demonstration(n)) for n in range(8, 16)]
        moved.append(float(trainer.departure_in_replies(unseen, start).detach()))
    assert moved[1] < 0.5 * moved[0]


def test_reply_that_is_likely_enough_pulls_no_further(
    workshop: Any, demonstration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So small a model can make two tokens some three per cent likely, and no more."""
    probabilities = []
    for enough in (0.7, 0.01):
        monkeypatch.setattr("llmagentos.learning.language.imitation.ENOUGH", enough)
        trainer, _ = taught(workshop, demonstration, keep=20.0 + enough)
        new = [from_transcript(corrected(demonstration(n))) for n in range(2)]
        probabilities.append([float(one.detach().sum().exp()) for one in trainer.logprobs(new)])
    assert min(probabilities[0]) > 0.02
    assert all(0.005 < one < 0.02 for one in probabilities[1])


def test_what_was_corrected_is_not_kept_as_it_is(workshop: Any, demonstration: Any) -> None:
    once = demonstration(1)
    right = corrected(once)
    sources: Any = {"demonstrations": lambda count, seed: [right], "kept": lambda count, seed: [once] * count}
    few = imitation(20, batch=1, pool=1, replay_share=3.0, keep=200.0)
    events, _ = workshop.run(few, workshop.context(**sources))
    assert events[-1].metrics["loss"] < 0.4 * events[0].metrics["loss"]


def test_few_runs_are_held_to_what_is_said_where_skills_share_an_adapter() -> None:
    alone, first, again = for_few(5), for_few(5, shared=True), for_few(5, shared=True, further=True, refused=1)
    assert (alone.keep, alone.batch, alone.limit) == (0.0, 4, 25)
    assert (first.batch, first.pool, first.limit) == (2, 5, 50)
    assert again.keep == 2 * first.keep > 0
    assert again.adapter.learning_rate < first.adapter.learning_rate


def test_replay_takes_its_share_of_each_batch(
    workshop: Any, demonstration: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[tuple[int, ...]]] = []
    compute = AdapterTrainer.logprobs
    monkeypatch.setattr(
        AdapterTrainer, "logprobs", lambda self, s: batches.append([x.tokens for x in s]) or compute(self, s)
    )
    old = Transcript("tiny", (Segment("prompt", (200, 201)), Segment("demonstration", (202, 203))))
    context = workshop.context(kept=lambda count, seed: [old] * count)
    workshop.run(imitation(2, replay_share=0.5), context)
    *turned, first, second = batches  # behind those whose gradient turns the fresh adapter
    assert not any(old.tokens in batch for batch in turned)
    assert [batch.count(old.tokens) for batch in (first, second)] == [2, 2]
    assert [len(batch) for batch in (first, second)] == [6, 6], "four demonstrations and half as many replayed"


# Own runs, corrected.


def test_dagger_learns_the_way_back_and_ends_when_nothing_is_left(workshop: Any, demonstration: Any) -> None:
    wrong = iter([True] * 5 + [False] * 20)

    def corrections(adapter: FusedAdapter, asked: Practice) -> list[Corrected]:
        departed = next(wrong)
        return [Corrected(demonstration(n), departed) for n in range(4)]

    events, candidate = workshop.run(dagger(40, patience=3), workshop.context(corrections=corrections))
    assert [event.metrics["corrected"] for event in events] == [4.0] * 5 + [0.0] * 3
    assert events[-1].metrics["loss"] < events[0].metrics["loss"] - 0.3
    assert candidate.evidence["stopped"] == "nothing left to correct"


def test_nobody_to_correct_says_what_to_do_next(workshop: Any) -> None:
    with pytest.raises(LearningError, match=r"Nobody can correct runs of toy.*policy-gradient"):
        workshop.run(dagger(), workshop.context())


# Documents.


def test_language_modelling_lowers_the_loss_of_unread_text(workshop: Any) -> None:
    _, candidate = workshop.run(language_modelling(25), workshop.context(documents=DOCUMENTS))
    before, after = (candidate.evidence[f"held_out_loss_{when}"] for when in ("before", "after"))
    assert after < before - 1


@pytest.mark.parametrize("documents", [(), ((30, 31),), (tuple(range(30, 50)),)])
def test_too_few_documents_say_what_to_do_next(workshop: Any, documents: Any) -> None:
    with pytest.raises(LearningError, match="llmagentos data add"):
        workshop.run(language_modelling(), workshop.context(documents=documents))


# Prompts that go.


def test_brief_imitation_is_shown_told_and_judged_the_brief_prompt(workshop: Any, demonstration: Any) -> None:
    seen: list[int] = []

    def shown(count: int, seed: int) -> list[Transcript]:
        seen.append(count)
        return [demonstration(seed * 100 + n) for n in range(count)]

    context = workshop.context(demonstrations=lambda count, seed: [], briefing=briefing(0.5, shown))
    events, candidate = workshop.run(imitation(4, evaluate_every=2, brief=True), context)
    assert [event.metrics.get("development_strict") for event in events] == [None, 0.5, None, 0.5]
    assert set(seen) == {8}
    assert [one.name for one in candidate.artefacts] == ["adapter", "prompt:toy"]
    assert (candidate.learner, candidate.change) == ("brief-imitation", "improvement")


def test_own_runs_are_learned_under_the_brief_prompt_until_it_is_as_good(
    workshop: Any, bandit: Bandit, adapter: FusedAdapter
) -> None:
    learner = prompt_distillation(limit=60)
    with pytest.raises(LearningError, match="not learned yet"):
        workshop.run(learner, workshop.context(briefing=briefing()))
    with pytest.raises(LearningError, match="brief already"):
        workshop.run(learner, workshop.context(), start=adapter)
    nothing = workshop.context(practice=lambda adapter, asked: [[]], briefing=briefing())
    with pytest.raises(LearningError, match="None of 16 own runs"):
        workshop.run(learner, nothing, start=adapter)
    context = workshop.context(practice=bandit, briefing=briefing(strict=1.0))
    events, candidate = workshop.run(learner, context, start=adapter)
    assert len(events) == 10, "two evaluations in a row, five steps apart, are enough"
    assert events[-1].metrics["loss"] < events[0].metrics["loss"]
    assert candidate.change == "consolidation"
    assert (candidate.evidence["prompt_tokens"], candidate.evidence["prompt_tokens_brief"]) == (5, 1)
    kinds = [(one.name, one.kind) for one in candidate.artefacts]
    assert kinds == [("adapter", "adapter"), ("prompt:toy", "settings")]
    assert workshop.blobs[int(candidate.artefacts[1].digest)] == b'{"brief": "brief"}'
