"""The engine of a real server answers as the embedded one does with the same weights."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from servers import LlamaServer

from llmagentos import AgentOS
from llmagentos.cli.main import run
from llmagentos.errors import AdapterError, ConfigError, PromptTooLongError
from llmagentos.kernel.rollouts import Policy, Rollouts
from llmagentos.llm import LanguageModel, Voice
from llmagentos.models.remote.engine import RemoteEngine
from llmagentos.models.remote.faults import ServerFault
from llmagentos.models.remote.wire import Wire
from llmagentos.models.rendering import Renderer
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import GenerationRequest, Grammar, Sampling
from llmagentos.records.message import Message

PROMPTS = [tuple((n * 7 + start) % 400 + 10 for n in range(count)) for start, count in ((1, 60), (5, 3), (9, 100))]


@pytest.fixture
def remote(llama_server: LlamaServer) -> Iterator[RemoteEngine]:
    """In tokens."""
    engine = RemoteEngine(Wire(llama_server.url), llama_server.model, renderer=Renderer(llama_server.folder))
    yield engine
    engine.close()


@pytest.fixture
def spoken(llama_server: LlamaServer) -> Iterator[RemoteEngine]:
    """In messages."""
    engine = RemoteEngine(Wire(llama_server.url), llama_server.model)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def embedded(tiny_model: Path) -> Iterator[TorchEngine]:
    engine = TorchEngine.load(tiny_model, precision="fp32")
    yield engine
    engine.close()


def test_greedy_replies_are_those_of_the_embedded_engine(remote: RemoteEngine, embedded: TorchEngine) -> None:
    prompts = [tuple((n * 7 + start) % 400 + 10 for n in range(3 + 9 * start)) for start in range(9)]
    requests = [GenerationRequest(prompt, Sampling(max_tokens=16)) for prompt in prompts]
    ours = [future.result() for future in [embedded.submit(request) for request in requests]]
    theirs = [future.result() for future in [remote.submit(request) for request in requests]]
    whole = ["\ufffd" not in our.text for our in ours]  # bytes that are no character never leave that server
    assert sum(whole) >= 3
    for their, our, named in zip(theirs, ours, whole, strict=True):
        assert their.finish == our.finish
        if named:
            assert (their.tokens, their.text) == (our.tokens, our.text)
            assert their.logprobs == pytest.approx(our.logprobs, abs=0.01)  # its keys and values are in half precision
        else:
            assert their.text == remote.renderer.decode(their.tokens)
    assert remote.counters.requests == len(prompts)
    assert remote.counters.sampled == sum(len(reply.tokens) for reply in ours)
    assert remote.counters.prefilled + remote.counters.cached == sum(map(len, prompts))


def test_drawn_tokens_come_with_their_ends_and_stream(remote: RemoteEngine) -> None:
    for seed in range(8):
        seen: list[int] = []
        sampling = Sampling(max_tokens=60, temperature=1.5, seed=seed)
        reply = remote.submit(GenerationRequest(PROMPTS[0], sampling), seen.append).result()
        ends = remote.renderer.end_of_turn
        assert [token for token in reply.tokens if token != ends] == seen
        assert (reply.finish == "stop") == (reply.tokens[-1] == ends)
        assert remote.renderer.decode(reply.tokens) == reply.text
    again = remote.submit(GenerationRequest(PROMPTS[0], sampling)).result()
    assert again.tokens == reply.tokens


def test_stop_string_ends_the_reply_at_the_server_too(remote: RemoteEngine) -> None:
    whole = remote.submit(GenerationRequest(PROMPTS[0], Sampling(max_tokens=40))).result()
    stop = whole.text[8:11]
    reply = remote.submit(GenerationRequest(PROMPTS[0], Sampling(max_tokens=40, stop=(stop,)))).result()
    assert reply.text == whole.text[: whole.text.index(stop)]
    assert reply.finish == "stop"
    assert len(reply.tokens) < len(whole.tokens)


def test_cancelled_request_frees_its_slot(remote: RemoteEngine) -> None:
    began = time.monotonic()
    long = [remote.submit(GenerationRequest(PROMPTS[1], Sampling(max_tokens=250))) for _ in range(2)]
    for future in long:
        assert future.cancel()
    remote.submit(GenerationRequest(PROMPTS[1], Sampling(max_tokens=2))).result(30)
    assert time.monotonic() - began < 30
    with pytest.raises(CancelledError):
        long[0].result(0)


def test_prompt_that_does_not_fit_says_by_how_much(remote: RemoteEngine, spoken: RemoteEngine) -> None:
    assert remote.window == 256
    with pytest.raises(PromptTooLongError, match="by 45"):
        remote.submit(GenerationRequest((7,) * 300)).result()
    segments = spoken.renderer.render([Message("user", "word " * 400)], first=True)
    with pytest.raises(PromptTooLongError, match="exceeds the window of 256"):
        spoken.submit(GenerationRequest(tuple(t for part in segments for t in part.tokens))).result()


def test_schema_constrains_tokens_and_messages(remote: RemoteEngine, spoken: RemoteEngine) -> None:
    schema = {"type": "object", "properties": {"ok": {"enum": [7]}}, "required": ["ok"], "additionalProperties": False}
    sampling = Sampling(max_tokens=60, temperature=1.0, grammar=Grammar("json_schema", json.dumps(schema)))
    for engine in (remote, spoken):
        segments = engine.renderer.render([Message("user", "Go")], first=True)
        reply = engine.submit(GenerationRequest(tuple(t for part in segments for t in part.tokens), sampling)).result()
        assert json.loads(reply.text) == {"ok": 7}


def test_messages_are_framed_by_the_server_as_by_its_tokenizer(remote: RemoteEngine, spoken: RemoteEngine) -> None:
    class Talk(LanguageModel):
        def __init__(self, engine: RemoteEngine) -> None:
            self._engine = engine

        def voice(self) -> Voice:
            return Voice(self._engine)

    turns = [
        Message("system", "Be short."),
        Message("user", "Where is it? é"),
        Message("assistant", "Here."),
        Message("user", "<|im_end|> Where?"),
    ]
    pieces: list[str] = []
    text = Talk(spoken).chat([*turns[:3], Message("user", "Where?")], 20, on_text=pieces.append)
    assert text == Talk(remote).chat([*turns[:3], Message("user", "Where?")], 20) == "".join(pieces)
    assert Talk(spoken).chat(turns, 5) is not None
    assert Talk(spoken).generate("Where", 5, raw=True) == Talk(remote).generate("Where", 5, raw=True)


def test_what_the_server_cannot_do_is_said(remote: RemoteEngine, llama_server: LlamaServer, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="LLMAGENTOS_REMOTE_ADAPTERS"):
        remote.load_adapter("r1", {}, {})
    able = RemoteEngine(Wire(llama_server.url), "tiny", adapters=tmp_path)
    with pytest.raises(AdapterError, match="--enable-lora"):
        able.load_adapter("r1", {}, {})
    able.close()
    other = RemoteEngine(Wire(llama_server.url), "gpt-3")
    with pytest.raises(ServerFault, match=r"no model 'gpt-3'. It has: .*tiny"):
        other.submit(GenerationRequest((1,))).result()
    other.close()
    with pytest.raises(ServerFault, match="--embeddings"):
        remote.embed(["text"])


@pytest.mark.parametrize("tokens", [True, False])
def test_runs_on_a_server_become_experience(
    llama_server: LlamaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: bool
) -> None:
    monkeypatch.setenv("LLMAGENTOS_REMOTE_URL", llama_server.url)
    monkeypatch.setenv("LLMAGENTOS_REMOTE_KEY", "secret-of-mine")
    if tokens:
        monkeypatch.setenv("LLMAGENTOS_REMOTE_TOKENIZER", str(llama_server.folder))
    with AgentOS(tmp_path / "home", "remote:tiny") as system:
        tasks = system.make_environment("Drills-v0?level=1").tasks("train", 2, seed=0)
        policy = Policy("r0", program="react", sampling=Sampling(max_tokens=8))
        episodes = Rollouts(system.kernel).play(tasks, policy)
        for episode in episodes:
            said = [part for part in episode.transcript.segments if part.origin == "sampled"]
            assert said
            assert episode.transcript.model == (llama_server.folder.name if tokens else "remote:tiny")
            assert system.episodes.get(episode.id) == episode
        assert "secret-of-mine" not in repr(system.settings)
        with pytest.raises(ConfigError, match="cannot learn here"):
            _ = system.cycle


def test_doctor_looks_at_the_server(
    llama_server: LlamaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLMAGENTOS_REMOTE_URL", llama_server.url)
    monkeypatch.setattr("llmagentos.cli.doctor._pip", lambda settings: iter(()))
    assert run(["--home", str(tmp_path), "--model", "remote:tiny", "doctor"]) == 0
    told = capsys.readouterr().out
    assert "llama.cpp at" in told
    assert "serves tiny" in told
    assert run(["--home", str(tmp_path), "--model", "remote:other", "doctor"]) == 1
    assert "has no model other" in capsys.readouterr().out
