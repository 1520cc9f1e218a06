"""Nobody shows how: what an agent learns from its own rewarded runs alone, by one command.

Run: python benchmarks/own_runs.py [--environment NAME ...] [--seeds N] [--minutes N] [--home FOLDER] [--fresh]
Prints a table, writes benchmarks/results/own_runs.json; every environment and seed is a unit of some ten minutes.

No expert, no right answers, no examples: games by their names (TowerOfHanoi always begins alike), a plain Gymnasium
environment, `GridWorld-v0` without its expert, CLINC150's banking requests (`--data`), of which it is said only whether
they were called by their intent, a smart home, held out in other words than it was practised in
(`examples/smart_home.py`), slogans of a wanted form, held out on other subjects (`examples/slogans.py`), and a text
adventure that is rewarded at its end alone (`examples/adventure.py`; it takes more minutes than the others). Replies
are held to what the environment says can be replied (a game's own form of a move, an action space, four words, fifteen
intents, thirty calls), so that some runs succeed by chance; slogans are free and rewarded for part of the way.
`llmagentos learn` chooses by what, the gate lets the candidate live or not; then the release plays tasks of the report
split, as the bare model did before, greedily both.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from corpora import DATA
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
from unaided import GRID, LABELS, register

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings

EXAMPLES = Path(__file__).parent.parent / "examples"
PLANS: dict[str, str] = {
    "GuessTheNumber": "TextGame-v0?name=GuessTheNumber",
    "TowerOfHanoi": "TextGame-v0?name=TowerOfHanoi",
    "Blackjack": "Blackjack-v1?reward_threshold=1",
    "GridWorld": f"{GRID}?level=1&size=4",
    "Labels": LABELS,
    "SmartHome": f"{EXAMPLES}/smart_home.py:SmartHome-v0",
    "Slogans": f"{EXAMPLES}/slogans.py:Slogans-v0",
    "Adventure": f"{EXAMPLES}/adventure.py:Adventure-v0",
}
"""Of Blackjack's hands 43 % are won at best (gymnasium's rules; basic strategy)."""
FIGURES = ("before", "after")


def measure(folder: Path, shared: Path, model: str, settings: JSON) -> JSON:
    """One environment and seed."""
    shutil.rmtree(folder, ignore_errors=True)
    name, seed = PLANS[str(settings["environment"])], int(settings["seed"])
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        agent = Agent(system=system)
        before = successful(system, name, int(settings["tasks"]))
        began = time.monotonic()
        verdict = agent.learn(name, minutes=float(settings["minutes"]), seed=seed)
        minutes = (time.monotonic() - began) / 60
        after = successful(system, name, int(settings["tasks"]))
    shutil.rmtree(folder)
    tell(f"  {before:.0%} -> {after:.0%} in {minutes:.1f} minutes: {verdict.reason}")
    found = {"before": before, "after": after, "released": verdict.released, "reason": verdict.reason}
    return {**found, "minutes": round(minutes, 2)}


def successful(system: AgentOS, name: str, count: int) -> float:
    """Strict success of the live release, or of the bare model, on held-out tasks."""
    return round(system.cycle.evaluate(name, tasks=count).score.strict.estimate, 4)


def show(found: dict[str, list[JSON]]) -> JSON:
    """Print medians over seeds, and return them."""
    from rich.console import Console
    from rich.table import Table

    table, concluded = Table("environment", "before", "after", "minutes", "released"), {}
    for name, units in found.items():
        one: JSON = {key: spread([unit[key] for unit in units]) for key in (*FIGURES, "minutes")}
        one |= {"released": sum(unit["released"] for unit in units), "seeds": len(units)}
        concluded[name] = one
        shares = [as_share(one[key]) for key in FIGURES]
        table.add_row(name, *shares, f"{one['minutes']['median']:.1f}", f"{one['released']} of {one['seeds']}")
    Console(width=100).print(table)
    return concluded


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=6.0, help="of learning")
    parser.add_argument("--tasks", type=int, default=300, help="held-out tasks")
    parser.add_argument("--data", type=Path, default=DATA, help="where CLINC150 lies")
    add_model_options(parser)
    add_results_options(parser, "own_runs")
    options = parser.parse_args(arguments)
    shared = load_settings(options.home).home
    units = open_units(options, "own_runs")
    register(options.data)
    found = measure_seeds(units, options, shared, ("minutes", "tasks", "model"), measure)
    units.write(concluded=show(found))
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
