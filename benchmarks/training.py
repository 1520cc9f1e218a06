"""A training step of an adapter beside TRL's SFTTrainer and a plain loop: tokens per second, forward and backward.

Run: python benchmarks/training.py [--only UNIT ...] [--peers NAME ...] [--repetitions N] [--home FOLDER] [--fresh]
Prints a table and writes benchmarks/results/training.json, one unit for each workload; one that is there is not
measured again.

Alike for all: a process each, stopped (SIGSTOP) while another one runs; adapters of rank 16 on every linear layer,
AdamW, the loss on the same tokens; sequences of random plain tokens. A repetition is two steps of each, after one
that warms it; tokens are those of the sequences, whether trained or not. Peers run in fp32 and in bf16 (the plain loop
with weights in bf16, TRL with autocast), and each figure is compared with the fastest of them.

Units: `everything trained` (8 x 128 tokens, the loss on all), `answers trained` (8 x 256, the loss on the last 64),
`shared beginning` (8 x 256 of which the first 192 are the same, the loss on the last 64), as the runs of a group have.
Target: 1.5 times the fastest peer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measuring import JSON, spread, tell
from peers.contender import HERE, Contender, add_options, environment, left_out, measure_units, prepare, turn

OURS = "llmagentos"
TARGET = 1.5
BATCH, STEPS, WARMING = 8, 2, 1
VOCABULARY = 40_000
"""Tokens drawn; all of them plain ones of the default model from the hundredth on."""


@dataclass(frozen=True)
class Workload:
    """One step's sequences."""

    length: int
    trained: int
    common: int = 0


WORKLOADS = {
    "everything trained": Workload(128, 128),
    "answers trained": Workload(256, 64),
    "shared beginning": Workload(256, 64, 192),
}


def contenders(folder: Path, work: Path, threads: int, wanted: Sequence[str]) -> list[Contender]:
    """Ours and the peers that are wanted and can be had."""
    found = [Contender(OURS, [sys.executable, str(HERE / "our_training.py"), str(folder), str(threads)], work)]
    python = environment(work, "trl")
    for name, script in (("plain loop", "loop_training.py"), ("TRL", "trl_training.py")):
        for precision in ("float32", "bfloat16"):
            if name in wanted and python is not None:
                command = [python, str(HERE / script), str(folder), str(threads), precision, str(work / "trl-output")]
                found.append(Contender(f"{name} {precision}", command, work))
    return found


def measure(everybody: list[Contender], load: Workload, repetitions: int, absent: dict[str, str]) -> JSON:
    """Tokens per second of everybody but the `absent`, in turns."""
    import numpy as np

    random = np.random.default_rng(0)

    def batches() -> list[list[list[int]]]:
        found = []
        for _ in range(WARMING + STEPS):
            rows = random.integers(100, VOCABULARY, (BATCH, load.length))
            rows[:, : load.common] = rows[0, : load.common]
            found.append(rows.tolist())
        return found

    speeds: dict[str, list[float]] = {one.name: [] for one in everybody}
    failed = dict(absent)
    for number in range(repetitions):
        found = turn(everybody, failed, lambda one: one.ask(batches=batches(), trained=load.trained)[1])
        for name, seconds in found.items():
            speeds[name] += [BATCH * load.length / each for each in seconds[WARMING:]]
        said = ", ".join(f"{name} {speeds[name][-1]:.0f}" for name in found)
        tell(f"  repetition {number + 1} of {repetitions}, tokens/s: {said}")
    for one in everybody:  # each keeps the memory of its largest step
        one.close()
    speeds = {name: found for name, found in speeds.items() if name not in failed}
    best = max((name for name in speeds if name != OURS), key=lambda name: statistics.median(speeds[name]), default="")
    summary: JSON = {"tokens_per_second": {name: spread(each, 1) for name, each in speeds.items()}, "left_out": failed}
    if best:
        ratios = [one / other for one, other in zip(speeds[OURS], speeds[best], strict=True)]
        met = statistics.median(ratios) >= TARGET
        summary |= {"fastest peer": best, "ratio": spread(ratios, 2), "target": TARGET, "met": met}
    return summary


def show(found: dict[str, JSON]) -> None:
    """Print the table of all units."""
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for unit in found.values() for name in unit["tokens_per_second"]))
    table = Table("step", *names, "beside the fastest peer", title="training: tokens per second, median")
    for unit, result in found.items():
        speeds = result["tokens_per_second"]
        cells = [f"{speeds[name]['median']:.0f}" if name in speeds else "-" for name in names]
        ratio = result.get("ratio")
        table.add_row(unit, *cells, f"{ratio['median']} ({ratio['lowest']}-{ratio['highest']})" if ratio else "")
    Console(width=130).print(table)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    add_options(parser, "training", ["plain loop", "TRL"])
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(arguments)
    folder, work, units = prepare(options, "training")
    everybody = contenders(folder, work, options.threads, options.peers)
    wanted = {
        name: partial(measure, everybody, WORKLOADS[name], options.repetitions, left_out(options))
        for name in options.only
    }
    found = measure_units(units, options, wanted, everybody)
    show(found)
    units.write()
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
