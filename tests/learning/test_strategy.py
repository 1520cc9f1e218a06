"""The learner is chosen by what was measured, and the reason is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from llmagentos.errors import ConfigError, LearningError
from llmagentos.learning.groups import GroupSettings
from llmagentos.learning.strategy import CHANCES, LEARNERS, QUICKLY, chances, choose, countable, learner_named
from llmagentos.programs.constraining import call_grammar
from llmagentos.records.episode import Episode
from llmagentos.records.generation import Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec
from llmagentos.records.transcript import Segment, Transcript


@pytest.fixture
def group(own_run: Callable[..., Episode]) -> Callable[[str], list[Episode]]:
    return lambda pattern: [own_run((4, 5), (6,), float(letter)) for letter in pattern]


def test_something_to_imitate_is_imitated() -> None:
    choice = choose("toy", demonstrations=True, probe=())
    assert choice.learner == "imitation"
    assert "imitate" in choice.reason


@pytest.mark.parametrize(("share", "learner"), [(0.89, "imitation"), (0.95, "brief-imitation")])
def test_prompt_that_is_nearly_all_of_a_run_is_left_out_from_the_beginning(share: float, learner: str) -> None:
    choice = choose("toy", demonstrations=True, probe=(), prompt_share=share)
    assert choice.learner == learner
    assert ("95%" in choice.reason) == (share > 0.9)


def test_mixed_success_is_reinforced_and_the_rates_are_said(group: Callable[[str], list[Episode]]) -> None:
    choice = choose("toy", demonstrations=False, probe=[group("1000"), group("1111"), group("1110"), group("0000")])
    assert choice.learner == "policy-gradient"
    assert choice.reason == "pass@1 is 50% and pass@4 75%"


def test_winners_are_imitated_as_long_as_few_runs_succeed(group: Callable[[str], list[Episode]]) -> None:
    choice = choose("toy", demonstrations=False, probe=[group("1000"), group("1111"), group("0110"), group("0000")])
    assert choice.learner == "rejection-sampling"
    assert choice.reason == "pass@1 is 44% and pass@4 75%; as long as few succeed the winners alone are imitated"


def test_no_success_at_all_says_what_is_missing(group: Callable[[str], list[Episode]]) -> None:
    with pytest.raises(LearningError, match=r"None of 6 own runs of toy succeeded.*expert\(task\)"):
        choose("toy", demonstrations=False, probe=[group("000"), group("000")])


def test_runs_that_are_rewarded_unlike_are_reinforced_before_any_succeeds(
    group: Callable[[str], list[Episode]], own_run: Callable[..., Episode]
) -> None:
    nearly = [replace(own_run((4, 5), (6,), reward), success=False) for reward in (0.0, 0.25, 0.5)]
    choice = choose("toy", demonstrations=False, probe=[nearly, group("000")])
    assert choice.learner == "rejection-sampling"
    assert "in 1 of 2 tasks some were rewarded more than others, 0.5 at most; as long as few" in choice.reason
    answered = choose("toy", demonstrations=False, probe=[nearly, group("000")], answers=True)
    assert answered.learner == "imitation"


def test_known_answers_are_imitated_where_nothing_succeeds(group: Callable[[str], list[Episode]]) -> None:
    choice = choose("toy", demonstrations=False, probe=[group("000"), group("000")], answers=True)
    assert choice.learner == "imitation"
    assert "none of 6 own runs succeeded, and the right answers are known" in choice.reason
    mixed = choose("toy", demonstrations=False, probe=[group("010"), group("000")], answers=True)
    assert mixed.learner == "rejection-sampling", "own runs show more than an answer does"


def test_winners_by_chance_are_imitated_where_nothing_else_succeeds(group: Callable[[str], list[Episode]]) -> None:
    nothing, chance = [group("000"), group("000")], [group("010"), group("000")]
    choice = choose("toy", demonstrations=False, probe=nothing, chance=chance)
    assert choice.learner == "rejection-sampling"
    assert "in 1 of 2 tasks some did when chance had a say" in choice.reason
    with pytest.raises(LearningError, match="None of 6 own runs"):
        choose("toy", demonstrations=False, probe=nothing, chance=nothing)
    answered = choose("toy", demonstrations=False, probe=nothing, answers=True, chance=chance)
    assert answered.learner == "imitation"


def test_runs_that_broke_off_say_what_broke(group: Callable[[str], list[Episode]]) -> None:
    broken = [[replace(run, outcome="failed", error="The shop burned down.") for run in group("00")]]
    with pytest.raises(LearningError, match=r"2 of them could not be finished.*The shop burned down.*Mend the env"):
        choose("Toy-v0", demonstrations=False, probe=[*broken, group("00")])
    with pytest.raises(
        LearningError, match=r"^None of 2 own runs of Toy-v0 could be finished\. The first one said: The"
    ):
        choose("Toy-v0", demonstrations=False, probe=broken)


def test_nothing_was_tried_says_what_is_missing() -> None:
    with pytest.raises(LearningError, match="None of 0 own runs"):
        choose("toy", demonstrations=False, probe=[])


def test_only_success_leaves_nothing_to_learn(group: Callable[[str], list[Episode]]) -> None:
    with pytest.raises(LearningError, match="All 6 own runs of toy succeeded"):
        choose("toy", demonstrations=False, probe=[group("111"), group("111")])


def test_command_names_every_learner() -> None:
    from llmagentos.cli.learning import learn

    said = next(option.help for option in learn.params if option.name == "learner")  # type: ignore[attr-defined]
    assert all(name in said for name in LEARNERS)


@pytest.mark.parametrize(("turns", "learner"), [(3, "policy-gradient"), (4, "rejection-sampling")])
def test_winners_of_runs_with_many_turns_are_imitated(
    own_run: Callable[..., Episode], turns: int, learner: str
) -> None:
    turn = (Segment("environment", (7,)), Segment("sampled", (8,)), Segment("sampled", (9,)))
    transcript = Transcript("tiny", (Segment("prompt", (4, 5)), Segment("sampled", (6,)), *(turns - 1) * turn))
    runs = [replace(own_run((4, 5), (6,), reward), transcript=transcript) for reward in (0.0, 1.0)]
    choice = choose("game", demonstrations=False, probe=[runs] * 3)
    assert choice.learner == learner
    assert "pass@1 is 50%" in choice.reason


@pytest.mark.parametrize("name", LEARNERS)
def test_learner_by_name_answers_to_it(name: str) -> None:
    assert learner_named(name).name == name


def test_imitation_is_gentler_where_it_goes_on_from_a_live_adapter() -> None:
    rates = [learner_named("imitation", further=further).settings.adapter.learning_rate for further in (False, True)]  # type: ignore[attr-defined]
    assert 0.5 * rates[0] < rates[1] < rates[0]
    assert [learner_named(name, further=True).name for name in LEARNERS] == list(LEARNERS)


def test_learners_from_groups_practise_where_runs_are_mixed_and_end_where_it_is_flat() -> None:
    settings = {name: getattr(learner_named(name), "settings", None) for name in LEARNERS}
    in_groups = {name for name, one in settings.items() if isinstance(one, GroupSettings)}
    assert in_groups == {"rejection-sampling", "policy-gradient", "grpo", "dr-grpo", "dpo", "kto"}
    assert all(settings[name].repeat > 0 and settings[name].flat > 0 for name in in_groups)  # type: ignore[union-attr]


def test_unknown_learner_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'magic'.*auto, imitation, brief-imitation, dagger"):
        learner_named("magic")


@pytest.mark.parametrize(("replies", "learner"), [(8, "policy-gradient"), (9, "rejection-sampling")])
def test_chance_has_a_say_where_a_group_cannot_try_all_replies(
    own_run: Callable[..., Episode], replies: int, learner: str
) -> None:
    held = Grammar("regex", "|".join(f"reply {letter}" for letter in "ABCDEFGHI"[:replies]))
    transcript = Transcript("tiny", (Segment("prompt", (4, 5)), Segment("sampled", (6,), grammar=held)))
    runs = [replace(own_run((4, 5), (6,), reward), transcript=transcript) for reward in (0.0, 1.0)]
    choice = choose("labels", demonstrations=False, probe=[runs] * 3)
    assert choice.learner == learner
    assert ("of 9 replies 8 runs of a task try few" in choice.reason) == (replies == 9)


def test_chance_is_asked_without_a_model_first_where_it_can_say_everything(own_run: Callable[..., Episode]) -> None:
    def run(argument: JSON) -> Episode:
        schema: JSON = {"type": "object", "properties": {"at": argument}, "required": ["at"]}
        grammar = call_grammar([ToolSpec("look", "", schema)])  # type: ignore[arg-type]
        transcript = Transcript("tiny", (Segment("prompt", (4, 5)), Segment("sampled", (6,), grammar=grammar)))
        return replace(own_run((4, 5), (6,), 0.0), transcript=transcript)

    counted, quoted, free = run({"enum": ["here", "there"]}), run({"type": "string"}), run({})
    assert chances([counted, quoted]) == (*QUICKLY, *CHANCES)
    assert chances([counted, free]) == chances([free]) == CHANCES
    words = replace(free, transcript=Transcript("tiny", (Segment("prompt", (4, 5)), Segment("sampled", (6,)))))
    assert chances([words]) == ()


def test_calls_are_counted_as_replies_are_and_one_task_of_many_says_little(own_run: Callable[..., Episode]) -> None:
    def run(grammar: Grammar, reward: float) -> Episode:
        transcript = Transcript("tiny", (Segment("prompt", (4, 5)), Segment("sampled", (6,), grammar=grammar)))
        return replace(own_run((4, 5), (6,), reward), transcript=transcript)

    rooms: JSON = {"room": {"enum": [f"room {number}" for number in range(12)]}}
    home = call_grammar([ToolSpec("light", "", {"type": "object", "properties": rooms, "required": ["room"]})])
    free = call_grammar([ToolSpec("look", "", {"type": "object", "properties": {"at": {}}, "required": ["at"]})])
    counted, uncounted = ([run(grammar, 0.0), run(grammar, 1.0)] for grammar in (home, free))
    choice = choose("home", demonstrations=False, probe=[counted] * 3)
    assert choice.learner == "rejection-sampling"
    assert "of 12 replies 8 runs of a task try few" in choice.reason
    assert choose("home", demonstrations=False, probe=[uncounted] * 3).learner == "policy-gradient"
    tools = [
        ToolSpec(f"tool {number}", "", {"type": "object", "properties": {"at": {}}, "required": ["at"]})
        for number in range(65)
    ]
    for count, told in ((1, 1), (12, 12), (64, 64), (65, 0)):
        assert countable(run(call_grammar(tools[:count]), 0.0)) == told, "tools, where calls cannot be counted"
    assert choose("home", demonstrations=False, probe=[counted, uncounted, uncounted]).learner == "policy-gradient"
