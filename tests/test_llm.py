"""One model to talk to: what reaches the engine, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmagentos.errors import ConfigError, EngineError, PromptTooLongError
from llmagentos.llm import LanguageModel, Voice
from llmagentos.models.rendering import Renderer
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.records.generation import Sampling
from llmagentos.records.message import Message


class Scripted(LanguageModel):
    """Speaks with a scripted engine."""

    def __init__(self, engine: ScriptedEngine, adapter: str | None = None) -> None:
        self.engine, self.adapter = engine, adapter

    def voice(self) -> Voice:
        return Voice(self.engine, self.adapter)


@pytest.fixture
def speak(tiny_model: Path) -> Callable[..., Scripted]:
    def make(*replies: str, adapter: str | None = None, window: int = 8192) -> Scripted:
        engine = ScriptedEngine(Renderer(tiny_model), list(replies), window=window)
        if adapter is not None:
            engine.load_adapter(adapter, {}, {})
        return Scripted(engine, adapter)

    return make


def test_generate_answers_the_prompt_as_a_turn(speak: Callable[..., Scripted]) -> None:
    llm = speak("Paris.")
    assert llm.generate("What is the capital of France?", max_tokens=20) == "Paris."
    expected = llm.engine.renderer.render([Message("user", "What is the capital of France?")], first=True)
    (request,) = llm.engine.requests
    assert request.prompt == tuple(token for segment in expected for token in segment.tokens)
    assert request.sampling.max_tokens == 20


def test_raw_generation_continues_the_text_itself(speak: Callable[..., Scripted]) -> None:
    llm = speak(" time")
    assert llm.generate("Once upon a", raw=True) == " time"
    assert llm.engine.requests[0].prompt == llm.engine.renderer.encode("Once upon a")


def test_sampling_overrides_the_length(speak: Callable[..., Scripted]) -> None:
    llm = speak("one two three STOP four")
    assert llm.generate("count", sampling=Sampling(max_tokens=50, stop=(" STOP",))) == "one two three"


def test_text_arrives_in_pieces_that_make_the_whole(speak: Callable[..., Scripted]) -> None:
    pieces: list[str] = []
    assert speak("打开门, please: öäü").generate("x", on_text=pieces.append) == "打开门, please: öäü"
    assert "".join(pieces) == "打开门, please: öäü"
    assert len(pieces) > 3


def test_chat_renders_the_assistants_turns_as_its_own(speak: Callable[..., Scripted]) -> None:
    llm = speak("again")
    llm.chat([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, Message("user", "bye")])
    render = llm.engine.renderer
    by_steps = [
        *render.render([Message("user", "hi")], first=True),
        render.force("hello"),
        *render.render([Message("user", "bye")], first=False),
    ]
    assert llm.engine.requests[0].prompt == tuple(token for segment in by_steps for token in segment.tokens)


def test_live_adapter_is_named_in_every_request(speak: Callable[..., Scripted]) -> None:
    llm = speak("a", "b", adapter="r1")
    llm.generate("x")
    llm.chat([{"role": "user", "content": "x"}])
    assert [request.adapter for request in llm.engine.requests] == ["r1", "r1"]


@pytest.mark.parametrize(
    "messages",
    [[], [{"role": "assistant", "content": "me"}], [{"role": "king", "content": "x"}], [{"content": "x"}], ["text"]],
)
def test_chat_refuses_what_is_no_dialogue(speak: Callable[..., Scripted], messages: list[dict[str, str]]) -> None:
    with pytest.raises(ConfigError):
        speak("never").chat(messages)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("Sure:\n```python\nprint('hi')\n```\nThat prints.", "print('hi')\n"),
        ("```\nx = 1\ny = 2\n```", "x = 1\ny = 2\n"),
        ("```python\nprint('cut off')", "print('cut off')\n"),
        ("print('bare')", "print('bare')\n"),
    ],
)
def test_generate_code_returns_the_code_alone(speak: Callable[..., Scripted], reply: str, code: str) -> None:
    assert speak(reply).generate_code("打开门") == code


def test_prompt_that_does_not_fit_is_never_cut(speak: Callable[..., Scripted]) -> None:
    with pytest.raises(PromptTooLongError, match="Shorten"):
        speak("never", window=16).generate("word " * 50)


def test_embed_says_when_the_engine_has_none(speak: Callable[..., Scripted]) -> None:
    with pytest.raises(EngineError, match="no embeddings"):
        speak("x").embed(["text"])
    with pytest.raises(ConfigError, match="list"):
        speak("x").embed("text")
