"""Drills-v0: right answers, exact and lenient success, operands held out by construction."""

from __future__ import annotations

import re
from itertools import product

import pytest

from llmagentos.environments.drills import Drills
from llmagentos.environments.drills_marking import FORM_MISSED, last_numbers
from llmagentos.environments.drills_problems import KINDS, LEVELS, Kind, make_problem, split_of
from llmagentos.errors import ConfigError, EnvironmentFault
from llmagentos.records.task import SPLITS, Split, Task, reset_options


def answer_with(drills: Drills, task: Task, reply: str) -> tuple[float, bool, bool]:
    drills.reset(seed=task.seed, options=reset_options(task))
    _, reward, terminated, _, info = drills.step(reply)
    assert terminated
    return reward, info["success"], info["lenient"]


def solve(prompt: str) -> str:
    """An independent reading of the prompt, so that a wrong answer key is noticed."""
    body = prompt.split(" Answer with")[0]
    if body.startswith("Add:"):
        return str(sum(map(int, re.findall(r"\d+", body))))
    if "What is" in body:
        table = dict(re.findall(r"(\w+) = (\w+)", body))
        value = re.findall(r"What is (\w+)\?", body)[0]
        while value in table:
            value = table[value]
        return value
    numbers = [int(text) for text in re.findall(r"\d+", body.split(":")[1])]
    if body.startswith("Sort"):
        return " ".join(map(str, sorted(numbers, reverse="largest first" in body)))
    rule = body.split(":")[0]
    limit = int((re.findall(r"\d+", rule) or ["0"])[0])
    keep = [n for n in numbers if (n > limit if "above" in rule else n < limit if "below" in rule else n % 2)]
    return " ".join(map(str, keep))


@pytest.mark.parametrize(("kind", "level"), list(product(KINDS, LEVELS)))
def test_answer_key_is_right_and_never_empty(kind: Kind, level: int) -> None:
    for split in SPLITS:
        for seed in range(60):
            problem = make_problem(kind, level, split, seed)
            assert problem.answer == solve(problem.prompt)
            assert problem.answer
            assert len(problem.prompt) < 150


@pytest.mark.parametrize(("kind", "level"), list(product(KINDS, LEVELS)))
def test_operands_of_the_splits_are_disjoint(kind: Kind, level: int) -> None:
    seen: dict[Split, set[str]] = {
        split: {make_problem(kind, level, split, seed).operands for seed in range(150)} for split in SPLITS
    }
    for split, operands in seen.items():
        assert all(split_of(kind, level, one) == split for one in operands)
        assert not operands & set().union(*(others for other, others in seen.items() if other != split))


def test_swapped_operands_share_a_split() -> None:
    for seed in range(100):
        problem = make_problem("sum", 2, "report", seed)
        numbers = sorted(map(int, re.findall(r"\d+", problem.prompt)))
        assert problem.operands == " ".join(map(str, numbers))


def test_tasks_of_one_draw_do_not_repeat_while_there_are_others() -> None:
    drills = Drills(kind="sum", level=2)
    prompts = [drills.reset(seed=t.seed, options=reset_options(t))[0] for t in drills.tasks("report", 100)]
    assert len(set(prompts)) == 100
    scarce = Drills(kind="sum", level=1)
    assert len(scarce.tasks("development", 200)) == 200
    assert scarce.tasks("gate", 20, seed=1) != scarce.tasks("gate", 20, seed=2)
    assert scarce.tasks("gate", 20, seed=1) == scarce.tasks("gate", 20, seed=1)


@pytest.mark.parametrize(("kind", "level"), list(product(KINDS, LEVELS)))
def test_only_the_exact_answer_is_strictly_right(kind: Kind, level: int) -> None:
    drills = Drills(kind=kind, level=level)
    (task,) = drills.tasks("gate", 1)
    answer = drills.right_answer(task)
    assert answer_with(drills, task, f" {answer}\n") == (1.0, True, True)
    assert answer_with(drills, task, f"The answer is {answer}.") == (FORM_MISSED / 2, False, True)
    assert answer_with(drills, task, answer.replace(" ", ", ") + "!") == (FORM_MISSED, False, True)
    assert answer_with(drills, task, answer + "0") == (0.0, False, False)
    assert answer_with(drills, task, "") == (0.0, False, False)


def test_a_right_answer_is_worth_more_the_fewer_words_are_around_it() -> None:
    drills = Drills(kind="lookup")
    (task,) = drills.tasks("train", 1)
    answer = drills.right_answer(task)
    replies = (
        f"I looked at the list and it says that it is {answer}",
        f"The answer is {answer}",
        f"It is {answer}",
        answer,
    )
    rewards = [answer_with(drills, task, reply)[0] for reply in replies]
    assert rewards == sorted(set(rewards))
    assert rewards[-1] == 1.0


@pytest.mark.parametrize("reply", ["", "\x00", "9" * 100_000, "-" * 100_000, "{" * 10_000, "٣٤", "é 你好"])
def test_any_reply_is_survived(reply: str) -> None:
    drills = Drills(kind="sum")
    (task,) = drills.tasks("train", 1)
    assert answer_with(drills, task, reply) == (0.0, False, False)


def test_last_numbers_reads_the_end() -> None:
    assert last_numbers("3 + 4 = 07", 1) == "7"
    assert last_numbers("sorted: 1, 2, 3", 3) == "1 2 3"
    assert last_numbers("none", 1) == ""


def test_left_out_kind_mixes_all() -> None:
    drills = Drills()
    prompts = [drills.reset(seed=t.seed, options=reset_options(t))[0].split()[0] for t in drills.tasks("train", 60)]
    assert {"Add:", "Sort,", "Keep"} < set(prompts)


def test_drills_have_no_expert() -> None:
    drills = Drills()
    assert drills.expert(drills.tasks("train", 1)[0]) is None


@pytest.mark.parametrize("options", [{"kind": "square"}, {"level": 5}, {"level": "1"}, {"level": True}, {"mode": 1}])
def test_unknown_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Drills(**options)
    with pytest.raises(ConfigError):
        Drills().tasks("validation", 3)  # type: ignore[arg-type]


def test_second_answer_is_a_fault() -> None:
    drills = Drills()
    drills.reset(seed=1)
    drills.step("1")
    with pytest.raises(EnvironmentFault, match="reset"):
        drills.step("1")
