"""What holding replies to the tools there are is worth: a release free and constrained, on the same held-out tasks.

Run: python benchmarks/constrained.py [--home FOLDER] [--tasks N] [--skill NAME ...] [--fresh]
Prints a table, writes benchmarks/results/constrained.json. The home is one that has learned (default: the one that
`make demo-full` leaves); it is copied, so that nothing in it changes. Every skill is a unit.

Constrained, the model can say nothing but a well-formed call of one of the task's tools, with arguments that its schema
allows, or words (`LLMAGENTOS_CONSTRAINED=on`). Both play the same tasks of the report split greedily, through the
kernel; the difference is paired by task, with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measuring import JSON, RESULTS, Units, describe_machine, tell, versions
from precision import copied

from llmagentos.agentos import AgentOS
from llmagentos.evaluation.statistics import paired_bootstrap
from llmagentos.records.episode import Episode

WAYS = {"free": "off", "constrained": "on"}
DEMO_HOME = Path(__file__).parents[1] / "reports" / "demo-full" / "home"


def compare(home: Path, skill: str, tasks: int) -> JSON:
    """Held-out success of the live release both ways."""
    played: dict[str, tuple[Episode, ...]] = {}
    seconds: dict[str, float] = {}
    for way, switch in WAYS.items():
        os.environ["LLMAGENTOS_CONSTRAINED"] = switch
        with AgentOS(home) as system:
            _ = system.kernel  # loaded before the clock starts
            began = time.monotonic()
            played[way] = system.cycle.evaluate(skill, tasks=tasks).episodes
            seconds[way] = round(time.monotonic() - began, 1)
        tell(f"  {way}: {sum(one.success for one in played[way])} of {len(played[way])} in {seconds[way]:.0f} s")
    gap = paired_bootstrap(*([one.success for one in played[way]] for way in ("constrained", "free")))
    return {
        "tasks": len(played["free"]),
        "strict": {way: round(statistics.mean(one.success for one in runs), 4) for way, runs in played.items()},
        "difference": {key: round(getattr(gap, key), 4) for key in ("estimate", "low", "high")},
        "seconds": seconds,
    }


def show(found: dict[str, JSON]) -> None:
    """Print what was found."""
    from rich.console import Console
    from rich.table import Table

    table = Table("skill", "tasks", *WAYS, "difference [95 %]", "seconds", title="strict success on held-out tasks")
    for skill, one in found.items():
        gap = one["difference"]
        said = f"{gap['estimate']:+.1%} [{gap['low']:+.1%}, {gap['high']:+.1%}]"
        spent = " / ".join(f"{one['seconds'][way]:.0f}" for way in WAYS)
        table.add_row(skill, str(one["tasks"]), *(f"{one['strict'][way]:.1%}" for way in WAYS), said, spent)
    Console(width=110).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=DEMO_HOME, help="a home that has learned")
    parser.add_argument("--skill", nargs="+", help="skills to measure (default: those of the live release)")
    parser.add_argument("--tasks", type=int, default=300, help="held-out tasks of a skill")
    parser.add_argument("--results", type=Path, default=RESULTS / "constrained.json")
    parser.add_argument("--fresh", action="store_true", help="discard earlier results")
    options = parser.parse_args(arguments)
    if not (options.home / "llmagentos.db").exists():
        raise SystemExit(
            f"{options.home} has learned nothing yet. Run `make demo-full`, or name another: --home FOLDER"
        )
    used = versions("llmagentos", "torch")
    units = Units(options.results, "constrained", describe_machine(), used, fresh=options.fresh)
    with copied(options.home) as home:
        with AgentOS(home) as system:
            live = system.releases.live()
        adapters = [artefact.digest for artefact in live.manifest.artefacts]
        settings = {"release": live.id, "base": live.manifest.base, "adapters": adapters, "tasks": options.tasks}
        found = {
            skill: units.measure(skill, settings, partial(compare, home, skill, options.tasks))
            for skill in options.skill or live.skills
        }
    show(found)
    units.write()
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
