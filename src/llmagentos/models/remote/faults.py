"""What can go wrong on the way to a server and back, and when to try again.

In: statuses and bodies of answers, a count of attempts. Out: errors that say what to do, and how long to wait.
It does not know connections or what was asked.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmagentos.errors import EngineError, PromptTooLongError

QUOTED = 300
"""Most characters of a server's own words in an error."""
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_USED_UP = ("insufficient_quota", "billing")


class ServerFault(EngineError):
    """A request that failed at the server or on the way."""

    def __init__(self, message: str, *, again: bool, wait: float = 0.0, status: int = 0) -> None:
        super().__init__(message)
        self.again = again
        """Whether another attempt may succeed."""
        self.wait = wait
        """Seconds that the server asks to wait before it."""
        self.status = status


@dataclass(slots=True)
class Patience:
    """Exponential backoff with full jitter: a random wait up to `base * 2^attempt`, never more than `longest`.

    Full jitter spreads the clients of a busy server better than a fixed wait does (Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015).
    """

    attempts: int = 6
    base: float = 0.5
    longest: float = 30.0
    random: random.Random = field(default_factory=random.Random)

    def delay(self, attempt: int, fault: ServerFault) -> float:
        """Seconds before attempt number `attempt` (from 1): what the server asks for, and never all at once."""
        return min(fault.wait, self.longest) + self.random.uniform(0, min(self.longest, self.base * 2.0**attempt))


def fault_of(status: int, body: object, headers: Mapping[str, str]) -> EngineError | PromptTooLongError:
    """The error that an answer means; `body` is its decoded JSON, its text where it is none."""
    error = body.get("error", body) if isinstance(body, dict) else {}
    error = error if isinstance(error, dict) else {"message": str(error)}
    said = _quoted(error.get("message") or error.get("detail") or (body if isinstance(body, str) else ""))
    code = str(error.get("code") or error.get("type") or "")
    if isinstance(error.get("n_prompt_tokens"), int) and isinstance(error.get("n_ctx"), int):
        return PromptTooLongError(error["n_prompt_tokens"], error["n_ctx"])
    if status in (401, 403):
        return ServerFault(
            f"The server refuses the key ({status}{said}). Set LLMAGENTOS_REMOTE_KEY to a key that it accepts.",
            again=False,
            status=status,
        )
    if status == 429 and any(word in f"{code} {said}".lower() for word in _USED_UP):
        return ServerFault(f"The account at the server is used up ({status}{said}).", again=False, status=status)
    if status in _AGAIN:
        what = "has too many requests" if status == 429 else "failed"
        return ServerFault(f"The server {what} ({status}{said}).", again=True, wait=_wait(headers), status=status)
    return ServerFault(f"The server refuses the request ({status}{said}).", again=False, status=status)


def _wait(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header; a date in it is left to the jitter."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return 0.0


def _quoted(text: Any) -> str:
    """A server's words, shortened, on one line."""
    words = " ".join(str(text).split())
    return f": {words[:QUOTED]}{'...' if len(words) > QUOTED else ''}" if words else ""
