"""What every learner does alike: its candidate, its start, its reports; what the environment said is never learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from learners import (
    DOCUMENTS,
    PROMPT,
    Bandit,
    called,
    dagger,
    from_groups,
    imitation,
    language_modelling,
    policy_gradient,
)

from llmagentos.learning.context import Corrected, Learner, Practice, Score
from llmagentos.learning.trainer import AdapterTrainer
from llmagentos.models.adapters import FusedAdapter, new_adapter
from llmagentos.records.transcript import Segment, Transcript


def test_candidate_holds_the_trained_adapter(workshop: Any) -> None:
    _, candidate = workshop.run(imitation(3), workshop.context())
    (artefact,) = candidate.artefacts
    assert (artefact.name, artefact.kind, artefact.skill) == ("adapter", "adapter", "toy")
    adapter = workshop.learned(candidate)
    assert any(bool(b.any()) for _, b in adapter.pairs.values())


def test_learning_goes_on_from_a_given_start(workshop: Any) -> None:
    _, candidate = workshop.run(imitation(20), workshop.context("first"))
    start = workshop.learned(candidate)
    cold, _ = workshop.run(imitation(1), workshop.context("cold"))
    warm, _ = workshop.run(imitation(1), workshop.context("warm"), start=start)
    assert warm[0].metrics["loss"] < cold[0].metrics["loss"] - 0.5


def test_single_step_and_rank_one_start_are_possible(workshop: Any) -> None:
    start = new_adapter(workshop.decoder.config, 1, 1.0, 0)
    _, candidate = workshop.run(imitation(1), workshop.context(), start=start)
    assert workshop.learned(candidate).rank == 1


def test_development_scores_are_reported_when_asked_for(workshop: Any, bandit: Bandit) -> None:
    seen: list[FusedAdapter] = []
    context = workshop.context(practice=bandit, evaluate=lambda adapter: seen.append(adapter) or Score(0.123, 0.75, 4))
    for learner in (imitation(4, evaluate_every=2), policy_gradient(4, evaluate_every=2)):
        events, _ = workshop.run(learner, replace(context, checkpoint=workshop.context(learner.name).checkpoint))
        assert [event.metrics.get("development_strict") == 0.123 for event in events] == [False, True, False, True]
        assert events[1].metrics["development_lenient"] == 0.75
    assert len(seen) == 4


# Planting: what the environment said is never learned.


def record_targets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every token that any learner lets into its loss."""
    targets: list[int] = []
    compute = AdapterTrainer.logprobs

    def spy(self: AdapterTrainer, sequences: Any) -> Any:
        parts = compute(self, sequences)
        for sequence, part in zip(sequences, parts, strict=True):
            assert len(part) == len(sequence.targets)
            targets.extend(sequence.tokens[place] for place in sequence.targets)
        return parts

    monkeypatch.setattr(AdapterTrainer, "logprobs", spy)
    return targets


@pytest.mark.parametrize("learner", [imitation(6), *from_groups(6), language_modelling(6), dagger(6)], ids=called)
def test_planted_tokens_never_enter_a_loss(
    workshop: Any, bandit: Bandit, demonstration: Any, marker: int, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = record_targets(monkeypatch)
    replayed: list[int] = []

    def replay(count: int, seed: int) -> list[Transcript]:
        replayed.append(count)
        return [demonstration(seed + n) for n in range(count)]

    def corrections(adapter: FusedAdapter, asked: Practice) -> list[Corrected]:
        return [Corrected(demonstration(asked.seed % 50 + n), n % 2 == 0) for n in range(asked.tasks)]

    context = workshop.context(
        practice=bandit, replay=replay, kept=replay, documents=DOCUMENTS, corrections=corrections
    )
    workshop.run(learner, context)
    assert len(targets) > 20
    assert sum(replayed) > 0
    assert 71 in targets  # from the second turn, after the environment spoke
    assert marker not in targets


@pytest.mark.parametrize("learner", [imitation(3), *from_groups(3)], ids=called)
def test_what_the_environment_said_last_does_not_change_the_result(
    workshop: Any, own_run: Any, demonstration: Any, learner: Learner
) -> None:
    made = []
    for number, last in enumerate([(), (301,), (302, 303)]):
        end = Segment("environment", last)
        context = workshop.context(
            str(number),
            practice=lambda adapter, asked, last=last: (
                Bandit(workshop, own_run)(adapter, asked)
                and [[own_run(PROMPT, (10 + n,), float(n == 1), last) for n in range(4)]]
            ),
            demonstrations=lambda count, seed, end=end: [demonstration(n).append(end) for n in range(count)],
        )
        made.append(workshop.weights(workshop.run(learner, context)[1]))
    assert made[0] == made[1] == made[2]
