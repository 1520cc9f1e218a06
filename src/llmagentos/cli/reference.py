"""The reference of all commands, written from the commands themselves.

In: nothing. Out: Markdown, on standard output when run as a module (`make docs`). It does not know what they do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from llmagentos.cli.main import cli

HEADER = """# Commands

Written by `make docs` from the commands' own help pages; the tests hold the two together.

Every command ends with 0 when it did its job, 2 for wrong usage or an unknown name, 1 for any other failure, and
130 after Ctrl-C. An error is one line that says what to do next; `LLMAGENTOS_DEBUG=1` adds the traceback. Progress
goes to standard error, results to standard output, so that `--json` can be piped.
"""


def reference() -> str:
    """Markdown of every command's help page."""
    root = click.Context(cli, info_name="llmagentos", terminal_width=100, help_option_names=["-h", "--help"])
    return "\n".join([HEADER, *(_page(context) for context in _contexts(root))])


def _page(context: click.Context) -> str:
    depth = context.command_path.count(" ")
    return f"{'#' * min(3, 2 + depth)} {context.command_path}\n\n```text\n{context.get_help()}\n```\n"


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            if found is not None:
                yield from _contexts(click.Context(found, parent=context, info_name=name))


if __name__ == "__main__":
    sys.stdout.write(reference())
