"""What every contender of `engine.py` does in its own process: read requests, generate, say how long it took.

In: lines of JSON on standard input, {"prompts": [[token, ...], ...], "tokens": N, ...}. Out: {"seconds", "tokens"}.
Needs nothing but Python: each contender runs in an environment of its own. What libraries print goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(generate: Callable[..., int]) -> None:
    """Answer until the input ends; `generate(prompts, tokens, **more)` returns how many new tokens there are."""
    answers = os.fdopen(CHANNEL, "w", buffering=1)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        began = time.perf_counter()
        made = generate(**request)
        print(json.dumps({"seconds": time.perf_counter() - began, "tokens": made}), file=answers)


CHANNEL = os.dup(1)
"""Where answers go; taken before any library can print to standard output."""
os.dup2(2, 1)
