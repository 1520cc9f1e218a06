"""What every benchmark here needs: the machine's description, medians with their range, and units that resume.

In: numbers and functions that measure. Out: plain records and one JSON file a benchmark, replaced whole.
It does not know what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from llmagentos.config import DEFAULT_MODEL
from llmagentos.models.native.library import instructions

RESULTS = Path(__file__).parent / "results"
"""Where the last results lie; they are committed."""

COMPARABLE = ("processor", "instructions", "cores")
"""Where machines differ in these, their numbers are not put into one table."""

SHARED = ("models", "assets", "kernels")
"""Of a home: downloads and what was compiled, which others link to."""

JSON: TypeAlias = dict[str, Any]


def describe_machine() -> JSON:
    """Processor, what the kernels use of it, cores this process may use, memory and system.

    One name ("AMD EPYC") stands for processors with AVX-512 and without.
    """
    return {
        "processor": _processor(),
        "instructions": instructions(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, AttributeError):
        return None  # a system that does not tell


def load() -> float:
    """How busy the machine is: the mean number of running processes in the last minute."""
    return round(os.getloadavg()[0], 2)


def versions(*distributions: str) -> dict[str, str]:
    """Versions of Python and of what is named."""
    return {"python": platform.python_version(), **{name: version(name) for name in distributions}}


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median and range of repetitions."""
    return {
        "median": round(statistics.median(values), digits),
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
    }


def as_share(found: JSON) -> str:
    """A spread of shares as tables print it: median and range in percent."""
    return f"{found['median']:.0%} ({found['lowest']:.0%}-{found['highest']:.0%})"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of all values lie; no interpolation."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def heading(benchmark: str, machine: JSON, used: dict[str, str]) -> JSON:
    """What every results file begins with: what was measured, when, where and with which versions."""
    return {"benchmark": benchmark, "date": date.today().isoformat(), "machine": machine, "versions": used}


def unit_home(folder: Path, shared: Path, settings: JSON) -> Path:
    """A home of a unit's own in `folder`; what other settings left there is discarded.

    Downloads and kernels are those of the home `shared`, everything else is the unit's own.
    """
    state = folder / "state.json"
    if state.exists() and json.loads(state.read_text(encoding="utf-8"))["settings"] != settings:
        shutil.rmtree(folder)
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        (shared / name).mkdir(parents=True, exist_ok=True)
    link_shared(home, shared)
    return home


def link_shared(home: Path, shared: Path) -> None:
    """Let a home use what another one has downloaded and compiled."""
    for name in SHARED:
        if (shared / name).exists() and not (home / name).exists():
            (home / name).symlink_to((shared / name).resolve())


def unit_state(folder: Path, settings: JSON, **empty: Any) -> JSON:
    """What a unit wrote to its `state.json`, which holds its settings too; `empty` where it begins."""
    path = folder / "state.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {"settings": settings, **empty}


def write_results(path: Path, content: JSON) -> None:
    """Replace a results file: after a kill there is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, path)


class Units:
    """Measurements by name in one results file; what is there already, under the same settings, is not done again.

    Numbers of other versions are discarded, and it is said. Those of another machine are never mixed with this one's:
    they stay in the file, apart, under `elsewhere`, and count again where the benchmark runs there.
    """

    def __init__(self, path: Path, benchmark: str, machine: JSON, used: dict[str, str], *, fresh: bool = False) -> None:
        self.path, self.benchmark = path, benchmark
        self._head = heading(benchmark, machine, used)
        self._units: dict[str, JSON] = {}
        self._elsewhere: list[JSON] = []
        if path.exists():
            self._take_over(json.loads(path.read_text(encoding="utf-8")), fresh)

    def _take_over(self, known: JSON, fresh: bool) -> None:
        found = [known, *known.pop("elsewhere", [])]
        here = [one for one in found if _place(one) == _place(self._head)]
        self._elsewhere = [one for one in found if one not in here]
        for one in here if not fresh else ():
            before, now = one.get("versions", {}), self._head["versions"]
            if before == now:
                self._units = dict(one.get("units", {}))
            else:
                tell(f"{self.path.name}: numbers of {before} are discarded and measured again with {now}.")
        if self._elsewhere:
            processors = ", ".join(str(_place(one)["processor"]) for one in self._elsewhere)
            tell(f"{self.path.name} keeps apart what was measured on {processors}.")

    def get(self, name: str, settings: JSON) -> JSON | None:
        """The results of a unit that was measured under the same settings, else None."""
        unit = self._units.get(name)
        return dict(unit["results"]) if unit is not None and unit["settings"] == settings else None

    @property
    def results(self) -> dict[str, JSON]:
        """The results of all units by name, those of earlier runs among them."""
        return {name: dict(unit["results"]) for name, unit in self._units.items()}

    def measure(self, name: str, settings: JSON, measurement: Callable[[], JSON]) -> JSON:
        """Run `measurement` unless it was done; its results are on disk when this returns."""
        known = self.get(name, settings)
        if known is not None:
            tell(f"{name}: measured on {self._units[name]['date']} (--fresh measures again)")
            return known
        tell(f"{name}: measuring")
        busy = load()
        results = measurement()
        today = date.today().isoformat()
        self._units[name] = {"date": today, "load_at_start": busy, "settings": settings, "results": results}
        self.write()
        return results

    def write(self, **summary: Any) -> None:
        """Write all units, with what is concluded from them in front."""
        apart = {"elsewhere": self._elsewhere} if self._elsewhere else {}
        write_results(self.path, {**self._head, **summary, "units": self._units, **apart})


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model, and where it lies."""
    parser.add_argument("--home", type=Path, help="where models and data sets lie or are fetched to")
    parser.add_argument("--model", default=DEFAULT_MODEL)


def add_results_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Where results are written and whether earlier ones count."""
    parser.add_argument("--results", type=Path, default=RESULTS / f"{name}.json")
    parser.add_argument("--fresh", action="store_true", help="discard earlier results and unfinished units")


def open_units(options: argparse.Namespace, benchmark: str) -> Units:
    """The units of a benchmark that runs in this process."""
    used = versions("llmagentos", "torch")
    return Units(options.results, benchmark, describe_machine(), used, fresh=options.fresh)


def _place(head: JSON) -> JSON:
    machine = head.get("machine", {})
    return {key: machine.get(key) for key in COMPARABLE}


def measure_seeds(
    units: Units, options: argparse.Namespace, shared: Path, kept: Sequence[str], measure: Callable[..., JSON]
) -> dict[str, list[JSON]]:
    """Measure `options.environment` under each of `options.seeds` by `measure(folder, shared, model, settings)`,
    and give all units as `seeds_together` does. `kept` are the options that are settings of a unit."""
    folders = shared / "benchmarks" / units.benchmark
    for seed in range(options.seeds):
        for name in options.environment:
            settings = {key: getattr(options, key) for key in kept} | {"environment": name, "seed": seed}
            measurement = partial(measure, folders / f"{name}-{seed}", shared, options.model, settings)
            units.measure(f"{name}, seed {seed}", settings, measurement)
    return seeds_together(units.results)


def seeds_together(results: dict[str, JSON]) -> dict[str, list[JSON]]:
    """Units that are called `NAME, seed N`, those of each name together."""
    found: dict[str, list[JSON]] = {}
    for name, unit in results.items():
        found.setdefault(name.partition(", seed")[0], []).append(unit)
    return found


def tell(line: str) -> None:
    """Say how the work goes, apart from the results."""
    print(line, file=sys.stderr, flush=True)
