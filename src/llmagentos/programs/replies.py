"""What can be replied, one by one.

In: the regular expression that says what can be replied. Out: the replies, where they can be counted.
It does not know who replies.
"""

from __future__ import annotations

from functools import lru_cache

MOST = 64
"""Replies that are told apart: what is said by chance out of more is hardly ever right."""

_PUNCTUATION = frozenset("*+.^$)]}")
"""What means something else than itself and cannot be counted, or stands where it must not."""


@lru_cache(maxsize=256)
def listed(pattern: str) -> tuple[str, ...]:
    """All texts that `pattern` allows, without what `?` lets be left out; nothing where they are more than `MOST` or
    cannot be counted.

    Read are texts, `|`, groups, classes such as `[A-C1]`, `\\d`, `\\u0020`, and how often: `?`, `{2}`, `{0,2}`. Games
    allow blanks in many places: a move that is spelled in one way is learned in one way.
    """
    reader = _Reader(pattern)
    try:
        found = reader.alternatives()
        return tuple(text for text in found if text) if reader.at == len(pattern) else ()
    except (_UncountableError, IndexError, ValueError, RecursionError):
        return ()


class _UncountableError(Exception):
    """A pattern allows too much, or says so in a way that is not read here."""


class _Reader:
    """Reads a pattern from its place `at` on."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def alternatives(self) -> list[str]:
        """Up to the end of the pattern or of a group."""
        found = self._sequence()
        while self._next("|"):
            found += self._sequence()
        return _few(found)

    def _sequence(self) -> list[str]:
        texts = [""]
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            part = self._often(self._part())
            texts = _few([text + more for text in texts for more in part])
        return texts

    def _part(self) -> list[str]:
        letter = self._take()
        if letter == "(":
            if self._next("?") and self._take() != ":":
                raise _UncountableError
            found = self.alternatives()
            if self._take() != ")":
                raise _UncountableError
            return found
        if letter == "[":
            return self._letters()
        if letter in _PUNCTUATION:
            raise _UncountableError
        return self._escaped() if letter == "\\" else [letter]

    def _escaped(self) -> list[str]:
        letter = self._take()
        if letter == "d":
            return list("0123456789")
        if letter == "u":
            self.at += 4
            return [chr(int(self.pattern[self.at - 4 : self.at], 16))]
        if letter.isalnum():
            raise _UncountableError
        return [letter]

    def _letters(self) -> list[str]:
        """Of a class, behind its bracket."""
        found: list[str] = []
        if self.pattern[self.at] == "^":
            raise _UncountableError
        while not self._next("]"):
            letter = self._take()
            some = self._escaped() if letter == "\\" else [letter]
            if self.pattern[self.at] == "-" and self.pattern[self.at + 1] != "]":
                self.at += 1
                some = [chr(code) for code in range(ord(some[0]), ord(self._take()) + 1)]
            found += some
        return _few(found)

    def _often(self, part: list[str]) -> list[str]:
        """A part as often as what stands behind it says."""
        if self._next("?"):
            return [""]
        least = most = 1
        if self._next("{"):
            said = self.pattern[self.at : self.pattern.index("}", self.at)]
            self.at += len(said) + 1
            low, comma, high = said.partition(",")
            least, most = int(low), int(high if comma else low)
        if most > MOST:
            raise _UncountableError
        texts = [""]
        found = [""] if least == 0 else []
        for times in range(1, most + 1):
            texts = _few([text + more for text in texts for more in part])
            found += texts if times >= least else []
        return found or [""]

    def _next(self, letter: str) -> bool:
        """Whether `letter` comes next, which is passed then."""
        found = self.pattern[self.at : self.at + 1] == letter
        self.at += found
        return found

    def _take(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1]


def _few(texts: list[str]) -> list[str]:
    """Each of the texts once; `_UncountableError` where there are too many."""
    found = list(dict.fromkeys(texts))
    if len(found) > MOST:
        raise _UncountableError
    return found
