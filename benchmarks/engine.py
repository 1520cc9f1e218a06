"""The engine beside llama.cpp, CTranslate2, vLLM and `transformers`: tokens per second on the same weights and prompts.

Run: python benchmarks/engine.py [--only UNIT ...] [--peers NAME ...] [--repetitions N] [--home FOLDER] [--fresh]
Prints a table and writes benchmarks/results/engine.json, one unit for each batch and prompt length and for each claim
below; a unit that is there is not measured again. Environments of peers are made below HOME/benchmarks/peers; a peer
that cannot be installed is left out, and said to be.

Alike for all: a process each, stopped (SIGSTOP) while another one runs; warm; greedy; prompts of random plain tokens
that begin unlike each other, so that nothing is shared; exactly 64 new tokens each, no end token. Each repetition
measures every contender on fresh prompts, once for one new token and once for 64: `end to end` is all tokens by the
time of the second, `decode` the tokens after the first by the difference. Ours carries no adapter, one, or sixteen in
one batch; peers never carry one. Nothing is guessed.

Units: `batch B, prompt P`; `limits` (the model's own products alone, and a copy of memory: nothing is faster);
`profile` (where the time of a decoding step of 32 rows goes);
`16 adapters` (32 requests, throughput beside one adapter); `shared prompt` (64 requests with 512 common tokens: seconds
to one token each, with the common part computed once and with prompts that share nothing); `memory` (64 sessions of
1,000 tokens: GB of the process).
Targets: 1.3 times the best peer at batch 8, 32 and 64, llama.cpp Q8_0 at batch 1, with and without an adapter; 0.8 for
16 adapters; 10 times shorter for the shared prompt; 3 GB.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import JSON, spread, tell
from peers.contender import HERE, Contender, add_options, environment, left_out, measure_units, prepare, turn
from peers.gguf_file import write_gguf

from llmagentos.models.rendering import Renderer

OURS, ADAPTED, SIXTEEN = "llmagentos", "llmagentos, adapter", "llmagentos, 16 adapters"
TOKENS = 64
ADAPTERS = 16
FIGURES = ("decode", "end to end")
PRODUCTS = "engine's products"
"""What `decode.measure_limits` calls the model's own matrix products as the engine computes them."""


class Prompts:
    """Random plain tokens; no two prompts of a process's life begin alike."""

    def __init__(self, renderer: Renderer) -> None:
        import numpy as np

        self._random = np.random.default_rng(0)
        self._allowed = np.array([t for t in range(renderer.vocabulary) if t not in renderer.control_ids])
        self._beginnings = self._random.permutation(self._allowed).tolist()

    def draw(self, count: int, length: int, common: int = 0) -> list[list[int]]:
        """`count` prompts of `length` tokens, the first `common` of which are the same in all."""
        shared = [self._beginnings.pop(), *self._plain(common - 1)] if common else []
        return [[*shared, self._beginnings.pop(), *self._plain(length - common - 1)] for _ in range(count)]

    def _plain(self, count: int) -> list[int]:
        return [int(token) for token in self._random.choice(self._allowed, count)]


# The contenders.


def contenders(folder: Path, work: Path, threads: int, wanted: Sequence[str]) -> list[Contender]:
    """Ours and every peer that is wanted and can be had; its environment and files are made where they are not."""
    own, say = sys.executable, [str(folder)]
    engine = [own, str(HERE / "ours.py"), *say, str(threads), str(ADAPTERS)]
    found = [Contender(OURS, engine, work), Contender(ADAPTED, engine, work, {"adapters": 1})]
    if "transformers" in wanted:
        for precision in ("float32", "bfloat16"):
            command = [own, str(HERE / "transformers_peer.py"), *say, precision, str(threads)]
            found.append(Contender(f"transformers {precision}", command, work))
    if "llama.cpp" in wanted:
        for kind in ("Q8_0", "F16"):
            file = write_gguf(folder, work / f"model-{kind}.gguf", kind)
            found.append(
                Contender(f"llama.cpp {kind}", [own, str(HERE / "llamacpp.py"), str(file), str(threads)], work)
            )
    if "ctranslate2" in wanted and (python := environment(work, "ctranslate2")):
        converted = str(work / "ctranslate2-int8")
        command = [python, str(HERE / "ctranslate2_peer.py"), *say, converted, str(threads)]
        found.append(Contender("CTranslate2 int8", command, work))
    if "vllm" in wanted and (python := environment(work, "vllm")):
        for precision in ("float32", "bfloat16"):
            command = [python, str(HERE / "vllm_peer.py"), *say, str(threads), precision]
            found.append(Contender(f"vLLM {precision}", command, work))
    return found


# The units.


@dataclass
class Bench:
    """The contenders, started when first asked."""

    everybody: list[Contender]
    prompts: Prompts
    absent: dict[str, str] = field(default_factory=dict)
    """Who was left out beforehand, and why."""

    def speed(self, batch: int, prompt: int, repetitions: int) -> JSON:
        """Tokens per second of everybody, in turns."""
        readings: dict[str, list[dict[str, float]]] = {one.name: [] for one in self.everybody}
        failed = dict(self.absent)
        for number in range(-1, repetitions):  # the first one warms
            found = turn(self.everybody, failed, lambda one: self._reading(one, batch, prompt))
            if number >= 0:
                for name, reading in found.items():
                    readings[name].append(reading)
                said = ", ".join(f"{name} {reading['decode']:.0f}" for name, reading in found.items())
                tell(f"  repetition {number + 1} of {repetitions}, decode tokens/s: {said}")
        readings = {name: found for name, found in readings.items() if name not in failed}
        return {**summarise(readings), "left_out": failed}

    def _reading(self, one: Contender, batch: int, prompt: int) -> dict[str, float]:
        first, made = one.ask(prompts=self.prompts.draw(batch, prompt), tokens=1)
        assert made == batch, f"{one.name} gave {made} tokens instead of {batch}"
        whole, made = one.ask(prompts=self.prompts.draw(batch, prompt), tokens=TOKENS)
        assert made == batch * TOKENS, f"{one.name} gave {made} tokens instead of {batch * TOKENS}"
        return {
            "decode": batch * (TOKENS - 1) / max(whole - first, 1e-9),
            "end to end": batch * TOKENS / whole,
            "first token": first,
        }

    def adapters(self, repetitions: int) -> JSON:
        """32 requests over 16 adapters beside 32 over one."""
        ours = self.everybody[0]
        speeds: dict[int, list[float]] = {1: [], ADAPTERS: []}
        for number in range(-1, repetitions):
            for count, found in speeds.items():
                seconds, made = ours.ask(prompts=self.prompts.draw(32, 64), tokens=TOKENS, adapters=count)
                if number >= 0:
                    found.append(made / seconds)
        ratios = [many / one for many, one in zip(speeds[ADAPTERS], speeds[1], strict=True)]
        return {
            "end to end": {str(count): spread(found, 1) for count, found in speeds.items()},
            "ratio": spread(ratios, 3),
            "target": 0.8,
            "met": statistics.median(ratios) >= 0.8,
        }

    def sharing(self, repetitions: int) -> JSON:
        """64 turns with 512 common tokens, known from an earlier turn, and 64 that share nothing."""
        ours = self.everybody[0]
        shared, alone = [], []
        for number in range(-1, repetitions):
            turns = self.prompts.draw(65, 512 + 16, common=512)
            ours.ask(prompts=turns[:1], tokens=1, sharing=True)
            known = ours.ask(prompts=turns[1:], tokens=1, sharing=True)[0]
            unknown = ours.ask(prompts=self.prompts.draw(64, 512 + 16), tokens=1)[0]
            if number >= 0:
                shared.append(known)
                alone.append(unknown)
        ratios = [one / other for one, other in zip(alone, shared, strict=True)]
        return {
            "seconds, common part known": spread(shared, 3),
            "seconds, nothing shared": spread(alone, 3),
            "ratio": spread(ratios, 2),
            "target": 10.0,
            "met": statistics.median(ratios) >= 10.0,
        }

    def limits(self) -> JSON:
        """What the machine does at best: the model's products alone by their rows, and reading the weights."""
        ours = self.everybody[0]
        return {str(rows): ours.ask(prompts=[], tokens=0, limits=rows)[1] for rows in (1, 8, 32, 64)}

    def profile(self) -> JSON:
        """Milliseconds of a decoding step of 32 rows: the products alone, the kernels, from one step to the next."""
        ours = self.everybody[0]
        products = 32_000 / ours.ask(prompts=[], tokens=0, limits=32)[1]["engine's products"]["tokens_per_second"]
        found: JSON = {"products alone": round(products, 1)}
        for prompt in (64, 512):
            for adapters in (0, 1, ADAPTERS):
                prompts = self.prompts.draw(32, prompt)
                _, step = ours.ask(prompts=prompts, tokens=TOKENS, adapters=adapters, profiled=True)
                found[f"prompt {prompt}, adapters {adapters}"] = {name: round(each, 1) for name, each in step.items()}
        return found

    def memory(self) -> JSON:
        """GB of the engine's process, Python, PyTorch and one adapter included, with 64 sessions of 1,000 tokens."""
        many = self.everybody[0]
        ours = Contender(f"{OURS} alone", [*many.command[:-1], "0"], many.work, {"adapters": 0})
        before = ours.ask(prompts=self.prompts.draw(1, 8), tokens=1, memory=True)[1]
        after = ours.ask(prompts=self.prompts.draw(64, 1000 - TOKENS), tokens=TOKENS, memory=True)[1]
        ours.close()
        return {"loaded": round(before, 2), "64 sessions": round(after, 2), "target": 3.0, "met": after < 3.0}


def summarise(readings: dict[str, list[dict[str, float]]]) -> JSON:
    """Medians with their range; ours beside the best peer of each figure."""
    speeds = {
        name: {
            figure: spread([one[figure] for one in found], 3 if figure == "first token" else 1) for figure in found[0]
        }
        for name, found in readings.items()
    }
    peers = [name for name in readings if name not in (OURS, ADAPTED)]
    compared: JSON = {}
    for figure in FIGURES if peers else ():
        best = max(peers, key=lambda name: speeds[name][figure]["median"])
        compared[figure] = {"best peer": best}
        for ours in (OURS, ADAPTED):
            pairs = zip(readings[ours], readings[best], strict=True)
            compared[figure][ours] = spread([one[figure] / other[figure] for one, other in pairs], 2)
    return {"tokens_per_second": speeds, "compared": compared}


# The command.


def show(found: dict[str, JSON]) -> None:
    """Print what was measured."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=150)
    names = list(dict.fromkeys(name for unit in found.values() for name in unit.get("tokens_per_second", {})))
    for figure in FIGURES:
        table = Table("unit", *names, "beside the best peer", title=f"{figure}: tokens per second, median")
        for unit, result in found.items():
            if "tokens_per_second" not in result:
                continue
            speeds, compared = result["tokens_per_second"], result["compared"].get(figure, {})
            cells = [f"{speeds[name][figure]['median']:.0f}" if name in speeds else "-" for name in names]
            said = " / ".join(f"{compared[ours]['median']:.2f}" for ours in (OURS, ADAPTED)) if compared else ""
            table.add_row(unit, *cells, said)
        console.print(table)
    for unit, result in found.items():
        if unit == "limits":
            for rows, limit in result.items():
                console.print(f"products alone, {rows} rows: {limit[PRODUCTS]['tokens_per_second']:.0f} tokens/s")
        elif "tokens_per_second" not in result:
            console.print(f"{unit}: " + ", ".join(f"{key} {_short(value)}" for key, value in result.items()))


def _short(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    if "median" in value:
        return f"{value['median']} ({value['lowest']} to {value['highest']})"
    return ", ".join(f"{key}: {_short(one)}" for key, one in value.items())


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32, 64], help="requests at once")
    parser.add_argument("--prompt", type=int, nargs="+", default=[64, 512], help="tokens of a prompt")
    parser.add_argument("--only", nargs="+", help="units to measure, such as 'memory' or 'batch 1, prompt 64'")
    add_options(parser, "engine", ["transformers", "llama.cpp", "ctranslate2", "vllm"])
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(arguments)
    folder, work, units = prepare(options, "engine")
    everybody = contenders(folder, work, options.threads, options.peers)
    bench = Bench(everybody, Prompts(Renderer(folder)), left_out(options))
    again = options.repetitions
    wanted = {
        **{
            f"batch {b}, prompt {p}": (lambda b=b, p=p: bench.speed(b, p, again))
            for p in options.prompt
            for b in options.batch
        },
        "limits": bench.limits,
        "profile": bench.profile,
        "16 adapters": lambda: bench.adapters(again),
        "shared prompt": lambda: bench.sharing(again),
        "memory": bench.memory,
    }
    wanted = {name: measure for name, measure in wanted.items() if options.only is None or name in options.only}
    found = measure_units(units, options, wanted, bench.everybody)
    show(found)
    units.write()
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
