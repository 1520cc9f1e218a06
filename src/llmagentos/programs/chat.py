"""`chat`: a plain conversation, observation in, reply out.

In: what the other side says. Out: the model's words, with no tools.
With `messages` it answers once and returns the reply; without, it talks to its environment until that ends.
It does not know who the other side is.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmagentos.programs.opening import opening
from llmagentos.records.calls import Act, Generate, Observe, ProgramRun
from llmagentos.records.identity import JSON
from llmagentos.records.message import Message


def chat(
    messages: Sequence[dict[str, JSON]] = (), instructions: str = "", examples: Sequence[Sequence[str]] = ()
) -> ProgramRun:
    """Answer `messages` (records `{"role", "content"}`, oldest first), or converse with the environment."""
    if messages:
        said = tuple(Message(message["role"], message["content"]) for message in messages)
        reply = yield from Generate((*opening(instructions, (), examples, said[0])[:-1], *said))
        return reply.text
    seen = yield from Observe()
    first = Message("user", seen.text, outside=True)
    new = opening(instructions or seen.instructions, (), examples, first)
    while True:
        reply = yield from Generate(new)
        result = yield from Act(reply.text)
        if result.done:
            return reply.text
        new = (Message("user", result.observation, outside=True),)
