"""`llmagentos feedback`: what people say about replies, and taking it back.

It does not know how feedback is learned.
"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from llmagentos.cli.opening import json_option, reading, writing
from llmagentos.cli.screen import as_json, say, table, when

if TYPE_CHECKING:
    from llmagentos.records.feedback import Feedback, FeedbackKind


@click.group()
def feedback() -> None:
    """Say what was good, bad or should have been said; see it; withdraw it."""


@feedback.command("add")
@click.argument("episode")
@click.option("--good", "thumb", flag_value="good", help="A thumb up.")
@click.option("--bad", "thumb", flag_value="bad", help="A thumb down.")
@click.option("--correction", help="It was wrong; this should have been said.")
@click.option("--better", help="It was passable; this would have been better.")
@click.option("--reply", "place", default=-1, show_default=True, help="Which reply of the run, from 0; -1 the last.")
@click.option("--reviewer", default=None, help="Who says so; else your login.")
@json_option
@click.pass_context
def add_feedback(
    context: click.Context,
    episode: str,
    thumb: str | None,
    correction: str | None,
    better: str | None,
    place: int,
    reviewer: str | None,
    machine: bool,
) -> None:
    """Say what you think of a reply of EPISODE, a finished run. The next learning uses it."""
    kind, text = read_kind(thumb, correction, better)
    with writing(context) as system:
        given = system.give_feedback(episode, kind, text, place=place, reviewer=reviewer or reviewer_name())
    if machine:
        as_json(given)
        return
    say(f"{given.id}: {describe(given)}. Take it back: llmagentos feedback withdraw {given.id}")


@feedback.command("list")
@click.option("--withdrawn", is_flag=True, help="Those that were withdrawn too.")
@json_option
@click.pass_context
def list_feedback(context: click.Context, withdrawn: bool, machine: bool) -> None:
    """All feedback in the order given."""
    with reading(context) as system:
        found = system.people.list(withdrawn=withdrawn)
    if machine:
        as_json(found)
        return
    rows = [
        (
            one.id,
            one.kind if one.withdrawn is None else f"{one.kind} (withdrawn: {one.withdrawn_reason})",
            one.text,
            one.reviewer,
            one.episode,
            when(one.created),
        )
        for one in found
    ]
    table("Feedback", ["id", "kind", "text", "reviewer", "episode", "given"], rows,
          empty="No feedback yet. Say /good, /bad, /correct TEXT or /better TEXT in llmagentos chat.")  # fmt: skip


@feedback.command("withdraw")
@click.argument("identifier")
@click.option("--reason", default="withdrawn by its reviewer", show_default=True, help="Kept beside it.")
@click.pass_context
def withdraw_feedback(context: click.Context, identifier: str, reason: str) -> None:
    """Learn nothing from IDENTIFIER any more, and mark the releases that rest on it."""
    with writing(context) as system:
        marked = system.withdraw_feedback(identifier, reason)
        live, sound = system.releases.live().id, system.releases.newest_sound()
    say(f"{identifier} is withdrawn.")
    if marked:
        say(f"Rest on it and cannot come back: {', '.join(marked)}.", style="yellow")
    if live in marked:
        say(
            f"{live} stays live until you take that out: llmagentos releases rebuild keeps what does not rest on it, "
            f"llmagentos releases rollback {sound} goes back whole. Then learn again without it.",
            style="yellow",
        )


def read_kind(thumb: str | None, correction: str | None, better: str | None) -> tuple[FeedbackKind, str]:
    """What the options say; exactly one of them."""
    said: list[tuple[FeedbackKind, str]] = []
    if thumb is not None:
        said.append(("good" if thumb == "good" else "bad", ""))
    if correction is not None:
        said.append(("correction", correction))
    if better is not None:
        said.append(("better", better))
    if len(said) != 1:
        raise click.UsageError("Give one of: --good, --bad, --correction TEXT, --better TEXT.")
    return said[0]


def reviewer_name() -> str:
    """The login of who types, empty where the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def describe(given: Feedback) -> str:
    """`correction by ann: "..."`."""
    by = f" by {given.reviewer}" if given.reviewer else ""
    return f'{given.kind}{by}: "{given.text}"' if given.text else f"{given.kind}{by}"
