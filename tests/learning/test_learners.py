"""Each learner learns what it is for, from the tokens it may learn from, and goes on after a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from llmagentos.errors import LearningError
from llmagentos.learning.context import Briefing, Corrected, Learner, LearningContext, Practice, Score
from llmagentos.learning.groups import GroupSettings
from llmagentos.learning.language.dagger import Dagger, DaggerSettings
from llmagentos.learning.language.grpo import Grpo, GrpoSettings, advantages
from llmagentos.learning.language.imitation import Imitation, ImitationSettings, fitting, for_few
from llmagentos.learning.language.language_modelling import LanguageModelling, LanguageModellingSettings
from llmagentos.learning.language.policy_gradient import PolicyGradient, PolicyGradientSettings, leave_one_out
from llmagentos.learning.language.preference import Preference, PreferenceSettings, dpo_loss, kto_loss, pairs_of
from llmagentos.learning.language.prompt_distillation import PromptDistillation, PromptDistillationSettings
from llmagentos.learning.language.rejection_sampling import RejectionSampling, RejectionSamplingSettings, winners
from llmagentos.learning.run import CALIBRATION, HURRIED
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, from_transcript
from llmagentos.models.adapters import BatchAdapters, FusedAdapter, new_adapter
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task
from llmagentos.records.transcript import Segment, Transcript

ADAPTER = AdapterSettings(rank=2, alpha=4.0, learning_rate=1e-2)
PROMPT = (4, 5, 6, 7, 8)
ARMS = [40, 41, 42, 43, 44, 45, 46, 47]
BUSY: dict[str, Any] = {"tasks": 4, "samples": 8, "adapter": AdapterSettings(rank=2, alpha=4.0, learning_rate=2e-2)}
STEPS = 13
"""Past the first checkpoint, which is written at step 10."""


def imitation(limit: int = STEPS, **options: Any) -> Imitation:
    return Imitation(ImitationSettings(**{"adapter": ADAPTER, "batch": 4, "pool": 8, "limit": limit, **options}))


def policy_gradient(limit: int = STEPS, **options: Any) -> PolicyGradient:
    settings = {"adapter": ADAPTER, "tasks": 2, "samples": 4, "limit": limit, **options}
    return PolicyGradient(PolicyGradientSettings(**settings))  # type: ignore[arg-type]


def language_modelling(limit: int = STEPS, **options: Any) -> LanguageModelling:
    settings = {"adapter": ADAPTER, "length": 32, "batch": 4, "limit": limit, **options}
    return LanguageModelling(LanguageModellingSettings(**settings))  # type: ignore[arg-type]


GROUP = {"adapter": ADAPTER, "tasks": 2, "samples": 4}


def rejection_sampling(limit: int = STEPS, **options: Any) -> RejectionSampling:
    return RejectionSampling(RejectionSamplingSettings(**{**GROUP, "limit": limit, **options}))  # type: ignore[arg-type]


def grpo(limit: int = STEPS, **options: Any) -> Grpo:
    return Grpo(GrpoSettings(**{**GROUP, "limit": limit, **options}))  # type: ignore[arg-type]


def preference(limit: int = STEPS, **options: Any) -> Preference:
    return Preference(PreferenceSettings(**{**GROUP, "limit": limit, **options}))  # type: ignore[arg-type]


def dagger(limit: int = STEPS, **options: Any) -> Dagger:
    return Dagger(DaggerSettings(**{"adapter": ADAPTER, "tasks": 4, "limit": limit, **options}))  # type: ignore[arg-type]


def prompt_distillation(limit: int = STEPS, **options: Any) -> PromptDistillation:
    settings = {"adapter": ADAPTER, "batch": 4, "pool": 16, "limit": limit, "evaluate_every": 5, **options}
    return PromptDistillation(PromptDistillationSettings(**settings))  # type: ignore[arg-type]


def from_groups(limit: int = STEPS, **options: Any) -> list[Any]:
    """Every learner from groups of own runs."""
    return [
        policy_gradient(limit, **options),
        rejection_sampling(limit, **options),
        grpo(limit, variant="grpo", **options),
        grpo(limit, variant="dr-grpo", **options),
        preference(limit, loss="dpo", **options),
        preference(limit, loss="kto", **options),
    ]


def briefing(strict: float = 0.0, shown: Callable[[int, int], list[Transcript]] | None = None) -> Briefing:
    """The first token alone instead of the prompt; `shown` demonstrates under it."""
    return Briefing(
        "brief",
        lambda run: Transcript(run.model, (Segment("prompt", PROMPT[:1]), *run.segments[1:])),
        shown or (lambda count, seed: []),
        lambda adapter: Score(strict, strict, 4),
    )


def called(learner: Learner) -> str:
    return learner.name


DOCUMENTS = tuple(tuple(30 + (n + start) % 9 for n in range(100)) for start in range(8))


class Bandit:
    """One prompt, one of eight tokens to say, by the adapter's probabilities: even ones are rewarded."""

    def __init__(self, workshop: Any, own_run: Callable[..., Episode], marker: int = 0) -> None:
        self.decoder, self.own_run, self.marker = workshop.decoder, own_run, marker
        self.asked: list[Practice] = []

    def __call__(self, adapter: FusedAdapter, asked: Practice) -> list[list[Episode]]:
        self.asked.append(asked)
        tree = pack([PROMPT])
        with torch.inference_mode():
            attend = TreeAttention(tree, self.decoder.config)
            runs = BatchAdapters([(0, len(PROMPT), adapter)])
            hidden = self.decoder.hidden(tree.tokens_N, tree.positions_N, attend, runs)
            chances = self.decoder.logits(hidden[-1:])[0, ARMS].softmax(-1)
        generator = torch.Generator().manual_seed(asked.seed)
        drawn = torch.multinomial(chances, asked.tasks * asked.samples, replacement=True, generator=generator).tolist()
        runs_ = [self.own_run(PROMPT, (ARMS[arm],), float(arm % 2 == 0), (self.marker,) * 3) for arm in drawn]
        return [runs_[at : at + asked.samples] for at in range(0, len(runs_), asked.samples)]


@pytest.fixture
def bandit(workshop: Any, own_run: Callable[..., Episode], marker: int) -> Bandit:
    return Bandit(workshop, own_run, marker)


@pytest.fixture
def adapter(workshop: Any) -> FusedAdapter:
    """What learning starts from where it cannot start from nothing."""
    return new_adapter(workshop.decoder.config, 2, 4.0, seed=5)


# What each learner is for.


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


@pytest.mark.parametrize("learner", from_groups(20, **BUSY), ids=called)
def test_learners_from_groups_raise_the_reward_of_a_bandit(workshop: Any, bandit: Bandit, learner: Learner) -> None:
    events, _ = workshop.run(learner, workshop.context(practice=bandit))
    rewards = [event.metrics["reward"] for event in events]
    assert sum(rewards[:2]) / 2 < 0.7
    assert sum(rewards[-3:]) / 3 > 0.9
    assert len({asked.seed for asked in bandit.asked}) == len(bandit.asked)


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


def test_language_modelling_lowers_the_loss_of_unread_text(workshop: Any) -> None:
    _, candidate = workshop.run(language_modelling(25), workshop.context(documents=DOCUMENTS))
    before, after = (candidate.evidence[f"held_out_loss_{when}"] for when in ("before", "after"))
    assert after < before - 1


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


@pytest.mark.parametrize(("runs", "weight"), [(2, 0.125), (8, 0.5), (40, 0.5)])
def test_replay_weighs_as_much_as_what_teaches(runs: int, weight: float) -> None:
    assert GroupSettings(tasks=2, samples=4, replay_weight=0.5).beside(runs) == weight


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


def test_nothing_rewarded_says_what_to_do_next(workshop: Any, own_run: Callable[..., Episode]) -> None:
    context = workshop.context(practice=lambda adapter, asked: [[own_run(PROMPT, (9,), 0.0)] * 4])
    with pytest.raises(LearningError, match=r"No run of toy was rewarded.*llmagentos learn 'toy' --learner imitation"):
        workshop.run(policy_gradient(20, patience=3), context)


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


# Kept skills.


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


# Evaluation on the way.


def test_development_scores_are_reported_when_asked_for(workshop: Any, bandit: Bandit) -> None:
    seen: list[FusedAdapter] = []
    context = workshop.context(practice=bandit, evaluate=lambda adapter: seen.append(adapter) or Score(0.123, 0.75, 4))
    for learner in (imitation(4, evaluate_every=2), policy_gradient(4, evaluate_every=2)):
        events, _ = workshop.run(learner, replace(context, checkpoint=workshop.context(learner.name).checkpoint))
        assert [event.metrics.get("development_strict") == 0.123 for event in events] == [False, True, False, True]
        assert events[1].metrics["development_lenient"] == 0.75
    assert len(seen) == 4


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


# Going on after a kill.


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


# Refusals.


@pytest.mark.parametrize("minutes", [0.0, -3.0, float("nan"), float("inf")])
@pytest.mark.parametrize("learner", [imitation(), *from_groups(), language_modelling(), dagger()], ids=called)
def test_budget_that_is_none_is_refused(workshop: Any, bandit: Bandit, learner: Learner, minutes: float) -> None:
    context = workshop.context(practice=bandit, documents=DOCUMENTS, minutes=minutes)
    with pytest.raises(LearningError, match=f"{minutes} minutes"):
        workshop.run(learner, context)


def test_nothing_to_imitate_says_what_to_do_next(workshop: Any) -> None:
    with pytest.raises(LearningError, match=r"nothing to imitate for toy.*--learner policy-gradient"):
        workshop.run(imitation(), workshop.context(demonstrations=lambda count, seed: []))


def test_demonstrations_without_own_words_are_refused(workshop: Any) -> None:
    silent = Transcript("tiny", (Segment("prompt", (4, 5, 6)), Segment("environment", (7,))))
    with pytest.raises(LearningError, match="No token in this batch may train"):
        workshop.run(imitation(), workshop.context(demonstrations=lambda count, seed: [silent] * count))


@pytest.mark.parametrize("documents", [(), ((30, 31),), (tuple(range(30, 50)),)])
def test_too_few_documents_say_what_to_do_next(workshop: Any, documents: Any) -> None:
    with pytest.raises(LearningError, match="llmagentos data add"):
        workshop.run(language_modelling(), workshop.context(documents=documents))


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


def test_single_step_and_rank_one_start_are_possible(workshop: Any) -> None:
    start = new_adapter(workshop.decoder.config, 1, 1.0, 0)
    _, candidate = workshop.run(imitation(1), workshop.context(), start=start)
    assert workshop.learned(candidate).rank == 1
