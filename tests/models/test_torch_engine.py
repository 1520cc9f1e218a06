"""The engine gives each request what it would get alone, whoever else is served beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from decoders import HalfAttention

from llmagentos.errors import AdapterError, EngineError, PromptTooLongError
from llmagentos.models.adapters import BatchAdapters, FusedAdapter, block_mask, new_adapter, to_peft
from llmagentos.models.decoder import Decoder
from llmagentos.models.packing import TreeAttention, pack
from llmagentos.models.quantisation import quantise
from llmagentos.models.rendering import Renderer
from llmagentos.models.routing import Route, Router, features
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import Completion, GenerationRequest, Sampling

PATIENCE = 120
"""Seconds after which something hangs."""
LONG = tuple((n * 7) % 400 + 10 for n in range(100))
PROMPTS = [LONG, LONG[5:40], (17,), tuple(range(60, 90)), (*LONG[:50], 3, 4)]
DREAMY = Sampling(max_tokens=24, temperature=1.0, seed=5)


@pytest.fixture(scope="module")
def renderer(tiny_model: Path) -> Renderer:
    return Renderer(tiny_model)


GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"))


@pytest.fixture(scope="module", params=["plain", "kernels", GPU])
def decoder(request: pytest.FixtureRequest, tiny_model: Path, renderer: Renderer) -> Decoder:
    """Everything below holds for PyTorch's steps in fp32, on a GPU too, and for the kernels' in eight bits."""
    device = "cuda" if request.param == "cuda" else "cpu"
    found = Decoder.load(tiny_model, dtype=torch.float32, device=device)
    if request.param == "kernels":
        quantise(found, renderer, request.getfixturevalue("kernels"))
    return found


@pytest.fixture
def build(decoder: Decoder, renderer: Renderer) -> Iterator[Callable[..., TorchEngine]]:
    opened: list[TorchEngine] = []

    def make(rows: int = 8, **options: Any) -> TorchEngine:
        opened.append(TorchEngine(decoder, renderer, rows=rows, **options))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(build: Callable[..., TorchEngine]) -> TorchEngine:
    return build()


def complete(engine: TorchEngine, prompt: tuple[int, ...], adapter: str | None = None, **options: Any) -> Completion:
    return engine.submit(GenerationRequest(prompt, Sampling(**options), adapter)).result(PATIENCE)


def strong_adapter(decoder: Decoder, seed: int, rank: int = 2) -> FusedAdapter:
    """A random adapter that changes what is said."""
    adapter = new_adapter(decoder.config, rank, 2.0 * rank, seed)
    generator = torch.Generator().manual_seed(seed)
    for (_, group), (_, b) in adapter.pairs.items():
        b.copy_(torch.randn(b.shape, generator=generator) * 0.3 * block_mask(decoder.config, group, rank))
    return adapter


def scores(
    decoder: Decoder, prompt: tuple[int, ...], reply: tuple[int, ...], temperature: float, adapter: FusedAdapter | None
) -> torch.Tensor:
    """Log-probabilities of a reply by one pass over the whole sequence, no cache involved."""
    tree = pack([prompt + reply])
    runs = BatchAdapters([(0, len(prompt + reply), adapter)]) if adapter else None
    with torch.inference_mode():
        attend = (HalfAttention if decoder.kernels else TreeAttention)(tree, decoder.config)
        hidden = decoder.hidden(tree.tokens_N, tree.positions_N, attend, runs)
        logprobs = (decoder.logits(hidden[len(prompt) - 1 : -1]) / temperature).log_softmax(-1)
    return logprobs.gather(1, torch.tensor(reply).unsqueeze(1)).squeeze(1)


def tolerance(decoder: Decoder) -> float:
    """How far two ways of computing one log-probability may lie apart, in nats."""
    return 2e-4 if decoder.kernels is None else 5e-2  # a last bit may tip an activation to the next of 255 steps


def test_greedy_replies_are_those_of_transformers(engine: TorchEngine, tiny_model: Path) -> None:
    from transformers import LlamaForCausalLM

    if engine.decoder.kernels is not None:
        pytest.skip("eight bits decide close calls otherwise; the log-probabilities are compared below")
    model = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    futures = [engine.submit(GenerationRequest(prompt, Sampling(max_tokens=24))) for prompt in PROMPTS]
    for prompt, future in zip(PROMPTS, futures, strict=True):
        inputs = torch.tensor([prompt])
        theirs = model.generate(inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=24, do_sample=False)
        assert list(future.result(PATIENCE).tokens) == theirs[0, len(prompt) :].tolist()


def test_reply_does_not_depend_on_the_batch(build: Callable[..., TorchEngine]) -> None:
    alone = [complete(build(1), prompt, max_tokens=24, temperature=1.0, seed=5) for prompt in PROMPTS]
    crowded = build(8)
    noise = [GenerationRequest(LONG[:n], Sampling(20, 1.3, seed=n)) for n in range(3, 60, 4)]
    others = [crowded.submit(request) for request in noise[:7]]
    futures = [crowded.submit(GenerationRequest(prompt, DREAMY)) for prompt in PROMPTS]
    others += [crowded.submit(request) for request in noise[7:]]
    for first, future in zip(alone, futures, strict=True):
        second = future.result(PATIENCE)
        assert second.tokens == first.tokens
        assert second.logprobs == pytest.approx(first.logprobs, abs=1e-4)
    wait(others, PATIENCE)
    assert len({first.tokens for first in alone}) == len(PROMPTS)


def test_seed_decides_the_reply(engine: TorchEngine) -> None:
    replies = [complete(engine, LONG, max_tokens=12, temperature=1.0, seed=seed).tokens for seed in (1, 2, 1)]
    assert replies[0] == replies[2]
    assert replies[0] != replies[1]


@pytest.mark.parametrize(("temperature", "adapted"), [(0.0, False), (0.7, True), (1.0, False), (1.5, True)])
def test_recorded_logprobs_are_those_of_a_full_pass(
    engine: TorchEngine, decoder: Decoder, temperature: float, adapted: bool
) -> None:
    adapter = strong_adapter(decoder, 1) if adapted else None
    if adapter is not None:
        engine.serve("a", adapter)
    futures = [
        engine.submit(GenerationRequest(prompt, Sampling(24, temperature, seed=3), "a" if adapted else None))
        for prompt in PROMPTS
    ]
    for prompt, future in zip(PROMPTS, futures, strict=True):
        reply = future.result(PATIENCE)
        assert reply.logprobs is not None
        assert len(reply.logprobs) == len(reply.tokens) > 0
        expected = scores(decoder, prompt, reply.tokens, temperature or 1.0, adapter)
        torch.testing.assert_close(torch.tensor(reply.logprobs), expected, atol=tolerance(decoder), rtol=0)


def test_group_prefills_its_prompt_once(build: Callable[..., TorchEngine]) -> None:
    engine = build(8)
    futures = [engine.submit(GenerationRequest(LONG, replace(DREAMY, seed=seed))) for seed in range(8)]
    replies = [future.result(PATIENCE) for future in futures]
    assert engine.counters.prefilled == len(LONG) + 7
    assert engine.counters.cached == 7 * (len(LONG) - 1) == sum(reply.cached_tokens for reply in replies)
    assert [reply.prompt_tokens for reply in replies] == [len(LONG)] * 8
    for seed, reply in enumerate(replies):
        assert reply.tokens == complete(build(1), LONG, max_tokens=24, temperature=1.0, seed=seed).tokens


def test_prefix_of_an_earlier_request_is_reused_and_counted(build: Callable[..., TorchEngine]) -> None:
    engine = build()
    complete(engine, LONG, max_tokens=5)
    prompt = (*LONG[:60], 3, 4, 5)
    reply = complete(engine, prompt, max_tokens=24, temperature=1.0)
    assert reply.cached_tokens == 60
    assert reply.tokens == complete(build(), prompt, max_tokens=24, temperature=1.0).tokens


def test_growing_conversation_computes_only_what_is_new(build: Callable[..., TorchEngine]) -> None:
    engine = build()
    prompt, seen = LONG, 0
    for turn in range(4):
        reply = complete(engine, prompt, max_tokens=10, temperature=1.0, seed=turn)
        assert reply.cached_tokens == seen
        assert reply.tokens == complete(build(), prompt, max_tokens=10, temperature=1.0, seed=turn).tokens
        seen = len(prompt) + len(reply.tokens) - 1
        prompt += (*reply.tokens, 5, 6, 7)


def test_prefix_store_of_no_size_keeps_nothing(build: Callable[..., TorchEngine]) -> None:
    engine = build(prefix_tokens=0)
    assert [complete(engine, LONG, max_tokens=2).cached_tokens for _ in range(2)] == [0, 0]


def test_adapters_in_one_batch_give_what_they_give_alone(build: Callable[..., TorchEngine], decoder: Decoder) -> None:
    together = build(8)
    names = [None, "a", "b", "c"]
    adapters = {name: strong_adapter(decoder, seed, rank=seed + 1) for seed, name in enumerate(names[1:])}
    for name, adapter in adapters.items():
        together.serve(str(name), adapter)
    asked = [GenerationRequest(LONG, replace(DREAMY, seed=seed), name) for seed in (1, 2) for name in names]
    replies = [future.result(PATIENCE) for future in [together.submit(request) for request in asked]]
    for request, reply in zip(asked, replies, strict=True):
        alone = build(1)
        if request.adapter is not None:
            alone.serve(request.adapter, adapters[request.adapter])
        assert reply.tokens == alone.submit(request).result(PATIENCE).tokens
    assert len({reply.tokens for reply in replies}) == len(asked)


def test_loaded_peft_adapter_is_the_served_one(build: Callable[..., TorchEngine], decoder: Decoder) -> None:
    adapter = strong_adapter(decoder, 4)
    first, second = build(), build()
    first.serve("a", adapter, released=True)
    second.load_adapter("a", *to_peft(adapter, decoder.config, "tiny"))
    assert second.adapters == ("a",)
    replies = [complete(engine, LONG, "a", max_tokens=20) for engine in (first, second)]
    assert replies[0].tokens == replies[1].tokens != complete(first, LONG, max_tokens=20).tokens


@pytest.mark.parametrize("rank", [1, 3, 16])
def test_released_adapter_is_computed_in_halves(build: Callable[..., TorchEngine], decoder: Decoder, rank: int) -> None:
    adapter = strong_adapter(decoder, 4, rank)
    rounded = adapter.to(torch.float16, decoder.device).to(torch.float32, decoder.device)
    released, exact = build(), build()
    released.serve("a", adapter, released=True)
    exact.serve("a", adapter if decoder.kernels is None else rounded)
    asked = [GenerationRequest(prompt, replace(DREAMY, seed=seed), "a") for seed in range(4) for prompt in PROMPTS]
    if decoder.kernels is None:  # the last bits depend on the company there
        ours, theirs = ([engine.submit(one).result(PATIENCE) for one in asked] for engine in (released, exact))
    else:
        futures = [[engine.submit(one) for one in asked] for engine in (released, exact)]
        ours, theirs = ([future.result(PATIENCE) for future in each] for each in futures)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.tokens == other.tokens
        assert mine.logprobs == other.logprobs
    parts = 1 if decoder.kernels is None else 2
    assert released._adapter("a").memory * parts == adapter.memory


def test_released_adapter_whose_values_do_not_fit_stays_exact(engine: TorchEngine, decoder: Decoder) -> None:
    adapter = new_adapter(decoder.config, 2, 4.0, 1)
    next(iter(adapter.pairs.values()))[1][0, 0] = 4e4  # twice as much with the scale
    engine.serve("a", adapter, released=True)
    assert engine._adapter("a").memory == adapter.memory


def test_replaced_adapter_is_used_at_once_without_stale_prefixes(
    build: Callable[..., TorchEngine], decoder: Decoder
) -> None:
    engine, fresh = build(), build()
    engine.serve("a", strong_adapter(decoder, 1))
    complete(engine, LONG, "a", max_tokens=8)
    for served in (engine, fresh):
        served.serve("a", strong_adapter(decoder, 2))
    reply = complete(engine, LONG, "a", max_tokens=8)
    assert reply.cached_tokens == 0
    assert reply.tokens == complete(fresh, LONG, "a", max_tokens=8).tokens


def test_prefixes_never_cross_adapters(engine: TorchEngine, decoder: Decoder) -> None:
    engine.serve("a", strong_adapter(decoder, 1))
    for adapter in (None, "a", None, "a"):
        reply = complete(engine, LONG, adapter, max_tokens=1)
        assert reply.logprobs is not None
        own = strong_adapter(decoder, 1) if adapter else None
        expected = scores(decoder, LONG, reply.tokens, 1.0, own)
        torch.testing.assert_close(torch.tensor(reply.logprobs), expected, atol=tolerance(decoder), rtol=0)


def test_running_request_keeps_its_adapter_to_the_end(build: Callable[..., TorchEngine], decoder: Decoder) -> None:
    engine, alone = build(), build()
    for served in (engine, alone):
        served.serve("a", strong_adapter(decoder, 1))
    tenth, count = threading.Event(), iter(range(1000))
    replaced = threading.Event()

    def swap(token: int) -> None:
        if next(count) == 9:
            tenth.set()
            assert replaced.wait(PATIENCE)

    future = engine.submit(GenerationRequest(LONG, Sampling(30), "a"), swap)
    assert tenth.wait(PATIENCE)
    engine.serve("a", strong_adapter(decoder, 2))
    engine.unload_adapter("a")
    replaced.set()
    assert future.result(PATIENCE).tokens == complete(alone, LONG, "a", max_tokens=30).tokens
    with pytest.raises(AdapterError):
        complete(engine, LONG, "a")


@pytest.mark.parametrize("while_running", [False, True])
def test_prefixes_of_an_unloaded_adapter_displace_nobody(
    build: Callable[..., TorchEngine], decoder: Decoder, while_running: bool
) -> None:
    engine = build(prefix_tokens=256)  # room for two
    complete(engine, LONG, max_tokens=2)
    engine.serve("a", strong_adapter(decoder, 1))
    unload = [lambda token: engine.unload_adapter("a")] if while_running else []
    engine.submit(GenerationRequest(LONG, Sampling(2), "a"), *unload).result(PATIENCE)
    engine.unload_adapter("a")
    complete(engine, tuple(reversed(LONG)), max_tokens=2)
    assert complete(engine, LONG, max_tokens=2).cached_tokens == len(LONG) - 1


def test_unknown_adapter_names_those_there_are(engine: TorchEngine, decoder: Decoder) -> None:
    engine.serve("known", strong_adapter(decoder, 1))
    with pytest.raises(AdapterError, match=r"'gone'.*known"):
        complete(engine, LONG, "gone")


def test_adapter_that_is_not_finite_is_refused_and_the_old_one_stays(engine: TorchEngine, decoder: Decoder) -> None:
    tensors, settings = to_peft(strong_adapter(decoder, 1), decoder.config, "tiny")
    engine.load_adapter("a", tensors, settings)
    before = complete(engine, LONG, "a", max_tokens=8).tokens
    next(iter(tensors.values()))[0, 0] = float("nan")
    with pytest.raises(AdapterError, match="NaN"):
        engine.load_adapter("a", tensors, settings)
    assert complete(engine, LONG, "a", max_tokens=8).tokens == before


def test_many_offered_adapters_are_loaded_when_asked_for_and_forgotten_for_others(
    build: Callable[..., TorchEngine], decoder: Decoder
) -> None:
    adapters = [strong_adapter(decoder, seed) for seed in range(12)]
    loaded: list[int] = []

    def loader(number: int) -> Callable[[], Any]:
        def load() -> Any:
            loaded.append(number)
            return to_peft(adapters[number], decoder.config, "tiny")

        return load

    direct, engine = build(), build(adapter_bytes=3 * adapters[0].memory)
    for number, adapter in enumerate(adapters):
        direct.load_adapter(f"a{number}", *to_peft(adapter, decoder.config, "tiny"))
        engine.offer_adapter(f"a{number}", loader(number))
    assert loaded == []
    assert len(engine.adapters) == 12
    requests = [GenerationRequest(LONG, Sampling(6), f"a{number}") for number in range(12)]
    expected = [direct.submit(request).result(PATIENCE).tokens for request in requests]
    together = [engine.submit(request) for request in requests]  # those that are forgotten meanwhile run to their end
    assert [future.result(PATIENCE).tokens for future in together] == expected
    assert loaded == list(range(12))
    for number in (11, 10, 9, 11, 0, 11, 9):  # three stay; the one that was not asked for longest goes
        assert engine.submit(requests[number]).result(PATIENCE).tokens == expected[number]
    assert loaded[12:] == [0]
    engine.unload_adapter("a0")
    with pytest.raises(AdapterError, match="a0"):
        complete(engine, LONG, "a0")


def test_router_chooses_by_how_a_request_opens(engine: TorchEngine, decoder: Decoder) -> None:
    adapter = strong_adapter(decoder, 4)
    engine.serve("a", adapter)
    engine.offer_router("r1", Router([Route("s", "a", features(LONG), 0.8)]))
    assert set(engine.adapters) == {"a", "r1"}
    by_adapter, bare = complete(engine, LONG, "a", max_tokens=8).tokens, complete(engine, LONG, max_tokens=8).tokens
    assert complete(engine, LONG, "r1", max_tokens=8).tokens == by_adapter != bare
    other = tuple(reversed(LONG[:6]))
    assert complete(engine, other, "r1", max_tokens=8).tokens == complete(engine, other, max_tokens=8).tokens
    later = (*LONG, *range(3, 60))
    routed = engine.submit(GenerationRequest(later, Sampling(8), "r1", opened=len(LONG))).result(PATIENCE)
    assert routed.tokens == complete(engine, later, "a", max_tokens=8).tokens, "at later turns as at the first"
    engine.serve("r1", adapter)
    assert complete(engine, other, "r1", max_tokens=8).tokens == complete(engine, other, "a", max_tokens=8).tokens
    engine.offer_router("r1", Router((), "gone"))
    with pytest.raises(AdapterError, match="gone"):
        complete(engine, LONG, "r1")
    engine.unload_adapter("r1")
    assert engine.adapters == ("a",)


def test_offered_adapter_that_cannot_be_loaded_fails_its_request_alone(engine: TorchEngine, decoder: Decoder) -> None:
    wider = replace(decoder.config, hidden=96)
    engine.offer_adapter("wide", lambda: to_peft(new_adapter(wider, 2, 4.0, 0), wider, "wide"))
    with pytest.raises(AdapterError, match="another base"):
        complete(engine, LONG, "wide")
    assert complete(engine, LONG, max_tokens=2).tokens


def test_adapter_of_another_base_is_refused_with_both_shapes(engine: TorchEngine, decoder: Decoder) -> None:
    wider = replace(decoder.config, hidden=96)
    with pytest.raises(AdapterError, match=r"96.*64.*another base"):
        engine.load_adapter("a", *to_peft(new_adapter(wider, 2, 4.0, 0), wider, "wide"))
    assert engine.adapters == ()


@pytest.mark.parametrize("over", [0, 1, 250])
def test_too_long_prompt_says_by_how_much(engine: TorchEngine, over: int) -> None:
    with pytest.raises(PromptTooLongError, match=rf"{engine.window + over} tokens.*by {over + 1}\b"):
        complete(engine, (7,) * (engine.window + over))


def test_reply_ends_where_the_window_does(build: Callable[..., TorchEngine]) -> None:
    engine = build(1)
    reply = complete(engine, (LONG * 41)[: engine.window - 3], max_tokens=50)
    assert len(reply.tokens) == 3
    assert reply.finish == "length"


def test_empty_prompt_is_refused(engine: TorchEngine) -> None:
    with pytest.raises(EngineError, match="no tokens"):
        complete(engine, ())


def test_no_tokens_asked_for_gives_none(engine: TorchEngine) -> None:
    reply = complete(engine, LONG, max_tokens=0)
    assert (reply.tokens, reply.text, reply.finish) == ((), "", "length")


@pytest.mark.parametrize(
    "options",
    [{"max_tokens": -1}, {"temperature": -0.1}, {"temperature": float("nan")}, {"temperature": float("inf")}]
    + [{"top_p": value} for value in (0.0, 1.1, float("nan"))],
)
def test_impossible_sampling_is_refused(engine: TorchEngine, options: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="not usable"):
        complete(engine, LONG, **options)


@pytest.mark.parametrize("token", [-1, 1_000_000])
def test_token_that_the_model_lacks_harms_nobody_else(engine: TorchEngine, token: int) -> None:
    other = engine.submit(GenerationRequest(LONG, Sampling(40)))
    with pytest.raises(EngineError, match=str(token)):
        complete(engine, (*LONG, token))
    assert len(other.result(PATIENCE).tokens) == 40


def test_end_of_turn_ends_the_reply_and_is_kept(engine: TorchEngine, renderer: Renderer) -> None:
    heard: list[int] = []
    for seed in range(40):
        request = GenerationRequest(LONG, Sampling(400, 1.6, seed=seed))
        heard.clear()
        reply = engine.submit(request, heard.append).result(PATIENCE)
        if reply.finish == "stop":
            break
    assert reply.tokens[-1] in renderer.eos_ids
    assert not renderer.eos_ids & set(reply.tokens[:-1])
    assert heard == list(reply.tokens[:-1])
    assert reply.text == renderer.decode(reply.tokens[:-1])


def test_stop_string_ends_the_reply_and_is_cut(engine: TorchEngine, renderer: Renderer) -> None:
    free = complete(engine, LONG, max_tokens=40, temperature=1.0)
    stop = free.text[15:18]
    reply = complete(engine, LONG, max_tokens=40, temperature=1.0, stop=(stop, "never said"))
    assert reply.finish == "stop"
    assert reply.text == free.text[: free.text.index(stop)]
    assert reply.tokens == free.tokens[: len(reply.tokens)]
    assert stop in renderer.decode(reply.tokens)
    assert stop not in renderer.decode(reply.tokens[:-1])


def test_stop_string_made_of_several_tokens_bytes_is_found(engine: TorchEngine, renderer: Renderer) -> None:
    stop = ""
    for seed in range(60):
        free = complete(engine, LONG, max_tokens=200, temperature=1.0, seed=seed)
        wide = [letter for letter in free.text if ord(letter) > 127 and letter != "\ufffd"]
        if wide and len(renderer.encode(wide[0])) > 1:
            stop = wide[0]
            break
    assert stop, "no seed wrote a character of several tokens"
    reply = complete(engine, LONG, max_tokens=200, temperature=1.0, seed=seed, stop=(stop,))
    assert reply.finish == "stop"
    assert reply.tokens == free.tokens[: len(reply.tokens)]
    assert renderer.decode(reply.tokens).endswith(stop)
    assert stop not in reply.text
    assert reply.text == renderer.decode(reply.tokens).removesuffix(stop)


def long_running(engine: TorchEngine, count: int = 1) -> tuple[list[Future[Completion]], list[threading.Event]]:
    """Requests that would run for long, all of them begun."""
    begun = [threading.Event() for _ in range(count)]
    futures = [
        engine.submit(GenerationRequest((*LONG, n), Sampling(3500, 1.0, seed=n)), lambda _, e=event: e.set())  # type: ignore[misc]
        for n, event in enumerate(begun, 10)
    ]
    assert all(event.wait(PATIENCE) for event in begun)
    return futures, begun


def test_cancelled_request_frees_its_row(build: Callable[..., TorchEngine]) -> None:
    engine = build(1)
    (running,), _ = long_running(engine)
    queued = engine.submit(GenerationRequest(PROMPTS[3], Sampling(4)))
    dropped = engine.submit(GenerationRequest(PROMPTS[3], Sampling(4)))
    assert running.cancel()
    assert dropped.cancel()
    assert queued.result(PATIENCE).tokens == complete(build(1), PROMPTS[3], max_tokens=4).tokens
    assert engine.counters.sampled < 2000  # of the 3500 that the cancelled request had asked for
    assert running.cancelled()
    assert not wait([running, dropped], PATIENCE).not_done


def test_close_with_running_requests_cancels_them(build: Callable[..., TorchEngine]) -> None:
    engine = build(2)
    futures, _ = long_running(engine, 2)
    futures.append(engine.submit(GenerationRequest(LONG, Sampling(4))))
    engine.close()
    engine.close()
    assert not wait(futures, PATIENCE).not_done
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(0)
    with pytest.raises(EngineError, match="closed"):
        engine.submit(GenerationRequest(LONG)).result(PATIENCE)


def test_close_of_an_engine_that_never_ran_is_quiet(build: Callable[..., TorchEngine]) -> None:
    engine = build()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        complete(engine, LONG, max_tokens=1)


def test_on_token_that_raises_fails_its_own_request_only(build: Callable[..., TorchEngine]) -> None:
    engine = build(1)

    def raises(token: int) -> None:
        raise KeyError("broken listener")

    with pytest.raises(EngineError, match=r"on_token.*broken listener"):
        engine.submit(GenerationRequest(LONG, Sampling(8)), raises).result(PATIENCE)
    assert len(complete(engine, LONG, max_tokens=8).tokens) == 8


def test_request_without_room_fails_and_the_engine_goes_on(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(engine, LONG, max_tokens=2)

    def full(*arguments: Any) -> bool:
        raise RuntimeError("can't allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(engine._steps, "place", full)
        with pytest.raises(EngineError, match=r"no room.*allocate"):
            complete(engine, LONG, max_tokens=2)
    assert len(complete(engine, LONG, max_tokens=2).tokens) == 2


def test_failed_step_fails_its_requests_and_the_engine_goes_on(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("device lost")

    with monkeypatch.context() as patched:
        patched.setattr(engine._steps, "step", broken)
        with pytest.raises(EngineError, match=r"step failed.*device lost"):
            complete(engine, LONG, max_tokens=2)
    assert len(complete(engine, LONG, max_tokens=2).tokens) == 2


def test_two_hundred_requests_share_eight_rows(build: Callable[..., TorchEngine]) -> None:
    engine = build(8)
    asked = [GenerationRequest(LONG[n % 9 : 12 + n % 31], Sampling(1 + n % 7, 1.0, seed=n)) for n in range(200)]
    futures = [engine.submit(request) for request in asked]
    replies = [future.result(PATIENCE) for future in futures]
    assert engine.counters.sampled == sum(len(reply.tokens) for reply in replies)
    single = build(1)
    for n in range(0, 200, 23):
        assert single.submit(asked[n]).result(PATIENCE).tokens == replies[n].tokens


def test_requests_from_many_threads_all_get_their_own_answer(
    build: Callable[..., TorchEngine], decoder: Decoder
) -> None:
    engine, single = build(8), build(1)
    engine.serve("a", strong_adapter(decoder, 1))
    single.serve("a", strong_adapter(decoder, 1))

    def ask(n: int) -> Completion:
        if n % 10 == 0:
            engine.serve(f"passing {n}", strong_adapter(decoder, n))
            engine.unload_adapter(f"passing {n - 10}")
        return complete(engine, LONG[n:], "a" if n % 2 else None, max_tokens=6, temperature=1.0, seed=n)

    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(ask, range(60)))
    for n in (0, 13, 30, 47, 59):
        alone = complete(single, LONG[n:], "a" if n % 2 else None, max_tokens=6, temperature=1.0, seed=n)
        assert replies[n].tokens == alone.tokens


def test_long_prompt_is_prefilled_in_chunks_beside_decoding(build: Callable[..., TorchEngine]) -> None:
    engine = build(3)
    long = (LONG * 14)[:1300]
    talking = engine.submit(GenerationRequest(PROMPTS[3], Sampling(30)))
    reading = engine.submit(GenerationRequest(long, Sampling(3)))
    assert talking.result(PATIENCE).tokens == complete(build(1), PROMPTS[3], max_tokens=30).tokens
    assert reading.result(PATIENCE).tokens == complete(build(1), long, max_tokens=3).tokens
