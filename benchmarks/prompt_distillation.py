"""What a skill's prompt costs, and whether it can go: a release told everything beside one told only the skill's name.

Run: python benchmarks/prompt_distillation.py [--home FOLDER] [--skill NAME ...] [--tasks N] [--fresh]
Prints a table, writes benchmarks/results/prompt_distillation.json. The home is one that has learned (default: the one
that `make demo-full` leaves); every skill is a unit on a copy of it.

The learner `prompt-distillation` imitates own successful runs without instructions and descriptions of tools; the gate
then judges the candidate as any other. Released or not, candidate and live release play the same tasks of the report
split greedily, in turns: success paired by task with a bootstrap interval, tokens before the first reply, and seconds
for all tasks as one batch, with what runs share computed once for both.
"""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from measuring import JSON, open_units, spread, tell
from pairing import REPORTS, copied, read_options

from llmagentos.agentos import AgentOS
from llmagentos.evaluation.statistics import paired_bootstrap
from llmagentos.kernel.rollouts import Policy
from llmagentos.learning.language.prompt_distillation import PromptDistillation
from llmagentos.records.episode import Episode
from llmagentos.records.progress import Progress

MINUTES = 8.0
TURNS = 3
"""How often each plays all tasks, for the seconds."""
SERVED = "distilled"


def distil(home: Path, skill: str, tasks: int, minutes: float) -> JSON:
    """Learn, judge and measure one skill on a copy of `home`."""
    with copied(home) as fresh, AgentOS(fresh) as system:
        cycle = system.cycle
        before = system.releases.live()
        verdict = cycle.learn(skill, minutes=minutes, learner=PromptDistillation(), on_progress=_tell)
        candidate = system.releases.candidates()[-1]
        env = cycle.players.environment(skill)
        whole = cycle.players.policy(env, before)
        cycle.engine.serve(SERVED, cycle.players.candidate_adapter(candidate), released=True)
        told = {**whole.arguments, "brief": env.skill}
        brief = replace(whole, release=SERVED, adapter=SERVED, arguments=told)
        drawn = env.tasks("report", tasks)
        runs: dict[str, list[Episode]] = {}
        seconds: dict[str, list[float]] = {"whole": [], "brief": []}

        def play(name: str, policy: Policy) -> None:
            began = time.monotonic()
            runs[name] = cycle.rollouts.play(drawn, policy, labels={"purpose": "report"})
            seconds[name].append(time.monotonic() - began)

        for _ in range(TURNS):
            play("whole", whole)
            play("brief", brief)
        gap = paired_bootstrap([one.success for one in runs["brief"]], [one.success for one in runs["whole"]])
        ratios = [one / other for one, other in zip(seconds["whole"], seconds["brief"], strict=True)]
        return {
            "tasks": len(drawn),
            "released": verdict.released,
            "verdict": verdict.reason,
            "strict": {name: round(statistics.mean(one.success for one in each), 4) for name, each in runs.items()},
            "difference": {key: round(getattr(gap, key), 4) for key in ("estimate", "low", "high")},
            "tokens before the first reply": {name: round(told_tokens(each), 1) for name, each in runs.items()},
            "seconds": {name: spread(each, 1) for name, each in seconds.items()},
            "times faster": spread(ratios, 2),
            "steps": candidate.evidence["steps"],
            "minutes": round(float(candidate.evidence["minutes"]), 2),
        }


def told_tokens(runs: list[Episode]) -> float:
    """Mean tokens before the first reply."""
    return statistics.mean(run.transcript.trainable.index(True) for run in runs if any(run.transcript.trainable))


def shown(skill: str) -> str:
    """A skill's name without the folders of a file that it was learned from."""
    return re.sub(r"(?<=data=)[^&]*/", "", skill)


def _tell(event: Progress) -> None:
    if event.done == event.total or event.done % 20 == 0:
        tell(f"  {event.stage}: {event.done:.0f} of {event.total:.0f} {event.metrics.get('development_strict', '')}")


def show(found: dict[str, JSON]) -> None:
    """Print what was found of each skill."""
    from rich.console import Console
    from rich.table import Table

    table = Table("skill", "whole prompt", "brief", "difference [95 %]", "tokens told", "times faster", "gate")
    for skill, one in found.items():
        gap, told = one["difference"], one["tokens before the first reply"]
        table.add_row(
            skill,
            *[f"{one['strict'][way]:.1%}" for way in ("whole", "brief")],
            f"{gap['estimate']:+.1%} [{gap['low']:+.1%}, {gap['high']:+.1%}]",
            f"{told['whole']:.0f} -> {told['brief']:.0f}",
            f"{one['times faster']['median']}",
            "released" if one["released"] else "refused",
        )
    Console(width=120).print(table)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(__doc__, "prompt_distillation", REPORTS / "demo-full" / "home", arguments)
    units = open_units(options, "prompt distillation")
    with copied(options.home) as home, AgentOS(home) as system:
        live = system.releases.live()
    settings = {"release": live.id, "tasks": options.tasks, "minutes": MINUTES}
    found = {
        shown(skill): units.measure(
            shown(skill), settings, partial(distil, options.home, skill, options.tasks, MINUTES)
        )
        for skill in options.skill or live.skills
    }
    units.write()
    show(found)
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
