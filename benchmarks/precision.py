"""What eight bits cost: a release served in int8 beside the same release served in fp32.

Run: python benchmarks/precision.py [--home FOLDER] [--tasks N] [--skill NAME ...] [--fresh]
Prints a table, writes benchmarks/results/precision.json. The home is one that has learned (default: the one that
`make demo` leaves); it is copied, so that nothing in it changes. Every skill is a unit, the greedy answers another.

Both play the same tasks of the report split greedily, through the kernel, with the same adapter; the difference is
paired by task, with a bootstrap interval. Greedy answers are those to general requests: how many are the same to the
last token, and after how many tokens the others part. fp32 is computed by PyTorch, int8 by the kernels where they fit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from measuring import JSON, RESULTS, Units, describe_machine, tell, versions

from llmagentos.agentos import AgentOS
from llmagentos.evaluation.statistics import paired_bootstrap
from llmagentos.learning.general import REQUESTS
from llmagentos.records.episode import Episode
from llmagentos.records.generation import GenerationRequest, Sampling
from llmagentos.records.message import Message

PRECISIONS = ("fp32", "int8")
DEMO_HOME = Path(__file__).parents[1] / "reports" / "demo" / "home"
SHARED = ("models", "assets", "kernels")
"""Downloads and what was compiled: linked, not copied."""


@contextmanager
def copied(home: Path) -> Iterator[Path]:
    """A copy of a home that disappears again."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "home"
        shutil.copytree(home, fresh, ignore=shutil.ignore_patterns(*SHARED, "owner.lock"))
        for name in SHARED:
            if (home / name).exists():
                (fresh / name).symlink_to((home / name).resolve())
        yield fresh


@contextmanager
def opened(home: Path, precision: str) -> Iterator[AgentOS]:
    """The system with its model in `precision`."""
    os.environ["LLMAGENTOS_PRECISION"] = precision
    with AgentOS(home) as system:
        yield system


def compare_skill(home: Path, skill: str, tasks: int) -> JSON:
    """Held-out success of the live release in both precisions."""
    played: dict[str, tuple[Episode, ...]] = {}
    seconds: dict[str, float] = {}
    for precision in PRECISIONS:
        with opened(home, precision) as system:
            began = time.monotonic()
            played[precision] = system.cycle.evaluate(skill, tasks=tasks).episodes
            seconds[precision] = round(time.monotonic() - began, 1)
        won = sum(episode.success for episode in played[precision])
        tell(f"  {precision}: {won} of {len(played[precision])} in {seconds[precision]:.0f} s")
    full, eight = (played[precision] for precision in PRECISIONS)
    interval = paired_bootstrap([one.success for one in eight], [one.success for one in full])
    same = sum(one.transcript.tokens == other.transcript.tokens for one, other in zip(eight, full, strict=True))
    return {
        "tasks": len(full),
        "strict": {name: round(statistics.mean(one.success for one in runs), 4) for name, runs in played.items()},
        "difference": {key: round(getattr(interval, key), 4) for key in ("estimate", "low", "high")},
        "significant loss": interval.high < 0,
        "same runs": round(same / len(full), 4),
        "seconds": seconds,
    }


def compare_answers(home: Path) -> JSON:
    """Greedy answers of the live release to general requests."""
    answers: dict[str, list[tuple[int, ...]]] = {}
    for precision in PRECISIONS:
        with opened(home, precision) as system:
            engine, (_, adapter) = system.engine, system.serving()
            prompts = [engine.renderer.render((Message("user", text),), first=True) for text in REQUESTS]
            asked = [
                GenerationRequest(tuple(token for part in prompt for token in part.tokens), Sampling(96), adapter)
                for prompt in prompts
            ]
            answers[precision] = [future.result().tokens for future in [engine.submit(one) for one in asked]]
    pairs = list(zip(*answers.values(), strict=True))
    parted = [place for place in (parting(*pair) for pair in pairs) if place is not None]
    return {
        "requests": len(pairs),
        "same": sum(one == other for one, other in pairs),
        "tokens": {name: sum(map(len, each)) for name, each in answers.items()},
        "parted after, median": statistics.median(parted) if parted else None,
    }


def parting(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place at which two answers have different tokens, None where one begins the other."""
    places = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(places, None)


def show(found: dict[str, JSON]) -> None:
    """Print what was found."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="the same release in fp32 and int8, strict success on held-out tasks")
    for column in ("skill", "tasks", "fp32", "int8", "difference [95 %]", "same runs"):
        table.add_column(column, justify="left" if column == "skill" else "right")
    for name, one in found.items():
        if "strict" in one:
            gap = one["difference"]
            said = f"{gap['estimate']:+.1%} [{gap['low']:+.1%}, {gap['high']:+.1%}]"
            shares = [f"{one['strict'][precision]:.1%}" for precision in PRECISIONS]
            table.add_row(name, str(one["tasks"]), *shares, said, f"{one['same runs']:.0%}")
    console = Console(width=100)
    console.print(table)
    for name, one in found.items():
        if "requests" in one:
            after = one["parted after, median"]
            told = f"; the others part after {after:.0f} tokens in the median" if after is not None else ""
            console.print(f"{name}: {one['same']} of {one['requests']} the same to the last token{told}")


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=DEMO_HOME, help="a home that has learned")
    parser.add_argument("--skill", nargs="+", help="skills to measure (default: those of the live release)")
    parser.add_argument("--tasks", type=int, default=300, help="held-out tasks of a skill")
    parser.add_argument("--results", type=Path, default=RESULTS / "precision.json")
    parser.add_argument("--fresh", action="store_true", help="discard earlier results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(arguments)
    if not (options.home / "llmagentos.db").exists():
        raise SystemExit(f"{options.home} has learned nothing yet. Run `make demo`, or name another: --home FOLDER")
    units = Units(
        options.results, "precision", describe_machine(), versions("llmagentos", "torch"), fresh=options.fresh
    )
    with copied(options.home) as home:
        with AgentOS(home) as system:
            live = system.releases.live()
        adapters = [artefact.digest for artefact in live.manifest.artefacts]
        settings = {"release": live.id, "base": live.manifest.base, "adapters": adapters, "tasks": options.tasks}
        wanted: dict[str, Callable[[], JSON]] = {"greedy answers": partial(compare_answers, home)}
        for skill in options.skill or live.skills:
            wanted[skill] = partial(compare_skill, home, skill, options.tasks)
        found = {name: units.measure(name, settings, measurement) for name, measurement in wanted.items()}
    show(found)
    units.write()
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
