"""`policy`: a plain function observation -> action plays the environment; nothing is generated.

In: the function, or its qualified name. Out: actions. Baselines, experts and control agents run so.
It does not know whether the function is any good.
"""

from __future__ import annotations

from collections.abc import Callable

from llmagentos.programs.registry import as_function
from llmagentos.records.calls import Act, Observe, ProgramRun
from llmagentos.records.identity import JSON


def policy(function: Callable[[JSON], JSON] | str) -> ProgramRun:
    """Play to the end. The function sees text, or the observation itself where it is not text."""
    decide = as_function(function, "The program 'policy'")
    seen = yield from Observe()
    action = decide(seen.text if seen.value is None else seen.value)
    while True:
        result = yield from Act(action)
        if result.done:
            return action
        action = decide(result.observation if result.value is None else result.value)
