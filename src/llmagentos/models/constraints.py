"""Grammars that replies must follow: after every token, which ones may come next.

In: a JSON Schema, a grammar or a regular expression, then the tokens of a reply. Out: a mask over the vocabulary, one
bit a token, in words of 32. The work is llguidance's; this file only ties it to a tokenizer.
It does not know how tokens are drawn.

Axes: N tokens of a reply, M rows, V vocabulary, W words of a mask.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmagentos.errors import EngineError
from llmagentos.records.generation import Grammar

REMEMBERED = 64
"""Grammars whose compiled form is kept."""


class Constraint:
    """One reply that follows a grammar."""

    __slots__ = ("_matcher", "allowed")

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        """`EngineError` when nothing can be said under this grammar."""
        self._matcher = matcher
        self.allowed: np.ndarray = np.zeros(words(vocabulary), dtype=np.int32)
        """One bit for each token that may come next, least significant first, [ceil(V / 32)]."""
        self._look()

    def accept(self, token: int) -> None:
        """The reply goes on with an allowed token. `EngineError` when the grammar gives up, as at its limits."""
        self._matcher.consume_token(token)
        self._look()

    def _look(self) -> None:
        self._matcher.unsafe_compute_mask_ptr(self.allowed.ctypes.data, self.allowed.nbytes)
        if self._matcher.is_error():
            raise EngineError(f"The grammar cannot be followed: {self._matcher.get_error()}")
        if not self.allowed.any():
            raise EngineError("The grammar allows no token here, not even the end; it has no reply that ends.")


class Constraints:
    """Compiles grammars for the tokenizer of one folder. Thread-safe."""

    def __init__(self, folder: Path, vocabulary: int, ends: frozenset[int]) -> None:
        self._folder, self._vocabulary, self._ends = folder, vocabulary, ends
        self._tokenizer: Any = None
        self._matchers: OrderedDict[Grammar, Any] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, grammar: Grammar) -> Constraint:
        """The constraint of a new reply. `EngineError` says what is wrong with the grammar."""
        with self._lock:
            matcher = self._matchers.get(grammar)
            if matcher is None:
                matcher = self._matchers[grammar] = self._matcher(grammar)
                while len(self._matchers) > REMEMBERED:
                    self._matchers.popitem(last=False)
            self._matchers.move_to_end(grammar)
            return Constraint(matcher.deep_copy(), self._vocabulary)

    def _matcher(self, grammar: Grammar) -> Any:
        """The grammar compiled: 15 ms for 150 tools, so that it is done once and copied for each reply."""
        from llguidance import LLMatcher

        if self._tokenizer is None:
            self._tokenizer = self._read()
        try:
            if grammar.kind == "json_schema":
                text = LLMatcher.grammar_from_json_schema(grammar.text)
            elif grammar.kind == "lark":
                text = LLMatcher.grammar_from_lark(grammar.text)
            else:
                text = LLMatcher.grammar_from_regex(grammar.text)
        except ValueError as error:
            raise EngineError(f"The {grammar.kind} cannot be read: {error}") from error
        return LLMatcher(self._tokenizer, text, log_level=0)

    def replay(self, grammar: Grammar, tokens: Sequence[int]) -> np.ndarray:
        """What was allowed where each token of a finished reply was drawn, [N, W] int32.

        `EngineError` for a token that the grammar does not allow.
        """
        constraint = self.begin(grammar)
        allowed_NW = np.empty((len(tokens), len(constraint.allowed)), dtype=np.int32)
        for place, token in enumerate(tokens):
            allowed_NW[place] = constraint.allowed
            if place + 1 < len(tokens):
                constraint.accept(token)
        return allowed_NW

    def _read(self) -> Any:
        from llguidance import LLTokenizer

        description = (self._folder / "tokenizer.json").read_text(encoding="utf-8")
        return LLTokenizer(description, n_vocab=self._vocabulary, eos_token=sorted(self._ends))


def words(vocabulary: int) -> int:
    """Words of 32 bits that a mask over the vocabulary takes."""
    return -(-vocabulary // 32)


def forbidden(allowed_MW: np.ndarray, vocabulary: int) -> np.ndarray:
    """The tokens that masks leave out, [M, V] bool."""
    bits_MV: np.ndarray = np.unpackbits(allowed_MW.view(np.uint8), axis=1, bitorder="little")[:, :vocabulary] == 0
    return bits_MV
