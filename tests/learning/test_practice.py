"""Own rewarded runs are learned from: which of them, with what weight, and what is said where they teach nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from learners import (
    ADAPTER,
    BUSY,
    PROMPT,
    STEPS,
    Bandit,
    called,
    from_groups,
    grpo,
    policy_gradient,
    preference,
    rejection_sampling,
)

from llmagentos.errors import LearningError
from llmagentos.learning.context import Learner, Practice
from llmagentos.learning.groups import GroupSettings
from llmagentos.learning.language.grpo import advantages
from llmagentos.learning.language.policy_gradient import leave_one_out
from llmagentos.learning.language.preference import dpo_loss, kto_loss, pairs_of
from llmagentos.learning.language.rejection_sampling import remember, replies_after, winners
from llmagentos.learning.trainer import AdapterTrainer, from_transcript
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.calls import Exploration
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, Transcript


@pytest.mark.parametrize("learner", from_groups(20, **BUSY), ids=called)
def test_learners_from_groups_raise_the_reward_of_a_bandit(workshop: Any, bandit: Bandit, learner: Learner) -> None:
    events, _ = workshop.run(learner, workshop.context(practice=bandit))
    rewards = [event.metrics["reward"] for event in events]
    assert rewards[0] < 0.7
    assert sum(rewards[-3:]) / 3 > 0.9
    assert len({asked.seed for asked in bandit.asked}) == len(bandit.asked)


# Advantages.


@pytest.mark.parametrize(
    ("rewards", "advantages"),
    [
        ([1.0, 0.0], [1.0, -1.0]),
        ([1, 0, 0, 1], [2 / 3, -2 / 3, -2 / 3, 2 / 3]),
        ([3, 0, 0], [3, -1.5, -1.5]),
        ([2, 2], [0, 0]),
    ],
)
def test_leave_one_out_advantages(rewards: list[float], advantages: list[float]) -> None:
    assert leave_one_out(rewards) == pytest.approx(advantages)


@pytest.mark.parametrize(
    ("rewards", "by_spread", "expected"),
    [
        ([1.0, 0.0], False, [0.5, -0.5]),
        ([1.0, 0.0], True, [1.0, -1.0]),
        ([1.0, 0.0, 0.0, 0.0], False, [0.75, -0.25, -0.25, -0.25]),
        ([1.0, 0.0, 0.0, 0.0], True, [3**0.5, -(3**-0.5), -(3**-0.5), -(3**-0.5)]),
        ([1.0, 1.0], True, []),
        ([1.0, float("nan")], False, []),
    ],
)
def test_group_relative_advantages(own_run: Any, rewards: list[float], by_spread: bool, expected: list[float]) -> None:
    group = [own_run(PROMPT, (10,), reward) for reward in rewards]
    assert [advantage for _, advantage in advantages(group, by_spread)] == pytest.approx(expected)


def first_loss(workshop: Any, groups: list[list[Episode]], name: str) -> Any:
    context = workshop.context(name, practice=lambda adapter, asked: groups)
    return workshop.run(policy_gradient(1), context)


def base_logprobs(workshop: Any, episodes: list[Episode]) -> list[float]:
    trainer = AdapterTrainer(workshop.decoder, ADAPTER)
    return [float(part.sum().detach()) for part in trainer.logprobs([from_transcript(e.transcript) for e in episodes])]


def test_loss_weighs_runs_by_their_advantages(workshop: Any, own_run: Callable[..., Episode]) -> None:
    mixed = [own_run(PROMPT, reply, reward) for reply, reward in [((10, 11), 1.0), ((12,), 0.0), ((13, 14, 15), 0.0)]]
    same = [own_run(PROMPT, (20 + n,), 1.0) for n in range(3)]
    events, _ = first_loss(workshop, [mixed, same], "loo")
    scores = base_logprobs(workshop, mixed)
    expected = -(1.0 * scores[0] - 0.5 * scores[1] - 0.5 * scores[2]) / (2 * 4) / 2.0  # runs asked for, mean length
    assert events[0].metrics["loss"] == pytest.approx(expected, rel=1e-4)
    assert events[0].metrics["mixed"] == 0.5
    assert events[0].metrics["reward"] == pytest.approx(4 / 6)


def test_first_update_of_grpo_is_the_policy_gradient_and_later_ones_are_clipped(workshop: Any, own_run: Any) -> None:
    group = [own_run(PROMPT, (10, 11), 1.0), own_run(PROMPT, (12,), 0.0)]
    context = workshop.context("one", practice=lambda adapter, asked: [group])
    _, once = workshop.run(grpo(1, epochs=1), context)
    half = replace(context, checkpoint=workshop.context("pg").checkpoint)
    _, plain = workshop.run(policy_gradient(1), half)  # leave-one-out is twice the mean's advantage for two
    ours, theirs = workshop.tensors(once), workshop.tensors(plain)
    moved = [name for name in ours if "lora_B" in name]
    for name in moved:  # Adam's first step is the gradient's sign, whatever its size
        torch.testing.assert_close(ours[name].sign(), theirs[name].sign())
    strong = replace(ADAPTER, learning_rate=0.3, clip=100.0)
    events, _ = workshop.run(
        grpo(1, epochs=6, adapter=strong), replace(context, checkpoint=workshop.context("many").checkpoint)
    )
    assert events[0].metrics["clipped"] > 0.4


def test_winners_are_the_best_of_mixed_groups_short_ones_first(own_run: Any) -> None:
    runs = [own_run(PROMPT, (10,) * length, reward) for length, reward in [(5, 1.0), (2, 1.0), (1, 0.5), (3, 1.0)]]
    assert winners(runs, 2) == [runs[1], runs[3]]
    assert winners(runs[:2], 2) == []
    punished = [own_run(PROMPT, (1,), -1.0), own_run(PROMPT, (2,), -0.5)]
    assert winners(punished, 2) == punished[1:], "an environment may only ever punish"


def test_winners_are_remembered_by_their_task_and_the_oldest_forgotten(own_run: Any) -> None:
    def group(seed: int, token: int, pattern: str = "01") -> list[Episode]:
        runs = [own_run(PROMPT, (token, token), float(letter)) for letter in pattern]
        return [replace(run, task=Task("B", seed)) for run in runs]

    known: dict[str, Any] = {}
    remember(known, [("1", winners(group(1, 10, "0111"), 2)), ("2", winners(group(2, 11), 2)), ("3", [])], 2)
    assert {task: len(runs) for task, runs in known.items()} == {"1": 2, "2": 1}
    assert [one.tolist() for one in known["2"]] == [[[*PROMPT, 11, 11], [0] * len(PROMPT) + [1, 1]]]
    remember(known, [("1", winners(group(1, 20), 2))], 2)
    assert [int(one[0, -1]) for one in known["1"]] == [20], "the same task again"
    remember(known, [("4", winners(group(4, 13), 2))], 2)
    assert list(known) == ["1", "4"]


@pytest.mark.parametrize(
    ("places", "after"), [([], []), ([5], [0]), ([5, 6, 7], [0, 0, 0]), ([5, 9, 10, 20], [2, 1, 1, 0])]
)
def test_replies_that_come_after_each_token(places: list[int], after: list[int]) -> None:
    assert replies_after(np.array(places, dtype=int)).tolist() == after


@pytest.mark.parametrize("origin", ["sampled", "demonstration"])
def test_winners_by_chance_weigh_by_what_was_still_to_be_said_and_pull_until_they_are_likely(
    workshop: Any, own_run: Callable[..., Episode], origin: Any
) -> None:
    segments = (Segment("prompt", PROMPT), Segment(origin, (10,)), Segment("environment", (7,)))
    won = replace(own_run(PROMPT, (10,), 1.0), transcript=Transcript("tiny", (*segments, Segment("sampled", (11, 12)))))
    context = workshop.context(practice=lambda adapter, asked: [[won, own_run(PROMPT, (13,), 0.0)]])
    trainer = AdapterTrainer(workshop.decoder, ADAPTER)
    first, *last = trainer.logprobs([from_transcript(won.transcript)])[0].tolist()
    learner = rejection_sampling(1, hinted=0, passes=0.1, discount=0.5)
    events, _ = workshop.run(learner, context)
    alone, weighed = -(first + sum(last)) / 3, -(0.5 * first + sum(last)) / 2.5
    assert events[0].metrics["loss"] == pytest.approx(alone if origin == "sampled" else weighed, rel=1e-4)
    assert events[0].metrics["winners"] == 1
    sure = rejection_sampling(1, hinted=0, passes=0.1, enough=0.0)
    events, _ = workshop.run(sure, replace(context, checkpoint=workshop.context("sure").checkpoint))
    assert (events[0].metrics["loss"] == 0) == (origin == "demonstration")


def test_replies_of_a_run_without_loops_are_worth_the_same(workshop: Any, own_run: Callable[..., Episode]) -> None:
    segments = (Segment("prompt", PROMPT), Segment("demonstration", (10,)), Segment("environment", (7,)))
    said = Transcript("tiny", (*segments, Segment("demonstration", (11, 12))))
    won = replace(own_run(PROMPT, (10,), 1.0), transcript=said, program="demonstrate")
    context = workshop.context(practice=lambda adapter, asked: [[won, own_run(PROMPT, (13,), 0.0)]])
    logprobs = AdapterTrainer(workshop.decoder, ADAPTER).logprobs([from_transcript(said)])[0]
    events, _ = workshop.run(rejection_sampling(1, hinted=0, passes=0.1, discount=0.5), context)
    assert events[0].metrics["loss"] == pytest.approx(-float(logprobs.detach().mean()), rel=1e-4)


def test_winners_are_remembered_from_when_chance_first_had_a_say(
    workshop: Any, own_run: Callable[..., Episode]
) -> None:
    def group(token: int, origin: Any) -> list[Episode]:
        won = Transcript("tiny", (Segment("prompt", PROMPT), Segment(origin, (token,))))
        runs = [own_run(PROMPT, (13,), 0.0), replace(own_run(PROMPT, (token,), 1.0), transcript=won)]
        return [replace(one, task=Task("B", token)) for one in runs]

    steps = iter([group(10, "sampled"), group(11, "demonstration"), group(12, "sampled")])
    learner = rejection_sampling(3, hinted=0)
    context = workshop.context(practice=lambda adapter, asked: [next(steps)])
    workshop.run(learner, context)
    saved = context.checkpoint.load()
    assert saved is not None
    assert list(saved["extra"]["won"]) == ["11", "12"]


@pytest.mark.parametrize("learner", from_groups(6), ids=called)
def test_chance_has_less_and_less_to_say_and_only_where_winners_are_imitated(
    workshop: Any, bandit: Bandit, learner: Any
) -> None:
    workshop.run(learner, workshop.context(practice=bandit))
    asked = [one.explore for one in bandit.asked if not one.examples]
    if learner.name != "rejection-sampling":
        assert set(asked) == {None}
        return
    assert asked[0] == Exploration(learner.settings.explore, runs=0.5) == Exploration(0.5, 0.5)
    assert {one.runs for one in asked[1:]} == {1.0}, "where there is enough to learn from nothing more is compared"
    shares = [one.turns for one in asked]
    assert shares == sorted(shares, reverse=True)
    assert 0 < min(shares) < 0.1


@pytest.mark.parametrize(
    ("by_chance", "alone", "lost", "at", "shares"),
    [
        (2, 9, 1, 4, [0.5, 1, 1, 0.5, 0.5, 1, 1]),
        (2, 10, 1, 4, [0.5, 1, 1, 0.5, None, None, None]),
        (0, 3, 1, 4, [0.5, 1, 1, 0.5, 0.5, 1, 1]),
        (0, 4, 9, 5, [0.5, 1, 1, 0.5, 0.5, None, None]),
        (1, 0, 1, 4, [0.5, 1, 1, 0.5, 0.5, 1, 1]),
        (1, 7, 7, 1, [0.5, *[None] * 6]),
        (1, 7, 8, 1, [0.5, 1, 1, 0.5, 0.5, 1, 1]),
        (1, 7, 1, 2, [0.5, *[1] * 6]),
    ],
)
def test_chance_has_no_say_any_more_where_what_it_disturbs_hardly_wins(
    workshop: Any,
    own_run: Callable[..., Episode],
    by_chance: int,
    alone: int,
    lost: int,
    at: int,
    shares: list[float | None],
) -> None:
    def run(origin: Any, reward: float) -> Episode:
        said = (Segment("prompt", PROMPT), Segment(origin, (10,)), Segment("environment", (7,)), Segment(origin, (11,)))
        return replace(own_run(PROMPT, (10,), reward), transcript=Transcript("tiny", said))

    own, other = run("sampled", 1.0), run("demonstration", 1.0)
    runs = [*[other] * by_chance, *[own] * alone, *[run("sampled", 0.0)] * lost]
    assert chance_asked(workshop, runs, at) == shares


def test_chance_disturbs_nothing_where_one_reply_is_a_run(workshop: Any, own_run: Callable[..., Episode]) -> None:
    runs = [*[own_run(PROMPT, (11,), 1.0)] * 9, own_run(PROMPT, (13,), 0.0)]
    assert chance_asked(workshop, runs, 1) == [0.5, 1, 1, 0.5, 0.5, 1, 1]


def chance_asked(workshop: Any, runs: list[Episode], at: int) -> list[float | None]:
    """Of how many runs chance has a say in each of seven steps, the one numbered `at` of which brought `runs`."""
    asked = list[Exploration | None]()

    def practice(adapter: FusedAdapter, practice: Practice) -> list[list[Episode]]:
        asked.append(practice.explore)
        return [runs if len(asked) == at else runs[-1:]]

    workshop.run(rejection_sampling(7, hinted=0, samples=len(runs)), workshop.context(practice=practice))
    return [one and one.runs for one in asked]


def test_pairs_use_each_run_once_and_the_widest_first(own_run: Any) -> None:
    import random

    rewards = [0.0, 1.0, 0.5, 1.0, 0.0]
    group = [own_run(PROMPT, (10 + n,), reward) for n, reward in enumerate(rewards)]
    by_tokens = {(10 + n,): reward for n, reward in enumerate(rewards)}
    for seed in range(5):
        pairs = pairs_of(group, 9, random.Random(seed))
        said = [tuple(by_tokens[one.tokens[-1:]] for one in pair) for pair in pairs]
        assert said == [(1.0, 0.0), (1.0, 0.0)]
        assert len({one.tokens for pair in pairs for one in pair}) == 4
    assert pairs_of(group, 1, random.Random(0)) == pairs_of(group, 9, random.Random(0))[:1]


def test_preference_losses_are_those_of_the_papers() -> None:
    good, bad = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    expected = -(torch.sigmoid(torch.tensor([0.05, -0.5])).log()).mean()
    torch.testing.assert_close(dpo_loss(good, bad, 0.1), expected)
    rest = (1.0 - 2.0 + 0.5 + 3.0) / 4
    terms = [1 - torch.sigmoid(torch.tensor(0.1 * (one - rest))) for one in (1.0, -2.0)]
    terms += [1 - torch.sigmoid(torch.tensor(0.1 * (rest - one))) for one in (0.5, 3.0)]
    torch.testing.assert_close(kto_loss(good, bad, 0.1), torch.stack(terms).mean())
    alone = kto_loss(torch.tensor([-3.0]), torch.tensor([]), 0.1)
    torch.testing.assert_close(alone, 1 - torch.sigmoid(torch.tensor(-0.3)))


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_people_are_preferred_with_nothing_to_practise(workshop: Any, own_run: Any, loss: str) -> None:
    better, worse = (own_run(PROMPT, (token,), 1.0).transcript for token in (10, 12))
    same = [[own_run(PROMPT, (20,), 1.0), own_run(PROMPT, (21,), 1.0)]]
    context = workshop.context(
        practice=lambda adapter, asked: same,
        preferences=lambda count, seed: [(better, worse)] if loss == "dpo" else [],
        verdicts=lambda count, seed: [(better, True), (worse, False)],
    )
    _, candidate = workshop.run(preference(12, loss=loss, likelihood=0.0), context)
    adapter = workshop.learned(candidate)
    before, after = (
        [
            float(part.detach())
            for part in AdapterTrainer(workshop.decoder, ADAPTER, start=start).logprobs(
                [from_transcript(better), from_transcript(worse)]
            )
        ]
        for start in (None, adapter)
    )
    assert after[0] - before[0] > after[1] - before[1] + 0.5


# Which tasks, and how many.


def test_tasks_with_mixed_runs_are_played_again_until_they_are_solved(workshop: Any, own_run: Any) -> None:
    asked_for: list[tuple[int, ...]] = []

    def practice(adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        if asked.examples:
            return []
        asked_for.append(asked.again)
        step = len(asked_for)
        rewards = {1: (0.0, 1.0), 2: (1.0, 1.0)}  # task 7 is mixed in the first two steps, then solved
        groups = []
        for seed in (*asked.again, 100 + step):
            pattern = (0.0, 1.0) if seed == 7 and step < 3 else rewards[2]
            groups.append([replace(own_run(PROMPT, (10 + n,), r), task=Task("B", seed)) for n, r in enumerate(pattern)])
        if step == 1:
            groups.append([replace(own_run(PROMPT, (10 + n,), float(n)), task=Task("B", 7)) for n in range(2)])
        return groups

    workshop.run(policy_gradient(5, tasks=2, repeat=0.5, patience=9, rounds=1), workshop.context(practice=practice))
    assert asked_for == [(), (7,), (7,), (), ()]


def test_learning_ends_where_the_curve_is_flat(workshop: Any, own_run: Any) -> None:
    mixed = [[own_run(PROMPT, (11,), 0.0), own_run(PROMPT, (12,), 1.0)]]
    learner = policy_gradient(60, flat=5)
    events, candidate = workshop.run(learner, workshop.context(practice=lambda adapter, asked: mixed))
    assert len(events) == 15
    assert candidate.evidence["stopped"] == "flat"
    assert candidate.evidence["warnings"] == []


@pytest.mark.parametrize(("origin", "steps"), [("sampled", 15), ("demonstration", 25)])
def test_no_curve_is_flat_while_chance_has_a_say(
    workshop: Any, own_run: Callable[..., Episode], origin: Any, steps: int
) -> None:
    said = Transcript("tiny", (Segment("prompt", PROMPT), Segment(origin, (12,))))
    mixed = [[own_run(PROMPT, (11,), 0.0), replace(own_run(PROMPT, (12,), 1.0), transcript=said)]]
    learner = rejection_sampling(25, flat=5, hinted=0)
    events, _ = workshop.run(learner, workshop.context(practice=lambda adapter, asked: mixed))
    assert len(events) == steps


def test_what_is_rewarded_with_examples_in_the_prompt_is_learned_and_what_is_not_is_left_alone(
    workshop: Any, own_run: Callable[..., Episode]
) -> None:
    hinted = [own_run(PROMPT, (10, 11), 1.0), own_run(PROMPT, (12,), 0.0)]
    failed = [own_run(PROMPT, (20 + n,), 0.0) for n in range(3)]

    def practice(adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        return [hinted] if asked.examples else [failed, failed]

    events, _ = workshop.run(policy_gradient(1), workshop.context("hinted", practice=practice))
    assert events[0].metrics["loss"] == pytest.approx(-base_logprobs(workshop, hinted)[0] / (2 * 4) / 2.0, rel=1e-4)
    assert events[0].metrics["reward"] == 0


def test_examples_are_shown_only_while_few_succeed(workshop: Any, own_run: Callable[..., Episode]) -> None:
    for wins, wanted in ((1, True), (2, False)):
        asked_for: list[int] = []

        def practice(
            adapter: FusedAdapter, asked: Practice, wins: int = wins, seen: list[int] = asked_for
        ) -> list[list[Episode]]:
            seen.append(asked.examples)
            return [[own_run(PROMPT, (20 + n,), float(n < wins)) for n in range(4)]]

        workshop.run(policy_gradient(1), workshop.context(f"wins-{wins}", practice=practice))
        assert (2 in asked_for) == wanted


@pytest.mark.parametrize(("success", "rounds"), [(1.0, 3), (0.0, 1)])
def test_a_step_waits_for_mixed_groups_where_most_runs_succeed(
    workshop: Any, own_run: Callable[..., Episode], success: float, rounds: int
) -> None:
    alike = [own_run(PROMPT, (20 + n,), success) for n in range(4)]
    mixed = [own_run(PROMPT, (10 + n,), float(n > 0)) for n in range(4)]
    asked_for: list[Practice] = []

    def practice(adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        if asked.examples:
            return []
        asked_for.append(asked)
        return [alike, mixed] if len(asked_for) in (1, 3) else [alike, alike]

    learner = policy_gradient(1, mixed=1.0)
    events, candidate = workshop.run(learner, workshop.context(f"{success}", practice=practice))
    assert len(asked_for) == rounds
    assert len({asked.seed for asked in asked_for}) == rounds, "fresh tasks"
    assert events[0].metrics["mixed"] == (2 / 6 if success else 1 / 2)
    groups = [alike, mixed, alike, alike, alike, mixed] if success else [alike, mixed]
    context = workshop.context(f"once-{success}", practice=lambda a, asked: [] if asked.examples else groups)
    _, at_once = workshop.run(policy_gradient(1, rounds=1), context)
    assert workshop.weights(candidate) == workshop.weights(at_once)


def test_a_step_does_not_wait_for_mixed_groups_for_ever(workshop: Any, own_run: Callable[..., Episode]) -> None:
    alike = [own_run(PROMPT, (20 + n,), 1.0) for n in range(4)]
    mixed = [own_run(PROMPT, (10 + n,), float(n > 0)) for n in range(4)]
    asked_for: list[Practice] = []

    def practice(adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        asked_for.append(asked)
        return [alike, mixed] if len(asked_for) == 1 else [alike, alike]

    workshop.run(policy_gradient(1, mixed=1.0, rounds=3), workshop.context(practice=practice))
    assert len(asked_for) == 3


# Kept skills.


@pytest.mark.parametrize(("runs", "weight"), [(2, 0.125), (8, 0.5), (40, 0.5)])
def test_replay_weighs_as_much_as_what_teaches(runs: int, weight: float) -> None:
    assert GroupSettings(tasks=2, samples=4, replay_weight=0.5).beside(runs) == weight


def test_replay_keeps_an_old_habit(workshop: Any, own_run: Any) -> None:
    """A bandit that rewards unlearning it: with replay the old reply stays likelier."""
    old = Transcript("tiny", (Segment("prompt", PROMPT), Segment("demonstration", (11,))))
    likelihood = []
    for number, kept in enumerate([[], [old]]):
        groups = [[own_run(PROMPT, (11,), 0.0), own_run(PROMPT, (12,), 1.0)]]
        context = workshop.context(
            str(number), practice=lambda a, asked, g=groups: g, replay=lambda count, seed, k=kept: k
        )
        _, candidate = workshop.run(policy_gradient(8, replay_weight=1.0), context)
        adapter = workshop.learned(candidate)
        trainer = AdapterTrainer(workshop.decoder, ADAPTER, start=adapter)
        likelihood.append(float(trainer.logprobs([from_transcript(old)])[0].detach()))
    assert likelihood[1] > likelihood[0] + 0.1


# Bad rewards, and environments that break down.


def test_group_with_a_reward_that_is_no_number_is_skipped(workshop: Any, own_run: Callable[..., Episode]) -> None:
    mixed = [own_run(PROMPT, (10 + n,), float(n == 0)) for n in range(3)]
    broken = [own_run(PROMPT, (20 + n,), value) for n, value in enumerate([1.0, float("nan"), 0.0])]
    endless = [own_run(PROMPT, (20 + n,), value) for n, value in enumerate([1.0, float("inf"), 0.0])]
    _, with_broken = first_loss(workshop, [broken, mixed, endless], "broken")
    _, without = first_loss(workshop, [mixed], "clean")
    assert workshop.weights(with_broken) == workshop.weights(without)


def test_only_broken_rewards_train_nothing(workshop: Any, own_run: Callable[..., Episode]) -> None:
    broken = [own_run(PROMPT, (20 + n,), value) for n, value in enumerate([1.0, float("nan")])]
    context = workshop.context(practice=lambda adapter, asked: [broken])
    with pytest.raises(LearningError, match="finite numbers"):
        workshop.run(policy_gradient(20), context)
    assert workshop.blobs == []


@pytest.mark.parametrize("learner", from_groups(20), ids=called)
def test_constant_rewards_teach_nothing_and_say_so(
    workshop: Any, own_run: Callable[..., Episode], learner: Learner
) -> None:
    same = [own_run(PROMPT, (20 + n,), 0.5) for n in range(4)]
    context = workshop.context(practice=lambda adapter, asked: [same])
    with pytest.raises(
        LearningError, match=r"In 8 steps of toy .* differently \(mean reward 0.5\).*--learner imitation"
    ):
        workshop.run(learner, context)
    assert workshop.blobs == [], "no candidate that the gate would play for nothing"


def test_contradicting_rewards_of_one_reply_cancel(workshop: Any, own_run: Callable[..., Episode]) -> None:
    torn = [own_run(PROMPT, (10, 11), float(n % 2)) for n in range(4)]
    clear = [own_run(PROMPT, (10 + n % 2, 11), float(n % 2)) for n in range(4)]
    pulls = [
        first_loss(workshop, [group], name)[0][0].metrics["gradient_norm"]
        for name, group in (("torn", torn), ("clear", clear))
    ]
    assert pulls[0] < 1e-5 * pulls[1]


def test_nothing_rewarded_says_what_to_do_next(workshop: Any, own_run: Callable[..., Episode]) -> None:
    context = workshop.context(practice=lambda adapter, asked: [[own_run(PROMPT, (9,), 0.0)] * 4])
    with pytest.raises(LearningError, match=r"No run of toy was rewarded.*llmagentos learn 'toy' --learner imitation"):
        workshop.run(policy_gradient(20, patience=3), context)


@pytest.mark.parametrize(("wins_at", "ends"), [(9, ""), (30, "No run of toy was rewarded in 10 steps")])
def test_a_first_reward_is_waited_for_as_long_as_there_is_time(
    workshop: Any, own_run: Callable[..., Episode], wins_at: int, ends: str
) -> None:
    step = itertools.count()

    def practice(adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        won = next(step) >= wins_at
        return [[own_run(PROMPT, (10 + n,), float(won and n == 0)) for n in range(3)]]

    learner, context = policy_gradient(40, patience=3, hinted=0), workshop.context(practice=practice)
    with pytest.raises(LearningError, match=ends) if ends else nullcontext():
        events, _ = workshop.run(learner, context)
        assert events[-1].done == 40


def broke(episode: Episode, outcome: Any = "failed") -> Episode:
    """The same run, had its environment raised."""
    return replace(episode, outcome=outcome, error="The shop burned down.", success=False, lenient=False)


@pytest.mark.parametrize("outcome", ["failed", "unknown", "cancelled"])
def test_run_that_could_not_be_finished_teaches_nothing(
    workshop: Any, own_run: Callable[..., Episode], outcome: Any
) -> None:
    mixed = [own_run(PROMPT, (10 + n,), float(n == 0)) for n in range(3)]
    broken = [broke(own_run(PROMPT, (20 + n,), 0.0), outcome) for n in range(3)]
    won = own_run(PROMPT, (30,), 1.0)
    learner = policy_gradient(1, hinted=0)
    events, among = workshop.run(
        learner, workshop.context("among", practice=lambda adapter, asked: [[*mixed, *broken], [won, broken[0]]])
    )
    _, alone = workshop.run(learner, workshop.context("alone", practice=lambda adapter, asked: [mixed]))
    assert workshop.weights(among) == workshop.weights(alone)
    assert events[0].metrics["failed"] == 0.5
    assert events[0].metrics["reward"] == 0.5, "of the runs that came to an end"
    assert "50.0% of the agent's own runs could not be finished" in among.evidence["warnings"][0]


def test_environment_that_breaks_down_ends_learning_and_loses_nothing(
    workshop: Any, own_run: Callable[..., Episode], bandit: Bandit
) -> None:
    learner = policy_gradient(STEPS, patience=3)
    _, whole = workshop.run(learner, workshop.context("whole", practice=bandit))
    down = False

    def practice(adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        return [[broke(run) for run in group] for group in bandit(adapter, asked)] if down else bandit(adapter, asked)

    context = workshop.context("down", practice=practice)
    working = learner.learn(None, context)
    for _ in range(6):
        next(working)
    down = True
    with pytest.raises(LearningError, match=r"3 steps in a row.*The shop burned down.*goes on from step 9"):
        list(working)
    down = False
    events, candidate = workshop.run(learner, context)
    assert len(events) == STEPS - 9
    assert candidate.evidence["steps"] == whole.evidence["steps"]


def test_learning_that_taught_nothing_begins_anew_once_that_is_mended(
    workshop: Any, own_run: Callable[..., Episode], bandit: Bandit
) -> None:
    learner = policy_gradient(10, patience=30)
    context = workshop.context(practice=lambda adapter, asked: [[own_run(PROMPT, (9,), 0.0)] * 4])
    with pytest.raises(LearningError, match="No run of toy was rewarded"):
        workshop.run(learner, context)
    events, _ = workshop.run(learner, replace(context, practice=bandit))
    assert len(events) == 10
