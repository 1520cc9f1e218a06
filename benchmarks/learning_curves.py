"""Learning curves: success on held-out tasks against minutes of learning, for the demonstration's skills.

Run: python benchmarks/learning_curves.py [--skill NAME ...] [--seeds N] [--tasks N] [--home FOLDER] [--fresh]
Prints a table, writes benchmarks/results/learning_curves.json and .svg. Every (skill, seed) is a unit of its own home
and of at most an hour; one that is there is not measured again, a killed one goes on from its learner's checkpoint
and keeps the points that it has.

Learners, their settings and their minutes are those of the full demonstration (`llmagentos.demo.plan`). At equal
shares of the planned steps the adapter as it is then plays the same tasks of the report split, greedily, through the
kernel; the last point is the candidate itself, the first the bare model without examples. Only learning counts as
minutes, practice included: the learner's clock stands still while it is measured, and the few evaluations on the
development split that the demonstration watches are left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import (
    JSON,
    add_model_options,
    add_results_options,
    as_share,
    open_units,
    spread,
    tell,
    unit_home,
    unit_state,
    write_results,
)

from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings
from llmagentos.demo import CALLING, DRILLS, SUPPORT, Lesson, lenient, plan, success
from llmagentos.errors import LearningError
from llmagentos.learning.context import Learner, Learning, LearningContext, Score
from llmagentos.learning.language.imitation import Imitation
from llmagentos.learning.language.policy_gradient import PolicyGradient

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.models.adapters import FusedAdapter
    from llmagentos.records.progress import Progress
    from llmagentos.records.release import Candidate
    from llmagentos.records.task import Task

SKILLS = {
    SUPPORT: SUPPORT,
    DRILLS.partition("?")[0]: DRILLS,
    CALLING.partition("?")[0]: f"{CALLING.partition('?')[0]}?category=simple,multiple",
}
"""What is learned, by the name it is asked for: the issue's targets are on these levels and categories."""
SERVED = "curve"
"""Name of the measured adapter in the engine."""
TOLD_EVERY = 30.0
"""Seconds between two lines about a learner's progress."""


# What is learned.


@dataclass(frozen=True, slots=True)
class Phase:
    """One learner at work for some minutes."""

    learner: Imitation | PolicyGradient
    minutes: float


@dataclass(frozen=True, slots=True)
class Course:
    """A skill's learners, one behind the other."""

    environment: str
    phases: tuple[Phase, ...]

    @property
    def minutes(self) -> float:
        """Planned minutes of all phases."""
        return sum(phase.minutes for phase in self.phases)

    def share(self, phase: int, done: float) -> float:
        """Share of the whole course when `done` (0 to 1) of a phase is over."""
        before = sum(one.minutes for one in self.phases[:phase])
        return (before + done * self.phases[phase].minutes) / self.minutes

    def describe(self) -> JSON:
        """Plain JSON that differs when anything that is learned by differs."""
        said = [
            {"learner": one.learner.name, "settings": asdict(one.learner.settings), "minutes": one.minutes}
            for one in self.phases
        ]
        return {"environment": self.environment, "phases": json.loads(json.dumps(said))}


def course_of(skill: str, shorten: float = 1.0) -> Course:
    """The full demonstration's way to learn `skill`; `shorten` multiplies its minutes."""
    lesson = next(one for one in plan(full=True).lessons if one.environment.partition("?")[0] == skill)
    phases = [Phase(_attentive(learner), minutes * shorten) for learner, minutes in _parts(lesson) if minutes > 0]
    return Course(SKILLS[skill], tuple(phases))


def _parts(lesson: Lesson) -> list[tuple[Learner, float]]:
    more = [(lesson.more, lesson.more_minutes)] if lesson.more is not None else []
    return [(lesson.learner, lesson.minutes), *more]


def _attentive(learner: Learner) -> Imitation | PolicyGradient:
    """The same learner, showing its adapter after every step (see `Observed`)."""
    if isinstance(learner, Imitation):
        return Imitation(replace(learner.settings, evaluate_every=1))
    if isinstance(learner, PolicyGradient):
        return PolicyGradient(replace(learner.settings, evaluate_every=1))
    raise SystemExit(f"Of the learner {learner.name} it is not known how it shows its adapter: add it to _attentive.")


# Watching a learner.


class Stopwatch:
    """A clock that stands still while something is measured."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost = 0.0

    def __call__(self) -> float:
        return self._clock() - self._lost

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What is done within takes no time. Nobody reads the clock within."""
        began = self._clock()
        try:
            yield
        finally:
            self._lost += self._clock() - began


class Observed:
    """A learner that is watched at work: the same learner, with its clock stopped while somebody looks."""

    def __init__(
        self,
        learner: Learner,
        look: Callable[[Progress, FusedAdapter], None],
        finish: Callable[[Candidate], None],
    ) -> None:
        """`look` sees every step's event and adapter; `finish` the candidate, before its checkpoint is discarded."""
        self._learner, self._look, self._finish = learner, look, finish

    @property
    def name(self) -> str:
        """The learner's own: its checkpoint carries it."""
        return self._learner.name

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """See `Learner.learn`."""
        watch = Stopwatch(context.clock)
        shown: list[FusedAdapter] = []

        def take(adapter: FusedAdapter) -> Score:
            shown[:] = [adapter]
            return Score(float("nan"), float("nan"), 0)

        working = self._learner.learn(start, replace(context, evaluate=take, clock=watch))
        try:
            while True:
                event = next(working)
                with watch.stopped():
                    self._look(event, shown[-1])
                    yield event
        except StopIteration as finished:
            candidate: Candidate = finished.value
            self._finish(candidate)
            return candidate
        finally:
            working.close()


# One unit.


class Unit:
    """One skill learned once, in a home of its own, resumable at any moment."""

    def __init__(self, system: AgentOS, folder: Path, course: Course, settings: JSON) -> None:
        """`folder` keeps the state; state of other settings is discarded."""
        self.system, self.course = system, course
        self.seed, self.intended = int(settings["seed"]), int(settings["points"])
        self.env: LanguageEnvironment = system.make_environment(course.environment)
        self.tasks: list[Task] = self.env.tasks("report", int(settings["tasks"]))
        self._path = folder / "state.json"
        self._state = unit_state(folder, settings, points=[], phases=[], over=False)
        self._told = time.monotonic()

    @property
    def points(self) -> list[JSON]:
        """What was measured so far: minutes, strict, lenient."""
        return list(self._state["points"])

    @property
    def _spent(self) -> float:
        """Minutes of the phases that are over."""
        return float(sum(phase["minutes"] for phase in self._state["phases"]))

    def run(self) -> JSON:
        """Learn what is left and measure on the way; returns the points, or why learning failed."""
        if not self.points:
            self._measure(0.0, None)
        try:
            for number in range(len(self._state["phases"]), len(self.course.phases)):
                self._learn(number)
        except LearningError as error:
            return {"tasks": len(self.tasks), "points": self.points, "failed": str(error)}
        if not self._state["over"]:
            self._measure(self._spent, self._adapter(), last=True)
        return {"tasks": len(self.tasks), "points": self.points}

    def _learn(self, number: int) -> None:
        phase = self.course.phases[number]

        def look(event: Progress, adapter: FusedAdapter) -> None:
            share = self.course.share(number, event.done / event.total)
            self._tell(event)
            if share < 1.0 and int(share * self.intended) >= len(self.points):
                self._measure(self._spent + event.seconds / 60, adapter)

        def finish(candidate: Candidate) -> None:
            minutes = candidate.evidence["minutes"]
            self._state["phases"].append({"adapter": candidate.artefacts[0].digest, "minutes": minutes})
            self._save()

        # Phases differ in their seed, so that none takes up the checkpoint of another.
        seed = self.seed * len(self.course.phases) + number
        learner = Observed(phase.learner, look, finish)
        self.system.cycle.teach(self.env, learner, self._adapter(), minutes=phase.minutes, seed=seed)

    def _adapter(self) -> FusedAdapter | None:
        """What the last finished phase has learned."""
        if not self._state["phases"]:
            return None
        return self.system.cycle.players.stored_adapter(self._state["phases"][-1]["adapter"])

    def _measure(self, minutes: float, adapter: FusedAdapter | None, *, last: bool = False) -> None:
        cycle = self.system.cycle
        policy = cycle.players.policy(self.env, self.system.releases.live())
        if adapter is not None:
            cycle.engine.serve(SERVED, adapter)
            policy = replace(policy, release=SERVED, adapter=SERVED)
        began = time.monotonic()
        episodes = cycle.rollouts.play(self.tasks, policy, labels={"purpose": "report"})
        point = {"minutes": round(minutes, 3), "strict": success(episodes), "lenient": lenient(episodes)}
        self._state["points"].append(point)
        self._state["over"] = last
        self._save()
        tell(f"  {minutes:.1f} min: {point['strict']:.0%} strict (measured in {time.monotonic() - began:.0f} s)")

    def _save(self) -> None:
        write_results(self._path, self._state)

    def _tell(self, event: Progress) -> None:
        if time.monotonic() - self._told >= TOLD_EVERY:
            self._told = time.monotonic()
            tell(f"  {event.stage}: {event.done:.0f} of {event.total:.0f} {event.unit}, {event.seconds / 60:.1f} min")


def measure_unit(folder: Path, shared: Path, model: str, course: Course, settings: JSON) -> JSON:
    """Run a unit in `folder`, going on where it was killed, and remove the folder when it is done."""
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        results = Unit(system, folder, course, settings).run()
    shutil.rmtree(folder)
    return results


# From units to curves.


def median_curve(units: Sequence[JSON]) -> list[JSON]:
    """Of the same skill's units: at each point the median minutes and strict success with its range over the seeds.

    Units that failed are left out; a point that some unit lacks, having stopped early, ends the curve.
    """
    whole = [unit["points"] for unit in units if "failed" not in unit]
    return [
        {
            "minutes": round(statistics.median(point["minutes"] for point in column), 2),
            "strict": spread([point["strict"] for point in column]),
            "lenient": spread([point["lenient"] for point in column]),
            "seeds": len(column),
        }
        for column in zip(*whole, strict=False)
    ]


def plot(curves: dict[str, list[JSON]], path: Path) -> None:
    """Draw median and range of each skill as SVG."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit(
            f"{path.name} was not drawn: matplotlib is missing. Install it: pip install matplotlib"
        ) from None
    matplotlib.use("svg")
    from matplotlib import pyplot

    # Text stays text, and the same numbers give the same file.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "learning curves", "font.family": "sans-serif"}
    ):
        figure, axes = pyplot.subplots(figsize=(8, 4.5))
        drawn = [(skill, curve) for skill, curve in curves.items() if curve]
        for (skill, curve), colour in zip(drawn, ("#0072b2", "#d55e00", "#009e73"), strict=False):
            minutes = [point["minutes"] for point in curve]
            low, middle, high = (
                [100 * point["strict"][which] for point in curve] for which in ("lowest", "median", "highest")
            )
            axes.fill_between(minutes, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(minutes, middle, color=colour, marker="o", markersize=4, label=skill)
        seeds = max((point["seeds"] for curve in curves.values() for point in curve), default=0)
        axes.set(
            xlabel="minutes of learning", ylabel="held-out tasks solved, strict (%)", ylim=(0, 100), xlim=(0, None)
        )
        axes.set_title(f"Median and range over {seeds} seeds", loc="left", fontsize=10)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)


def show(curves: dict[str, list[JSON]]) -> None:
    """Print every point of every curve."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="held-out success, strict: median (range over seeds)")
    for column in ("skill", "minutes", "strict", "lenient", "seeds"):
        table.add_column(column, justify="left" if column == "skill" else "right")
    for skill, curve in curves.items():
        for point in curve:
            said = [as_share(point[form]) for form in ("strict", "lenient")]
            table.add_row(skill, f"{point['minutes']:.1f}", *said, str(point["seeds"]))
        table.add_section()
    Console(width=100).print(table)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skill", nargs="+", choices=list(SKILLS), default=list(SKILLS))
    parser.add_argument("--seeds", type=int, default=3, help="how often each skill is learned")
    parser.add_argument("--tasks", type=int, default=100, help="held-out tasks of a point, the same for all points")
    parser.add_argument("--points", type=int, default=5, help="points of a curve after the bare model's")
    parser.add_argument("--shorten", type=float, default=1.0, help="multiplies the minutes, to try it out")
    add_model_options(parser)
    parser.add_argument("--work", type=Path, help="where the units' homes lie (default: HOME/benchmarks)")
    add_results_options(parser, "learning_curves")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write, draw. Each seed goes through all skills before the next begins."""
    options = read_options(arguments)
    shared = load_settings(options.home).home
    work = options.work or shared / "benchmarks" / "learning_curves"
    if options.fresh:
        shutil.rmtree(work, ignore_errors=True)
    units = open_units(options, "learning curves")
    found: dict[str, list[JSON]] = {skill: [] for skill in options.skill}
    for seed in range(options.seeds):
        for skill in options.skill:
            course = course_of(skill, options.shorten)
            settings = {**course.describe(), "tasks": options.tasks, "points": options.points, "seed": seed}
            settings["model"] = options.model
            folder = work / f"{skill}-{seed}"

            def measure(folder: Path = folder, course: Course = course, settings: JSON = settings) -> JSON:
                return measure_unit(folder, shared, options.model, course, settings)

            found[skill].append(units.measure(f"{skill}, seed {seed}", settings, measure))
    curves = {skill: median_curve(results) for skill, results in found.items()}
    units.write(curves=curves)
    show(curves)
    for skill, results in found.items():
        for seed, one in enumerate(results):
            if "failed" in one:
                print(f"{skill}, seed {seed} failed: {one['failed']}")
    plot(curves, options.results.with_suffix(".svg"))
    print(f"written to {options.results} and {options.results.with_suffix('.svg')}")


if __name__ == "__main__":
    main()
