"""How long one appended event takes, and how long a process's history takes to read back.

Run: python benchmarks/journal.py [--events N] [--repetitions N]
Prints a table and writes benchmarks/results/journal.json. The peer is the same row inserted by plain sqlite3 into a
table of the same shape, in the same mode, one commit an event.
Targets: 0.1 ms median for an append without sync, 50 ms for the recovery of 1,000 events.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import RESULTS, describe_machine, heading, load, percentile, spread, tell, versions, write_results

from llmagentos.store.store import Store

RECOVERED = 1000
SYNCED_SHARE = 10

# What one turn of a support dialogue puts into the journal: a request's settings, a reply's text and its tokens.
BODY = {
    "text": '{"order_status": {"order": "A-10431"}}',
    "tokens": list(range(20_000, 20_024)),
    "logprobs": [-0.0131 * index for index in range(24)],
    "finish": "stop",
    "prompt_tokens": 412,
}


def time_each(action: Callable[[int], object], count: int) -> list[float]:
    """Milliseconds of each of `count` calls."""
    taken = []
    for index in range(count):
        began = time.perf_counter_ns()
        action(index)
        taken.append((time.perf_counter_ns() - began) / 1e6)
    return taken


def measure(events: int, folder: Path) -> dict[str, list[float]]:
    """One repetition on a fresh home: milliseconds by measure."""
    with Store.open(folder / "home") as store:
        journal = store.journal
        time_each(lambda index: journal.append("warm", "generate", BODY), 50)
        appended = time_each(lambda index: journal.append(f"p{index % 32}", "generate", BODY), events)
        synced = time_each(lambda index: journal.append("synced", "act", BODY, sync=True), events // SYNCED_SHARE)
        for _ in range(RECOVERED):
            journal.append("recovered", "generate", BODY)
        recovered = time_each(lambda index: journal.entries("recovered"), 5)
        assert len(journal.entries("recovered")) == RECOVERED
    with Store.open(folder / "home") as store:
        first = time_each(lambda index: store.journal.entries("recovered"), 1)
    peer, peer_synced = measure_peer(events, events // SYNCED_SHARE, folder / "peer.db")
    return {
        "append": appended,
        "append, synced": synced,
        f"recovery of {RECOVERED} events": recovered,
        f"recovery of {RECOVERED} events, just opened": first,
        "peer: plain sqlite3 insert": peer,
        "peer: plain sqlite3 insert, synced": peer_synced,
    }


def measure_peer(events: int, synced: int, path: Path) -> tuple[list[float], list[float]]:
    """Milliseconds of each insert of the same event by plain sqlite3, committed one by one, then the same synced."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "CREATE TABLE journal (number INTEGER PRIMARY KEY, process TEXT, seq INTEGER, kind TEXT, "
        "format INTEGER, body BLOB, blob TEXT, at REAL, owner TEXT, origin TEXT, UNIQUE (process, seq))"
    )
    body = json.dumps(BODY).encode()
    insert = "INSERT INTO journal VALUES (NULL, ?, ?, 'generate', 1, ?, NULL, ?, 'local', 'own')"
    # Warmed and ordered like ours: a log that was written before is overwritten, which syncs faster than growing it.
    connection.execute("PRAGMA synchronous=NORMAL")
    time_each(lambda index: connection.execute(insert, ("warm", index, body, time.time())), 50)
    plain = time_each(lambda index: connection.execute(insert, (f"p{index % 32}", index, body, time.time())), events)
    connection.execute("PRAGMA synchronous=FULL")
    full = time_each(lambda index: connection.execute(insert, ("synced", index, body, time.time())), synced)
    connection.close()
    return plain, full


def summarise(repetitions: list[dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """For each measure the median of all calls, the 99th percentile, and the range of the repetitions' medians."""
    summary = {}
    for name in repetitions[0]:
        medians = spread([statistics.median(repetition[name]) for repetition in repetitions])
        every = [value for repetition in repetitions for value in repetition[name]]
        summary[name] = {
            "median_ms": round(statistics.median(every), 4),
            "p99_ms": round(percentile(every, 0.99), 4),
            "lowest_median_ms": medians["lowest"],
            "highest_median_ms": medians["highest"],
            "calls": len(every),
        }
    return summary


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4000, help="appended events of a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the measured homes lie (default: beside the results)")
    options = parser.parse_args()
    busy = load()
    repetitions = []
    RESULTS.mkdir(exist_ok=True)
    for number in range(options.repetitions):
        # Beside the results, for a temporary folder in memory would make syncing free.
        with tempfile.TemporaryDirectory(dir=options.folder or RESULTS, prefix=".journal") as folder:
            repetitions.append(measure(options.events, Path(folder)))
        tell(f"repetition {number + 1} of {options.repetitions} done")
    summary = summarise(repetitions)
    results = {
        **heading("journal", describe_machine(), versions("llmagentos") | {"sqlite": sqlite3.sqlite_version}),
        "load_at_start": busy,
        "event_bytes": len(json.dumps(BODY)),
        "repetitions": options.repetitions,
        "targets": {"append median_ms": 0.1, f"recovery of {RECOVERED} events median_ms": 50.0},
        "results": summary,
    }
    path = RESULTS / "journal.json"
    write_results(path, results)
    print(f"{'':<46}{'median ms':>12}{'p99 ms':>12}{'medians of repetitions':>26}")
    for name, row in summary.items():
        spread = f"{row['lowest_median_ms']:.4f} .. {row['highest_median_ms']:.4f}"
        print(f"{name:<46}{row['median_ms']:>12.4f}{row['p99_ms']:>12.4f}{spread:>26}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
