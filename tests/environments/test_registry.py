"""Environments by name: options, unknown names, a user's own file, plain Gymnasium environments."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import llmagentos.environments  # noqa: F401 (registers the built-in environments)
from llmagentos.environments.adapter import TimeLimited, action_form, in_plain_text, read_action
from llmagentos.environments.free_text import FreeText
from llmagentos.environments.language import LanguageEnvironment
from llmagentos.environments.registry import BUILT_IN, describe, make, names
from llmagentos.errors import ConfigError, EnvironmentFault, NotFoundError
from llmagentos.records.task import reset_options

PLAIN_FILE = """
import gymnasium
from gymnasium import spaces

class Parity(gymnasium.Env):
    observation_space = spaces.Discrete(100)
    action_space = spaces.Discrete(2)
    def __init__(self, wanted=1):
        self.wanted = wanted
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = int(self.np_random.integers(100))
        return self.number, {}
    def step(self, action):
        right = action == self.number % 2
        return 0, float(right), True, False, {"success": right}

gymnasium.register("Parity-v0", entry_point=Parity)
"""

LANGUAGE_FILE = """
import gymnasium
from llmagentos.environments.language import LanguageEnvironment

class Echo(LanguageEnvironment):
    def __init__(self):
        super().__init__("Echo-v0")
    def reset(self, *, seed=None, options=None):
        return "say hi", {"instructions": "", "tools": ()}
    def step(self, action):
        done = action == "hi"
        return "again", float(done), done, False, {"success": done, "lenient": done} if done else {}
    def expert(self, task):
        return lambda observation: "hi"

gymnasium.register("Echo-v0", entry_point=Echo, max_episode_steps=3)
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    file = tmp_path / "my_env.py"
    file.write_text(PLAIN_FILE)
    return file


def test_importing_the_room_registers_the_built_in_environments_and_loads_none() -> None:
    code = (
        "import sys, gymnasium, llmagentos.environments as e;"
        "assert 'SupportDesk-v0' in gymnasium.registry and 'Drills-v0' in gymnasium.registry;"
        "assert not [m for m in sys.modules if 'support_desk' in m or 'drills' in m or m == 'torch']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_importing_the_package_does_not_load_gymnasium() -> None:
    code = "import sys, llmagentos; assert 'gymnasium' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("space", "actions", "others"),
    [
        (spaces.Discrete(4), ["0", "3"], ["4", "-1", "00", "number 2"]),
        (spaces.Discrete(3, start=-1), ["-1", "1"], ["2", "-2"]),
        (spaces.Discrete(100_000), ["0", "99999"], ["1.5", "one"]),
        (spaces.MultiBinary(3), ["[0, 1, 1]"], ["[0, 1]", "[0, 2, 1]", "[0,1,1]"]),
        (spaces.MultiDiscrete([2, 11]), ["[1, 10]"], ["[2, 10]", "[1, 11]"]),
        (spaces.Box(-1, 1, (2,)), ["[-0.5, 1]", "[0.125, -1]"], ["[0.5]", "0.5, 1"]),
        (spaces.Box(0, 9, (1,), dtype=np.int64), ["[7]"], ["[7.5]", "7"]),
        (spaces.Text(5, charset="ab -]^\\"), ["a b", "]-^\\", "b"], ["", "c", "ababab", "a\nb"]),
    ],
)
def test_form_of_actions_is_what_is_read_as_exact(space: Any, actions: list[str], others: list[str]) -> None:
    form = action_form(space)
    for one in actions:
        assert re.fullmatch(form, one)
        assert read_action(space, one)[1]
    assert not [one for one in others if re.fullmatch(form, one)]


@pytest.mark.parametrize("space", [FreeText(), spaces.Text(900), spaces.Box(0, 1, (100,))])
def test_free_text_and_very_long_actions_have_no_form(space: Any) -> None:
    assert action_form(space) == ""


def test_names_and_descriptions_cover_the_built_in_environments() -> None:
    assert names() == tuple(entry.name for entry in BUILT_IN)
    for name in names():
        assert describe(name).summary
    assert describe("Drills-v0?kind=sum").name == "Drills-v0"
    assert "gymnasium" in describe("CartPole-v1").entry_point


def test_options_after_the_question_mark_reach_the_environment_and_name_the_skill() -> None:
    drills = make("Drills-v0?kind=sum&level=2")
    assert drills.skill == drills.name == "Drills-v0?kind=sum&level=2"
    task = drills.tasks("train", 1)[0]
    assert (task.environment, task.skill) == (drills.name, drills.skill)
    assert make(task.environment).reset(seed=task.seed, options=reset_options(task))[0].startswith("Add:")
    assert make("SupportDesk-v0").skill == "SupportDesk-v0"


@pytest.mark.parametrize(
    "name", ["Drills-v0?kind=cube", "Drills-v0?colour=red", "Drills-v0?kind", "Drills-v0?kind=sum&kind=sort"]
)
def test_bad_options_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        make(name)


@pytest.mark.parametrize("name", ["SuportDesk-v0", "", "Nothing-v3", "../etc/passwd", "Drills"])
def test_unknown_name_lists_what_there_is(name: str) -> None:
    with pytest.raises(NotFoundError, match=r"SupportDesk-v0.*my_env.py:MyEnv-v0"):
        make(name)
    with pytest.raises(NotFoundError):
        describe(name)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="Did you mean SupportDesk-v0"):
        make("SuportDesk-v0")


def test_users_file_is_made_and_judged(user_file: Path) -> None:
    parity = make(f"{user_file}:Parity-v0")
    assert isinstance(parity, LanguageEnvironment)
    assert parity.skill == "Parity-v0"
    task = parity.tasks("gate", 1)[0]
    assert task.environment == f"{user_file}:Parity-v0"
    observation, info = parity.reset(seed=task.seed, options=reset_options(task))
    assert info["instructions"] == "Reply with one number from 0 to 1."
    result = parity.step(str(int(observation) % 2))
    assert result[1:3] == (1.0, True)
    assert result[4] == {"success": True, "lenient": True}
    assert make(task.environment).reset(seed=task.seed, options=reset_options(task))[0] == observation
    assert parity.expert(task) is None


def test_users_file_takes_options(user_file: Path) -> None:
    assert make(f"{user_file}:Parity-v0?wanted=0").skill == "Parity-v0?wanted=0"
    with pytest.raises(ConfigError, match="size"):
        make(f"{user_file}:Parity-v0?size=3")


def test_changed_file_is_loaded_again(user_file: Path) -> None:
    make(f"{user_file}:Parity-v0")
    user_file.write_text(PLAIN_FILE.replace("Parity-v0", "Oddity-v0"))
    assert make(f"{user_file}:Oddity-v0").skill == "Oddity-v0"
    with pytest.raises(NotFoundError):
        make(f"{user_file}:Parity-v0")


def test_users_language_environment_keeps_its_time_limit_and_expert(tmp_path: Path) -> None:
    file = tmp_path / "echo.py"
    file.write_text(LANGUAGE_FILE)
    echo = make(f"{file}:Echo-v0")
    task = echo.tasks("train", 1)[0]
    expert = echo.expert(task)
    assert expert is not None
    echo.reset(seed=0)
    assert echo.step(expert("say hi"))[4]["success"]
    echo.reset(seed=0)
    results = [echo.step("no") for _ in range(3)]
    assert [result[3] for result in results] == [False, False, True]
    assert results[-1][4] == {"success": False, "lenient": False}


def test_time_limit_leaves_everything_else_as_the_environment_says(tmp_path: Path) -> None:
    file = tmp_path / "echo.py"
    file.write_text(LANGUAGE_FILE)
    limited = make(f"{file}:Echo-v0")
    limited.reset(seed=0)
    inner = limited._inner  # type: ignore[attr-defined]
    inner.right_answer = lambda task: "hi"
    again = TimeLimited(inner, 40)
    assert again.right_answer(again.tasks("train", 1)[0]) == "hi"
    inner.reply_tokens, inner.expert_recovers, inner.abstention = 7, True, "Nothing."
    again = TimeLimited(inner, 40)
    assert (again.reply_tokens, again.expert_recovers, again.abstention) == (7, True, "Nothing.")
    assert again.most_steps == 40


def test_describing_a_users_file_does_not_execute_it(tmp_path: Path) -> None:
    file = tmp_path / "boom.py"
    file.write_text("raise RuntimeError('executed')")
    assert describe(f"{file}:Boom-v0").summary
    with pytest.raises(EnvironmentFault, match="executed"):
        make(f"{file}:Boom-v0")


def test_missing_file_and_missing_id_say_so(user_file: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.py"):
        make("./nowhere.py:X-v0")
    with pytest.raises(NotFoundError, match="Parity-v0"):
        make(f"{user_file}:Other-v0")


def test_file_cannot_pass_off_a_name_it_did_not_register(user_file: Path) -> None:
    with pytest.raises(NotFoundError):
        make(f"{user_file}:CartPole-v1")


def test_two_files_may_register_the_same_name(user_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other_env.py"
    other.write_text(PLAIN_FILE.replace("Discrete(2)", "Discrete(5)"))
    for file, last in ((user_file, 1), (other, 4), (user_file, 1)):
        assert make(f"{file}:Parity-v0").reset(seed=0)[1]["instructions"].endswith(f"to {last}.")


def test_users_file_cannot_replace_a_built_in_environment(tmp_path: Path) -> None:
    file = tmp_path / "impostor.py"
    file.write_text(PLAIN_FILE.replace("Parity-v0", "SupportDesk-v0"))
    assert "number" in make(f"{file}:SupportDesk-v0").reset(seed=0)[1]["instructions"]
    assert "support desk" in make("SupportDesk-v0").reset(seed=0)[1]["instructions"]


def test_constructor_that_raises_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    bad = "def bad():\n    raise OSError('no disk')\n"
    file.write_text(f"import gymnasium\n{bad}gymnasium.register('Bad-v0', entry_point=bad)")
    with pytest.raises(EnvironmentFault, match="no disk"):
        make(f"{file}:Bad-v0")


def test_plain_gymnasium_environment_is_played_in_words() -> None:
    cart = make("CartPole-v1")
    observation, info = cart.reset(seed=3, options={"split": "train"})
    assert observation.startswith("[")
    assert info["instructions"] == "Reply with one number from 0 to 1."
    assert cart.step("2")[0].startswith("error")
    assert cart.step("push 1 please")[0].startswith("[")
    result = None
    while result is None or not (result[2] or result[3]):
        result = cart.step("1")
    assert result[4] == {"success": False, "lenient": False}


def test_splits_of_a_plain_environment_do_not_share_episodes() -> None:
    cart = make("CartPole-v1")
    starts = {split: cart.reset(seed=0, options={"split": split})[0] for split in ("train", "gate", "report")}
    assert len(set(starts.values())) == 3


def test_plain_environment_without_a_success_says_what_to_give(tmp_path: Path) -> None:
    file = tmp_path / "mute.py"
    file.write_text(PLAIN_FILE.replace('{"success": right}', "{}").replace("Parity-v0", "Mute-v0"))
    mute = make(f"{file}:Mute-v0")
    mute.reset(seed=0)
    with pytest.raises(EnvironmentFault, match=r"Mute-v0\?reward_threshold=1"):
        mute.step("1")


def test_success_of_a_plain_environment_is_said_in_its_name() -> None:
    cart = make("CartPole-v1?reward_threshold=5")
    assert cart.skill == "CartPole-v1?reward_threshold=5"
    cart.reset(seed=3)
    result = cart.step("1")
    while not result[2]:
        result = cart.step("1")
    assert result[4] == {"success": True, "lenient": True}
    for name in ("CartPole-v1?reward_threshold=much", "Drills-v0?reward_threshold=1"):
        with pytest.raises(ConfigError, match="reward_threshold"):
            make(name)


def test_plain_environment_of_texts_tells_its_own_instructions_and_tools(tmp_path: Path) -> None:
    words = (
        PLAIN_FILE.replace("spaces.Discrete(100)", "spaces.Text(20)")
        .replace("spaces.Discrete(2)", "spaces.Text(4, charset='evnod')")
        .replace("return self.number, {}", "return str(self.number), {'instructions': 'Say it.', 'tools': TOOLS}")
        .replace("action == self.number % 2", "action == ['even', 'odd'][self.number % 2]")
        .replace("Parity-v0", "Words-v0")
    )
    file = tmp_path / "words.py"
    file.write_text("TOOLS = [{'name': 'halve'}]\n" + words)
    env = make(f"{file}:Words-v0")
    number, info = env.reset(seed=0)
    assert info["instructions"] == "Say it.\nReply with at most 4 characters."
    assert info["tools"] == [{"name": "halve"}]
    assert re.fullmatch(info["replies"], "even")
    assert env.step("oddly")[0] == "error: Reply with at most 4 characters."
    assert env.step("odd" if int(number) % 2 else "even")[2]


def test_plain_environment_is_given_the_tokens_of_its_actions_and_bounded_runs() -> None:
    cart, pendulum, words = make("CartPole-v1"), make("Pendulum-v1"), make("Drills-v0")
    assert cart.reply_tokens == pendulum.reply_tokens == 32 < LanguageEnvironment.reply_tokens
    assert (cart.most_steps, make("FrozenLake-v1").most_steps, words.most_steps) == (32, 32, 16)
    whole = make("CartPole-v1?max_episode_steps=40")
    assert (whole.most_steps, whole.remark) == (40, "")
    assert cart.remark == (
        "A run is ended after 32 of its 500 actions, and a success has a sum of rewards of 475. The options "
        "max_episode_steps= and reward_threshold= say otherwise."
    )
    assert make("CliffWalking-v1").remark == ""


def test_run_that_is_ended_after_its_actions_is_judged_by_its_rewards() -> None:
    """A pole that still stands has won as much as there was to win; who never said an action has not."""
    for threshold, reached in ((20, True), (21, False)):
        cart = make(f"CartPole-v1?max_episode_steps=20&reward_threshold={threshold}")
        observation, _ = cart.reset(seed=0)
        result: Any = (observation, 0.0, False, False, {})
        for done in [False] * 19 + [True]:
            angle, spin = json.loads(result[0])[2:]
            result = cart.step(str(int(angle + spin > 0)))
            assert result[2:4] == (False, done)
        assert result[4] == {"success": reached, "lenient": reached}
    lake = make("FrozenLake-v1?max_episode_steps=2")
    lake.reset(seed=0)
    assert lake.step("up!")[3] is False
    assert lake.step("up!")[2:] == (False, True, {"success": False, "lenient": False})


def test_users_own_environment_runs_as_long_as_it_was_registered_with(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    file.write_text(PLAIN_FILE.replace("entry_point=Parity", "entry_point=Parity, max_episode_steps=50"))
    assert make(f"{file}:Parity-v0").most_steps == 50


def test_plain_environment_that_never_ends_is_truncated_without_a_success(tmp_path: Path) -> None:
    file = tmp_path / "endless.py"
    file.write_text(PLAIN_FILE.replace('True, False, {"success": right}', "False, False, {}"))
    endless = make(f"{file}:Parity-v0")
    endless.reset(seed=0)
    results = [endless.step("1") for _ in range(endless.most_steps)]
    assert [result[3] for result in results] == [False] * 31 + [True]
    assert results[-1][4] == {"success": False, "lenient": False}
    limited = make(f"{file}:Parity-v0?max_episode_steps=2")
    limited.reset(seed=0)
    assert [limited.step("1")[3:] for _ in range(2)] == [(False, {}), (True, results[-1][4])]


def test_expert_of_a_plain_environment_is_asked_in_its_own_values(tmp_path: Path) -> None:
    expert = "    def expert(self, task):\n        return lambda number: number % 2\n"
    file = tmp_path / "shown.py"
    file.write_text(PLAIN_FILE.replace("\ngymnasium.register", f"{expert}\ngymnasium.register"))
    shown = make(f"{file}:Parity-v0")
    policy = shown.expert(shown.task("train", 3))
    assert policy is not None
    assert shown.step(policy(shown.reset(seed=3)[0]))[4] == {"success": True, "lenient": True}
    assert make("CartPole-v1").expert(shown.task("train", 3)) is None


def test_environment_that_draws_itself_is_seen_as_drawn() -> None:
    lake = make("FrozenLake-v1?render_mode=ansi&is_slippery=false")
    assert lake.reset(seed=0)[0].splitlines()[0] == "<red:S>FFF"
    assert "(Right)\nS<red:F>FF" in lake.step("2")[0]


@pytest.mark.parametrize(
    ("drawn", "plain"),
    [
        ("a\x1b[34;1mR\x1b[0mb", "a<blue:R>b"),
        ("\x1b[1mbold\x1b[0m\x1b[2J", "bold"),
        ("\n\x1b[101m \x1b[m\n", "<red: >"),
    ],
)
def test_colours_of_a_terminal_are_named(drawn: str, plain: str) -> None:
    assert in_plain_text(drawn) == plain


@pytest.mark.parametrize("reply", ["", "[", "[1", "[" * 3000 + "]" * 3000, "[1e999]", "[null]", "[0.5, 0.5]", "\x00"])
def test_box_action_survives_any_text(reply: str) -> None:
    pendulum = make("Pendulum-v1")
    pendulum.reset(seed=0)
    assert pendulum.step(reply)[0].startswith("error")
    assert not pendulum.step("[0.5]")[0].startswith("error")


def test_action_space_without_words_is_refused() -> None:
    class Odd(gymnasium.Env[int, object]):
        observation_space = gymnasium.spaces.Discrete(1)
        action_space = gymnasium.spaces.Graph(gymnasium.spaces.Discrete(2), None)

    gymnasium.register("OddActions-v0", entry_point=Odd)
    try:
        with pytest.raises(ConfigError, match="Graph"):
            make("OddActions-v0")
    finally:
        del gymnasium.registry["OddActions-v0"]
