"""System calls: everything a program may ask of the kernel.

In: a program yields one of these records. Out: the kernel's reply, of the type each call names.
A call can be iterated, so that `reply = yield from Generate(...)` is checked by a type checker.
It does not know who answers, or how.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, cast

from llmagentos.records.generation import Completion, Sampling
from llmagentos.records.identity import JSON
from llmagentos.records.message import Message, ToolCall, ToolSpec

ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True)
class SystemCall(Generic[ReplyT]):
    """A request to the kernel; iterating it yields itself once and returns the reply."""

    def __iter__(self) -> Generator[SystemCall[Any], Any, ReplyT]:
        reply = yield self
        return cast("ReplyT", reply)


@dataclass(frozen=True)
class Abstention:
    """What is said in the place of a reply that the model was not sure of."""

    below: float
    """Probability of a whole reply, in [0, 1], below which it is not said."""
    words: str
    farther: float = -1.0
    """Cosine to the nearest requests for which something else than `words` was right, in [-1, 1], below which it is not
    said either; only where an opinion tells it."""


@dataclass(frozen=True)
class Exploration:
    """How often chance has the word in practice (epsilon-greedy: Sutton and Barto 2018, section 2.2)."""

    turns: float
    """Share of a run's turns at which chance says one of the replies that there are, in [0, 1]."""
    runs: float = 1.0
    """Share of the runs in which it does, in [0, 1]; the others are played as the agent plays."""
    quoted: float = 0.5
    """Where a tool takes a text or a number, the share of chance's calls, in [0, 1], in which it says that as well,
    quoted from what was read; the agent says it in the others."""
    words: float = 0.0
    """Where tools are offered, the share of chance's turns, in [0, 1], at which words close the run, not a call."""
    follow: tuple[str, ...] = ()
    """What is said first, reply by reply, before chance has the word: the way back to where a run once was."""

    @property
    def alone(self) -> bool:
        """Whether chance has all the turns of all runs."""
        return self.turns >= 1 and self.runs >= 1


@dataclass(frozen=True)
class Opinion:
    """What else may be replied, by what was right for the requests that are nearest: a voice beside the model's."""

    replies: tuple[str, ...] = ()
    """The likeliest first; what is not among them is as likely as the last one at most."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithm of the probability of each of `replies`."""
    weight: float = 1.0
    """By what the opinion's logarithms are multiplied, at least 0: a product of experts (Hinton 2002, Neural
    Computation 14(8), equation 1). At 0 it has no say, and tells its `cosines` alone."""
    cosines: tuple[float, ...] = ()
    """Of what is asked to what each of `replies` was right for, in [-1, 1]; empty where nobody compared."""

    def nearest(self, but: str) -> float:
        """The largest of `cosines` for another reply than `but`; 1 where nobody compared."""
        return max((one for reply, one in zip(self.replies, self.cosines, strict=False) if reply != but), default=1.0)

    def weighed(self, said: str, probability: float) -> tuple[str, float]:
        """The reply of `said`, which the model says with `probability`, and the best other one that both voices
        together prefer, with its probability between the two, in [0, 1].

        All that the model does not give to `said` is given to the other: it was not asked about that one.
        """
        others = [place for place, reply in enumerate(self.replies) if reply != said.strip()]
        if not others or not self.weight:
            return said, probability
        here = self.replies.index(said.strip()) if said.strip() in self.replies else -1
        likely = min(max(probability, UNLIKELY), 1 - UNLIKELY)
        odds = math.log(likely / (1 - likely)) + self.weight * (self.logprobs[here] - self.logprobs[others[0]])
        sure = 1 / (1 + math.exp(-max(-MOST_ODDS, min(MOST_ODDS, odds))))
        return (said, sure) if odds >= 0 else (self.replies[others[0]], 1 - sure)


UNLIKELY, MOST_ODDS = 1e-6, 100.0
"""A probability that nothing goes below, and logarithms of odds that nothing goes beyond."""


@dataclass(frozen=True)
class Classify(SystemCall[Opinion]):
    """Ask a release's prototypes of requests what is right for one."""

    text: str
    classifier: str
    """Digest of the prototypes."""


@dataclass(frozen=True)
class Generate(SystemCall[Completion]):
    """Append `messages` to the transcript and let the model take the assistant's turn."""

    messages: tuple[Message, ...] = ()
    """Only what is new since the last call: the transcript is append-only."""
    sampling: Sampling | None = None
    """None takes the process's sampling settings."""
    tools: tuple[ToolSpec, ...] | None = None
    """What the model may call from now on, where tools are not only written in the prompt; None changes nothing."""
    constrained: bool = False
    """Let the model say nothing but a well-formed call of one of the tools, or words; where there is no tool, nothing
    that is not one of `replies`."""
    replies: str = ""
    """A regular expression of all that can be replied; empty for anything."""
    only: str = ""
    """When given, the reply is a call of this tool, with the arguments that the model says; it is recorded as a
    demonstration."""
    forced: str | None = None
    """When given, nothing is sampled: the text is the reply, recorded as a demonstration."""
    abstain: Abstention | None = None
    """When given, an unsure reply is not said; what is said instead is recorded as a demonstration."""
    opinion: Opinion | None = None
    """When given, the reply is what the model and this voice prefer together; one that the model did not sample is
    recorded as a demonstration."""

    def decided(self, completion: Completion) -> tuple[str, bool]:
        """What is said after the model sampled this: the same, what both voices prefer, or the words of an abstention,
        and whether it is these."""
        opinion = self.opinion or Opinion()
        reply, sure = opinion.weighed(completion.text, completion.probability)
        unsure = self.abstain
        if unsure is not None and (sure < unsure.below or opinion.nearest(unsure.words) < unsure.farther):
            return unsure.words, True
        return reply, False


@dataclass(frozen=True)
class ActResult:
    """What the environment answered to an action."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, JSON] = field(default_factory=dict)
    """The JSON-able part of Gymnasium's info."""
    value: JSON = None
    """The observation itself where it is not text."""
    replies: str = ""
    """A regular expression of all that can be replied from here on; empty where nothing new is said about that."""

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


@dataclass(frozen=True)
class Act(SystemCall[ActResult]):
    """Act on the process's environment."""

    action: JSON
    """Text for a language environment, an element of the action space for others."""
    call: ToolCall | None = None
    """The tool call that the action is, where it is one: permissions are asked about it."""


@dataclass(frozen=True)
class Observation:
    """What a program finds when it looks at its environment for the first time."""

    text: str
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    value: JSON = None
    """The observation itself where it is not text."""
    replies: str = ""
    """A regular expression of all that can be replied; empty for anything."""


@dataclass(frozen=True)
class Observe(SystemCall[Observation]):
    """Reset the process's environment to its task and look."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool of the system answered; a failure is data."""

    value: JSON = None
    error: str = ""
    """Empty when the tool succeeded."""


@dataclass(frozen=True)
class CallTool(SystemCall[ToolResult]):
    """Use a tool of the system."""

    call: ToolCall


@dataclass(frozen=True)
class Recall(SystemCall[tuple[str, ...]]):
    """Ask the knowledge base; the reply is statements, best first."""

    query: str
    limit: int = 5


@dataclass(frozen=True)
class Remember(SystemCall[str]):
    """State a fact; the reply is its identifier."""

    statement: str


@dataclass(frozen=True)
class Sleep(SystemCall[None]):
    """Wait for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Now(SystemCall[float]):
    """Seconds since the epoch, journaled so that a replay sees the same."""


@dataclass(frozen=True)
class Random(SystemCall[float]):
    """A number in [0, 1), journaled so that a replay sees the same."""


@dataclass(frozen=True)
class Spawn(SystemCall[str]):
    """Start another program as a child process; the reply is its identifier."""

    program: str
    arguments: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait(SystemCall[JSON]):
    """Wait for a child process; the reply is its result."""

    process: str


ProgramRun: TypeAlias = Generator[SystemCall[Any], Any, JSON]
"""A running program: yields system calls, receives replies, returns a JSON result."""
