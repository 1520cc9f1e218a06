"""Who and when: identifiers, owners, origins.

In: nothing. Out: strings and literals that every other record carries.
It does not know what is being identified.
"""

from __future__ import annotations

import os
import time
from typing import Any, Literal, TypeAlias

JSON: TypeAlias = Any
"""What `json.loads` returns: None, bool, int, float, str, list, dict with str keys."""

Owner: TypeAlias = str
"""The person or team on whose behalf something runs or is stored."""

Origin: TypeAlias = Literal["own", "person", "outside"]
"""Where a record's content comes from: the system itself, a person, or the outside world."""

LOCAL_OWNER: Owner = "local"

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """A fresh identifier `prefix_<10 characters of time><8 of chance>`; sorts by time of creation."""
    number = (time.time_ns() // 1_000_000 << 40) | int.from_bytes(os.urandom(5), "big")
    characters = []
    for _ in range(18):
        number, digit = divmod(number, 32)
        characters.append(_ALPHABET[digit])
    return f"{prefix}_{''.join(reversed(characters))}"
