"""`llmagentos ps`, `agents`, `environments`, `skills`: what there is. They only read.

They do not know how any of it came about.
"""

from __future__ import annotations

from typing import get_args

import click

from llmagentos.cli.opening import json_option, reading
from llmagentos.cli.screen import as_json, percent, say, table, when
from llmagentos.records.process import ProcessState


@click.command()
@click.option("--state", type=click.Choice(get_args(ProcessState)), multiple=True, help="Only these states.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 100_000), help="Most processes to show.")
@json_option
@click.pass_context
def ps(context: click.Context, state: tuple[ProcessState, ...], limit: int, machine: bool) -> None:
    """Processes, the newest first: what runs and what ran. Works beside another process."""
    with reading(context) as system:
        processes = system.ps(state or None, limit)
    if machine:
        as_json(processes)
        return
    rows = [
        (p.id, p.program, p.task.key if p.task else "", p.state, p.steps, p.tokens, p.release, when(p.created), p.error)
        for p in processes
    ]
    table("Processes", ["id", "program", "task", "state", "steps", "tokens", "release", "created", "error"], rows)


@click.command()
@json_option
@click.pass_context
def agents(context: click.Context, machine: bool) -> None:
    """Who can act: the live release on its base model, with each program."""
    from llmagentos.programs.registry import BUILT_IN

    with reading(context) as system:
        live = system.releases.live()
        model = system.settings.model
    found = [{"program": name, "model": model, "release": live.id, "skills": list(live.skills)} for name in BUILT_IN]
    if machine:
        as_json(found)
        return
    rows = [(one["program"], one["model"], one["release"], ", ".join(live.skills) or "none yet") for one in found]
    table("Agents", ["program", "model", "release", "skills"], rows)


@click.command()
@json_option
def environments(machine: bool) -> None:
    """Built-in environments; any other Gymnasium id and ./file.py:Name-v0 work too."""
    from llmagentos.environments.registry import describe, names

    found = [describe(name) for name in names()]
    if machine:
        as_json(found)
        return
    rows = [
        (
            one.name,
            one.summary,
            "\n".join(f"{option}: {takes}" for option, takes in one.options.items()),
            f"pip install 'llmagentos[{one.extra}]'" if one.extra else one.downloads,
        )
        for one in found
    ]
    table("Environments (options as NAME?option=value)", ["name", "what it is", "options", "needs"], rows)
    say(
        "Any Gymnasium id works too, such as FrozenLake-v1, with reward_threshold= (what a success is), "
        "max_episode_steps= and render_mode=ansi, and a file of your own: ./my_env.py:MyEnv-v0"
    )


@click.command()
@json_option
@click.pass_context
def skills(context: click.Context, machine: bool) -> None:
    """Skills of the live release, with the gate's score and the best that any release had."""
    with reading(context) as system:
        releases = system.releases
        live = releases.live()
        now = {check.skill: check for check in live.verdict.checks} if live.verdict else {}
        found = []
        for skill in live.skills:
            best = releases.best(skill)
            check = now.get(skill)
            found.append(
                {
                    "skill": skill,
                    "live": check.candidate if check else None,
                    "best": best[1] if best else None,
                    "best_release": best[0] if best else "",
                    "episodes": system.episodes.count(skill=skill),
                }
            )
    if machine:
        as_json(found)
        return
    rows = [
        (one["skill"], _share(one["live"]), _share(one["best"]), one["best_release"], one["episodes"]) for one in found
    ]
    table(f"Skills of {live.id}", ["skill", "live", "best", "in release", "episodes"], rows,
          empty="No skills yet. Learn one: llmagentos learn Drills-v0")  # fmt: skip


def _share(value: object) -> str:
    return percent(value) if isinstance(value, float | int) else "–"
