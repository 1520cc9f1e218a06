"""`llmagentos models`: what there is, fetching it, and one model's card.

It does not know sources or formats: the model library does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from llmagentos.cli.opening import json_option
from llmagentos.cli.progress import progress
from llmagentos.cli.screen import as_json, say, table

if TYPE_CHECKING:
    from llmagentos.models.library import ModelLibrary


@click.group()
def models() -> None:
    """List, fetch and show models.

    A model is named by a hub name (org/name), a local folder, a GGUF file, or a file inside a published package
    (pypi:NAME==VERSION[/FILE]). `default` is SmolLM2-135M-Instruct, carried by a package: no hub is needed.
    """


@models.command("list")
@json_option
@click.pass_context
def list_models(context: click.Context, machine: bool) -> None:
    """Known models and those that were fetched."""
    cards = _library(context).list()
    if machine:
        as_json(cards)
        return
    rows = [
        (
            card.name,
            ", ".join(card.aliases[:2]),
            _size(card.parameters),
            _megabytes(card.bytes),
            _state(card.pulled, card.fault),
        )
        for card in cards
    ]
    table("Models", ["name", "also called", "parameters", "size", "state"], rows)


@models.command()
@click.argument("name", default="")
@click.option("--force", is_flag=True, help="Fetch again even when it is here and whole.")
@click.pass_context
def pull(context: click.Context, name: str, force: bool) -> None:
    """Fetch model NAME (the default model when left out); one that is here and whole is left alone.

    A package is downloaded by pip, with your own pip settings and without its dependencies; its SHA-256 is checked.
    """
    from llmagentos.config import load_settings

    wanted = name or load_settings(context.obj["home"], context.obj["model"]).model
    with progress() as show:
        folder = _library(context).pull(wanted, force=force, progress=show)
    say(f"{wanted} is ready in {folder}")


@models.command()
@click.argument("name", default="default")
@click.option("--verify", is_flag=True, help="Compare every file with its digest.")
@json_option
@click.pass_context
def show(context: click.Context, name: str, verify: bool, machine: bool) -> None:
    """What is known about model NAME."""
    card = _library(context).show(name, verify=verify)
    if machine:
        as_json(card)
        return
    facts = {
        "name": card.name,
        "title": card.title,
        "also called": ", ".join(card.aliases),
        "state": _state(card.pulled, card.fault),
        "folder": card.folder or "",
        "architecture": card.architecture,
        "layers, width, heads": f"{card.layers}, {card.hidden}, {card.heads} ({card.kv_heads} key-value)"
        if card.layers
        else "",
        "window": f"{card.window:,} tokens" if card.window else "",
        "parameters": _size(card.parameters),
        "size": _megabytes(card.bytes),
        "licence": card.licence,
        **{f"sha256 of {file}": digest for file, digest in card.digests.items()},
    }
    table(card.title or card.name, ["", ""], [(key, value) for key, value in facts.items() if value])
    if verify:
        say("Every file is as it was stored.")


def _library(context: click.Context) -> ModelLibrary:
    from llmagentos.config import load_settings
    from llmagentos.models.library import ModelLibrary

    return ModelLibrary(load_settings(context.obj["home"]).home)


def _state(pulled: bool, fault: str) -> str:
    return f"damaged: {fault}" if fault else "here" if pulled else "not fetched"


def _size(parameters: int) -> str:
    return f"{parameters / 1e6:,.0f} M" if parameters else ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size else ""
