"""Rates from moments, a comparison with the faster peer, and contenders that are alike."""

from __future__ import annotations

import json
from pathlib import Path

import decode
import pytest


def test_decode_counts_only_what_comes_after_every_first_token() -> None:
    # The second request's first token comes at 2 s; after it come three tokens, the last at 5 s.
    found = decode.rates([[1.0, 2.0, 4.0], [2.0, 3.0, 5.0]])
    assert found["decode"] == pytest.approx(3 / 3)
    assert found["end to end"] == pytest.approx(6 / 5)


def test_prefill_does_not_enter_decode_but_enters_end_to_end() -> None:
    early, late = decode.rates([[1.0, 2.0]]), decode.rates([[9.0, 10.0]])
    assert early["decode"] == late["decode"] == 1.0
    assert early["end to end"] > late["end to end"]


def test_single_tokens_have_no_decode_rate() -> None:
    assert decode.rates([[1.0], [1.0]])["decode"] == 0.0


def reading(ours: float, adapted: float, fp32: float, bf16: float) -> dict[str, dict[str, float]]:
    speeds = dict(zip((decode.OURS, decode.ADAPTED, *decode.PEERS), (ours, adapted, fp32, bf16), strict=True))
    return {name: dict.fromkeys(decode.FIGURES, speed) for name, speed in speeds.items()}


def test_comparison_is_with_the_faster_peer_and_within_a_repetition() -> None:
    found = decode.summarise([reading(30, 18, 5, 10), reading(20, 18, 5, 10), reading(50, 18, 5, 20)])
    compared = found["compared"]["decode"]
    assert compared["peer"] == "transformers bf16"
    assert compared["ratio"][decode.OURS] == {"median": 2.5, "lowest": 2.0, "highest": 3.0}
    assert compared["met"] == {decode.OURS: True, decode.ADAPTED: False}


def test_prompts_never_begin_alike_and_hold_no_control_token() -> None:
    source = decode.PromptSource(100, frozenset({0, 1, 2}))
    prompts = [*source.draw(40, 8), *source.draw(40, 5)]
    assert [len(prompt) for prompt in prompts] == [8] * 40 + [5] * 40
    assert len({prompt[0] for prompt in prompts}) == 80
    assert not {0, 1, 2} & {token for prompt in prompts for token in prompt}
    with pytest.raises(SystemExit, match="17 tokens are left"):
        source.draw(18, 4)


def test_every_contender_gives_every_token_and_no_prompt_is_remembered(tiny_model: Path) -> None:
    bench = decode.Bench.open(tiny_model, 0, 4)
    try:
        assert bench.engine.renderer.eos_ids == frozenset()
        for contender in bench.contenders.values():
            for _ in range(2):
                arrivals = contender(bench.prompts.draw(3, 20), 6)
                assert [len(moments) for moments in arrivals] == [6, 6, 6]
                assert all(moments == sorted(moments) and moments[0] > 0 for moments in arrivals)
        repeated = bench.prompts.draw(1, 20)
        bench.contenders[decode.OURS](repeated, 2)
        with pytest.raises(AssertionError, match="remembered"):
            bench.contenders[decode.OURS](repeated, 2)
    finally:
        bench.engine.close()


def test_unit_goes_from_the_model_to_the_table(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "decode.json"
    arguments = ["--model", str(tiny_model), "--home", str(tmp_path / "home"), "--results", str(path)]
    decode.main([*arguments, "--batch", "2", "--prompt", "12", "--tokens", "4", "--repetitions", "2"])
    written = json.loads(path.read_text())
    unit = written["units"]["batch 2, prompt 12"]["results"]
    assert set(unit["tokens_per_second"]) == {decode.OURS, decode.ADAPTED, *decode.PEERS}
    assert unit["limits"]["engine's products"]["tokens_per_second"] > 0
    assert written["lowest_decode_ratio"]["batch 2, prompt 12"] > 0
