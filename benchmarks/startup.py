"""How long `import llmagentos` and `llmagentos --help` take, beside bare Python.

Targets: under 100 ms and under 500 ms, the interpreter's own start included. Median of 15 fresh processes each,
taken in turns so that a busy moment of the machine falls on all alike. Writes benchmarks/results/startup.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from measuring import RESULTS, describe_machine, heading, load, versions, write_results

RUNS = 15
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import": [sys.executable, "-c", "import llmagentos"],
    "help": [sys.executable, "-c", "from llmagentos.cli.main import main; main(['--help'])"],
}
TARGETS_MS = {"import": 100.0, "help": 500.0}


def milliseconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - started)


def measure() -> dict[str, object]:
    busy = load()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():  # byte code and the disk's cache are filled before anything counts
        milliseconds(command)
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            times[name].append(milliseconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        **heading("startup", describe_machine(), versions("llmagentos")),
        "load_at_start": busy,
        "runs": RUNS,
        "median_ms": {name: round(value, 1) for name, value in medians.items()},
        "beyond_python_ms": {name: round(medians[name] - medians["python"], 1) for name in TARGETS_MS},
        "target_ms": TARGETS_MS,
        "met": {name: medians[name] < target for name, target in TARGETS_MS.items()},
    }


if __name__ == "__main__":
    results = measure()
    write_results(RESULTS / "startup.json", results)
    print(json.dumps(results, indent=2))
