"""How servers of different makers are asked, and how their answers are read; all of them speak OpenAI's protocol.

In: what a server says of itself, requests. Out: bodies to send, and from each event the piece of a reply in it.
It does not know connections, attempts or tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from llmagentos.errors import EngineError
from llmagentos.models.remote.faults import ServerFault
from llmagentos.records.generation import Grammar, Sampling
from llmagentos.records.identity import JSON
from llmagentos.records.message import Message, ToolSpec

Maker: TypeAlias = Literal["vllm", "llamacpp", "other"]

_FINISHED = {"stop": "stop", "length": "length", "tool_calls": "stop", "function_call": "stop"}


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself."""

    maker: Maker
    models: tuple[str, ...]
    window: int | None
    """Most tokens of prompt and reply together, where it says so."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one request was charged for, in the server's own tokens."""

    prompt: int = 0
    cached: int = 0
    """Those of the prompt that were taken from a cache."""
    completion: int = 0


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of a tool call."""

    index: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one event brings."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    """Empty where the server names none."""
    logprobs: tuple[float, ...] = ()
    calls: tuple[CallPart, ...] = ()
    finish: Literal["stop", "length"] | None = None
    usage: Usage | None = None


def read_server(answer: JSON, model: str) -> Server:
    """From the answer of `/models`; `ServerFault` when it is not one."""
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise ServerFault(
            "The server's list of models cannot be read: it does not speak OpenAI's protocol.", again=False
        )
    cards = [card for card in listed if isinstance(card, dict) and isinstance(card.get("id"), str)]
    card = next((card for card in cards if card["id"] == model), cards[0] if cards else {})
    owner = str(card.get("owned_by", "")).lower()
    maker: Maker = "vllm" if owner == "vllm" else "llamacpp" if owner == "llamacpp" else "other"
    meta = card.get("meta")
    window = meta.get("n_ctx") if isinstance(meta, dict) else card.get("max_model_len")
    return Server(maker, tuple(card["id"] for card in cards), window if isinstance(window, int) else None)


def completion_body(server: Server, model: str, prompt: Sequence[int] | str, sampling: Sampling) -> dict[str, JSON]:
    """Continue tokens (or a text); asks for the tokens drawn and their log-probabilities where there is a way.

    Stop strings are not sent: they are watched here, and leaving the stream ends the request at the server.
    """
    body: dict[str, JSON] = {"prompt": prompt if isinstance(prompt, str) else list(prompt), **_common(model, sampling)}
    body["max_tokens"] = sampling.max_tokens
    if server.maker == "vllm":
        body |= {"logprobs": 0, "return_token_ids": True}
    elif server.maker == "llamacpp":
        body |= {"logprobs": 1}
    return body | _only_drawn(server) | _constraint(server, sampling.grammar)


def chat_body(
    server: Server, model: str, messages: Sequence[Message], sampling: Sampling, tools: Sequence[ToolSpec], limit: str
) -> dict[str, JSON]:
    """Answer messages; `limit` is what this server calls the most tokens of a reply."""
    body = {"messages": _chat_messages(messages, {tool.name for tool in tools}), **_common(model, sampling)}
    body[limit] = sampling.max_tokens
    if sampling.stop:  # the protocol takes four; all are watched here too
        body["stop"] = list(sampling.stop[:4])
    if tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in tools
        ]
    if sampling.grammar is not None and sampling.grammar.kind == "json_schema":
        schema = {"name": "reply", "schema": msgspec.json.decode(sampling.grammar.text), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body | _only_drawn(server)
    return body | _only_drawn(server) | _constraint(server, sampling.grammar)


def read_part(server: Server, event: JSON) -> Part:
    """What an event brings; `ServerFault` for nonsense."""
    try:
        return _read_part(server, event)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as problem:
        raise ServerFault(f"The server's answer cannot be read ({type(problem).__name__}).", again=True) from problem


def _read_part(server: Server, event: Any) -> Part:
    usage = _usage(event.get("usage"))
    if not event["choices"]:
        return Part(usage=usage)
    choice = event["choices"][0]
    said = choice.get("delta") or choice.get("message") or {}
    text = choice.get("text") or said.get("content") or ""
    if not isinstance(text, str):
        raise TypeError
    tokens, logprobs = _drawn(server, choice)
    calls = tuple(
        CallPart(
            int(call.get("index") or number),
            str(call["function"].get("name") or ""),
            str(call["function"].get("arguments") or ""),
        )
        for number, call in enumerate(said.get("tool_calls") or ())
    )
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise ServerFault("The server's content filter withheld the reply.", again=False)
    finish = None if reason is None else _FINISHED.get(reason, "stop")
    return Part(text, tokens, logprobs, calls, finish, usage)  # type: ignore[arg-type]  # one of the table's values


def _drawn(server: Server, choice: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    given = choice.get("logprobs") or {}
    if server.maker == "vllm":
        tokens = tuple(int(token) for token in choice.get("token_ids") or ())
        return tokens, tuple(float(value) for value in given.get("token_logprobs") or ())
    if server.maker == "llamacpp":
        content = given.get("content") or ()
        return tuple(int(one["id"]) for one in content), tuple(float(one["logprob"]) for one in content)
    return (), ()


def _usage(given: Any) -> Usage | None:
    if not given:
        return None
    details = given.get("prompt_tokens_details") or {}
    return Usage(
        int(given.get("prompt_tokens") or 0),
        int(details.get("cached_tokens") or 0),
        int(given.get("completion_tokens") or 0),
    )


def _common(model: str, sampling: Sampling) -> dict[str, JSON]:
    return {
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed % 2**31,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _only_drawn(server: Server) -> dict[str, JSON]:
    """Nothing that cuts the distribution unasked: servers have their own ideas of top-k and min-p."""
    if server.maker == "vllm":
        return {"top_k": -1, "min_p": 0.0}
    return {"top_k": 0, "min_p": 0.0} if server.maker == "llamacpp" else {}


def _constraint(server: Server, grammar: Grammar | None) -> dict[str, JSON]:
    if grammar is None:
        return {}
    value = msgspec.json.decode(grammar.text) if grammar.kind == "json_schema" else grammar.text
    if server.maker == "vllm":
        return {
            "structured_outputs": {{"json_schema": "json", "regex": "regex", "lark": "grammar"}[grammar.kind]: value}
        }
    if server.maker == "llamacpp" and grammar.kind == "json_schema":
        return {"json_schema": value}
    raise EngineError(
        f"This server cannot constrain a reply by {grammar.kind}; use a JSON Schema, or a model that runs here."
    )


def _chat_messages(messages: Sequence[Message], tools: set[str]) -> list[dict[str, JSON]]:
    """As the protocol has them: with `tools`, the assistant's calls and what came back are written as such."""
    found: list[dict[str, JSON]] = []
    called = ""
    for number, message in enumerate(messages):
        call = _as_call(message.content, tools) if message.role == "assistant" else None
        if call is not None:
            called = f"call_{number}"
            function = {"name": call[0], "arguments": msgspec.json.encode(call[1]).decode()}
            calls = [{"id": called, "type": "function", "function": function}]
            found.append({"role": "assistant", "content": None, "tool_calls": calls})
            continue
        if message.role == "tool" and called:
            found.append({"role": "tool", "tool_call_id": called, "content": message.content})
        else:
            role = "user" if message.role == "tool" else message.role
            found.append({"role": role, "content": message.content})
        called = ""
    return found


def _as_call(text: str, tools: set[str]) -> tuple[str, dict[str, JSON]] | None:
    """A call in the form `{"name": {...}}` of one of the tools."""
    if not tools or not text.startswith("{"):
        return None
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if not isinstance(found, dict) or len(found) != 1:
        return None
    ((name, arguments),) = found.items()
    return (name, arguments) if name in tools and isinstance(arguments, dict) else None
