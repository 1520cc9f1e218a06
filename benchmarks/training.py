"""A training step of an adapter beside TRL's SFTTrainer and a plain loop: tokens per second, forward and backward.

Run: python benchmarks/training.py [--only UNIT ...] [--peers NAME ...] [--repetitions N] [--home FOLDER] [--fresh]
Prints a table and writes benchmarks/results/training.json, one unit for each workload; one that is there is not
measured again.

Alike for all: a process each, stopped (SIGSTOP) while another one runs; adapters of rank 16 on every linear layer,
AdamW, the loss on the same tokens; sequences of random plain tokens. A repetition is three steps of each, after two
that warm it; tokens are those of the sequences, whether trained or not. Peers run in fp32 and in bf16 (the plain loop
with weights in bf16, TRL with autocast), and each figure is compared with the fastest of them.

Units: `everything trained` (8 x 128 tokens, the loss on all), `answers trained` (8 x 256, the loss on the last 64),
`shared beginning` (8 x 256 of which the first 192 are the same, the loss on the last 64), as the runs of a group have.
Target: 1.5 times the fastest peer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measuring import JSON, RESULTS, Units, describe_machine, spread, tell, versions
from peers.contender import HERE, Contender, environment

from llmagentos.config import DEFAULT_MODEL, load_settings
from llmagentos.models.library import ModelLibrary

OURS = "llmagentos"
TARGET = 1.5
BATCH, STEPS, WARMING = 8, 3, 2
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


def measure(everybody: list[Contender], load: Workload, repetitions: int) -> JSON:
    """Tokens per second of everybody, in turns."""
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
    failed: dict[str, str] = {}
    for number in range(repetitions):
        for one in everybody:
            if one.name in failed:
                continue
            try:
                _, seconds = one.ask(batches=batches(), trained=load.trained)
            except ChildProcessError as problem:
                failed[one.name] = str(problem)
                tell(f"  {problem}")
                one.close()
                continue
            speeds[one.name] += [BATCH * load.length / each for each in seconds[WARMING:]]
        said = ", ".join(f"{name} {found[-1]:.0f}" for name, found in speeds.items() if found)
        tell(f"  repetition {number + 1} of {repetitions}, tokens/s: {said}")
    speeds = {name: found for name, found in speeds.items() if name not in failed}
    best = max((name for name in speeds if name != OURS), key=lambda name: statistics.median(speeds[name]), default="")
    found: JSON = {"tokens_per_second": {name: spread(each, 1) for name, each in speeds.items()}, "left_out": failed}
    if best:
        ratios = [one / other for one, other in zip(speeds[OURS], speeds[best], strict=True)]
        met = statistics.median(ratios) >= TARGET
        found |= {"fastest peer": best, "ratio": spread(ratios, 2), "target": TARGET, "met": met}
    return found


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
    parser.add_argument("--peers", nargs="*", choices=["plain loop", "TRL"], default=["plain loop", "TRL"])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--home", type=Path, help="where the model lies or is fetched to")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a Llama of the model library")
    parser.add_argument("--results", type=Path, default=RESULTS / "training.json")
    parser.add_argument("--fresh", action="store_true", help="discard earlier results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(arguments)
    home = load_settings(options.home).home
    folder = ModelLibrary(home).pull(options.model)
    work = home / "benchmarks" / "peers"
    work.mkdir(parents=True, exist_ok=True)
    units = Units(options.results, "training", describe_machine(), versions("llmagentos", "torch"), fresh=options.fresh)
    everybody = contenders(folder, work, options.threads, options.peers)
    settings = {key: getattr(options, key) for key in ("model", "peers", "repetitions", "threads")}
    try:
        found = {
            name: units.measure(name, settings, partial(measure, everybody, WORKLOADS[name], options.repetitions))
            for name in options.only
        }
    finally:
        for one in everybody:
            one.close()
    show(found)
    units.write()
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
