"""Our trainer on the engine's weights. Arguments: folder of the model, threads."""

import sys
import time
from pathlib import Path

import torch
import worker

from llmagentos.config import load_settings
from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, TrainingSequence
from llmagentos.models.torch_engine import TorchEngine

ENGINE = TorchEngine.load(Path(sys.argv[1]), threads=int(sys.argv[2]), kernels=load_settings().kernels)
TRAINER = AdapterTrainer(ENGINE.decoder, AdapterSettings(rank=16, alpha=32.0, learning_rate=1e-4))


def train(batches: list[list[list[int]]], trained: int) -> list[float]:
    """Seconds of each step; the loss is on the last `trained` tokens of each sequence."""
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        sequences = [
            TrainingSequence(tuple(tokens), tuple(n >= len(tokens) - trained for n in range(len(tokens))))
            for tokens in batch
        ]
        TRAINER.backward(-torch.cat(TRAINER.logprobs(sequences)).mean())
        TRAINER.step()
        seconds.append(time.perf_counter() - began)
    return seconds


worker.serve(train)
