"""The report: one HTML file that shows a cycle's results, and the numbers beside it as JSON.

In: `CycleResults`. Out: `results.json` and `index.html`, which asks nothing of any network and runs no script.
It does not know how the numbers came about.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmagentos.evaluation.figures import percent
from llmagentos.records.results import CycleResults
from llmagentos.reports import wording
from llmagentos.reports.charts import curve_chart, forest, heat_rows, skill_bars
from llmagentos.reports.conversation import spoken

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(results: CycleResults, folder: Path) -> Path:
    """Write `results.json` and `index.html` into `folder` (created), each replaced whole; returns the page's path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    _replace(folder / "results.json", results_json(results))
    _replace(page, render_page(results).encode())
    return page


def results_json(results: CycleResults) -> bytes:
    """`results` as indented UTF-8 JSON; what was not measured, and what is not a number, is null."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n"


def read_results(path: Path) -> CycleResults:
    """The results that `write_report` stored at `path`; raises msgspec's `ValidationError` for anything else."""
    import msgspec

    return msgspec.json.decode(path.read_bytes(), type=CycleResults)


def render_page(results: CycleResults) -> str:
    """The page as text; everything in `results` is escaped."""
    template = _environment().get_template("page.html")
    return template.render(
        results=results,
        headline=wording.headline(results),
        consequences=wording.consequences(results),
        loss=wording.worst_loss(results),
        live=results.releases[wording.live_row(results)] if results.releases else "",
        bars=[skill_bars(skill) for skill in results.skills],
        curves=[chart for curve in results.curves if (chart := curve_chart(curve)) is not None],
        heat=heat_rows(results),
        forests=[forest(verdict, results.margin) for verdict in results.verdicts],
        samples=[(sample, spoken(sample.before), spoken(sample.after)) for sample in results.samples],
        stage_total=sum(stage.minutes for stage in results.stages) or 1.0,
    )


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "percent": lambda share: wording.together(percent(share)),
        "together": wording.together,
        "points": wording.signed_points,
        "minutes": wording.minutes,
        "count": wording.count,
        "counted": wording.counted,
    }
    environment.filters.update(filters)
    return environment


def _replace(path: Path, content: bytes) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
