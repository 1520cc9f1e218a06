"""The space of all Unicode texts.

In: any text. Out: membership and samples for Gymnasium's interfaces.
Gymnasium's own `Text` enumerates its characters and so stops at small alphabets; this one does not.
It does not know what a text means.
"""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Space

_WORDS = ("yes", "no", "order", "number", "please", "你好", "où", "42", "{}", "?")


class FreeText(Space[str]):
    """Every `str`; samples are short runs of a few words, some of them not ASCII."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(shape=None, dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Never: a text has no fixed number of axes."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """A short text; `mask` and `probability` are not supported."""
        if mask is not None or probability is not None:
            raise ValueError("FreeText.sample takes neither mask nor probability. Call it without arguments.")
        count = int(self.np_random.integers(0, 6))
        return " ".join(_WORDS[int(self.np_random.integers(len(_WORDS)))] for _ in range(count))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a text."""
        return isinstance(x, str)

    def __repr__(self) -> str:
        return "FreeText()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeText)

    def __hash__(self) -> int:
        return hash(FreeText)
