"""The embedded engine as users load it. Arguments: folder of the model, threads, adapters to serve."""

import sys
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


def generate(
    prompts: list[list[int]],
    tokens: int,
    adapters: int = 0,
    sharing: bool = False,
    memory: bool = False,
    limits: int = 0,
) -> Any:
    """All requests at once, greedy, over the first `adapters` in turn; with `memory` GB of this process afterwards.

    Without `sharing` it is an error when any prompt was remembered. With `limits` instead what this machine does at
    best with a step of that many tokens.
    """
    if limits:
        return measure_limits(ENGINE.decoder, limits)
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
    return psutil.Process().memory_info().rss / 1e9 if memory else sum(len(reply.tokens) for reply in replies)


worker.serve(generate)
