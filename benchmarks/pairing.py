"""One release played two ways on the same held-out tasks: what the benchmarks of a setting share.

In: a home that has learned, the variable of a setting and its values. Out: paired differences with intervals, as units.
It does not know what the setting does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measuring import JSON, SHARED, add_results_options, link_shared, open_units, tell

from llmagentos.agentos import AgentOS
from llmagentos.evaluation.statistics import paired_bootstrap
from llmagentos.records.episode import Episode

REPORTS = Path(__file__).parents[1] / "reports"


@contextmanager
def copied(home: Path) -> Iterator[Path]:
    """A copy of a home that disappears again."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "home"
        shutil.copytree(home, fresh, ignore=shutil.ignore_patterns(*SHARED, "owner.lock"))
        link_shared(fresh, home)
        yield fresh


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting and the two ways to have it."""

    variable: str
    ways: Mapping[str, str]
    """Name -> value of the environment variable; the second is compared with the first."""

    @contextmanager
    def opened(self, home: Path, way: str) -> Iterator[AgentOS]:
        """The system one way, its model loaded."""
        os.environ[self.variable] = self.ways[way]
        with AgentOS(home) as system:
            _ = system.kernel
            yield system

    def compare(self, home: Path, skill: str, tasks: int) -> JSON:
        """Held-out success of the live release both ways."""
        played: dict[str, tuple[Episode, ...]] = {}
        seconds: dict[str, float] = {}
        for way in self.ways:
            with self.opened(home, way) as system:
                began = time.monotonic()
                played[way] = system.cycle.evaluate(skill, tasks=tasks).episodes
                seconds[way] = round(time.monotonic() - began, 1)
            won = sum(episode.success for episode in played[way])
            tell(f"  {way}: {won} of {len(played[way])} in {seconds[way]:.0f} s")
        first, second = played.values()
        gap = paired_bootstrap([one.success for one in second], [one.success for one in first])
        same = sum(one.transcript.tokens == other.transcript.tokens for one, other in zip(first, second, strict=True))
        return {
            "tasks": len(first),
            "strict": {way: round(statistics.mean(one.success for one in runs), 4) for way, runs in played.items()},
            "difference": {key: round(getattr(gap, key), 4) for key in ("estimate", "low", "high")},
            "significant loss": gap.high < 0,
            "same runs": round(same / len(first), 4),
            "seconds": seconds,
        }

    def show(self, found: dict[str, JSON]) -> None:
        """Print what was found of each skill."""
        from rich.console import Console
        from rich.table import Table

        first, second = self.ways
        title = f"the same release {first} and {second}, strict success on held-out tasks"
        table = Table("skill", "tasks", first, second, "difference [95 %]", "same runs", "seconds", title=title)
        for skill, one in found.items():
            gap = one["difference"]
            said = f"{gap['estimate']:+.1%} [{gap['low']:+.1%}, {gap['high']:+.1%}]"
            shares = [f"{one['strict'][way]:.1%}" for way in self.ways]
            spent = " / ".join(f"{one['seconds'][way]:.0f}" for way in self.ways)
            table.add_row(skill, str(one["tasks"]), *shares, said, f"{one['same runs']:.0%}", spent)
        Console(width=120).print(table)


def read_options(doc: str | None, benchmark: str, home: Path, arguments: list[str] | None) -> argparse.Namespace:
    """The command line; `SystemExit` for a home that has learned nothing."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=home, help="a home that has learned")
    parser.add_argument("--skill", nargs="+", help="skills to measure (default: those of the live release)")
    parser.add_argument("--tasks", type=int, default=300, help="held-out tasks of a skill")
    add_results_options(parser, benchmark)
    options = parser.parse_args(arguments)
    if not (options.home / "llmagentos.db").exists():
        raise SystemExit(f"{options.home} has learned nothing yet. Run `make demo`, or name another: --home FOLDER")
    return options


def measure(
    options: argparse.Namespace,
    benchmark: str,
    setting: Setting,
    more: Mapping[str, Callable[[Path], JSON]],
) -> tuple[dict[str, JSON], dict[str, JSON]]:
    """Units of every skill and of what is measured `more`; both are on disk when this returns."""
    units = open_units(options, benchmark)
    with copied(options.home) as home:
        with AgentOS(home) as system:
            live = system.releases.live()
        adapters = [artefact.digest for artefact in live.manifest.artefacts]
        known = {"release": live.id, "base": live.manifest.base, "adapters": adapters, "tasks": options.tasks}
        beside = {name: units.measure(name, known, partial(one, home)) for name, one in more.items()}
        skills = {
            skill: units.measure(skill, known, partial(setting.compare, home, skill, options.tasks))
            for skill in options.skill or live.skills
        }
    units.write()
    return skills, beside
