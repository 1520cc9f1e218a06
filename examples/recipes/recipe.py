"""What every recipe does: open a home, learn an environment by one learner, show the gate's word and the report tasks.

In: a learner and an environment. Out: printed lines. It does not know which learner it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llmagentos import AgentOS
from llmagentos.errors import LLMAgentOSError
from llmagentos.learning.context import Learner
from llmagentos.records.progress import Progress


def show(event: Progress) -> None:
    """A line now and then."""
    if event.done in (1, event.total) or event.done % 10 == 0:
        measured = ", ".join(f"{name} {value:.3g}" for name, value in event.metrics.items())
        print(f"{event.stage}: {event.done:.0f} of {event.total:.0f} {event.unit} {event.note or measured}", flush=True)


def cook(learner: Learner, environment: str, minutes: float, arguments: Sequence[str] | None = None) -> None:
    """Learn, judge, measure; options of the command line: --minutes, --tasks, --home, --environment."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--tasks", type=int, default=60, help="held-out tasks that are reported")
    parser.add_argument("--environment", default=environment)
    parser.add_argument("--home", help="where it learns; else $LLMAGENTOS_HOME, else ~/.llmagentos")
    asked = parser.parse_args(arguments)
    try:
        with AgentOS(asked.home) as system:
            before = system.cycle.evaluate(asked.environment, tasks=asked.tasks)
            verdict = system.cycle.learn(asked.environment, minutes=asked.minutes, learner=learner, on_progress=show)
            print(f"{'released' if verdict.released else 'refused'}: {verdict.reason}")
            print(f"before: {before}")
            print(f"live:   {system.cycle.evaluate(asked.environment, tasks=asked.tasks)}")
    except LLMAgentOSError as problem:
        sys.exit(str(problem))
