"""`llmagentos demo`: the whole cycle, shown.

In: how long it may take and where the report goes. Out: tables, a page and results.json.
It does not know what is learned and measured: `llmagentos.demo` does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from llmagentos.cli.opening import json_option
from llmagentos.cli.progress import progress
from llmagentos.cli.screen import as_json, say
from llmagentos.errors import ConfigError

FOLDER = click.Path(file_okay=False, path_type=Path)
MARK = ".demo-home"
"""Says that a folder is the demo's own and may be begun anew."""


@click.command()
@click.option(
    "--full", is_flag=True, help="A third skill on real questions, 300 held-out tasks a cell (about 45 minutes)."
)
@click.option("--quick", is_flag=True, help="Two minutes: the same steps on few tasks; its numbers say little.")
@click.option("--out", type=FOLDER, default=Path("reports/demo"), show_default=True, help="Folder of the report.")
@json_option
@click.pass_context
def demo(context: click.Context, full: bool, quick: bool, out: Path, machine: bool) -> None:
    """Learn two skills on this machine, keep the first while learning the second, and refuse a harmful update.

    It runs in a home of its own under the report's folder, so that what you have is neither seen nor changed; fetched
    models are shared. About 10 minutes on two cores. Ends with a table, a retention matrix and an HTML report.
    """
    from llmagentos.agentos import AgentOS
    from llmagentos.config import load_settings
    from llmagentos.demo import Demonstration, plan
    from llmagentos.reports.page import write_report
    from llmagentos.reports.terminal import print_results

    if full and quick:
        raise click.UsageError("Give --full or --quick, not both.")
    settings = load_settings(context.obj["home"], context.obj["model"])
    home = own_home(out.resolve(), settings.home)
    with progress() as show, AgentOS(home, settings.model, on_progress=show) as system:
        results = Demonstration(system.cycle, plan(full=full, quick=quick), show).run()
    page = write_report(results, out)
    if machine:
        as_json(results)
        return
    print_results(results, page.resolve())
    say(f"Talk to what it learned: llmagentos --home {home} chat")


def own_home(out: Path, shared: Path) -> Path:
    """A fresh home under `out`, with the models, downloads and kernels of `shared`; an earlier demo's is begun anew."""
    home = out / "home"
    if home.exists() and any(home.iterdir()) and not (home / MARK).exists():
        raise ConfigError(f"{home} exists and is not a demo's. Choose another folder: llmagentos demo --out FOLDER")
    if home.exists():
        from llmagentos.store.lock import HomeLock

        with HomeLock(home):
            for part in home.iterdir():
                _remove(part)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARK).touch()
    for name in ("models", "assets", "kernels"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        (home / name).symlink_to(shared / name, target_is_directory=True)
    return home


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink()
