"""Chance alone: how many tasks it wins from the beginning each time, and by going on from where it came.

Run: python benchmarks/scouts.py [--environment NAME ...] [--seeds N] [--actions N] [--home FOLDER] [--fresh]
Prints a table, writes benchmarks/results/scouts.json; every environment and seed is a unit of a minute at most.

Nobody shows anything and no model is asked: every reply is one of those that there are, as likely as any other. Both
ways are given the same training tasks and as many actions on the environment. The peer begins every run at its start
(uniformly random, the oldest explorer); `learning/returning.py` returns to the observation that was visited least, and
goes on from there. TowerOfHanoi and CliffWalking begin alike in every task: what wins one of them wins all.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

from measuring import (
    JSON,
    add_model_options,
    add_results_options,
    as_share,
    measure_seeds,
    open_units,
    spread,
    tell,
    unit_home,
)

from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings
from llmagentos.kernel.rollouts import Policy
from llmagentos.learning.context import Path as Way
from llmagentos.learning.returning import search, wander
from llmagentos.learning.strategy import ALONE
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task

EXAMPLES = Path(__file__).parent.parent / "examples"
PLANS: dict[str, str] = {
    "TowerOfHanoi": "TextGame-v0?name=TowerOfHanoi",
    "FrozenLake": "TextGame-v0?name=FrozenLake",
    "GuessTheNumber": "TextGame-v0?name=GuessTheNumber&replies=" + r"\[([1-9]%7C1[0-9]%7C20)\]",
    "CliffWalking": "CliffWalking-v1?reward_threshold=-30",
    "Taxi": "Taxi-v4?render_mode=ansi&reward_threshold=-20",
    "GridWorld": "GridWorld-v0?level=2&size=6",
    "Adventure": f"{EXAMPLES}/adventure.py:Adventure-v0",
}
SAMPLES = 8
"""Runs of each task that both begin with."""
WAYS = ("from the beginning", "going on")


def measure(folder: Path, shared: Path, model: str, settings: JSON) -> JSON:
    """One environment and seed."""
    shutil.rmtree(folder, ignore_errors=True)
    name, most, seed = PLANS[str(settings["environment"])], int(settings["actions"]), int(settings["seed"])
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        env = system.make_environment(name)
        tasks = env.tasks("train", int(settings["tasks"]), seed=seed)
        policy = system.cycle.players.policy(env, system.cycle.parts.releases.live())
        begun = uniformly(system, policy, tasks, seed * 1000)
        found: JSON = {"from the beginning": _from_the_beginning(system, policy, tasks, begun, most, seed)}
        found["going on"] = _going_on(system, policy, tasks, begun, most, seed)
    shutil.rmtree(folder)
    tell("  " + ", ".join(f"{way}: {found[way]['won']:.0%} of the tasks" for way in WAYS))
    return found


def uniformly(system: AgentOS, policy: Policy, tasks: Sequence[Task], seed: int) -> list[list[Episode]]:
    """Some runs of each task from its beginning."""
    arguments = policy.arguments | {"explore": asdict(ALONE)}
    by_chance = replace(policy, arguments=arguments, sampling=replace(policy.sampling, seed=seed))
    runs = system.cycle.scouts.play(tasks, by_chance, samples=SAMPLES)
    return [runs[at : at + SAMPLES] for at in range(0, len(runs), SAMPLES)]


def actions(runs: Sequence[Episode]) -> int:
    """How many actions they took on the environment."""
    return sum(len(run.steps) for run in runs)


def _from_the_beginning(
    system: AgentOS, policy: Policy, tasks: Sequence[Task], begun: list[list[Episode]], most: int, seed: int
) -> JSON:
    groups, number = [list(group) for group in begun], 1
    while sum(map(actions, groups)) < most:
        more = uniformly(system, policy, tasks, seed * 1000 + number)
        groups, number = [one + other for one, other in zip(groups, more, strict=True)], number + 1
    return _concluded(groups, sum(map(actions, groups)))


def _going_on(
    system: AgentOS, policy: Policy, tasks: Sequence[Task], begun: list[list[Episode]], most: int, seed: int
) -> JSON:
    spent = [sum(map(actions, begun))]

    def play(paths: Sequence[Way], number: int) -> list[Episode]:
        runs = wander(system.cycle.scouts, policy, paths, number)
        spent[0] += actions(runs)
        return runs

    left = float(most - spent[0])
    found = search(begun, play, left, seed, wanted=len(tasks), clock=lambda: float(spent[0]))
    won = {group[0].task.key: group for group in [*begun, *found] if any(run.success for run in group)}
    return _concluded([won.get(task.key, []) for task in tasks], spent[0])


def _concluded(groups: Sequence[Sequence[Episode]], spent: int) -> JSON:
    """Share of the tasks that were won, and in how many actions at best."""
    best = [min(len(run.steps) for run in group if run.success) for group in groups if any(r.success for r in group)]
    return {"won": round(len(best) / len(groups), 4), "length": median(best) if best else None, "actions": spent}


def show(found: dict[str, list[JSON]]) -> JSON:
    """Print medians over seeds, and return them."""
    from rich.console import Console
    from rich.table import Table

    table, concluded = Table("environment", *WAYS, "actions a way"), {}
    for name, units in found.items():
        one: JSON = {way: spread([unit[way]["won"] for unit in units]) for way in WAYS}
        lengths = [unit["going on"]["length"] for unit in units if unit["going on"]["length"] is not None]
        one |= {"length": spread(lengths) if lengths else None, "seeds": len(units)}
        concluded[name] = one
        shares = [as_share(one[way]) for way in WAYS]
        table.add_row(name, *shares, f"{one['length']['median']:.0f}" if lengths else "-")
    Console(width=100).print(table)
    return concluded


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--actions", type=int, default=24_000, help="on the environment, for all tasks of a unit")
    parser.add_argument("--tasks", type=int, default=16)
    add_model_options(parser)
    add_results_options(parser, "scouts")
    options = parser.parse_args(arguments)
    shared = load_settings(options.home).home
    units = open_units(options, "scouts")
    found = measure_seeds(units, options, shared, ("actions", "tasks", "model"), measure)
    units.write(concluded=show(found))
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
