"""`llmagentos releases`: what is and was live, and the way back.

It does not know how a release came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from llmagentos.cli.opening import json_option, reading, writing
from llmagentos.cli.progress import progress
from llmagentos.cli.screen import as_json, percent, say, table, when

if TYPE_CHECKING:
    from llmagentos.records.release import Interval, Verdict


@click.group()
def releases() -> None:
    """List, show, compare and restore releases.

    A release is everything that determines how an agent answers: base model, artefacts, settings. `r0` is the bare
    base model. What the gate refused is listed too.
    """


@releases.command("list")
@json_option
@click.pass_context
def list_releases(context: click.Context, machine: bool) -> None:
    """Every release, oldest first, and every verdict that refused a candidate."""
    with reading(context) as system:
        known, live = system.releases.list(), system.releases.live().id
        refused = [verdict for verdict in system.releases.verdicts() if not verdict.released]
    if machine:
        as_json({"live": live, "releases": known, "refused": refused})
        return
    rows = [
        (
            f"{release.id} ←" if release.id == live else release.id,
            release.parent,
            ", ".join(release.skills),
            when(release.created),
            ", ".join(["live"] * (release.id == live) + ["withdrawn"] * release.withdrawn),
        )
        for release in known
    ]
    table("Releases", ["release", "from", "skills", "created", "state"], rows)
    if refused:
        table("Refused", ["candidate", "reason"], [(verdict.candidate, verdict.reason) for verdict in refused])


@releases.command()
@click.argument("release")
@json_option
@click.pass_context
def show(context: click.Context, release: str, machine: bool) -> None:
    """Manifest and verdict of RELEASE (`live` for the live one)."""
    with reading(context) as system:
        found = system.releases.live() if release == "live" else system.releases.get(release)
    if machine:
        as_json(found)
        return
    facts = [("base", found.manifest.base), ("from", found.parent), ("skills", ", ".join(found.skills))]
    facts += [
        (f"{one.kind} {one.name}", f"{one.digest} ({one.skill or 'all skills'})") for one in found.manifest.artefacts
    ]
    facts += [("state", "rests on withdrawn data and cannot come back")] if found.withdrawn else []
    facts += [(f"setting {name}", str(value)) for name, value in found.manifest.settings.items()]
    table(found.id, ["", ""], [fact for fact in facts if fact[1]])
    if found.verdict is not None:
        show_verdict(found.verdict)


@releases.command()
@click.argument("first")
@click.argument("second")
@json_option
@click.pass_context
def diff(context: click.Context, first: str, second: str, machine: bool) -> None:
    """What changed from release FIRST to release SECOND."""
    with reading(context) as system:
        lines = system.releases.diff(first, second)
    if machine:
        as_json(lines)
        return
    for line in lines or [f"{first} and {second} answer alike."]:
        say(line)


@releases.command()
@click.argument("release")
@click.pass_context
def rollback(context: click.Context, release: str) -> None:
    """Make RELEASE live again, its weights byte for byte; refused when they rest on withdrawn data."""
    with writing(context) as system:
        restored = system.releases.rollback(release)
    say(f"{restored.id} is live.")


@releases.command()
@click.pass_context
def rebuild(context: click.Context) -> None:
    """Take out of the live release what rests on withdrawn data, and keep the rest.

    Each adapter that rests on it goes back to how it was before, or out with its skills where there was none; the
    gate looks at what is left.
    """
    with progress() as show, writing(context, show) as system:
        verdict = system.cycle.rebuild(show)
        live = system.releases.live()
    show_verdict(verdict)
    say(f"{live.id} is live.")


def show_verdict(verdict: Verdict) -> None:
    """The gate's judgement as a line and a table of its checks."""
    said = "released" if verdict.released else "refused"
    say(f"{said}: {verdict.reason}", style="green" if verdict.released else "yellow")
    rows = [
        (
            check.skill,
            check.tasks,
            f"{percent(check.reference)} ({check.reference_release})",
            percent(check.candidate),
            points(check.difference),
            check.rule,
            "passed" if check.passed else "failed",
        )
        for check in verdict.checks
    ]
    if rows:
        table("Checks on fresh tasks of the gate", ["skill", "tasks", "before", "after", "points", "rule", ""], rows)
    if verdict.divergence is not None:
        budget = f", {verdict.divergence_budget:.3g} are allowed" if verdict.divergence_budget is not None else ""
        say(
            f"Answers to other prompts moved by {max(0.0, verdict.divergence):.3g} nats a token (KL divergence) from "
            f"the live release{budget}."
        )


def points(difference: Interval) -> str:
    """An interval of success as percentage points: `+12.0 [+4.1, +19.8]`."""
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(
        *(100 * one for one in (difference.estimate, difference.low, difference.high))
    )
