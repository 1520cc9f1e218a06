"""The embedded engine as users load it. Arguments: folder of the model, threads, adapters to serve."""

import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import worker

sys.path.append(str(Path(__file__).parent.parent))
from decode import measure_limits, open_engine, trained_adapter

from llmagentos.models.adapters import to_peft
from llmagentos.records.generation import GenerationRequest, Sampling

ENGINE = open_engine(Path(sys.argv[1]), int(sys.argv[2]), rows=64)
for number in range(int(sys.argv[3])):
    adapter = trained_adapter(ENGINE.decoder.config, number)
    ENGINE.load_adapter(f"adapter {number}", *to_peft(adapter, ENGINE.decoder.config, "benchmark"))


class Stopwatch:
    """The kernels' library, with the time of every step noted."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.steps: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def decode_step(self, *arguments: Any) -> None:
        began = time.perf_counter()
        self._library.decode_step(*arguments)
        self.steps.append((began, time.perf_counter()))


def profile(steps: list[tuple[float, float]], last: int) -> dict[str, float]:
    """Milliseconds of a step that only decodes, from one to the next, and of its part in the kernels."""
    decoding = steps[-last:-1]  # the last one may have fewer rows
    whole = [after[0] - before[0] for before, after in pairwise(decoding)]
    inside = [end - began for began, end in decoding]
    return {"step": 1000 * statistics.median(whole), "in the kernels": 1000 * statistics.median(inside)}


def generate(
    prompts: list[list[int]],
    tokens: int,
    adapters: int = 0,
    sharing: bool = False,
    memory: bool = False,
    limits: int = 0,
    profiled: bool = False,
) -> Any:
    """All requests at once, greedy, over the first `adapters` in turn; with `memory` GB of this process afterwards.

    Without `sharing` it is an error when any prompt was remembered. With `limits` instead what this machine does at
    best with a step of that many tokens; with `profiled` where the time of a step goes.
    """
    if limits:
        return measure_limits(ENGINE.decoder, limits)
    steps: Any = ENGINE._steps
    watch = Stopwatch(steps._library)
    if profiled:
        steps._library = watch
    futures = [
        ENGINE.submit(
            GenerationRequest(
                tuple(prompt),
                Sampling(max_tokens=tokens),
                f"adapter {number % adapters}" if adapters else None,
            )
        )
        for number, prompt in enumerate(prompts)
    ]
    replies = [future.result() for future in futures]
    assert sharing or not any(reply.cached_tokens for reply in replies), "a prompt was remembered"
    if profiled:
        steps._library = watch._library
        return profile(watch.steps, tokens - 4)
    return psutil.Process().memory_info().rss / 1e9 if memory else sum(len(reply.tokens) for reply in replies)


worker.serve(generate)
