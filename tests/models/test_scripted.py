import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from llmagentos.errors import AdapterError, EngineError, PromptTooLongError
from llmagentos.models.engine import Engine
from llmagentos.models.rendering import Renderer
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.records.generation import GenerationRequest, Sampling


@pytest.fixture(scope="module")
def renderer(tiny_model: Path) -> Renderer:
    return Renderer(tiny_model)


@pytest.fixture
def make(renderer: Renderer) -> Iterator[Any]:
    engines: list[ScriptedEngine] = []

    def build(replies: Any, **options: Any) -> ScriptedEngine:
        engines.append(ScriptedEngine(renderer, replies, **options))
        return engines[-1]

    yield build
    for engine in engines:
        engine.close()


def ask(engine: Engine, text: str = "hello", **sampling: Any) -> Any:
    return engine.submit(GenerationRequest(engine.renderer.encode(text), Sampling(**sampling)))


def test_reply_function_sees_the_prompt_and_tokens_decode_to_the_reply(make: Any, renderer: Renderer) -> None:
    engine = make(lambda prompt: f"you said {prompt}")
    completion = ask(engine, "refund").result(5)
    assert completion.text == "you said refund"
    assert completion.tokens == (*renderer.encode("you said refund"), renderer.end_of_turn)
    assert len(completion.logprobs) == len(completion.tokens)
    assert completion.finish == "stop"


def test_listed_replies_are_used_in_order_and_then_it_says_so(make: Any) -> None:
    engine = make(["one", "two"])
    assert [ask(engine).result(5).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(EngineError, match="used up"):
        ask(engine).result(5)


def test_length_and_stop_cut_the_reply(make: Any) -> None:
    engine = make(lambda _: "alpha beta STOP gamma")
    cut = ask(engine, max_tokens=3).result(5)
    assert (len(cut.tokens), cut.finish) == (3, "length")
    stopped = ask(engine, stop=("STOP",)).result(5)
    assert (stopped.text, stopped.finish) == ("alpha beta ", "stop")


def test_waiting_requests_make_one_batch(make: Any) -> None:
    engine = make(lambda prompt: prompt, delay=0.05)
    futures = [ask(engine, str(number)) for number in range(20)]
    assert [future.result(5).text for future in futures] == [str(number) for number in range(20)]
    assert len(engine.batches) <= 3


def test_cancelled_request_is_never_answered(make: Any) -> None:
    answered = []
    engine = make(lambda prompt: answered.append(prompt) or "x", delay=0.1)
    future = ask(engine)
    assert future.cancel()
    ask(engine, "other").result(5)
    assert answered == ["other"]
    with pytest.raises(CancelledError):
        future.result(0)


def test_faults_arrive_on_the_future(make: Any) -> None:
    engine = make(lambda prompt: 1 // 0, window=16)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="division"):
        ask(engine).result(5)
    with pytest.raises(PromptTooLongError):
        ask(engine, "1" * 16).result(5)
    with pytest.raises(AdapterError, match="none"):
        engine.submit(GenerationRequest((5,), adapter="ghost")).result(5)


def test_tokens_stream_from_the_engines_thread(make: Any) -> None:
    seen: list[tuple[int, str]] = []
    engine = make(["streamed reply"], has_logprobs=False)
    on_token = lambda token: seen.append((token, threading.current_thread().name))  # noqa: E731
    completion = engine.submit(GenerationRequest((5,)), on_token).result(5)
    assert [token for token, _ in seen] == list(completion.tokens)
    assert {name for _, name in seen} == {"scripted-engine"}
    assert completion.logprobs is None
