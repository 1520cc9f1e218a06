"""What promises most is chosen, and what promises nothing is left alone, with the reason in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from llmagentos.learning.prospects import A_WORD, WORTH_IT, Prospect, assess, best_of, conversations, heeding
from llmagentos.records.episode import Episode


@pytest.fixture
def group(own_run: Callable[..., Episode]) -> Callable[[str], list[Episode]]:
    return lambda pattern: [own_run((4, 5), (6,), float(letter)) for letter in pattern]


def test_an_expert_shows_or_corrects(group: Any) -> None:
    low, high = group("10000000"), group("11110000")
    assert assess("s", low, [], expert=True, recovers=True).learner == "imitation"
    assert assess("s", high, [], expert=True, recovers=True).learner == "dagger"
    assert assess("s", high, [], expert=True, recovers=False).learner == "imitation"
    assert assess("s", low, [], expert=True).gain == pytest.approx(0.4375)
    assert assess("s", low, [], expert=True, prompt_share=0.95).learner == "brief-imitation"


def test_own_runs_are_reinforced_up_to_what_they_reach_at_best(group: Any) -> None:
    found = assess("s", group("1000"), [group("1000"), group("0000"), group("1111"), group("0100")], expert=False)
    assert (found.learner, found.ceiling, found.success) == ("rejection-sampling", 0.75, 0.25)
    assert found.gain == pytest.approx(0.25)
    assert "75% of its tasks succeed in at least one of 4 runs" in found.reason


@pytest.mark.parametrize(("pattern", "said"), [("0000", "none of its runs succeeds"), ("1111", "all its runs succeed")])
def test_nothing_to_reinforce_is_left_alone(group: Any, pattern: str, said: str) -> None:
    found = assess("s", group(pattern), [group(pattern)] * 3, expert=False)
    assert (found.learner, found.gain) == (None, 0.0)
    assert said in found.reason


def test_rewards_that_differ_are_worth_a_try_before_any_run_succeeds(group: Any) -> None:
    nearly = [replace(run, success=False) for run in group("0010")]
    found = assess("s", group("0000"), [nearly, group("0000")], expert=False)
    assert (found.learner, found.success) == ("rejection-sampling", 0.0)
    assert found.gain >= WORTH_IT
    assert "some are rewarded more than others" in found.reason


def test_what_chance_wins_is_worth_a_try(group: Any) -> None:
    nothing = [group("0000")] * 2
    found = assess("s", group("0000"), nothing, expert=False, chance=[group("0100"), group("0000")])
    assert (found.learner, found.success) == ("rejection-sampling", 0.0)
    assert found.gain >= WORTH_IT
    assert "chance has a say" in found.reason
    assert assess("s", group("0000"), nothing, expert=False, chance=nothing).learner is None


def test_people_count_where_nobody_else_shows(group: Any) -> None:
    found = assess("s", group("0000"), [group("0000")] * 3, expert=False, corrections=10)
    assert (found.learner, found.ceiling) == ("imitation", pytest.approx(0.2))
    assert "people corrected 10" in found.reason
    assert assess("s", group("0000"), [group("1100")] * 3, expert=False, corrections=10).learner == "policy-gradient"


def test_known_answers_are_imitated_where_no_run_succeeds(group: Any) -> None:
    found = assess("s", group("0000"), [group("0000")] * 3, expert=False, corrections=10, answers=True)
    assert (found.learner, found.ceiling) == ("imitation", 1.0)
    assert "the right answers are known" in found.reason
    assert assess("s", group("0000"), [group("1100")] * 3, expert=False, answers=True).learner == "policy-gradient"


def test_prompt_of_a_sure_skill_goes_where_nothing_else_is_to_be_gained() -> None:
    sure, better, weak = (
        Prospect(name, success, success, None, "") for name, success in (("a", 0.8), ("b", 0.95), ("c", 0.3))
    )
    rising = Prospect("d", 0.2, 1.0, "imitation", "")
    assert best_of([sure, better, weak], ["a", "c"]) == replace(
        sure,
        learner="prompt-distillation",
        reason=best_of([sure], ["a"]).reason,  # type: ignore[union-attr]
    )
    assert best_of([sure, better, weak], ["a", "b"]).skill == "b"  # type: ignore[union-attr]
    assert best_of([weak, sure], ["c"]) is None
    assert best_of([sure, rising], ["a"]) == rising


def test_corrected_conversations_come_behind_what_surely_gains_and_before_shorter_prompts() -> None:
    said = conversations("talk", 1)
    rising, sure = Prospect("a", 0.2, 1.0, "imitation", ""), Prospect("b", 0.99, 1.0, "imitation", "")
    assert best_of([said, rising]) == rising
    assert best_of([sure, said], ["b"]) == said
    assert best_of([conversations("talk", 400), rising]).skill == "talk"  # type: ignore[union-attr]
    assert not said.played
    assert "3 conversations" in conversations("talk", 3).reason


def test_the_largest_gain_is_chosen_if_it_is_worth_it() -> None:
    small = Prospect("a", 0.97, 1.0, "imitation", "")
    large = Prospect("b", 0.2, 0.8, "policy-gradient", "")
    nothing = Prospect("c", 0.0, 1.0, None, "")
    assert small.gain < WORTH_IT
    assert best_of([small, large, nothing]) == large
    assert best_of([small, nothing]) is None
    assert best_of([]) is None


def test_corrections_of_a_live_skill_are_worth_learning_however_little_is_gained() -> None:
    sure = Prospect("desk", 0.98, 1.0, "imitation", "an expert")
    assert best_of([sure]) is None
    heeded = heeding(sure, 2)
    assert best_of([heeded]) == heeded
    assert (heeded.corrected, heeded.learner) == (2, "imitation")
    assert "corrected 2 of its runs" in heeded.reason
    assert heeding(sure, 0) == sure
    poor = Prospect("desk", 0.3, 1.0, "imitation", "an expert")
    assert heeding(poor, 2) == poor, "learning it as a whole promises more, and uses what was corrected too"
    many = round(0.8 / A_WORD)
    assert heeding(poor, many).corrected == many
