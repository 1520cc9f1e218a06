"""A watched learner learns the same, its clock stands still meanwhile, and a killed unit keeps what it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import learning_curves as curves
import pytest

from llmagentos.demo import plan
from llmagentos.environments.drills import Drills
from llmagentos.learning.context import Learning, LearningContext
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.models.adapters import FusedAdapter
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate

QUICK = ImitationSettings(AdapterSettings(rank=2), batch=2, pool=4, limit=4, evaluate_every=1)


class Hands:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_stopwatch_stands_still_while_stopped() -> None:
    hands = Hands()
    watch = curves.Stopwatch(hands)
    hands.now = 3.0
    with watch.stopped():
        hands.now = 100.0
    hands.now = 101.0
    assert watch() == 4.0


@pytest.mark.parametrize("skill", list(curves.SKILLS))
def test_course_is_the_full_demonstrations_lesson(skill: str) -> None:
    lesson = next(one for one in plan(full=True).lessons if one.environment.partition("?")[0] == skill)
    course = curves.course_of(skill)
    phase = course.phases[0]
    told = course.describe()["phases"][0]
    meant = lesson.learner.settings  # type: ignore[attr-defined]
    assert (phase.learner.name, phase.minutes) == (lesson.learner.name, lesson.minutes)
    assert phase.learner.settings.adapter == meant.adapter
    assert phase.learner.settings.limit == meant.limit
    assert told["settings"]["adapter"]["learning_rate"] == meant.adapter.learning_rate
    assert curves.course_of(skill, 0.5).minutes == pytest.approx(course.minutes / 2)


def test_share_of_a_course_counts_its_phases_by_their_minutes() -> None:
    course = curves.Course("E", (curves.Phase(Imitation(), 6.0), curves.Phase(Imitation(), 2.0)))
    assert course.share(0, 0.5) == pytest.approx(3 / 8)
    assert course.share(1, 0.5) == pytest.approx(7 / 8)


class Steps:
    """A learner of three steps of ten seconds, which shows an adapter at each and tells its time in the end."""

    name = "steps"

    def __init__(self, hands: Hands) -> None:
        self.hands = hands

    def learn(self, start: Any, context: LearningContext) -> Learning:
        began = context.clock()
        for number in range(3):
            self.hands.now += 10
            context.evaluate(cast("FusedAdapter", f"adapter {number}"))
            yield Progress("steps", number + 1, 3, seconds=context.clock() - began)
        return Candidate("c", "skill", (), self.name, evidence={"minutes": (context.clock() - began) / 60})


def test_looking_takes_no_time_of_the_learner() -> None:
    hands, seen, finished = Hands(), [], []
    unused: Any = None
    context = LearningContext(
        unused, "skill", "base", 1.0, 0, unused, unused, unused, unused, unused, unused, clock=hands
    )

    def look(event: Progress, adapter: Any) -> None:
        seen.append((event.done, event.seconds, adapter))
        hands.now += 1000

    working = curves.Observed(Steps(hands), look, finished.append).learn(None, context)
    assert [event.done for event in working] == [1, 2, 3]
    assert seen == [(1, 10.0, "adapter 0"), (2, 20.0, "adapter 1"), (3, 30.0, "adapter 2")]
    assert finished[0].evidence["minutes"] == 0.5


def settings_of(course: curves.Course) -> dict[str, Any]:
    return {**course.describe(), "tasks": 2, "points": 3, "seed": 0}


@pytest.fixture
def course() -> curves.Course:
    return curves.Course("SupportDesk-v0", (curves.Phase(Imitation(QUICK), 5.0),))


def test_killed_unit_goes_on_with_its_points_and_its_learner(
    tmp_path: Path, tiny_model: Path, course: curves.Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shared = tmp_path / "unit", tmp_path / "shared"
    measure = curves.Unit._measure
    calls: list[float] = []

    def killed(unit: curves.Unit, minutes: float, adapter: Any, **options: Any) -> None:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(minutes)
        measure(unit, minutes, adapter, **options)

    monkeypatch.setattr(curves.Unit, "_measure", killed)
    with pytest.raises(KeyboardInterrupt):
        curves.measure_unit(folder, shared, str(tiny_model), course, settings_of(course))
    kept = json.loads((folder / "state.json").read_text())
    assert [point["minutes"] for point in kept["points"]] == [round(one, 3) for one in calls]
    assert len(kept["phases"]) == 1

    monkeypatch.setattr(curves.Unit, "_measure", measure)
    results = curves.measure_unit(folder, shared, str(tiny_model), course, settings_of(course))
    assert results["points"][:3] == kept["points"]
    assert len(results["points"]) == 4
    minutes = [point["minutes"] for point in results["points"]]
    assert minutes == sorted(minutes)
    assert minutes[0] == 0.0
    assert not folder.exists()


def test_unit_that_cannot_learn_says_why(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drills, "right_answer", lambda self, task: None)
    course = curves.Course("Drills-v0", (curves.Phase(Imitation(QUICK), 5.0),))  # with nothing to imitate
    results = curves.measure_unit(tmp_path / "u", tmp_path / "s", str(tiny_model), course, settings_of(course))
    assert "nothing to imitate" in results["failed"]
    assert len(results["points"]) == 1


def test_state_of_other_settings_is_discarded(tmp_path: Path, tiny_model: Path, course: curves.Course) -> None:
    folder = tmp_path / "unit"
    folder.mkdir()
    settings = settings_of(course)
    stale = {"settings": {**settings, "tasks": 50}, "points": [{"minutes": 9.9}], "phases": [], "over": True}
    (folder / "state.json").write_text(json.dumps(stale))
    results = curves.measure_unit(folder, tmp_path / "shared", str(tiny_model), course, settings)
    assert results["points"][0]["minutes"] == 0.0
    assert results["tasks"] == 2


def point(minutes: float, strict: float) -> dict[str, float]:
    return {"minutes": minutes, "strict": strict, "lenient": 1.0}


def test_curve_is_median_and_range_of_the_seeds_without_failed_ones() -> None:
    found = curves.median_curve(
        [
            {"points": [point(0, 0.1), point(1, 0.5)]},
            {"points": [point(0, 0.2), point(2, 0.9)]},
            {"points": [point(0, 0.3), point(3, 0.6), point(4, 1.0)]},
            {"points": [point(0, 0.0)], "failed": "nothing rewarded"},
        ]
    )
    assert [one["minutes"] for one in found] == [0, 2]
    assert found[1]["strict"] == {"median": 0.6, "lowest": 0.5, "highest": 0.9}
    assert found[1]["seeds"] == 3


def test_plot_is_the_same_for_the_same_numbers_and_keeps_its_words(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = {"Drills-v0": curves.median_curve([{"points": [point(0, 0.1), point(1, 0.5)]}]), "Nothing-v0": []}
    texts = []
    for name in ("a.svg", "b.svg"):
        curves.plot(drawn, tmp_path / name)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert "Drills-v0" in texts[0]
    assert "Nothing-v0" not in texts[0]
