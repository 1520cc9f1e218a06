"""What learning a new task costs an old one: own rewarded runs beside imitation, at equal score on the new task.

Run: python benchmarks/forgetting.py [--seeds N] [--tasks N] [--home FOLDER] [--fresh]
Prints a table, writes benchmarks/results/forgetting.json; every seed is a unit, a killed one goes on behind its
last run.

The claim (Shenfeld, Pari and Agrawal, "RL's Razor", arXiv 2509.04259): at equal score on the new task, learning from
own samples forgets less than imitation, because it moves less; KL(new || old) on the new task's inputs says how much.
Here: the support desk is imitated first. From that adapter the drills are learned several times, each time for more
steps: on-policy by the policy gradient from own rewarded runs, those of the first steps with worked examples in the
prompt; supervised by imitation of the right answers. Both have no replay and the rate that the demonstration uses
(3e-4), imitation also a third of it. Measured after each: strict success on held-out drills and desk tasks, KL from the
adapter before on prompts of drills and on general requests. Then forgetting is read off at the same drills score, by
linear interpolation between a way's runs.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import (
    JSON,
    add_model_options,
    add_results_options,
    open_units,
    spread,
    tell,
    unit_home,
    unit_state,
    write_results,
)

from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings
from llmagentos.demo import success
from llmagentos.evaluation.divergence import divergence, general_prompts
from llmagentos.kernel.rollouts import Series
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.language.policy_gradient import PolicyGradient, PolicyGradientSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.learning.worked import expert_runs

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.learning.context import Learner
    from llmagentos.models.adapters import FusedAdapter

OLD, NEW = "SupportDesk-v0", "Drills-v0?kind=lookup&level=1"
FIRST = ImitationSettings(batch=2, pool=128, limit=160, replay_share=0.25)
MINUTES = 30.0
"""More than any run needs: the steps end them."""
SERVED = "measured"
GOALS = (0.5, 0.7, 0.9)
"""Scores on the new task at which the old one is compared."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of learning, for several numbers of steps."""

    steps: tuple[int, ...]
    rate: float
    own: bool

    def learner(self, steps: int) -> Learner:
        """Without replay: what learning itself costs is to be seen."""
        rate = AdapterSettings(learning_rate=self.rate)
        if self.own:
            return PolicyGradient(PolicyGradientSettings(rate, tasks=6, temperature=0.8, limit=steps, replay=0))
        return Imitation(ImitationSettings(rate, batch=8, pool=64, limit=steps, replay_share=0.0))


WAYS = {
    "on-policy, 3e-4": Way((8, 16, 24, 36), 3e-4, own=True),
    "supervised, 3e-4": Way((4, 8, 16, 32), 3e-4, own=False),
    "supervised, 1e-4": Way((8, 16, 32, 64), 1e-4, own=False),
}


class Seed:
    """All ways with one seed."""

    def __init__(self, system: AgentOS, folder: Path, settings: JSON) -> None:
        self.system, self.seed = system, int(settings["seed"])
        self.old, self.new = (system.make_environment(name) for name in (OLD, NEW))
        self.new.expert = lambda task: lambda seen: self.new.right_answer(task) or ""  # type: ignore[method-assign]
        self.tasks = int(settings["tasks"])
        self._path = folder / "state.json"
        self._state = unit_state(folder, settings, adapter=None, before=None, runs={})

    def run(self) -> JSON:
        """Learn what is missing; figures of every run."""
        if self._state["adapter"] is None:
            self._state["adapter"] = self._teach(self.old, Imitation(FIRST), None)
            self._save()
        start = self.system.cycle.players.stored_adapter(self._state["adapter"])
        if self._state["before"] is None:
            self._state["before"] = self._measured(start, start)
            self._save()
            tell(f"  before: {self._state['before']}")
        for name, way in WAYS.items():
            known = self._state["runs"].setdefault(name, [])
            for steps in way.steps[len(known) :]:
                digest = self._teach(self.new, way.learner(steps), start)
                known.append(
                    {"steps": steps, **self._measured(self.system.cycle.players.stored_adapter(digest), start)}
                )
                self._save()
                tell(f"  {name}, {known[-1]}")
        return {key: self._state[key] for key in ("before", "runs")}

    def _save(self) -> None:
        write_results(self._path, self._state)

    def _teach(self, env: LanguageEnvironment, learner: Learner, start: FusedAdapter | None) -> str:
        candidate = self.system.cycle.teach(
            env, learner, start, minutes=MINUTES, seed=self.seed, replay=env is self.old
        )
        return candidate.artefacts[0].digest

    def _measured(self, adapter: FusedAdapter, start: FusedAdapter) -> JSON:
        cycle = self.system.cycle
        cycle.engine.serve(SERVED, adapter)
        bare = self.system.releases.get("r0")
        series = [
            Series(
                env.tasks("report", self.tasks),
                replace(cycle.players.policy(env, bare), release=SERVED, adapter=SERVED),
            )
            for env in (self.old, self.new)
        ]
        old, new = cycle.rollouts.play_together(series)
        decoder, general = cycle.engine.decoder, general_prompts(cycle.engine.renderer)
        drills = [one.transcript for one in expert_runs(self.new, cycle.rollouts, self.new.tasks("report", 24))]
        prompts = [one.tokens[: one.trainable.index(True) + 1] for one in drills]
        return {
            "old": round(success(old), 4),
            "new": round(success(new), 4),
            "KL on the new task": round(divergence(decoder, adapter, start, prompts), 5),
            "KL on general requests": round(divergence(decoder, adapter, start, general), 5),
        }


def measure(folder: Path, shared: Path, settings: JSON) -> JSON:
    """One seed, going on where it was killed."""
    with AgentOS(unit_home(folder, shared, settings), settings["model"]) as system:
        return Seed(system, folder, settings).run()


def at_score(goal: float, before: JSON, runs: Sequence[JSON], key: str) -> float | None:
    """What `key` was where the new task's score was `goal`, between the first two runs around it; None if never."""
    points = [before, *runs]
    for earlier, later in pairwise(points):
        if earlier["new"] <= goal <= later["new"]:
            share = (goal - earlier["new"]) / (later["new"] - earlier["new"]) if later["new"] > earlier["new"] else 0.0
            return float(earlier[key] + share * (later[key] - earlier[key]))
    return None


def concluded(found: dict[str, JSON]) -> JSON:
    """For each way and score: loss of the old task and KL, median and range over seeds."""
    summary: JSON = {}
    for way in WAYS:
        for goal in GOALS:
            cell: JSON = {}
            for key, factor in (("old", -1.0), ("KL on the new task", 1.0), ("KL on general requests", 1.0)):
                values = []
                for one in found.values():
                    reached = at_score(goal, one["before"], one["runs"][way], key)
                    if reached is not None:
                        values.append(factor * (reached - (one["before"]["old"] if key == "old" else 0.0)))
                if values:
                    cell["forgotten" if key == "old" else key] = {**spread(values), "seeds": len(values)}
            summary.setdefault(way, {})[f"new task at {goal:.0%}"] = cell
    runs = [(one["before"], run) for one in found.values() for each in one["runs"].values() for run in each]
    moved, lost = [run["KL on the new task"] for _, run in runs], [before["old"] - run["old"] for before, run in runs]
    if len(set(moved)) > 1 and len(set(lost)) > 1:
        correlation = statistics.correlation(ranks(moved), ranks(lost))
        summary["rank correlation of KL on the new task with what was forgotten"] = round(correlation, 3)
    return summary


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, equal ones the mean of theirs (Spearman's correlation is that of ranks)."""
    ordered = sorted(values)
    return [ordered.index(one) + (ordered.count(one) - 1) / 2 for one in values]


def show(found: dict[str, JSON], summary: JSON) -> None:
    """Print every run, and what was forgotten at equal scores."""
    from rich.console import Console
    from rich.table import Table

    table = Table("seed", "way", "steps", "drills", "desk", "KL drills", "KL general", title="every run")
    for seed, one in found.items():
        rows = [("before", {"steps": "", **one["before"]})]
        rows += [(way, run) for way, runs in one["runs"].items() for run in runs]
        for way, run in rows:
            moved = [f"{run[f'KL on {what}']:.3f}" for what in ("the new task", "general requests")]
            table.add_row(seed, way, str(run["steps"]), f"{run['new']:.0%}", f"{run['old']:.0%}", *moved)
        table.add_section()
    Console(width=120).print(table)
    table = Table("way", *[f"drills at {goal:.0%}" for goal in GOALS], title="points of the desk forgotten (KL drills)")
    for way in WAYS:
        cells = [summary[way][f"new task at {goal:.0%}"] for goal in GOALS]
        said = [
            f"{100 * cell['forgotten']['median']:.0f} ({cell['KL on the new task']['median']:.3f})" if cell else "-"
            for cell in cells
        ]
        table.add_row(way, *said)
    Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=100, help="held-out tasks of each skill")
    add_model_options(parser)
    add_results_options(parser, "forgetting")
    options = parser.parse_args(arguments)
    shared = load_settings(options.home).home
    units = open_units(options, "forgetting")
    for seed in range(options.seeds):
        settings = {"seed": seed, "tasks": options.tasks, "model": options.model}
        settings["ways"] = {name: [*way.steps, way.rate] for name, way in WAYS.items()}
        folder = shared / "benchmarks" / "forgetting" / str(seed)
        units.measure(f"seed {seed}", settings, partial(measure, folder, shared, settings))
    found = units.results
    summary = concluded(found)
    units.write(concluded=summary)
    show(found, summary)
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
