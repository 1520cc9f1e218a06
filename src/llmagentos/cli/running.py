"""`llmagentos run` and `llmagentos chat`: an agent at work.

They do not know how a process is scheduled or a model answers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, get_args

import click

from llmagentos.cli.opening import json_option, writing
from llmagentos.cli.progress import progress
from llmagentos.cli.screen import as_json, complain, say, table
from llmagentos.errors import ConfigError
from llmagentos.records.feedback import FeedbackKind
from llmagentos.records.task import Split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmagentos.agent import Agent, Answer
    from llmagentos.agentos import AgentOS
    from llmagentos.records.episode import Episode

MOST_ROWS = 30
LEAVING = ("/quit", "/exit", "/bye")
VERDICTS: dict[str, FeedbackKind] = {"/good": "good", "/bad": "bad", "/correct": "correction", "/better": "better"}
"""What a person may say about the last answer of a chat."""


@click.command()
@click.argument("environment", required=False)
@click.option(
    "--program", default="react", show_default=True, help="`react`, `chat`, or a function as module:function."
)
@click.option("--split", type=click.Choice(get_args(Split)), default="train", show_default=True, help="Which tasks.")
@click.option("--tasks", default=1, show_default=True, type=click.IntRange(1, 100_000), help="How many tasks.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0, 10), help="0 is greedy.")
@click.option("--max-tokens", type=click.IntRange(1, 100_000), help="Length of one reply; else the environment's own.")
@click.option("--seed", default=0, show_default=True, help="Draws tasks and samples.")
@click.option("--resume", is_flag=True, help="Instead: go on with runs that a crash or a kill left unfinished.")
@json_option
@click.pass_context
def run(
    context: click.Context,
    environment: str | None,
    program: str,
    split: Split,
    tasks: int,
    temperature: float,
    max_tokens: int | None,
    seed: int,
    resume: bool,
    machine: bool,
) -> None:
    """Let the live release play tasks of ENVIRONMENT; every run is kept as experience.

    ENVIRONMENT is a name of `llmagentos environments` (options as NAME?option=value), any Gymnasium id, or a file of
    your own as ./my_env.py:MyEnv-v0. Exits with 1 when no run could be finished.
    """
    from llmagentos.agent import Agent
    from llmagentos.records.generation import Sampling

    if bool(environment) == resume:
        raise click.UsageError("Name an environment, such as SupportDesk-v0, or give --resume.")
    with progress() as show, writing(context, show) as system:
        if environment is None:
            episodes = tuple(handle.episode() for handle in system.resume())
        else:
            reply = system.make_environment(environment).reply_tokens
            played = Agent(system=system).run(
                environment,
                tasks=tasks,
                split=split,
                program=program,
                seed=seed,
                sampling=Sampling(max_tokens or reply, temperature, seed=seed),
                on_progress=show,
            )
            episodes = played.episodes
            if not episodes:
                raise ConfigError(f"{environment} has no tasks in the split {split}. Choose another one by --split.")
        counters = system.engine.counters
    _show(episodes, machine)
    if episodes and not machine:
        say(f"Engine: {counters}.", "dim")
    if episodes and all(episode.outcome in ("failed", "unknown") for episode in episodes):
        complain(f"No run could be finished. The first one said: {episodes[0].error}")
        context.exit(1)


@click.command()
@click.option("-m", "--message", help="Say this, print the answer, and end.")
@click.option("--skill", default="", help="Ask a skill that was learned from a file of requests, by its name.")
@click.option("--system", "instructions", default="", help="Instructions that the dialogue opens with.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0, 10), help="0 is greedy.")
@click.option(
    "--max-tokens",
    default=256,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Length of one reply; a skill has its own.",
)
@click.pass_context
def chat(
    context: click.Context,
    message: str | None,
    skill: str,
    instructions: str,
    temperature: float,
    max_tokens: int,
) -> None:
    """Talk to the live release. /quit, an empty line or Ctrl-D ends, /new starts afresh.

    /good and /bad judge the last answer, /correct TEXT says what is right, /better TEXT what is better; the next
    learning uses it. Without a terminal every line of standard input is one turn.

    With --skill every line is a request as those that the skill was learned from, told the same; where those are
    conversations, the next turn of one. A correction may name the right tool.
    """
    from llmagentos.agent import Agent

    if skill and instructions:
        raise click.UsageError("A skill is told what it was learned with; leave --system out.")
    opening = [{"role": "system", "content": instructions}] if instructions else []
    with writing(context) as system:
        agent = Agent(system=system)
        with progress() as show:
            system.on_progress = show
            _ = system.kernel  # loaded before the first prompt appears, its progress shown
        most = agent.environment_of(skill).most_steps if skill else 0
        turns, last = list(opening), ""
        for said in [message] if message is not None else _lines():
            if said in LEAVING:
                break
            if said == "/new":
                turns, last = list(opening), ""
                continue
            if _is_command(said):
                complain(f"There is no {said}. There are: {', '.join(VERDICTS)}, /new, /quit.")
                continue
            if said.split(" ", 1)[0] in VERDICTS:
                better = _judge(system, last, said)
                if better:
                    turns[-1] = {"role": "assistant", "content": better}
                continue
            if skill and len(turns) == 2 * most:
                turns = []
            turns.append({"role": "user", "content": said})
            answer = _reply(agent, skill, turns, max_tokens, temperature)
            turns.append({"role": "assistant", "content": answer.text})
            last = answer.episode.id
        if message is None and sys.stdin.isatty():
            say(f"Engine: {system.engine.counters}.", "dim")


def _is_command(said: str) -> bool:
    """Whether a line is a single word after a slash that nobody knows, rather than words for the model."""
    return said.startswith("/") and said[1:].isalpha() and said not in VERDICTS


def _judge(system: AgentOS, episode: str, said: str) -> str:
    """Store what a person says about the last answer; returns what should have been said, if that is told."""
    from llmagentos.cli.feedback import describe, reviewer_name

    word, _, text = said.partition(" ")
    if not episode:
        complain("There is no answer yet to judge.")
        return ""
    try:
        given = system.give_feedback(episode, VERDICTS[word], text.strip(), reviewer=reviewer_name())
    except ConfigError as problem:
        complain(str(problem))
        return ""
    say(f"noted: {describe(given)}", "dim")
    return given.text


def _reply(agent: Agent, skill: str, turns: list[dict[str, str]], max_tokens: int, temperature: float) -> Answer:
    if skill:
        asked = [turn["content"] for turn in turns if turn["role"] == "user"]
        answer = agent.ask(skill, asked, temperature=temperature)
        click.echo(answer.text)
        return answer

    def write(piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()

    answer = agent.chat(turns, max_tokens=max_tokens, temperature=temperature, on_text=write)
    sys.stdout.write("\n")
    return answer


def _lines() -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    while line := click.prompt("you", default="", show_default=False, prompt_suffix="> ").strip():
        yield line


def _show(episodes: tuple[Episode, ...], machine: bool) -> None:
    from llmagentos.agent import Runs

    if machine:
        as_json(episodes)
        return
    rows = [
        (e.task.key, "yes" if e.success else "lenient" if e.lenient else "no", e.outcome, len(e.steps), e.id, e.error)
        for e in episodes[:MOST_ROWS]
    ]
    table(
        "Runs", ["task", "success", "outcome", "steps", "episode", "error"], rows, empty="No run was left unfinished."
    )
    if episodes:
        more = f" (the first {MOST_ROWS} shown)" if len(episodes) > MOST_ROWS else ""
        say(f"{Runs(episodes)}{more}")
