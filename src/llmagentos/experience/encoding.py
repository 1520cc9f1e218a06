"""Episodes as bytes.

In: `Episode`s. Out: compact bytes of a numbered format, and the episode again, equal to the last bit.
It does not know where the bytes are kept.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from llmagentos.errors import StoreError
from llmagentos.records.episode import Episode
from llmagentos.records.generation import Grammar
from llmagentos.records.transcript import Segment, Transcript

FORMAT = 1
"""MessagePack of `[episode without segments, segments, grammars]`, numbers of segments as little-endian arrays. The
grammars, which segments name by their places, may be absent."""
FORMAT_JSON = 2
"""The same in JSON, for text that is no Unicode: models write halves of surrogate pairs, which MessagePack refuses."""

_WIDTHS = ((0xFF, "B"), (0xFFFF, "H"), (0xFFFFFFFF, "I"))


def encode(episode: Episode) -> tuple[int, bytes]:
    """The format's number and the bytes."""
    bare = replace(episode, transcript=Transcript(episode.transcript.model))
    grammars = list(dict.fromkeys(one.grammar for one in episode.transcript.segments if one.grammar is not None))
    segments = [_pack(segment, grammars) for segment in episode.transcript.segments]
    parts = [bare, segments, grammars]
    try:
        return FORMAT, msgspec.msgpack.encode(parts)
    except UnicodeEncodeError:
        return FORMAT_JSON, json.dumps(msgspec.to_builtins(parts)).encode()


def decode(version: int, body: bytes) -> Episode:
    """The episode again; `StoreError` for an unknown format or damaged bytes."""
    try:
        if version == FORMAT:
            bare, segments, *more = msgspec.msgpack.decode(body)
        elif version == FORMAT_JSON:
            bare, segments, *more = json.loads(body)
        else:
            raise StoreError(
                f"An episode has format {version}; this version reads {FORMAT} and {FORMAT_JSON}. "
                "Upgrade with: pip install --upgrade llmagentos"
            )
        episode = msgspec.convert(bare, Episode)
        grammars = msgspec.convert(more[0] if more else [], list[Grammar])
        unpacked = tuple(_unpack(segment, grammars) for segment in msgspec.convert(segments, list[_Packed]))
    except (msgspec.MsgspecError, ValueError, TypeError, IndexError) as error:
        raise StoreError(
            f"A stored episode cannot be read ({error}): the database is damaged. Run: llmagentos doctor"
        ) from error
    return replace(episode, transcript=Transcript(episode.transcript.model, unpacked))


class _Packed(msgspec.Struct, array_like=True):
    origin: Any
    token_type: str
    tokens: bytes
    logprob_type: str
    """Empty when the segment has no log-probabilities."""
    logprobs: bytes
    grammar: int = -1
    """Place among the episode's grammars, -1 for none."""


def _pack(segment: Segment, grammars: list[Grammar]) -> _Packed:
    token_type = next((code for limit, code in _WIDTHS if max(segment.tokens, default=0) <= limit), "Q")
    tokens = _bytes(token_type, segment.tokens)
    grammar = -1 if segment.grammar is None else grammars.index(segment.grammar)
    if segment.logprobs is None:
        return _Packed(segment.origin, token_type, tokens, "", b"", grammar)
    # Engines compute in single precision or less, so that four bytes are nearly always exact.
    single = array("f", segment.logprobs)
    logprob_type = "f" if tuple(single) == segment.logprobs else "d"
    return _Packed(segment.origin, token_type, tokens, logprob_type, _bytes(logprob_type, segment.logprobs), grammar)


def _unpack(packed: _Packed, grammars: list[Grammar]) -> Segment:
    tokens = _numbers(packed.token_type, packed.tokens)
    logprobs = _numbers(packed.logprob_type, packed.logprobs) if packed.logprob_type else None
    return Segment(packed.origin, tokens, logprobs, grammars[packed.grammar] if packed.grammar >= 0 else None)


def _bytes(code: str, numbers: Sequence[float]) -> bytes:
    values = array(code, numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _numbers(code: str, data: bytes) -> tuple[Any, ...]:
    values: array[Any] = array(code)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return tuple(values)
