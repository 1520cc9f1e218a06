"""`llmagentos demo`: the whole cycle, shown.

In: how long it may take and where the report goes. Out: tables, a page and results.json.
It does not know what is learned and measured: `llmagentos.demo` does.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmagentos.cli.opening import json_option
from llmagentos.cli.progress import progress
from llmagentos.cli.screen import as_json, percent, say, table
from llmagentos.errors import ConfigError

if TYPE_CHECKING:
    from llmagentos.records.results import CycleResults

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
    models are shared. About 15 minutes on two cores. Ends with a table, a retention matrix and an HTML report.
    """
    from llmagentos.agentos import AgentOS
    from llmagentos.config import load_settings
    from llmagentos.demo import Demonstration, plan
    from llmagentos.reports.page import write_report

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
    show_results(results)
    say(f"Report: {page.resolve()}", style="bold")
    say(f"Talk to what it learned: llmagentos --home {home} chat")


def own_home(out: Path, shared: Path) -> Path:
    """A fresh home under `out`, with the models and downloads of `shared`; an earlier demo's is begun anew."""
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
    for name in ("models", "assets"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        (home / name).symlink_to(shared / name, target_is_directory=True)
    return home


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink()


def show_results(results: CycleResults) -> None:
    """The table of skills, the retention matrix and the verdicts."""
    rows = [
        (skill.name, percent(skill.before), percent(skill.after), f"{100 * (skill.after - skill.before):+.1f}",
         f"[{100 * skill.low:+.1f}, {100 * skill.high:+.1f}]", skill.learner, skill.tasks)
        for skill in results.skills
    ]  # fmt: skip
    table("Held-out success", ["skill", "before", "after", "points", "95 % interval", "learner", "tasks"], rows)
    matrix = [
        (release, *("–" if cell is None else percent(cell) for cell in row))
        for release, row in zip(results.releases, results.retention, strict=True)
    ]
    table("Retention: each release on each skill", ["release", *(skill.name for skill in results.skills)], matrix)
    verdicts = [
        (one.candidate, one.skill, f"released as {one.release}" if one.released else "refused", one.reason)
        for one in results.verdicts
    ]
    table("Verdicts of the gate", ["candidate", "skill", "", "reason"], verdicts)
    say(f"{results.minutes:.1f} minutes, {results.model}")
