"""`llmagentos learn` and `llmagentos evaluate`: becoming better, and knowing it.

They do not know learners, statistics or the gate's rules.
"""

from __future__ import annotations

import os
import time
from typing import get_args

import click

from llmagentos.cli.opening import json_option, writing
from llmagentos.cli.progress import progress
from llmagentos.cli.releases import show_verdict
from llmagentos.cli.requests import request_options, requests_of
from llmagentos.cli.screen import as_json, say
from llmagentos.records.task import Split

AUTO = "auto"
LOW_PRIORITY = 10
"""Added to the niceness of a process that learns unattended."""


@click.command()
@click.argument("environment", required=False)
@click.option("--env", "file", help="An environment of your own instead: ./my_env.py:MyEnv-v0.")
@click.option(
    "--data",
    "data",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Instead: learn requests with what is right to do, from a CSV, JSONL, Excel or Parquet file or a folder. "
    "Without FILE: the documents of `llmagentos data`.",
)
@request_options
@click.option("--auto", "alone", is_flag=True, help="Choose the skill with the largest expected gain, at low priority.")
@click.option(
    "--minutes", default=10.0, show_default=True, type=click.FloatRange(0.01, 100_000), help="Wall time to spend."
)
@click.option(
    "--learner",
    default=AUTO,
    show_default=True,
    help="auto chooses. imitation, dagger: from an expert; brief-imitation: without the prompt. policy-gradient, grpo, "
    "dr-grpo, rejection-sampling, dpo, kto: from own rewarded runs. prompt-distillation: of a learned skill, so that "
    "its prompt can go.",
)
@click.option("--seed", default=0, show_default=True, help="Draws tasks, samples and initial weights.")
@click.option("--fresh", is_flag=True, help="Discard what interrupted learning left, instead of going on with it.")
@json_option
@click.pass_context
def learn(
    context: click.Context,
    environment: str | None,
    file: str | None,
    data: str | None,
    options: tuple[str, ...],
    alone: bool,
    minutes: float,
    learner: str,
    seed: int,
    fresh: bool,
    machine: bool,
) -> None:
    """Learn ENVIRONMENT from an expert where it has one, else from the agent's own rewarded runs.

    `conversations` in its place learns what people corrected in `llmagentos chat`; what they corrected of a skill that
    is live is learned first, where no learner is named.

    A gate compares the candidate with every skill kept so far, on fresh tasks; only what passes goes live, and the
    verdict is kept either way. Ctrl-C stops cleanly: the same command goes on where it was.
    """
    from llmagentos.agent import Agent
    from llmagentos.learning.strategy import check_learner

    if sum((environment is not None, file is not None, data is not None, alone)) != 1:
        raise click.UsageError(
            "Give one of: an environment such as SupportDesk-v0, --env ./my_env.py:MyEnv-v0, --data FILE, --data, "
            "--auto."
        )
    if options and not data:
        raise click.UsageError("--option goes with --data FILE; another environment has its options in its name.")
    if learner != AUTO:
        check_learner(learner)  # before minutes go into a model
    if alone:
        _unattended(context, minutes, seed, machine)
        return
    asked = ""
    with progress() as show, writing(context, show) as system:
        if fresh:
            system.discard_checkpoints()
        if data:
            requests = requests_of(data, options, quiet=machine, show=show)
            file, asked = requests.name, requests.skill
        if data == "":
            verdict = Agent(system=system).train_model(minutes=minutes, on_progress=show).verdicts[0]
        else:
            verdict = Agent(system=system).learn(
                environment or file, minutes=minutes, learner=learner, seed=seed, on_progress=show
            )
        live = system.releases.live().id
    if machine:
        as_json(verdict)
        return
    show_verdict(verdict)
    say(f"{live} is live." if verdict.released else f"{live} stays live.")
    if verdict.released and asked:
        say(f'Ask it something new: llmagentos chat --skill "{asked}"')


def _unattended(context: click.Context, minutes: float, seed: int, machine: bool) -> None:
    """Learn what promises most and write an account of it into the home."""
    from llmagentos.autonomy import Autonomy

    os.nice(LOW_PRIORITY)
    with progress() as show, writing(context, show) as system:
        account = Autonomy(system.cycle, show).learn(minutes, seed=seed)
        page = system.home / "reports" / f"learned-{time.strftime('%Y-%m-%d-%H%M%S')}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{account}\n", encoding="utf-8")
    if machine:
        as_json(account)
        return
    say(str(account))
    say(f"Written to {page}")


@click.command()
@click.argument("environment", required=False)
@click.option("--release", help="Which release; the live one when left out.")
@click.option(
    "--tasks", default=100, show_default=True, type=click.IntRange(1, 100_000), help="Held-out tasks a skill."
)
@click.option("--split", type=click.Choice(get_args(Split)), default="report", show_default=True, help="Which tasks.")
@json_option
@click.pass_context
def evaluate(
    context: click.Context, environment: str | None, release: str | None, tasks: int, split: Split, machine: bool
) -> None:
    """Measure success on held-out tasks of ENVIRONMENT, or of every skill learned when it is left out.

    Strict: the goal is reached and every action well-formed. Lenient: the goal is reached. With 95 % intervals.
    """
    from llmagentos.agent import Agent

    with progress() as show, writing(context, show) as system:
        result = Agent(system=system).evaluate_model(
            environment, release=release, tasks=tasks, split=split, on_progress=show
        )
    if machine:
        as_json(result.reports)
        return
    say(str(result))
