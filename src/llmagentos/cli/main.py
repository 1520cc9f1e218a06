"""`llmagentos`: finds the command, runs it, and turns an error into one line and an exit code.

In: the arguments. Out: what the command prints. A command's module is loaded when that command is asked for.
It does not know what any command does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from llmagentos import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("running:run", "Let an agent play tasks of an environment."),
    "chat": ("running:chat", "Talk to the live release."),
    "learn": ("learning:learn", "Learn an environment; a better agent goes live only through the gate."),
    "evaluate": ("learning:evaluate", "Measure success on held-out tasks, with intervals."),
    "demo": ("demo:demo", "The whole cycle on this machine, with a report."),
    "feedback": ("feedback:feedback", "Say what was good, bad or should have been said; withdraw it."),
    "doctor": ("doctor:doctor", "Check this machine and the home, with a remedy for each fault."),
    "models": ("models:models", "List, fetch and show models."),
    "releases": ("releases:releases", "List, show, compare and restore releases."),
    "data": ("knowing:data", "Connect files, folders and web pages to learn from."),
    "knowledge": ("knowing:knowledge", "State facts and ask for them."),
    "ps": ("listing:ps", "Processes: what runs and what ran."),
    "agents": ("listing:agents", "Who can act: the live release and the programs."),
    "environments": ("listing:environments", "Environments that can be run and learned."),
    "skills": ("listing:skills", "Skills learned so far, with their scores."),
}
"""Name -> (where it is defined in `llmagentos.cli`, one line of help). The listing needs no command's module."""


class LazyGroup(click.Group):
    """Knows every command's name and summary; loads the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"llmagentos.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The listing of `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command is answered with what there is."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No command named {args[0]!r}. There are: {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="llmagentos")
@click.option(
    "--home",
    type=click.Path(file_okay=False),
    help="Folder of everything that is kept; else $LLMAGENTOS_HOME, else ~/.llmagentos.",
)
@click.option("--model", help="Base model for this command; else $LLMAGENTOS_MODEL, else that of the live release.")
@click.pass_context
def cli(context: click.Context, home: str | None, model: str | None) -> None:
    """An operating system for LLM agents that keep learning.

    Agents run on a model you own, their runs become experience, experience trains adapters, and a gate lets nothing
    live that makes the agent worse at what it could already do. Start with `llmagentos doctor`, then `llmagentos demo`.
    """
    context.obj = {"home": home, "model": model}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; the entry point of `llmagentos`."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, the error's own, 2 for wrong usage, 130 after Ctrl-C.

    `LLMAGENTOS_DEBUG=1` lets errors through with their traceback.
    """
    try:
        given = None if arguments is None else list(arguments)
        ended = cli.main(args=given, prog_name="llmagentos", standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except (KeyboardInterrupt, click.Abort):
        from llmagentos.cli.screen import complain

        complain("Stopped. What was finished before is kept; start the same command again to go on.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: nothing more to say to it
        return 141
    except Exception as problem:
        from llmagentos.cli.screen import complain
        from llmagentos.errors import LLMAgentOSError

        if os.environ.get("LLMAGENTOS_DEBUG") or not isinstance(problem, LLMAgentOSError):
            raise
        complain(str(problem))
        return problem.exit_code
    return ended if isinstance(ended, int) else 0


if __name__ == "__main__":
    main()
