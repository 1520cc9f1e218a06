"""`demonstrate`: an expert's actions, written into the transcript as if the model had said them.

In: the expert, a function observation -> action. Out: episodes with the prompts and segments of `react`,
so that a learner imitates exactly what the model will be asked.
It does not know how the expert decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmagentos.programs.react import Voices, play
from llmagentos.programs.registry import as_function
from llmagentos.records.calls import Observe, ProgramRun


def demonstrate(
    function: Callable[[str], str] | str,
    instructions: str = "",
    examples: Sequence[Sequence[str]] = (),
    brief: str = "",
) -> ProgramRun:
    """Play the environment by `function` (or its qualified name); nothing is sampled."""
    expert = as_function(function, "The program 'demonstrate'")
    seen = yield from Observe()
    return (yield from play(seen, (), instructions, examples, brief=brief, voices=Voices(expert=expert)))
