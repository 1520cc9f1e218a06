"""A learner that is killed goes on to the same result, and keeps to its minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from learners import (
    DOCUMENTS,
    PROMPT,
    STEPS,
    Bandit,
    briefing,
    called,
    dagger,
    from_groups,
    imitation,
    language_modelling,
    policy_gradient,
    prompt_distillation,
)

from llmagentos.errors import LearningError
from llmagentos.learning.context import Corrected, Learner, LearningContext, Practice
from llmagentos.learning.language.prompt_distillation import PromptDistillation
from llmagentos.learning.run import CALIBRATION, HURRIED
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.episode import Episode
from llmagentos.records.transcript import Transcript


def resumable(learner: Learner, workshop: Any, bandit: Bandit, demonstration: Any, name: str, **more: Any) -> Any:
    def replay(count: int, seed: int) -> list[Transcript]:
        return [demonstration(seed % 50 + 200 + n) for n in range(count)]

    def corrections(adapter: FusedAdapter, asked: Practice) -> list[Corrected]:
        # What is corrected depends on the adapter, as in earnest.
        sign = int(float(next(iter(adapter.pairs.values()))[1].sum()) > 0)
        return [Corrected(demonstration(asked.seed % 50 + n + sign), True) for n in range(asked.tasks)]

    more = {"corrections": corrections, "briefing": briefing(), **more}
    return workshop.context(
        name, practice=bandit, documents=DOCUMENTS, replay=replay, kept=replay, general=replay, **more
    )


@pytest.mark.parametrize(
    ("learner", "kills"),
    [
        (imitation(), (1, 5, 9, 10, 11, STEPS)),
        (imitation(batch=0, anchor=1.0), (1, 6, 9, 10, 11, STEPS)),
        *[(learner, (2, 9, 10, 11, STEPS)) for learner in from_groups()],
        (dagger(), (2, 9, 10, 11, STEPS)),
        (prompt_distillation(), (2, 9, 10, 11, STEPS)),
        (language_modelling(), (2, 9, 10, 11, STEPS)),
    ],
)
def test_run_killed_at_any_step_gives_the_same_adapter(
    workshop: Any, bandit: Bandit, demonstration: Any, adapter: FusedAdapter, learner: Learner, kills: Any
) -> None:
    start = adapter if isinstance(learner, PromptDistillation) else None
    _, whole = workshop.run(learner, resumable(learner, workshop, bandit, demonstration, "whole"), start=start)
    for kill in kills:
        name = f"killed-{kill}"
        _events, nothing = workshop.run(
            learner, resumable(learner, workshop, bandit, demonstration, name), start=start, kill_after=kill
        )
        assert nothing is None
        rest, candidate = workshop.run(learner, resumable(learner, workshop, bandit, demonstration, name), start=start)
        assert workshop.weights(candidate) == workshop.weights(whole)
        assert len(rest) == STEPS - (kill if kill in (10, STEPS) else 10 if kill > 10 else 0)
        assert candidate.evidence["steps"] == STEPS
        curves = [[(p["step"], p.get("loss")) for p in one.evidence["curve"]] for one in (candidate, whole)]
        assert curves[0] == curves[1]


def test_run_killed_again_and_again_gives_the_same_adapter(workshop: Any, bandit: Bandit, demonstration: Any) -> None:
    learner = imitation(25)
    _, whole = workshop.run(learner, resumable(learner, workshop, bandit, demonstration, "whole"))
    for kill in (3, 12, 1, 11):
        workshop.run(learner, resumable(learner, workshop, bandit, demonstration, "often"), kill_after=kill)
    _, candidate = workshop.run(learner, resumable(learner, workshop, bandit, demonstration, "often"))
    assert workshop.weights(candidate) == workshop.weights(whole)


def test_run_killed_inside_practice_gives_the_same_adapter(workshop: Any, bandit: Bandit, demonstration: Any) -> None:
    learner = policy_gradient()
    _, whole = workshop.run(learner, resumable(learner, workshop, bandit, demonstration, "whole"))
    bandit.asked.clear()

    def interrupted(adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        if len(bandit.asked) == 11:
            raise KeyboardInterrupt
        return bandit(adapter, asked)

    context = resumable(learner, workshop, bandit, demonstration, "killed")
    with pytest.raises(KeyboardInterrupt):
        workshop.run(learner, replace(context, practice=interrupted))
    _, candidate = workshop.run(learner, context)
    assert workshop.weights(candidate) == workshop.weights(whole)


def test_plan_made_by_time_survives_a_kill(workshop: Any, clock: Any, bandit: Bandit, demonstration: Any) -> None:
    learner = imitation(400)
    made = {}
    for kill in (0, 2, 4, 12):
        for each, go_on in ((1.0, False), (50.0, True)) if kill else ((1.0, False),):  # later the machine is slow
            context = resumable(
                learner,
                workshop,
                bandit,
                demonstration,
                f"{kill}",
                minutes=1.2,
                clock=clock(each if kill > 10 else 1.0),
            )
            _events, candidate = workshop.run(learner, context, kill_after=0 if go_on or not kill else kill)
        made[kill] = (workshop.weights(candidate), candidate.evidence["steps"])
    assert 12 < made[0][1] < 40
    assert len(set(made.values())) == 1


def test_idle_run_killed_at_a_checkpoint_ends_as_the_uninterrupted_one(
    workshop: Any, own_run: Callable[..., Episode]
) -> None:
    """Patience ends at the very step that writes a checkpoint; later practice would have something to teach."""
    mixed = [[own_run(PROMPT, (11,), 0.0), own_run(PROMPT, (12,), 1.0)]]
    same = [[own_run(PROMPT, (11,), 1.0), own_run(PROMPT, (12,), 1.0)]]
    learner = policy_gradient(40, patience=4, rounds=1)

    def context(name: str) -> LearningContext:
        calls = iter([mixed] * 6 + [same] * 4 + [mixed] * 30)
        return workshop.context(name, practice=lambda adapter, asked: next(calls))  # type: ignore[no-any-return]

    _, whole = workshop.run(learner, context("whole"))
    assert whole.evidence["steps"] == 10
    first = context("killed")
    workshop.run(learner, first, kill_after=10)
    _, candidate = workshop.run(learner, replace(context("killed"), practice=first.practice))
    assert candidate.evidence["steps"] == 10
    assert workshop.weights(candidate) == workshop.weights(whole)


def test_checkpoint_of_another_learner_is_refused(workshop: Any, bandit: Bandit) -> None:
    workshop.run(imitation(12), workshop.context(), kill_after=11)
    with pytest.raises(LearningError, match=r"belongs to imitation on toy, not to policy-gradient.*--fresh"):
        workshop.run(policy_gradient(), workshop.context(practice=bandit))


# Minutes.


@pytest.mark.parametrize("minutes", [0.0, -3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("learner", [imitation(), *from_groups(), language_modelling(), dagger()], ids=called)
def test_budget_that_is_none_is_refused(workshop: Any, bandit: Bandit, learner: Learner, minutes: float) -> None:
    context = workshop.context(practice=bandit, documents=DOCUMENTS, minutes=minutes)
    with pytest.raises(LearningError, match=f"{minutes} minutes"):
        workshop.run(learner, context)


def test_time_budget_limits_the_steps(workshop: Any, clock: Any) -> None:
    events, _ = workshop.run(imitation(400), workshop.context(minutes=1.0, clock=clock(2.0)))
    assert 5 < len(events) < 40
    assert events[-1].seconds <= 66


def test_smallest_budget_still_takes_the_first_steps(workshop: Any, clock: Any) -> None:
    events, candidate = workshop.run(imitation(400), workshop.context(minutes=0.001, clock=clock(10.0)))
    assert len(events) == HURRIED
    assert candidate is not None


def test_plan_is_made_early_where_half_of_the_time_is_gone(workshop: Any, clock: Any) -> None:
    events, _ = workshop.run(imitation(400), workshop.context(minutes=1.0, clock=clock(4.0)))
    assert HURRIED < len(events) < CALIBRATION
    assert events[-1].seconds <= 70
