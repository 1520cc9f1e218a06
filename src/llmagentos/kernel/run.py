"""What a running process has gathered so far, and the episode it becomes.

In: segments, steps and how it ended. Out: an `Episode`.
It does not know the journal, engines or environments.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmagentos.errors import KernelError
from llmagentos.programs.constraining import call_grammar
from llmagentos.records.calls import ActResult, Generate, Observation
from llmagentos.records.episode import Episode, Outcome, Step
from llmagentos.records.generation import Completion, Grammar
from llmagentos.records.identity import JSON
from llmagentos.records.message import ToolSpec
from llmagentos.records.process import ProcessInfo
from llmagentos.records.task import Reward, Task
from llmagentos.records.transcript import TRAINABLE, Segment, Transcript


@dataclass
class Run:
    """The growing record of one process; used by one thread at a time."""

    info: ProcessInfo
    model: str
    """Name of the base model, empty where there is none."""
    segments: list[Segment] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    """All tokens of `segments`, kept flat as the next prompt."""
    sampled: int = 0
    """Sampled tokens, which the budget counts."""
    tools: tuple[ToolSpec, ...] = ()
    """What the model was last told that it may call."""
    _calls: Grammar | None = None
    """The grammar of calls of `tools`, once it was asked for."""
    needs_end: bool = False
    """Whether the last reply lacks its end-of-turn token."""
    observation: str = ""
    steps: list[Step] = field(default_factory=list)
    rewards: list[Reward] = field(default_factory=list)
    actions: int = 0
    last: ActResult | None = None

    @property
    def over(self) -> bool:
        """Whether the environment has ended the episode."""
        return self.last is not None and self.last.done

    def tell(self, tools: tuple[ToolSpec, ...] | None) -> None:
        """What the model may call from now on; None changes nothing."""
        if tools is not None:
            self.tools, self._calls = tools, None

    def grammar(self, call: Generate) -> Grammar | None:
        """What a reply must be: a call of what there is or words, or one of the replies that there are, if the program
        wants that; else what its sampling says."""
        if call.only:
            return call_grammar([tool for tool in self.tools if tool.name == call.only], words=False)
        if not call.constrained or not (self.tools or call.replies):
            return (call.sampling or self.info.sampling).grammar
        if not self.tools:
            return Grammar("regex", call.replies)
        if self._calls is None:
            self._calls = call_grammar(self.tools)
        return self._calls

    def add_prompt(self, segments: Sequence[Segment]) -> None:
        """Append what the model is told; it can never be trained on."""
        for segment in segments:
            if segment.origin in TRAINABLE:
                raise KernelError(
                    f"The renderer gave a prompt the origin {segment.origin!r}, which would be trained on."
                )
            self._append(segment)

    def add_sampled(self, completion: Completion, end_of_turn: int, grammar: Grammar | None = None) -> None:
        """Append what the model said, under `grammar` where it had to follow one."""
        if completion.tokens:
            self._append(Segment("sampled", completion.tokens, completion.logprobs, grammar))
        self.sampled += len(completion.tokens)
        self.needs_end = not completion.tokens or completion.tokens[-1] != end_of_turn

    def add_forced(self, segment: Segment) -> None:
        """Append what an expert said in the model's place."""
        self._append(segment)
        self.needs_end = False

    def add_observation(self, seen: Observation) -> None:
        """Keep the first observation."""
        self.observation = seen.text

    def add_step(self, action: str, result: ActResult) -> None:
        """Append an action and what followed."""
        self.actions += 1
        self.steps.append(Step(action, result.observation, result.reward, self.info.release))
        if result.reward:
            self.rewards.append(Reward(result.reward))
        self.last = result

    def episode(self, outcome: Outcome, error: str, seconds: float) -> Episode:
        """The finished record. Its identifier follows from the process's, so that recording it twice is one."""
        info = self.info
        facts: dict[str, JSON] = self.last.info if self.last is not None and self.last.done else {}
        success = bool(facts.get("success")) and outcome in ("finished", "truncated")
        return Episode(
            id=episode_id(info.id),
            task=info.task or Task(environment="", seed=info.sampling.seed),
            transcript=Transcript(self.model, tuple(self.segments)),
            observation=self.observation,
            steps=tuple(self.steps),
            rewards=tuple(self.rewards),
            success=success,
            lenient=success or (bool(facts.get("lenient")) and outcome in ("finished", "truncated")),
            outcome=outcome,
            error=error,
            process=info.id,
            program=info.program,
            release=info.release,
            owner=info.owner,
            created=info.created or time.time(),
            seconds=seconds,
            labels=dict(info.labels),
        )

    def _append(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.tokens.extend(segment.tokens)


def episode_id(process: str) -> str:
    """The identifier of the episode that a process becomes."""
    return "e_" + process.removeprefix("p_")
