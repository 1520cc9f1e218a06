"""Which blocks of a cache hold what: handed out, shared by their contents, and given up least recently used first.

In: tokens of sequences. Out: numbers of blocks. A block that is full is known by a digest of everything up to its end,
so that whoever begins with the same tokens under the same adapter reads it too, as long as it is kept. Whoever goes on
differently within a block copies what is common.
It does not know where the blocks lie or what is written into them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmagentos.models.kv_cache import common_prefix


@dataclass(frozen=True, slots=True)
class _Content:
    """What a block that others may find holds."""

    owner: int
    digest: bytes
    before: bytes
    """Digest of everything before it."""
    tokens: np.ndarray


class BlockPool:
    """Blocks of `span` positions, `capacity` of them."""

    def __init__(self, capacity: int, span: int, *, most_idle: int | None = None) -> None:
        self.capacity, self.span = capacity, span
        self._most_idle = capacity if most_idle is None else most_idle
        """Most blocks that are kept for later though nobody uses them."""
        self._free = list(range(capacity - 1, -1, -1))
        self._users = np.zeros(capacity, dtype=np.int64)
        self._known: dict[bytes, int] = {}
        self._content: dict[int, _Content] = {}
        self._following: dict[bytes, set[int]] = {}
        """For a digest, the blocks that go on from there."""
        self._idle: OrderedDict[int, None] = OrderedDict()
        self.promised = 0
        """Blocks that running sequences may still ask for."""

    @property
    def room(self) -> int:
        """Blocks that nobody uses and nobody was promised."""
        return len(self._free) + len(self._idle) - self.promised

    def digests(self, tokens: np.ndarray, owner: int, known: Sequence[bytes] = ()) -> list[bytes]:
        """A digest for each full block of `tokens`, going on from those that are `known`."""
        found = list(known)
        for index in range(len(found), len(tokens) // self.span):
            before = found[-1] if found else beginning(owner)
            found.append(_digest(before, tokens[index * self.span : (index + 1) * self.span]))
        return found

    def match(self, digests: Sequence[bytes]) -> list[int]:
        """The longest chain of kept blocks, each now used once more."""
        blocks: list[int] = []
        for digest in digests:
            block = self._known.get(digest)
            if block is None:
                break
            self.use(block)
            blocks.append(block)
        return blocks

    def take(self) -> int:
        """An empty block; the one whose use lies longest back is given up for it. `MemoryError` when all are in use."""
        if not self._free:
            if not self._idle:
                raise MemoryError(f"all {self.capacity} blocks of keys and values are in use")
            self._give_up(next(iter(self._idle)))
        block = self._free.pop()
        self._users[block] = 1
        return block

    def nearest(self, before: bytes, tokens: np.ndarray) -> tuple[int, int]:
        """Of the blocks that go on from `before`, the one that shares most `tokens`, and how many; else (-1, 0)."""
        best, most = -1, 0
        for block in self._following.get(before, ()):
            shared = common_prefix(self._content[block].tokens, tokens)
            if shared > most:
                best, most = block, shared
        return best, most

    def use(self, block: int) -> None:
        """One user more, who will `release` it."""
        self._idle.pop(block, None)
        self._users[block] += 1

    def publish(self, block: int, owner: int, before: bytes, tokens: np.ndarray) -> None:
        """Let others find a block with these tokens; where its contents are known already, the known one stays."""
        digest = _digest(before, tokens)
        if digest not in self._known and block not in self._content:
            self._known[digest] = block
            self._content[block] = _Content(owner, digest, before, tokens.copy())
            self._following.setdefault(before, set()).add(block)

    def release(self, block: int) -> None:
        """One user less; a block that others may find is kept while there is room."""
        self._users[block] -= 1
        if self._users[block]:
            return
        if block not in self._content:
            self._free.append(block)
            return
        self._idle[block] = None
        while len(self._idle) > self._most_idle:
            self._give_up(next(iter(self._idle)))

    def forget(self, owner: int) -> None:
        """Nobody will ask for this owner's blocks any more."""
        for block in [block for block, content in self._content.items() if content.owner == owner]:
            if block in self._idle:
                self._give_up(block)
            else:
                self._hide(block)

    def _give_up(self, block: int) -> None:
        del self._idle[block]
        self._hide(block)
        self._free.append(block)

    def _hide(self, block: int) -> None:
        content = self._content.pop(block)
        del self._known[content.digest]
        following = self._following[content.before]
        following.discard(block)
        if not following:
            del self._following[content.before]


def beginning(owner: int) -> bytes:
    """The digest before any token of this owner's sequences."""
    return str(owner).encode()


def _digest(before: bytes, tokens: np.ndarray) -> bytes:
    return hashlib.blake2b(before + tokens.tobytes(), digest_size=16).digest()
