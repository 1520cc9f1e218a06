"""Worked examples: how a task is done, shown in the prompt and, where wanted, taken out of the transcript again.

In: an environment with an expert or known answers, and tasks. Out: the expert's runs; conversations for the prompt;
transcripts of runs that were played with them, as if they had not been there: what a prompt teaches can so be learned
(context distillation, arXiv 2209.15189).
It does not know who plays or learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from llmagentos.errors import EnvironmentFault, LearningError
from llmagentos.kernel.rollouts import Rollouts
from llmagentos.kernel.stage import Stage
from llmagentos.learning.context import Corrected
from llmagentos.models.engine import ChatRenderer
from llmagentos.models.rendering import Renderer
from llmagentos.programs.opening import opening
from llmagentos.records.calls import Observation
from llmagentos.records.episode import Episode
from llmagentos.records.message import Message
from llmagentos.records.task import Split, Task
from llmagentos.records.transcript import TRAINABLE, Segment, Transcript

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment

COMPARED = 4
"""Tasks whose prompts are compared."""


def check_tasks(env: LanguageEnvironment, judged_on: int) -> None:
    """`LearningError` where a split has too few tasks, before anything is played: one to practise, one to develop on,
    `judged_on` for a verdict of the gate."""
    for split, wanted in (("train", 1), ("development", 1), ("gate", judged_on)):
        found = len(env.tasks(cast("Split", split), wanted))
        if found < wanted:
            raise LearningError(
                f"{env.skill} has {found or 'no'} tasks in the split {split}, learning needs {wanted}: without them "
                "there is no verdict, and nothing learned goes live. Of a file of requests "
                f"{3 * judged_on + 10} are enough; an environment of your own gives them by tasks(split, count, seed)."
            )


def has_expert(env: LanguageEnvironment) -> bool:
    """Whether somebody plays this environment perfectly."""
    return env.expert(env.tasks("train", 1)[0]) is not None


def has_answers(env: LanguageEnvironment) -> bool:
    """Whether the right replies to this environment's tasks are known."""
    return env.right_answer(env.tasks("train", 1)[0]) is not None


def same_prompt(env: LanguageEnvironment) -> bool:
    """Whether a few training tasks, and so all by what is known, are told the same instructions and tools."""
    told = [_begun(env, task) for task in env.tasks("train", COMPARED)]
    prompts = [(one.instructions, one.tools) for one in told]
    return all(one == prompts[0] for one in prompts)


def expert_runs(env: LanguageEnvironment, rollouts: Rollouts, tasks: Sequence[Task], brief: str = "") -> list[Episode]:
    """The expert's runs of `tasks`, with a `brief` prompt where one is given; none where there is no expert."""
    if not tasks or env.expert(tasks[0]) is None:
        return []
    return rollouts.demonstrate(tasks, lambda task: env.expert(task), brief, env.most_steps)  # type: ignore[arg-type,return-value]


def answered_runs(
    env: LanguageEnvironment, rollouts: Rollouts, tasks: Sequence[Task], brief: str = ""
) -> list[Episode]:
    """Runs of those of `tasks` whose right reply is known, which is what is said in them."""
    known = {task.key: answer for task in tasks if (answer := env.right_answer(task)) is not None}
    asked = [task for task in tasks if task.key in known]
    return rollouts.demonstrate(asked, lambda task: lambda observation: known[task.key], brief, env.most_steps)


def worked_examples(env: LanguageEnvironment, rollouts: Rollouts, tasks: Sequence[Task]) -> list[list[str]]:
    """A conversation `[observation, reply, ...]` of each of `tasks` that somebody knows how to do.

    None of `tasks` may be played with these examples in the prompt: it would find its own answer there.
    """
    shown = expert_runs(env, rollouts, tasks)
    if shown:
        return [_conversation(episode) for episode in shown]
    answers = [(task, env.right_answer(task)) for task in tasks]
    return [[_begun(env, task).text, answer] for task, answer in answers if answer is not None]


def without_examples(env: LanguageEnvironment, episode: Episode, renderer: Renderer, brief: str = "") -> Transcript:
    """The transcript of a run without the examples of its prompt; every sampled token stays as it was."""
    plain = _opening(env, episode.task, renderer, brief)
    segments = episode.transcript.segments
    start = next((place for place, one in enumerate(segments) if one.origin in TRAINABLE), len(segments))
    return Transcript(episode.transcript.model, (*plain, *segments[start:]))


def openings(
    env: LanguageEnvironment, tasks: Sequence[Task], renderer: ChatRenderer, brief: str = ""
) -> list[tuple[int, ...]]:
    """How runs of `tasks` open: the tokens that the model is given before it speaks for the first time.

    Tasks that the environment cannot begin are left out; `LearningError` where it can begin none.
    """
    found, fault = [], ""
    for task in tasks:
        try:
            segments = _opening(env, task, renderer, brief)
        except EnvironmentFault as problem:
            fault = fault or str(problem).rstrip(".")
        else:
            found.append(tuple(token for segment in segments for token in segment.tokens))
    if not found and tasks:
        raise LearningError(
            f"None of {len(tasks)} tasks of {env.skill} could be begun. The first one said: {fault}. Mend the "
            "environment and start the same command again."
        )
    return found


def briefly(transcript: Transcript, renderer: Renderer, brief: str) -> Transcript:
    """The transcript of a run of an environment as if its system message had been `brief`; all else stays as it was."""
    told = renderer.render((Message("system", brief),), first=True, reply=False)
    return Transcript(transcript.model, (*told, *transcript.segments[_first_seen(transcript) :]))


def prompt_share(transcripts: Sequence[Transcript]) -> float:
    """Mean share of the tokens that say what `briefly` would leave out, 0 to 1; 0 of nothing."""
    told = [
        (len(one.tokens), sum(len(part.tokens) for part in one.segments[: _first_seen(one)]))
        for one in transcripts
        if one.tokens
    ]
    return sum(before / whole for whole, before in told) / max(1, len(told))


def _first_seen(transcript: Transcript) -> int:
    """Place of the first segment behind the system message."""
    return next((n for n, one in enumerate(transcript.segments) if one.origin != "prompt"), 0)


def corrected_runs(env: LanguageEnvironment, episode: Episode, renderer: Renderer) -> list[Corrected]:
    """An own run with what the expert would have said: one for each place where it is something else, and the whole run
    as far as it is the same.

    An expert that does not find back from other people's mistakes (`expert_recovers`) is asked up to the first one.
    """
    expert = env.expert(episode.task)
    segments = list(episode.transcript.segments)
    places = [place for place, segment in enumerate(segments) if segment.origin == "sampled"]
    if expert is None or len(places) != len(episode.steps):
        return []
    found: list[Corrected] = []
    seen = episode.observation
    for place, step in zip(places, episode.steps, strict=True):
        right = expert(seen)
        if step.action.strip() == right.strip():
            segments[place] = Segment("demonstration", segments[place].tokens)
        else:
            before = [segment.read_only() for segment in segments[:place]]
            found.append(Corrected(Transcript(episode.transcript.model, (*before, renderer.force(right))), True))
            segments[place] = segments[place].read_only()
            if not env.expert_recovers:
                segments = segments[: place + 1]
                break
        seen = step.observation
    if any(segment.origin == "demonstration" for segment in segments):
        found.append(Corrected(Transcript(episode.transcript.model, tuple(segments)), False))
    return found


def _opening(env: LanguageEnvironment, task: Task, renderer: ChatRenderer, brief: str) -> tuple[Segment, ...]:
    seen = _begun(env, task)
    first = Message("user", seen.text, outside=True)
    return renderer.render(opening(seen.instructions, seen.tools, (), first, brief), first=True)


def _begun(env: LanguageEnvironment, task: Task) -> Observation:
    """What a run of `task` is told first, read as the kernel reads it; `EnvironmentFault` where it cannot begin."""
    return Stage(task, lambda _: env).observe()


def _conversation(episode: Episode) -> list[str]:
    """[observation, reply, observation, reply, ...] of an episode."""
    said = [episode.observation]
    for step in episode.steps:
        said += [step.action, step.observation]
    return said[:-1]
