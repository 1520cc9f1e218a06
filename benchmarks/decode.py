"""Decoding speed of the embedded engine beside `transformers` `generate`, on the same weights, prompts and lengths.

Run: python benchmarks/decode.py [--batch 1 32 64] [--prompt 64 512] [--repetitions N] [--home FOLDER] [--fresh]
Prints a table and writes benchmarks/results/decode.json, one unit for each batch and prompt length; a unit that is
there is not measured again.

Alike for both: one process, warm, greedy, prompts of random plain tokens without a common beginning (nothing is
shared or remembered from one repetition to the next), and exactly `--tokens` new tokens: `generate` has no end token,
our engine reads the model through a renderer whose `eos_ids` are empty. They take turns within a repetition, in one
thread: two OpenMP teams would slow each other (see `models.arithmetic`). The peer never carries an adapter; it runs in
fp32 and bf16, and each figure is compared with the faster of the two.
The engine computes as it does for a user, in `--precision auto`: in int8 by its own kernels where there is a compiler.
It guesses nothing: replies to random tokens repeat themselves, so that guesses would flatter it.
`decode` counts the tokens that come after every request has its first one, by the time they take; `end to end`
counts all new tokens by the time from handing over the prompts to the last token.
Beside them stand the machine's limits: the model's own matrix products alone with one row a request, and a copy of
memory.
Targets: 2 times the peer at batch 1, 32 and 64.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from measuring import JSON, RESULTS, Units, describe_machine, spread, tell, versions

from llmagentos.config import DEFAULT_MODEL, load_settings
from llmagentos.models.arithmetic import arithmetic

if TYPE_CHECKING:
    from llmagentos.models.adapters import FusedAdapter
    from llmagentos.models.decoder import Decoder, DecoderConfig
    from llmagentos.models.torch_engine import TorchEngine

TARGET = 2.0
OURS, ADAPTED = "llmagentos", "llmagentos, adapter"
PEERS = ("transformers fp32", "transformers bf16")
FIGURES = ("decode", "end to end")
COPY_BYTES = 1 << 28
"""Far more than any cache holds."""

Prompts: TypeAlias = list[tuple[int, ...]]
Contender: TypeAlias = Callable[[Prompts, int], list[list[float]]]
"""(prompts, new tokens) -> for each request the seconds at which its tokens came, counted from the start."""


# From moments to figures.


def rates(arrivals: Sequence[Sequence[float]]) -> dict[str, float]:
    """Tokens per second by figure (see the module)."""
    every = [moment for request in arrivals for moment in request]
    first, last = max(request[0] for request in arrivals), max(every)
    after = sum(moment > first for moment in every)
    return {"decode": after / (last - first) if after else 0.0, "end to end": len(every) / last}


def summarise(repetitions: Sequence[dict[str, dict[str, float]]]) -> JSON:
    """Of repetitions (contender -> figure -> tokens per second): medians, the faster peer, ratios with their range."""
    contenders = {
        name: {figure: spread([one[name][figure] for one in repetitions], 1) for figure in FIGURES}
        for name in repetitions[0]
    }
    compared = {}
    for figure in FIGURES:
        peer = max(PEERS, key=lambda name: contenders[name][figure]["median"])
        ratios = {
            name: spread([one[name][figure] / one[peer][figure] for one in repetitions], 2) for name in (OURS, ADAPTED)
        }
        met = {name: ratio["median"] >= TARGET for name, ratio in ratios.items()}
        compared[figure] = {"peer": peer, "ratio": ratios, "target": TARGET, "met": met}
    return {"tokens_per_second": contenders, "compared": compared}


class PromptSource:
    """Prompts of random plain tokens, no two of which ever begin alike, so that no prefix can be shared."""

    def __init__(self, vocabulary: int, banned: frozenset[int], seed: int = 0) -> None:
        import numpy as np

        self._allowed = np.array([token for token in range(vocabulary) if token not in banned])
        self._random = np.random.default_rng(seed)
        self._beginnings = self._random.permutation(self._allowed).tolist()

    def draw(self, count: int, length: int) -> Prompts:
        """`count` prompts of `length` tokens; stops the benchmark when the vocabulary is used up."""
        if count > len(self._beginnings):
            raise SystemExit(f"{count} unlike beginnings were asked for, {len(self._beginnings)} tokens are left.")
        rest = self._random.choice(self._allowed, (count, length - 1)).tolist()
        return [(self._beginnings.pop(), *row) for row in rest]


# The contenders.


def open_engine(folder: Path, threads: int, rows: int, precision: str = "auto") -> TorchEngine:
    """The engine as users load it, serving also an adapter of the trainer's rank, and never ending a turn."""
    from llmagentos.models.adapters import to_peft
    from llmagentos.models.rendering import Renderer
    from llmagentos.models.torch_engine import TorchEngine

    class Endless(Renderer):
        """Knows no token that ends a turn."""

        @property
        def eos_ids(self) -> frozenset[int]:
            return frozenset()

    kernels = load_settings().kernels
    engine = TorchEngine.load(folder, threads=threads, rows=rows, precision=precision, kernels=kernels)
    engine.renderer = Endless(folder)
    engine.guess_up_to = 0
    adapter = trained_adapter(engine.decoder.config, 0)
    engine.load_adapter(ADAPTED, *to_peft(adapter, engine.decoder.config, "benchmark"))
    return engine


def trained_adapter(config: DecoderConfig, seed: int) -> FusedAdapter:
    """An adapter of the trainer's rank, as if trained: one that is all zeros might be suspected of being skipped."""
    import torch

    from llmagentos.learning.trainer import AdapterSettings
    from llmagentos.models.adapters import new_adapter

    settings = AdapterSettings()
    adapter = new_adapter(config, settings.rank, settings.alpha, seed)
    generator = torch.Generator().manual_seed(seed)
    for _, b in adapter.pairs.values():
        b.normal_(std=0.01, generator=generator)
    return adapter


def our_contender(engine: TorchEngine, adapter: str | None) -> Contender:
    """The engine, with every request submitted at once."""
    from llmagentos.records.generation import GenerationRequest, Sampling

    def generate(prompts: Prompts, tokens: int) -> list[list[float]]:
        arrivals: list[list[float]] = [[] for _ in prompts]
        requests = [GenerationRequest(prompt, Sampling(max_tokens=tokens), adapter) for prompt in prompts]
        began = time.perf_counter()

        def clock(moments: list[float]) -> Callable[[int], None]:
            return lambda token: moments.append(time.perf_counter() - began)

        futures = [engine.submit(one, clock(moments)) for one, moments in zip(requests, arrivals, strict=True)]
        for future in futures:
            completion = future.result()
            assert completion.cached_tokens == 0, "a prompt was remembered: the comparison would not be fair"
        return arrivals

    return generate


def peer_contender(folder: Path, precision: str) -> Contender:
    """`LlamaForCausalLM.generate` with its own defaults: SDPA attention and a growing cache."""
    import torch
    from transformers import LlamaForCausalLM
    from transformers.generation.streamers import BaseStreamer

    model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision)).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    class Moments(BaseStreamer):  # type: ignore[misc]  # the library has no types
        """Notes when each step's tokens come; the first thing it is given is the prompt."""

        def __init__(self) -> None:
            self.began = time.perf_counter()
            self.moments: list[float] = []

        def put(self, value: Any) -> None:
            self.moments.append(time.perf_counter() - self.began)

        def end(self) -> None:
            self.moments = self.moments[1:]

    @arithmetic
    def generate(prompts: Prompts, tokens: int) -> list[list[float]]:
        ids = torch.tensor(prompts)
        noted = Moments()
        with torch.inference_mode():
            model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, streamer=noted
            )
        return [noted.moments for _ in prompts]

    return generate


# The machine's limits.


@arithmetic
def measure_limits(decoder: Decoder, rows: int) -> JSON:
    """What this machine does at best with one step of `rows` tokens: the products alone, and reading the weights."""
    import torch

    weights = [product.weight_OI for layer in decoder.layers for product in layer.products.values()]
    weights.append(decoder.head.weight_OI)
    numbers = sum(weight.numel() for weight in weights)
    found: JSON = {"weights": numbers, "engine_precision": decoder.precision}
    with torch.inference_mode():
        for name in ("float32", "bfloat16"):
            cast = [weight.to(getattr(torch, name)) for weight in weights]
            seconds = _best(lambda cast=cast: _products(cast, rows))  # type: ignore[misc]
            found[f"plain products {name}"] = _product_limit(seconds, rows, numbers)
            del cast
        seconds = _best(lambda: _engine_products(decoder, rows))
        found["engine's products"] = _product_limit(seconds, rows, numbers)
        source, target = torch.zeros(COPY_BYTES, dtype=torch.uint8), torch.empty(COPY_BYTES, dtype=torch.uint8)
        copied = 2 * COPY_BYTES / _best(lambda: target.copy_(source))  # every byte is read and written
    width = 1 if decoder.precision == "int8" else decoder.embedding_VH.element_size()
    step = numbers * width
    found["memory"] = {"gb_per_second": round(copied / 1e9, 1), "tokens_per_second": round(rows * copied / step, 1)}
    return found


def _product_limit(seconds: float, rows: int, numbers: int) -> dict[str, float]:
    return {"gflops": round(2 * rows * numbers / seconds / 1e9, 1), "tokens_per_second": round(rows / seconds, 1)}


def _best(action: Callable[[], object], times: int = 4) -> float:
    """Seconds of the fastest call after a first one: a limit is what is possible, not what is usual."""
    moments = []
    for _ in range(times + 1):
        moments.append(time.perf_counter())
        action()
    moments.append(time.perf_counter())
    return min(after - before for before, after in pairwise(moments[1:]))


def _products(weights: list[Any], rows: int) -> None:
    import torch

    for weight in weights:
        torch.nn.functional.linear(torch.ones(rows, weight.shape[1], dtype=weight.dtype), weight)


def _engine_products(decoder: Decoder, rows: int) -> None:
    import torch

    for product in [*(p for layer in decoder.layers for p in layer.products.values()), decoder.head]:
        product(torch.ones(rows, product.weight_OI.shape[1], dtype=decoder.dtype))


# A unit.


@dataclass(frozen=True, slots=True)
class Bench:
    """The contenders, loaded once for all units."""

    engine: TorchEngine
    contenders: dict[str, Contender]
    prompts: PromptSource

    @classmethod
    @arithmetic
    def open(cls, folder: Path, threads: int, rows: int, precision: str = "auto") -> Bench:
        """Load the model three times: ours, and the peer in both precisions."""
        engine = open_engine(folder, threads, rows, precision)
        peers = {
            name: peer_contender(folder, dtype) for name, dtype in zip(PEERS, ("float32", "bfloat16"), strict=True)
        }
        contenders = {OURS: our_contender(engine, None), PEERS[0]: peers[PEERS[0]]}
        contenders |= {ADAPTED: our_contender(engine, ADAPTED), PEERS[1]: peers[PEERS[1]]}
        return cls(engine, contenders, PromptSource(engine.renderer.vocabulary, engine.renderer.control_ids))

    def measure(self, batch: int, prompt: int, tokens: int, repetitions: int) -> JSON:
        """All contenders in turns, warmed by a short round on prompts of their own."""
        warming = self.prompts.draw(batch, prompt)
        for contender in self.contenders.values():
            contender(warming, 4)
        limits = measure_limits(self.engine.decoder, batch)
        measured = []
        for number in range(repetitions):
            prompts, reading = self.prompts.draw(batch, prompt), {}
            for name, contender in self.contenders.items():
                arrivals = contender(prompts, tokens)
                assert all(len(request) == tokens for request in arrivals), f"{name} did not give {tokens} tokens each"
                reading[name] = rates(arrivals)
            measured.append(reading)
            said = ", ".join(f"{name} {reading[name]['decode']:.0f}" for name in reading)
            tell(f"  repetition {number + 1} of {repetitions}, decode tokens/s: {said}")
        return {**summarise(measured), "limits": limits}


def show(found: dict[str, JSON]) -> None:
    """Print the table of all units."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="new tokens per second, median (range of the ratio over repetitions)")
    for column in (
        "unit",
        "figure",
        "llmagentos",
        "with adapter",
        "peer",
        "ratio",
        "ratio with adapter",
        "products alone",
    ):
        table.add_column(column, justify="left" if column in ("unit", "figure", "peer") else "right")
    for name, unit in found.items():
        speed = unit["tokens_per_second"]
        for figure, compared in unit["compared"].items():
            peer, limit = compared["peer"], unit["limits"]["engine's products"]["tokens_per_second"]
            table.add_row(
                name,
                figure,
                *(f"{speed[ours][figure]['median']:.0f}" for ours in (OURS, ADAPTED)),
                f"{speed[peer][figure]['median']:.0f} {peer.removeprefix('transformers ')}",
                *(_ratio(compared, ours) for ours in (OURS, ADAPTED)),
                f"{limit:.0f}" if figure == "decode" else "",
            )
    Console(width=160).print(table)


def _ratio(compared: JSON, name: str) -> str:
    ratio, met = compared["ratio"][name], compared["met"][name]
    mark = "" if met else f", below {compared['target']:g}"
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f}-{ratio['highest']:.2f}{mark})"


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 64], help="requests at once")
    parser.add_argument("--prompt", type=int, nargs="+", default=[64], help="tokens of a prompt, such as 64 512")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens of a request")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: every core, for both")
    parser.add_argument("--precision", default="auto", help="of the engine: auto, fp32, bf16 or int8")
    parser.add_argument("--home", type=Path, help="where the model lies or is fetched to")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a Llama of the model library")
    parser.add_argument("--results", type=Path, default=RESULTS / "decode.json")
    parser.add_argument("--fresh", action="store_true", help="discard earlier results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(arguments)
    used = versions("llmagentos", "torch", "transformers")
    units = Units(options.results, "decode", describe_machine(), used, fresh=options.fresh)
    settings = {key: getattr(options, key) for key in ("model", "tokens", "repetitions", "threads", "precision")}
    wanted = {
        f"batch {batch}, prompt {prompt}": (batch, prompt) for prompt in options.prompt for batch in options.batch
    }
    bench: Bench | None = None
    found: dict[str, JSON] = {}
    for name, (batch, prompt) in wanted.items():

        def measure(batch: int = batch, prompt: int = prompt) -> JSON:
            nonlocal bench
            if bench is None:
                from llmagentos.models.library import ModelLibrary

                folder = ModelLibrary(load_settings(options.home).home).pull(options.model)
                bench = Bench.open(folder, options.threads, max(64, *options.batch), options.precision)
            return bench.measure(batch, prompt, options.tokens, options.repetitions)

        found[name] = units.measure(name, settings, measure)
    if bench is not None:
        bench.engine.close()
    show(found)
    lowest = {
        name: min(unit["compared"]["decode"]["ratio"][ours]["median"] for ours in (OURS, ADAPTED))
        for name, unit in found.items()
    }
    units.write(target=TARGET, lowest_decode_ratio=lowest)
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
