"""What holding replies to the tools there are is worth: a release free and constrained, on the same held-out tasks.

Run: python benchmarks/constrained.py [--home FOLDER] [--tasks N] [--skill NAME ...] [--fresh]
Prints a table, writes benchmarks/results/constrained.json. The home is one that has learned (default: the one that
`make demo-full` leaves); it is copied, so that nothing in it changes. Every skill is a unit.

Constrained, the model can say nothing but a well-formed call of one of the task's tools, with arguments that its schema
allows, or words (`LLMAGENTOS_CONSTRAINED=on`). Both play the same tasks of the report split greedily, through the
kernel; the difference is paired by task, with a bootstrap interval.
"""

from __future__ import annotations

from pairing import REPORTS, Setting, measure, read_options

SETTING = Setting("LLMAGENTOS_CONSTRAINED", {"free": "off", "constrained": "on"})


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(__doc__, "constrained", REPORTS / "demo-full" / "home", arguments)
    found, _ = measure(options, "constrained", SETTING, {})
    SETTING.show(found)
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
