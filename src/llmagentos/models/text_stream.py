"""Sampled tokens as they arrive, turned into text that is never cut inside a character.

In: one token at a time. Out: pieces of text, with stop strings watched. It does not know who samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_CUT = "\ufffd"
"""What a decoder writes for bytes that are not (yet) a character."""
_CONTEXT = 6
"""Tokens decoded again before new ones, for decoders that treat the first token specially."""
_WINDOW = 24
"""Most tokens decoded at once, so that a long reply costs time linear in its length."""


class TextStream:
    """The text of a growing reply; one per reply, not thread-safe."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        """`decode` is the renderer's; `stop` are strings that end the reply and are cut from it."""
        self._decode = decode
        self._stop = tuple(text for text in stop if text)
        self._hold = max((len(text) for text in self._stop), default=1) - 1
        self._tokens: list[int] = []
        self._seen = 0
        self._text = ""
        self._given = 0
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether a stop string has occurred; later tokens are ignored."""
        return self._stopped

    @property
    def text(self) -> str:
        """All text so far, cut before a stop string; whole only after `finish`."""
        return self._text

    def push(self, token: int) -> str:
        """Add a token; returns text that is now certain, often empty."""
        if self._stopped:
            return ""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        certain = len(text) - text.endswith(_CUT)
        if certain > self._seen:
            self._add(text[self._seen : certain])
            self._seen = certain
        if len(self._tokens) > _WINDOW and certain == len(text):
            self._tokens = self._tokens[-_CONTEXT:]
            self._seen = len(self._decode(self._tokens))
        return self._give(len(self._text) if self._stopped else len(self._text) - self._held())

    def finish(self) -> str:
        """The text still held back; an unfinished character becomes the replacement character."""
        if not self._stopped:
            rest = self._decode(self._tokens)[self._seen :]
            self._tokens, self._seen = [], 0
            if rest:
                self._add(rest)
        return self._give(len(self._text))

    def _add(self, piece: str) -> None:
        begin = max(0, len(self._text) - self._hold)
        self._text += piece
        found = [at for at in (self._text.find(stop, begin) for stop in self._stop) if at >= 0]
        if found:
            self._text, self._stopped = self._text[: min(found)], True

    def _held(self) -> int:
        """Length of the longest end of the text that may be the beginning of a stop string."""
        for length in range(min(self._hold, len(self._text)), 0, -1):
            end = self._text[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0

    def _give(self, upto: int) -> str:
        piece = self._text[self._given : upto]
        self._given = max(self._given, upto)
        return piece
