"""Six skills in a row: what is kept by the default cycle, by plain fine-tuning in the same order, by joint training.

Run: python benchmarks/six_skills.py [--way NAME ...] [--seed N ...] [--minutes N] [--tasks N] [--data FOLDER] [--fresh]
Prints the retention matrices, writes benchmarks/results/six_skills.json. Every way with a seed is a unit in a home of
its own; a killed one goes on behind its last finished skill.

`cycle`: each skill is learned from the live release as `llmagentos learn --learner imitation` does it, in an adapter of
its own where its requests can be told apart, and the gate lets the candidate live or not. `sequential`: the same
learner and minutes, each from the weights of the one before, no replay, no anchor, no gate. `joint`: all six at once,
for the minutes of all. Requests do not say to which skill they belong: in `cycle` a router reads how a run opens, in
the others one adapter serves all.
Replies are held to the tools there are (`LLMAGENTOS_CONSTRAINED`), for every way alike.
R[t, i] is strict success on the same held-out tasks of skill i after skill t; ACC is the mean of the last row, BWT the
mean change of a skill since it was learned. Targets for `cycle`: BWT at least -3 points, ACC within 6 points of joint.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from corpora import DATA, written
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
from llmagentos.cycle import Cycle, CycleSettings
from llmagentos.demo import success
from llmagentos.environments.registry import write_query
from llmagentos.errors import LLMAgentOSError
from llmagentos.evaluation.metrics import continual_scores
from llmagentos.kernel.rollouts import Series
from llmagentos.learning.context import Learner, Learning, LearningContext
from llmagentos.learning.strategy import learner_named
from llmagentos.learning.worked import expert_runs

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.models.adapters import FusedAdapter
    from llmagentos.records.transcript import Transcript

WAYS = ("cycle", "sequential", "joint")
SKILLS = {
    "support desk": ("SupportDesk-v0", ""),
    "banking": ("Requests-v0", "clinc-banking"),
    "function calls": ("FunctionCalling-v0?category=simple,multiple", ""),
    "restaurants": ("Requests-v0", "restaurants8k"),
    "walking": ("GridWorld-v0?level=1&size=5", ""),
    "travel": ("Requests-v0", "clinc-travel"),
}
LEARNER = "imitation"
GATE = CycleSettings(gate_tasks=60, kept_tasks=60, development_tasks=8)
SERVED = "measured"


class Joint:
    """Imitates the experts of several environments at once."""

    name = "joint"

    def __init__(self, system: AgentOS, environments: Sequence[LanguageEnvironment]) -> None:
        self._system, self._environments = system, environments

    def learn(self, start: FusedAdapter | None, context: LearningContext) -> Learning:
        """See `Learner.learn`."""
        learner = learner_named(LEARNER)
        return learner.learn(start, replace(context, demonstrations=self._demonstrations))

    def _demonstrations(self, count: int, seed: int) -> list[Transcript]:
        rollouts, each = self._system.cycle.rollouts, -(-count // len(self._environments))
        shown = [
            [one.transcript for one in expert_runs(env, rollouts, env.tasks("train", each, seed=seed)) if one.success]
            for env in self._environments
        ]
        return [one for one in chain(*zip_longest(*shown)) if one is not None][:count]


class Row:
    """One way through the six skills."""

    def __init__(self, system: AgentOS, folder: Path, names: Sequence[str], settings: JSON) -> None:
        self.system, self.cycle = system, Cycle(system.cycle.parts, GATE)
        self.environments = [system.make_environment(name) for name in names]
        self.minutes, self.seed = float(settings["minutes"]), int(settings["seed"])
        self.tasks = [env.tasks("report", int(settings["tasks"])) for env in self.environments]
        self._path = folder / "state.json"
        self._state = unit_state(folder, settings, rows=[], verdicts=[], adapter=None)

    def run(self, way: str) -> JSON:
        """Learn and measure what is left; the rows and what they amount to."""
        if not self._state["rows"]:
            self._measure()
        if way == "joint":
            if len(self._state["rows"]) == 1:
                learner = Joint(self.system, self.environments)
                minutes = self.minutes * len(self.environments)
                self._teach(self.environments[0], learner, minutes)
                self._measure()
        else:
            for env in self.environments[len(self._state["rows"]) - 1 :]:
                if way == "sequential":
                    learner = learner_named(LEARNER, further=self._state["adapter"] is not None)
                    self._teach(env, learner, self.minutes)
                else:
                    self._learn(env)
                self._measure()
        return self._conclude(way)

    def _teach(self, env: LanguageEnvironment, learner: Learner, minutes: float) -> None:
        known = self._state["adapter"]
        start = self.cycle.players.stored_adapter(known) if known else None
        candidate = self.cycle.teach(env, learner, start, minutes=minutes, seed=self.seed, replay=False)
        self._state["adapter"] = candidate.artefacts[0].digest

    def _learn(self, env: LanguageEnvironment) -> None:
        try:
            verdict = self.cycle.learn(env.name, minutes=self.minutes, learner=LEARNER, seed=self.seed)
            said = {"released": verdict.released, "reason": verdict.reason}
        except LLMAgentOSError as problem:
            said = {"released": False, "reason": str(problem)}
        self._state["verdicts"].append({"skill": env.skill, **said})
        tell(f"  {env.skill}: {said}")

    def _measure(self) -> None:
        began, live = time.monotonic(), self.system.releases.live()
        policies = [self.cycle.players.policy(env, live) for env in self.environments]
        if self._state["adapter"]:
            self.cycle.engine.serve(SERVED, self.cycle.players.stored_adapter(self._state["adapter"]))
            policies = [replace(one, release=SERVED, adapter=SERVED) for one in policies]
        series = [Series(tasks, one) for tasks, one in zip(self.tasks, policies, strict=True)]
        row = [round(success(episodes), 4) for episodes in self.cycle.rollouts.play_together(series)]
        self._state["rows"].append(row)
        write_results(self._path, self._state)
        tell(f"  {' '.join(f'{cell:.0%}' for cell in row)} (measured in {time.monotonic() - began:.0f} s)")

    def _conclude(self, way: str) -> JSON:
        rows = self._state["rows"]
        found: JSON = {"rows": rows, "verdicts": self._state["verdicts"], "ACC": round(sum(rows[-1]) / len(SKILLS), 4)}
        if way != "joint":
            scores = continual_scores(rows[1:], rows[0])
            found |= {
                "BWT": round(scores.backward_transfer or 0.0, 4),
                "forgetting": round(scores.forgetting or 0.0, 4),
            }
        return found


def measure(folder: Path, shared: Path, model: str, names: Sequence[str], way: str, settings: JSON) -> JSON:
    """One way, going on where it was killed."""
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        found = Row(system, folder, names, settings).run(way)
    shutil.rmtree(folder)
    return found


def conclude(results: dict[str, JSON]) -> JSON:
    """ACC and BWT of each way over its seeds."""
    concluded: JSON = {}
    for way in WAYS:
        units = [unit for name, unit in results.items() if name.partition(",")[0] == way]
        if units:
            said = [key for key in ("ACC", "BWT") if key in units[0]]
            concluded[way] = {**{key: spread([one[key] for one in units]) for key in said}, "seeds": len(units)}
    return concluded


def in_words(one: JSON) -> str:
    """ACC, and BWT where there is one."""
    return f"ACC {one['ACC']:.1%}" + (f", BWT {100 * one['BWT']:+.1f} points" if "BWT" in one else "")


def show(found: dict[str, JSON]) -> None:
    """Print a matrix for each way."""
    from rich.console import Console
    from rich.table import Table

    for way, one in found.items():
        table = Table("after", *SKILLS, title=f"{way}: {in_words(one)}")
        after = ["nothing", *SKILLS] if "BWT" in one else ["nothing", "all"]
        for name, row in zip(after, one["rows"], strict=True):
            table.add_row(name, *[f"{cell:.0%}" for cell in row])
        Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--minutes", type=float, default=2.0, help="of learning each skill")
    parser.add_argument("--tasks", type=int, default=50, help="held-out tasks of a skill")
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path, default=DATA, help="where CLINC150 and RESTAURANTS-8K lie")
    add_model_options(parser)
    add_results_options(parser, "six_skills")
    options = parser.parse_args(arguments)
    os.environ["LLMAGENTOS_CONSTRAINED"] = "on"
    shared = load_settings(options.home).home
    corpora = shared / "benchmarks" / "corpora"
    names = [
        name + (write_query({"data": str(written(corpus, options.data, corpora))}) if corpus else "")
        for name, corpus in SKILLS.values()
    ]
    units = open_units(options, "six skills")
    said = {key: getattr(options, key) for key in ("minutes", "tasks", "model")}
    found = {}
    for seed in options.seed:
        for way in options.way:
            name, folder = f"{way}, seed {seed}", shared / "benchmarks" / "six_skills" / f"{way}-{seed}"
            settings = {**said, "seed": seed, "skills": list(SKILLS), "learner": LEARNER}
            work = partial(measure, folder, shared, options.model, names, way, settings)
            found[name] = units.measure(name, settings, work)
    concluded = conclude(units.results)
    units.write(concluded=concluded)
    show(found)
    for way, one in concluded.items():
        print(f"{way}: {in_words({key: one[key]['median'] for key in ('ACC', 'BWT') if key in one})}")
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
