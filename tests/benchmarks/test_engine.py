"""The engine's benchmark: who is compared with whom, and that only one contender runs at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import engine
import psutil
import pytest
from peers.contender import HERE, Contender

WORKER = """
import sys
sys.path.insert(0, {here!r})
import worker
def generate(prompts, tokens, fail=False, **more):
    print("words of a library", flush=True)
    if fail:
        sys.exit(3)
    return len(prompts) * tokens
worker.serve(generate)
"""


def contender(folder: Path, name: str, **more: object) -> Contender:
    script = folder / f"{name}.py"
    script.write_text(WORKER.format(here=str(HERE)))
    return Contender(name, [sys.executable, str(script)], folder, dict(more))


def reading(decode: float, whole: float) -> dict[str, float]:
    return {"decode": decode, "end to end": whole, "first token": 0.1}


def test_ours_is_compared_with_the_best_peer_of_each_figure() -> None:
    found = engine.summarise(
        {
            engine.OURS: [reading(300, 90), reading(330, 110), reading(270, 100)],
            engine.ADAPTED: [reading(200, 80)] * 3,
            "one": [reading(100, 200)] * 3,
            "other": [reading(150, 50)] * 3,
        }
    )
    assert found["compared"]["decode"]["best peer"] == "other"
    assert found["compared"]["decode"][engine.OURS] == {"median": 2.0, "lowest": 1.8, "highest": 2.2}
    assert found["compared"]["end to end"]["best peer"] == "one"
    assert found["compared"]["end to end"][engine.ADAPTED]["median"] == 0.4


def test_contender_answers_amid_a_library_s_words_and_sleeps_otherwise(tmp_path: Path) -> None:
    one = contender(tmp_path, "calm")
    try:
        seconds, made = one.ask(prompts=[[1], [2]], tokens=3)
        assert (made, seconds >= 0) == (6, True)
        assert one.process is not None
        deadline = time.monotonic() + 5
        while psutil.Process(one.process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert one.ask(prompts=[[1]], tokens=5)[1] == 5
        assert "words of a library" in one.log.read_text()
    finally:
        one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="processes outlive their parents elsewhere")
def test_contender_that_sleeps_ends_with_a_killed_benchmark(tmp_path: Path) -> None:
    contender(tmp_path, "calm")
    asks = f"""
import sys, time
sys.path.insert(0, {str(HERE.parent)!r})
from pathlib import Path
from peers.contender import Contender
one = Contender("calm", [sys.executable, {str(tmp_path / "calm.py")!r}], Path({str(tmp_path)!r}))
one.ask(prompts=[], tokens=1)
print(one.process.pid, flush=True)
time.sleep(60)
"""
    benchmark = subprocess.Popen([sys.executable, "-c", asks], stdout=subprocess.PIPE, text=True)
    try:
        assert benchmark.stdout is not None
        sleeper = psutil.Process(int(benchmark.stdout.readline()))
    finally:
        benchmark.kill()
        benchmark.wait()
    sleeper.wait(10)


def test_peer_that_ends_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    class Prompts:
        def draw(self, count: int, length: int, common: int = 0) -> list[list[int]]:
            return [[7] * length for _ in range(count)]

    ours, adapted = contender(tmp_path, engine.OURS), contender(tmp_path, engine.ADAPTED)
    good, bad = contender(tmp_path, "good"), contender(tmp_path, "bad", fail=True)
    bench = engine.Bench([ours, adapted, good, bad], Prompts())  # type: ignore[arg-type]
    try:
        found = bench.speed(2, 4, 2)
    finally:
        for one in bench.everybody:
            one.close()
    assert list(found["left_out"]) == ["bad"]
    assert set(found["tokens_per_second"]) == {engine.OURS, engine.ADAPTED, "good"}
    assert found["compared"]["decode"]["best peer"] == "good"


def test_prompts_begin_unlike_each_other_or_share_what_they_should(tiny_model: Path) -> None:
    from llmagentos.models.rendering import Renderer

    prompts = engine.Prompts(Renderer(tiny_model))
    alone = prompts.draw(50, 20)
    assert len({prompt[0] for prompt in alone}) == 50
    shared = prompts.draw(5, 20, common=12)
    assert len({tuple(prompt[:12]) for prompt in shared}) == 1
    assert len({prompt[12] for prompt in shared}) == 5
    assert {len(prompt) for prompt in alone + shared} == {20}
    assert shared[0][0] not in {prompt[0] for prompt in alone}


@pytest.mark.parametrize("name", ["ctranslate2", "vllm", "trl"])
def test_every_peer_has_its_requirements(name: str) -> None:
    assert (HERE / f"requirements-{name}.txt").read_text().split()
