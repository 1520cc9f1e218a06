"""What every contender does in its own process: read requests, do what is asked, say how long it took.

In: lines of JSON on standard input, the arguments of the one function. Out: {"seconds": ..., "made": what it returned}.
Needs nothing but Python: each contender runs in an environment of its own. What libraries print goes to standard error.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def serve(work: Callable[..., Any]) -> None:
    """Answer until the input ends; whoever asks takes this process along when it is killed, asleep or not."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    answers = os.fdopen(CHANNEL, "w", buffering=1)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        began = time.perf_counter()
        made = work(**request)
        print(json.dumps({"seconds": time.perf_counter() - began, "made": made}), file=answers)


CHANNEL = os.dup(1)
"""Where answers go; taken before any library can print to standard output."""
os.dup2(2, 1)
