"""The embedded engine as users load it. Arguments: folder of the model, threads, adapters to serve."""

import sys
from pathlib import Path

import psutil
import worker

from llmagentos.config import load_settings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.models.adapters import new_adapter, to_peft
from llmagentos.models.rendering import Renderer
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import GenerationRequest, Sampling


class Endless(Renderer):
    """Knows no token that ends a turn."""

    @property
    def eos_ids(self) -> frozenset[int]:
        return frozenset()


def open_engine() -> TorchEngine:
    import torch

    folder = Path(sys.argv[1])
    engine = TorchEngine.load(folder, threads=int(sys.argv[2]), kernels=load_settings().kernels)
    engine.renderer = Endless(folder)
    engine.guess_up_to = 0  # replies to random tokens repeat themselves: guesses would flatter
    settings = AdapterSettings()
    for number in range(int(sys.argv[3])):
        adapter = new_adapter(engine.decoder.config, settings.rank, settings.alpha, seed=number)
        generator = torch.Generator().manual_seed(number)
        for _, b in adapter.pairs.values():  # as if trained
            b.normal_(std=0.01, generator=generator)
        engine.load_adapter(f"adapter {number}", *to_peft(adapter, engine.decoder.config, "benchmark"))
    return engine


ENGINE = open_engine()


def generate(
    prompts: list[list[int]], tokens: int, adapters: int = 0, sharing: bool = False, memory: bool = False
) -> int | float:
    """All requests at once, greedy, over the first `adapters` in turn; with `memory` GB of this process afterwards.

    Without `sharing` it is an error when any prompt was remembered.
    """
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
