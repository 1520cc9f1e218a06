"""Text on its way to whoever watches a process.

In: sampled tokens from the engine's thread. Out: pieces of text, each certain, in order.
It does not know processes.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterator, Sequence

from llmagentos.models.text_stream import TextStream

_log = logging.getLogger(__name__)


class TextEmitter:
    """Turns the tokens of one reply into pieces of text for `take`."""

    def __init__(
        self, decode: Callable[[Sequence[int]], str], stop: Sequence[str], take: Callable[[str], None]
    ) -> None:
        """`take` may raise: that is logged once and ends the stream, never the run."""
        self._stream = TextStream(decode, stop)
        self._take: Callable[[str], None] | None = take
        self._given = 0

    def push(self, token: int) -> None:
        """A token was sampled; called from the engine's thread."""
        self._give(self._stream.push(token))

    def finish(self, text: str) -> None:
        """The reply is complete: give what is missing of `text`."""
        self._give(text[self._given :])

    def _give(self, piece: str) -> None:
        if not piece or self._take is None:
            return
        self._given += len(piece)
        try:
            self._take(piece)
        except Exception:  # noqa: BLE001 (a watcher's fault must not end what it watches)
            _log.exception("A receiver of streamed text raised; it gets no more")
            self._take = None


class TextChannel:
    """Pieces of text from the engine's thread to whoever reads them."""

    def __init__(self) -> None:
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def put(self, piece: str) -> None:
        """Add a piece."""
        self._pieces.put(piece)

    def end(self) -> None:
        """Say that nothing follows."""
        self._pieces.put(None)

    def __iter__(self) -> Iterator[str]:
        while (piece := self._pieces.get()) is not None:
            yield piece
        self._pieces.put(None)
