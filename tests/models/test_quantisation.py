"""A model in eight bits says nearly what it says in fp32, serves adapters and learns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from llmagentos.learning.trainer import AdapterSettings, AdapterTrainer, TrainingSequence
from llmagentos.models.products import has_fast_int8
from llmagentos.models.quantisation import measure_peaks, smoothing
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import GenerationRequest, Sampling

PROMPT = tuple(range(20, 60))


@pytest.fixture(params=["by the kernels", "by PyTorch"])
def folder(request: pytest.FixtureRequest) -> Path | None:
    """Where the kernels lie; None to compute without them, which takes a processor that multiplies bytes."""
    if request.param == "by the kernels":
        request.getfixturevalue("kernels")
        return Path(os.environ["LLMAGENTOS_KERNELS"])
    if not has_fast_int8():
        pytest.skip("this processor has no AVX-512 VNNI or AMX")
    return None


def test_log_probabilities_are_near_those_in_full_precision(tiny_model: Path, folder: Path | None) -> None:
    found = {}
    for precision in ("fp32", "int8"):
        engine = TorchEngine.load(tiny_model, precision=precision, kernels=folder)
        assert engine.decoder.head.quantised == (precision == "int8")
        completion = engine.submit(GenerationRequest(PROMPT, Sampling(max_tokens=1))).result(60)
        found[precision] = completion.logprobs[0]
        engine.close()
    assert found["int8"] == pytest.approx(found["fp32"], abs=0.1)


def test_an_adapter_learns_on_eight_bits(tiny_model: Path, folder: Path | None) -> None:
    engine = TorchEngine.load(tiny_model, precision="int8", kernels=folder)
    trainer = AdapterTrainer(engine.decoder, AdapterSettings(learning_rate=5e-3))
    lesson = [TrainingSequence(PROMPT, (False,) * 20 + (True,) * 20)]
    losses = []
    for _ in range(12):
        loss = -torch.cat(trainer.logprobs(lesson)).mean()
        losses.append(float(loss.detach()))
        loss.backward()
        trainer.step()
    assert losses[-1] < losses[0] - 1.0
    engine.close()


def test_smoothing_is_measured_alike_every_time(tiny_model: Path) -> None:
    engine = TorchEngine.load(tiny_model, precision="fp32")
    one, other = (measure_peaks(engine.decoder, engine.renderer) for _ in range(2))
    assert len(one) == 4 * len(engine.decoder.layers) + 1
    assert all(torch.equal(one[key], other[key]) for key in one)
    spread = smoothing(one[0, "qkv"], engine.decoder.layers[0].products["qkv"].weight_OI)
    assert spread.shape == one[0, "qkv"].shape
    assert bool((spread > 0).all())
    engine.close()
