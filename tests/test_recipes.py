"""Every learner has a recipe that runs, and none is long."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from llmagentos.learning.strategy import LEARNERS
from llmagentos.records.release import Verdict

FOLDER = Path(__file__).parent.parent / "examples" / "recipes"
RECIPES = sorted(path for path in FOLDER.glob("*.py") if path.stem != "recipe")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return load(FOLDER / "recipe.py", "recipe")


def load(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_every_learner_has_a_recipe(recipe: Any) -> None:
    named = {load(path, f"recipe_{path.stem}").LEARNER.name for path in RECIPES}
    assert set(LEARNERS) - named == {"grpo"}, "one recipe has both variants of GRPO"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_short_and_goes_through_the_cycle(
    recipe: Any, path: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert path.read_text(encoding="utf-8").count("\n") < 120
    module = load(path, f"recipe_{path.stem}")
    seen: list[Any] = []

    def learn(self: Any, name: str, *, minutes: float, learner: Any, on_progress: Any) -> Verdict:
        seen.append((name, minutes, learner))
        return Verdict("c", False, "a test")

    monkeypatch.setattr("llmagentos.cycle.Cycle.learn", learn)
    monkeypatch.setattr("llmagentos.cycle.Cycle.evaluate", lambda self, name, tasks: f"{name} on {tasks} tasks")
    monkeypatch.setenv("LLMAGENTOS_MODEL", str(tiny_model))
    recipe.cook(module.LEARNER, "Drills-v0?kind=lookup", 2.0, ["--home", str(tmp_path), "--tasks", "3"])
    assert seen == [("Drills-v0?kind=lookup", 2.0, module.LEARNER)]
    assert "refused: a test" in capsys.readouterr().out


def test_error_is_one_line(recipe: Any, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAGENTOS_MODEL", str(tiny_model))
    learner = load(FOLDER / "imitation.py", "recipe_imitation").LEARNER
    with pytest.raises(SystemExit, match="No environment named 'Nothing-v0'"):
        recipe.cook(learner, "Nothing-v0", 1.0, ["--home", str(tmp_path)])
