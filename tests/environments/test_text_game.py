"""TextArena's own games, each with dice of its own, played to a win, a loss and a foul."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from llmagentos.environments.registry import make, write_query
from llmagentos.errors import ConfigError, EnvironmentFault, MissingExtraError
from llmagentos.records.task import reset_options

arena = pytest.importorskip("textarena", reason="the extra `games` is not installed")

HANOI = ["[A C]", "[A B]", "[C B]", "[A C]", "[B A]", "[B C]", "[A C]"]


def begun(env: Any, seed: int = 0, split: str = "train") -> tuple[str, dict[str, Any]]:
    task = env.task(split, seed)
    found: tuple[str, dict[str, Any]] = env.reset(seed=task.seed, options=reset_options(task))
    return found


def guessed(env: Any) -> tuple[list[int], dict[str, Any], float]:
    """Play by halving; the guesses, the end's info and reward."""
    low, high, guesses = 1, 20, []
    while True:
        guess = (low + high) // 2
        guesses.append(guess)
        seen, reward, done, _, info = env.step(f"[{guess}]")
        if done:
            return guesses, info, reward
        low, high = (guess + 1, high) if "higher" in seen else (low, guess - 1)


def test_halving_wins_and_every_seed_is_a_game_of_its_own() -> None:
    env = make("TextGame-v0?name=GuessTheNumber")
    ends = set()
    for seed in range(12):
        _, info = begun(env, seed)
        assert "between 1 and 20" in info["instructions"]
        guesses, told, reward = guessed(env)
        assert (told, reward) == ({"success": True, "lenient": True}, 1.0)
        ends.add(guesses[-1])
    assert len(ends) > 4


@pytest.mark.parametrize(
    ("name", "moves", "others"),
    [
        ("GuessTheNumber", ["[7]", "[20]"], ["7", "[x]", "I guess [7]"]),
        ("TowerOfHanoi", ["[A C]", "[A, C]"], ["[A D]", "A C", "[A   C]"]),
        ("FrozenLake", ["[up]", "[w]"], ["up", "[jump]"]),
        ("Blackjack", ["[hit]", "[stand]"], ["hit", "[double]", "[hit][stand]"]),
    ],
)
def test_moves_have_the_form_that_the_game_reads(name: str, moves: list[str], others: list[str]) -> None:
    _, info = begun(make(f"TextGame-v0?name={name}"))
    assert [bool(re.fullmatch(info["replies"], one)) for one in (*moves, *others)] == [True] * len(moves) + [
        False
    ] * len(others)


def test_a_game_that_swaps_its_words_or_gives_a_reason_for_a_reward_is_played() -> None:
    env = make("TextGame-v0?name=Countdown")
    begun(env)
    seen, *_ = env.step("[0 1 +]")
    assert "[0 1 +]" not in seen
    assert "Current progress" in seen
    cups = make("TextGame-v0?name=ThreeCardMonte")
    begun(cups)
    seen, *_ = cups.step("[99]")
    _, reward, done, _, info = cups.step("[99]")
    assert (done, reward, info["success"]) == (True, 0.0, False)


@pytest.mark.parametrize(("threshold", "fewest", "most"), [(1, 0, 0), (0.6, 1, 7)])
def test_threshold_says_from_which_share_of_the_reward_a_game_is_won(threshold: float, fewest: int, most: int) -> None:
    env = make(f"TextGame-v0?name=Blackjack&reward_threshold={threshold}")
    ends = []
    for seed in range(8):
        begun(env, seed)
        done = False
        while not done:
            _, reward, done, _, info = env.step("[stand]")
        ends.append(info["success"])
        assert info["success"] == (reward >= threshold)
    assert fewest <= sum(ends) <= most


def test_form_of_moves_is_the_users_where_one_is_given() -> None:
    for said in (r"\[[0-9]\]", ""):
        _, info = begun(make("TextGame-v0" + write_query({"name": "GuessTheNumber", "replies": said})))
        assert info["replies"] == said
    assert begun(make("TextGame-v0?name=Set"))[1]["replies"] == "", "it has no one form"


def test_games_side_by_side_do_not_disturb_each_other_nor_python() -> None:
    one, other = make("TextGame-v0?name=GuessTheNumber"), make("TextGame-v0?name=GuessTheNumber")
    begun(one, 3)
    alone = guessed(one)
    random.seed(77)
    expected = [random.random() for _ in range(3)]
    random.seed(77)
    begun(one, 3)
    begun(other, 4)
    other.step("[1]")
    assert guessed(one) == alone
    assert [random.random() for _ in range(3)] == expected


def test_tower_is_solved_and_the_board_is_seen() -> None:
    env = make("TextGame-v0?name=TowerOfHanoi-v0")
    seen, info = begun(env)
    assert "[3, 2, 1]" in seen
    assert "tower C" in info["instructions"]
    for move in HANOI[:-1]:
        seen, reward, done, _, _ = env.step(move)
        assert (reward, done) == (0.0, False)
        assert "Current Board" in seen
    assert env.step(HANOI[-1])[1:] == (1.0, True, False, {"success": True, "lenient": True})


def test_one_foul_made_good_wins_leniently_and_two_lose() -> None:
    env = make("TextGame-v0?name=TowerOfHanoi")
    begun(env)
    seen, _, done, _, _ = env.step("I do not know")
    assert not done
    assert "invalid move" in seen
    info: dict[str, Any] = {}
    for move in HANOI:
        _, reward, *_, info = env.step(move)
    assert (reward, info) == (0.5, {"success": False, "lenient": True}), "a clean win is worth more"
    begun(env)
    env.step("nothing")
    _, reward, done, _, info = env.step("nothing")
    assert (reward, done, info) == (0.0, True, {"success": False, "lenient": False})
    with pytest.raises(EnvironmentFault, match="reset"):
        env.step("[A C]")


def test_turn_limit_gives_the_share_that_was_reached() -> None:
    env = make("TextGame-v0?name=TowerOfHanoi&max_turns=4")
    begun(env)
    reward, done = 0.0, False
    for move in HANOI[:5]:  # the game counts a turn after looking at its limit
        assert not done
        _, reward, done, _, info = env.step(move)
    assert done
    assert reward == pytest.approx(1 / 3)
    assert info == {"success": False, "lenient": False}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "needs a game"),
        ("name=GuessTheNumbr", "GuessTheNumber"),
        ("name=TicTacToe", "alone"),
        ("name=GuessTheNumber&colour=red", "does not take"),
        ("name=GuessTheNumber&reward_threshold=0", "above 0"),
        ("name=GuessTheNumber&reward_threshold=most", "above 0"),
    ],
)
def test_game_that_cannot_be_played_says_why(query: str, said: str) -> None:
    with pytest.raises((ConfigError, EnvironmentFault), match=said):
        make(f"TextGame-v0?{query}")


def test_name_of_digits_is_a_game() -> None:
    assert "2048" in begun(make("TextGame-v0?name=2048"))[1]["instructions"]


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (LookupError("\n***\n  Resource \x1b[93mwords\x1b[0m not found.\n"), "python -m nltk.downloader words"),
        (LookupError("no such word"), "lacks a part: no such word"),
        (SyntaxError("f-string: unmatched '['"), "a newer one may"),
    ],
)
def test_game_that_lacks_words_or_a_newer_python_says_so(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, said: str
) -> None:
    def make_nothing(name: str, **settings: Any) -> Any:
        raise problem

    monkeypatch.setattr("textarena.make", make_nothing)
    with pytest.raises(ConfigError, match=said):
        make("TextGame-v0?name=GuessTheNumber")


def test_absent_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "textarena", None)
    with pytest.raises(MissingExtraError, match=r"llmagentos\[games\]"):
        make("TextGame-v0?name=GuessTheNumber")
