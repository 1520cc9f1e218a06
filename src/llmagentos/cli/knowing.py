"""`llmagentos data` and `llmagentos knowledge`: what the agent reads and what it knows.

It does not know how text is cleaned or facts are found.
"""

from __future__ import annotations

import click

from llmagentos.cli.opening import json_option, reading, writing
from llmagentos.cli.progress import progress
from llmagentos.cli.requests import request_options, requests_of
from llmagentos.cli.screen import as_json, say, table, when

LOOKED_AT = 20_000
"""Training requests that are compared unless more are asked for: some minutes on two cores."""


@click.group()
def data() -> None:
    """Connect files, folders and web pages to learn from."""


@data.command("add")
@click.argument("locations", nargs=-1, required=True)
@click.option("--allow-private", is_flag=True, help="Let web addresses of your own network through.")
@click.pass_context
def add_data(context: click.Context, locations: tuple[str, ...], allow_private: bool) -> None:
    """Read each of LOCATIONS (a text file, a folder with everything below it, or a web address) into the home.

    Text is cleaned, page furniture removed, and every text kept once. What cannot be read is named and left out.
    """
    with writing(context) as system, progress() as show:
        intakes = [system.take_in(location, allow_private=allow_private, on_progress=show) for location in locations]
    for intake in intakes:
        say(str(intake))


@data.command("list")
@json_option
@click.pass_context
def list_data(context: click.Context, machine: bool) -> None:
    """Documents in the order they came."""
    with reading(context) as system:
        documents = system.store.documents.list()
    if machine:
        as_json(documents)
        return
    rows = [(d.id, d.title, f"{len(d.text):,}", d.source, when(d.created)) for d in documents]
    table("Documents", ["id", "title", "characters", "source", "read"], rows,
          empty="No documents yet. Connect some: llmagentos data add FOLDER")  # fmt: skip


@data.command("check")
@click.argument("file")
@request_options
@click.option(
    "--most", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Most suspects and left-out to show."
)
@click.option(
    "--look-at", default=LOOKED_AT, show_default=True, type=click.IntRange(11), help="Most requests to compare."
)
@json_option
@click.pass_context
def check_data(
    context: click.Context, file: str, options: tuple[str, ...], most: int, look_at: int, machine: bool
) -> None:
    """Look through the training requests of FILE for those that look mislabelled or planted.

    A suspect expects what hardly any of the most similar requests expects. Nothing is changed: mend the file, or
    learn it as it is. What could not be read is listed too. Of more than --look-at requests so many are drawn.
    """
    from llmagentos.environments.request_audit import some, suspects

    with progress() as show, writing(context, show) as system:
        cases = requests_of(file, options, quiet=machine, show=show, most=most).requests.cases["train"]
        looked_at = some(cases, look_at)
        found = suspects(looked_at, system.embedder.embed, on_progress=show)
    if machine:
        as_json(found)
        return
    for one in found[:most]:
        say(f"  {one}")
    say(f"{len(found):,} of {len(looked_at):,} training requests look wrong.")
    if len(looked_at) < len(cases):
        say(f"{len(cases) - len(looked_at):,} more were not looked at; --look-at {len(cases)} takes them all.")


@click.group()
def knowledge() -> None:
    """State facts and ask for them."""


@knowledge.command("add")
@click.argument("statement")
@click.option("--source", default="person", show_default=True, help="Who or what says so.")
@json_option
@click.pass_context
def add_fact(context: click.Context, statement: str, source: str, machine: bool) -> None:
    """State a fact; says whether it was added, confirmed, or superseded an older one. Nothing is overwritten."""
    with writing(context) as system:
        change = system.knowledge.add(statement, source=source)
    if machine:
        as_json(change)
        return
    say(f"{change.kind}: {change.fact.statement} ({change.fact.id})")
    if change.previous is not None:
        say(f"no longer holds: {change.previous.statement} ({change.previous.id})")


@knowledge.command()
@click.argument("question")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 1000), help="Most facts to show.")
@json_option
@click.pass_context
def ask(context: click.Context, question: str, limit: int, machine: bool) -> None:
    """Facts that answer QUESTION, best first, found by their words."""
    with reading(context) as system:
        found = system.knowledge.ask(question, limit)
    if machine:
        as_json(found)
        return
    rows = [(f"{one.score:.2f}", one.fact.statement, one.fact.source, when(one.fact.recorded)) for one in found]
    table("Facts", ["score", "statement", "source", "recorded"], rows, empty="Nothing is known about that.")
