"""Labels become tools: a name for each label that every engine and server takes, and no name for two labels.

In: labels as a file writes them. Out: names of 1 to 64 letters, digits, `_`, `-` and `.`.
It does not know records, columns or files.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

LONGEST_NAME = 64
"""Characters of a tool's name that servers with OpenAI's protocol take."""
_SYMBOLS = ("So", "Sc", "Sm")
"""Unicode categories of what is a word by its name: emoji, currencies, signs of arithmetic."""


class ToolNames:
    """The name of every label, the same as long as what stands before it in the file does not change."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: dict[str, str] = {}

    def of(self, label: str) -> str:
        """The name of a label; empty where it has nothing that a name could be made of.

        The first label keeps the plain name. Another one that would be called the same, such as `Card lost - now`
        behind `Card lost / now`, and one that is too long, end in four hexadecimal digits of their digest.
        """
        known = self._names.get(label)
        if known is None:
            known = self._names[label] = self._named(label)
        return known

    def _named(self, label: str) -> str:
        plain = re.sub(r"[^\w.-]+", "_", _spelled(label)).strip("_.")
        if not plain:
            return ""
        name = plain
        if len(plain) > LONGEST_NAME or self._taken.get(plain, label) != label:
            digits = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:4]
            name = f"{plain[: LONGEST_NAME - 5].rstrip('_.-')}_{digits}"
        self._taken[name] = label
        return name


def _spelled(label: str) -> str:
    """A label with its symbols written out: `refund 💸` is `refund  money with wings `."""
    if label.isascii():
        return label
    return "".join(
        f" {unicodedata.name(one, '').lower()} " if unicodedata.category(one) in _SYMBOLS else one for one in label
    )
