"""All committed results on one page: what was measured, where and when, beside its target.

Run: python benchmarks/figures.py > docs/figures.md (`make docs` does)
It measures nothing: it reads benchmarks/results/*.json, and a test compares the page with them. What was measured on
different machines stands in different rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from textwrap import fill

from measuring import JSON, RESULTS, spread

STAGES = ("zero-shot", "few-shot", "imitation", "+ rejection-sampling", "+ policy-gradient", "+ dpo")
NAMES = ("environment", "skill", "machine", "what", "how", "after", "by", "at", "date", "faster peer", "released")
"""Columns that hold words."""
FRONT = """# Figures

Written from [`benchmarks/results`](../benchmarks/results) by `make docs`; no figure was typed. How each is measured and
kept fair: [benchmarks](benchmarks.md). All on two cores, with SmolLM2-135M-Instruct, on tasks that no choice has seen.
Success is strict: the right thing in the right form. In brackets is the range over the seeds, where there are several.
Machines differ in speed and learning has minutes, not steps: rows of two machines are not compared with each other."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one machine measured of a benchmark."""

    machine: str
    units: dict[str, JSON]
    """By name: its date and results."""
    head: JSON
    """What stands beside the units, what was concluded among it."""


def parts(benchmark: str) -> list[Part]:
    """Machine by machine; where a benchmark ran last comes first."""
    known = json.loads((RESULTS / f"{benchmark}.json").read_text(encoding="utf-8"))
    found = [known, *known.pop("elsewhere", [])]
    return [Part(_machine(one["machine"]), one["units"], one) for one in found if one.get("units")]


def measured(benchmark: str) -> Iterator[tuple[str, str, str, JSON]]:
    """Name, machine, day and results of every unit."""
    for part in parts(benchmark):
        for name, unit in part.units.items():
            yield name, part.machine, str(unit["date"]), unit["results"]


def concluded(benchmark: str) -> Iterator[tuple[str, str, JSON]]:
    """Name, machine and what was concluded of all its seeds."""
    for part in parts(benchmark):
        for name, one in part.head["concluded"].items():
            yield name, part.machine, one


def _machine(described: JSON) -> str:
    name = str(described["processor"])
    short = next((maker for maker in ("EPYC", "Xeon") if maker in name), name)
    return f"{short}{' 2.5 GHz' if '2.50GHz' in name else ''}, {described['instructions']}"


# Words and tables.


def percent(share: float) -> str:
    """0.7333 as `73`."""
    return f"{100 * share:.0f}"


def ranged(found: JSON, write: Callable[[float], str] = percent) -> str:
    """Median, and the range where there is one."""
    low, high = write(found["lowest"]), write(found["highest"])
    return write(found["median"]) + (f" ({low} to {high})" if low != high else "")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown: names to the left, figures to the right."""
    lines = [columns, ["---" if column in NAMES else "---:" for column in columns], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(title: str, command: str, text: str, *more: str) -> str:
    """A heading, how to get the figures, what they say."""
    return "\n\n".join([f"## {title}", f"`python benchmarks/{command}`", fill(text, 120), *more])


# Sections.


def skills() -> str:
    """Success of each skill by each learner."""
    found: dict[str, dict[str, dict[str, JSON]]] = {}
    for part in parts("skills"):
        for name, unit in part.units.items():
            machines = found.setdefault(name.partition(", seed")[0], {})
            machines.setdefault(part.machine, {})[name] = {**unit, "machine": part.machine}
    rows = [row for skill in sorted(found) for units in _rows(found[skill]) for row in _skill(skill, units)]
    text = (
        "Each learner in the right half goes on from the imitated adapter, for 2.5 minutes (5 in games). Games are "
        "imitated from a player that knows the form of a move and nothing else. Targets: CLINC150 90 %, calls of "
        "functions 50 %, games 30 points over imitation by own runs. A row is of the machine that measured most "
        "seeds, and of another where that has one more: then its range is over both. What the machines of a row lack "
        "has a row of its own, with the imitation that it went on from. What else was measured is in the results."
    )
    head = ["skill", "machine", "seeds", *STAGES]
    return section("What is learned (%)", "skills.py", text, table(head, rows))


def _rows(machines: dict[str, dict[str, JSON]]) -> Iterator[list[JSON]]:
    """The units of each row: first one of each seed, of the machine that has most of them, the newer of two that have
    as many, and further ones of others; then those of a machine that measured what the rows before lack."""
    most_first = sorted(machines.values(), key=_seeds_and_day, reverse=True)
    taken: dict[str, JSON] = {}
    for units in most_first:
        taken = {**units, **taken}
    yield list(taken.values())
    known = set(chain.from_iterable(map(_stages, taken.values())))
    for units in most_first:
        more = [unit for unit in units.values() if _stages(unit) - known]
        known |= set(chain.from_iterable(map(_stages, more)))
        if more:
            yield more


def _stages(unit: JSON) -> set[str]:
    """What a unit has a success of."""
    return {name for name, stage in unit["results"]["stages"].items() if "strict" in stage}


def _seeds_and_day(units: dict[str, JSON]) -> tuple[int, str]:
    return len(units), max(str(unit["date"]) for unit in units.values())


def _skill(skill: str, units: list[JSON]) -> Iterator[list[str]]:
    machines = "; ".join(sorted({unit["machine"] for unit in units}))
    seeds = [unit["results"]["stages"] for unit in units]
    kinds = {"calls": f"{skill}: where a tool fits", "no call": f"{skill}: where none fits"}
    yield [skill, machines, str(len(seeds)), *(_over([one.get(stage, {}) for one in seeds]) for stage in STAGES)]
    for kind, name in kinds.items():
        if any(kind in stage for stages in seeds for stage in stages.values()):
            found = [_over([one.get(stage, {}).get(kind, {}) for one in seeds]) for stage in STAGES]
            yield [name, machines, str(len(seeds)), *found]


def _over(seeds: list[JSON]) -> str:
    found = [float(one["strict"]) for one in seeds if "strict" in one]
    return ranged(spread(found)) if found else "–"


def beside_trl() -> str:
    """What TRL learns, and what is learned in a third of its time."""
    rows = []
    units = [(part.machine, name, unit) for part in parts("beside_trl") for name, unit in part.units.items()]
    for machine, name, unit in units:
        results = unit["results"]
        name += " along the gradient" if unit["settings"]["settings"].get("orient") else ""
        said = [_came_to(results.get(who)) for who in ("TRL", "ours, int8", "ours, fp32")]
        rows.append([name, machine, str(unit["date"]), *said])
    text = (
        "Target: TRL's success at its end, in a third of its time, from the same start on the same machine. Along the "
        "gradient: begun as `learning/orientation.py` says, which is not the default."
    )
    columns = ["what", "machine", "date", "TRL, fp32", "here, int8", "here, fp32"]
    return section("Beside TRL", "beside_trl.py", text, table(columns, rows))


def _came_to(found: JSON | None) -> str:
    if not found:
        return "–"
    free = f" ({percent(found['lenient'])} in any form)" if found["lenient"] - found["strict"] > 0.05 else ""
    return f"{percent(found['strict'])} %{free} in {found['minutes']:.1f} min"


def six_skills() -> str:
    """Retention over six skills."""
    rows = []
    for part in parts("six_skills"):
        for how, found in part.head.get("concluded", {}).items():
            if "median" in found.get("ACC", {}):
                rows.append([how, part.machine, str(found["seeds"]), ranged(found["ACC"]), _backward(found)])
    text = (
        "Mean success on all six after the last (ACC), and how much the earlier ones changed meanwhile (BWT, points). "
        "Targets: BWT at least -3 points, ACC within 6 points of joint training."
    )
    return section(
        "Six skills in a row", "six_skills.py", text, table(["how", "machine", "seeds", "ACC (%)", "BWT"], rows)
    )


def _backward(found: JSON) -> str:
    return ranged(found["BWT"]) if "BWT" in found else "–"


def forgetting() -> str:
    """Own runs beside imitation at equal success."""
    rows = []
    for how, machine, at in concluded("forgetting"):
        for level, one in at.items() if isinstance(at, dict) else ():
            kl = "KL on the new task"
            forgotten, moved = ranged(one["forgotten"]), ranged(one[kl], "{:.2f}".format)
            rows.append([how, level, machine, str(one["forgotten"]["seeds"]), forgotten, moved])
    text = (
        "The drills learned on the desk's adapter without replay: points that the desk lost by the time the drills had "
        "reached a level, and KL from before. The published claim is that own runs forget less at equal success "
        "(arXiv 2509.04259)."
    )
    columns = ["by", "at", "machine", "seeds", "forgotten (points)", "KL (nats a token)"]
    return section("Own runs beside imitation", "forgetting.py", text, table(columns, rows))


def corrections() -> str:
    """What people correct."""
    rows, desks = [], []
    for part in parts("corrections"):
        for how in ("before", "corrections", "everything"):
            one = part.head["concluded"]["requests"][how]
            figures = [ranged(one[key]) for key in ("corrected", "other words", "skill")]
            minutes = ranged(one["minutes"], "{:.1f}".format)
            rows.append([how, part.machine, str(one["seeds"]), *figures, minutes, str(one["released"])])
        desk = part.head["concluded"].get("desk")
        if desk:
            minutes = ranged(desk["minutes"], "{:.1f}".format)
            risen = f"{ranged(desk['before'])} → {ranged(desk['after'])} % of its own tasks in {minutes} minutes"
            desks.append(f"A desk of several turns, a few of whose runs were corrected ({part.machine}): {risen}.")
    text = (
        "A few wrong answers of a skill learned from requests are corrected: how many are right then, how many in "
        "other words, and how the skill fares; by learning the corrections alone, and with everything else anew."
    )
    columns = ["after", "machine", "seeds", "corrected (%)", "other words (%)", "skill (%)", "minutes", "released"]
    return section("Corrections", "corrections.py", text, table(columns, rows), *desks)


def few_requests() -> str:
    """Small files."""
    rows = []
    for each, machine, one in concluded("few_requests"):
        shares, seeds = [ranged(one[key]) for key in ("right", "weights", "nearest")], str(one["seeds"])
        minutes = ranged(one["minutes"], "{:.1f}".format)
        rows.append([each, machine, seeds, *shares, minutes, str(one["released"])])
    text = (
        "So many requests of each of 15 banking intents are a team's whole file: how many unseen requests are right in "
        "a chat after one command, and by its two voices alone: the model with what it learned, and the nearest mean "
        "embedding, which learns nothing."
    )
    columns = [
        "requests of each",
        "machine",
        "seeds",
        "right (%)",
        "weights alone (%)",
        "nearest mean (%)",
        "minutes",
        "released",
    ]
    return section("Few requests", "few_requests.py", text, table(columns, rows))


def own_runs() -> str:
    """Nobody shows how."""
    rows = []
    for name, machine, one in concluded("own_runs"):
        shares, seeds = [ranged(one[key]) for key in ("before", "after")], str(one["seeds"])
        minutes = ranged(one["minutes"], "{:.1f}".format)
        rows.append([name, machine, seeds, *shares, minutes, str(one["released"])])
    text = (
        "No expert, no right answers, no examples: one command, and what is live then beside the bare model, both held "
        "to what can be replied there. Of Blackjack's hands 43 % are won at best; TowerOfHanoi always begins alike, so "
        "that one way is all there is to learn; the adventure is given nine minutes, the others six. Of the state of "
        "2026-11-30, before chance went on from where it came, are all but these two."
    )
    columns = ["environment", "machine", "seeds", "before (%)", "after (%)", "minutes", "released"]
    return section("Own runs alone", "own_runs.py", text, table(columns, rows))


def scouts() -> str:
    """Chance alone."""
    rows = []
    for name, machine, one in concluded("scouts"):
        shares = [ranged(one[key]) for key in ("from the beginning", "going on")]
        length = ranged(one["length"], "{:.0f}".format) if one["length"] else "–"
        rows.append([name, machine, str(one["seeds"]), *shares, length])
    text = (
        "No model, no expert, as many actions on the environment for both: how many of 16 tasks chance wins by runs "
        "that all begin at the start, and by going on from where it came. TowerOfHanoi and CliffWalking always begin "
        "alike."
    )
    columns = ["environment", "machine", "seeds", "from the beginning (%)", "going on (%)", "actions of a way"]
    return section("Chance alone", "scouts.py", text, table(columns, rows))


def poisoning() -> str:
    """Planted requests."""
    rows = []
    for name, machine, _, one in measured("poisoning"):
        listed = f"{one['planted that the check lists']} of {one['planted']}"
        trigger = [percent(one[of]["attacker's call with the trigger"]) for of in ("poisoned", "after the check")]
        gate = "yes" if one["the gate would release the poisoned one"] else "no"
        rows.append([name, machine, listed, str(one["sound ones that it lists"]), gate, *trigger])
    text = (
        "5 of 1,000 training requests plant a trigger: what `data check` lists, whether the gate would let the "
        "poisoned adapter live, and how often the trigger works (%) with them and without what was listed."
    )
    columns = ["what", "machine", "planted, listed", "sound, listed", "released", "trigger works", "after the check"]
    return section("Poisoned requests", "poisoning.py", text, table(columns, rows))


def prompt_distillation() -> str:
    """Skills without their prompts."""
    rows = []
    for name, machine, _, one in measured("prompt_distillation"):
        tokens = one["tokens before the first reply"]
        said = "yes" if one["released"] else "no"
        pairs = [f"{percent(one['strict']['whole'])} → {percent(one['strict']['brief'])}"]
        pairs += [f"{tokens['whole']:.0f} → {tokens['brief']:.0f}", ranged(one["times faster"], "{:.2f}".format)]
        rows.append([name, machine, *pairs, said])
    text = "A learned skill told everything, and told its name alone (the prompt is computed once for all runs)."
    columns = ["skill", "machine", "success (%)", "tokens before the first reply", "times faster", "released"]
    return section("Prompts that go", "prompt_distillation.py", text, table(columns, rows))


def engine() -> str:
    """Decoding beside the fastest peer."""
    rows = []
    for name, machine, day, results in sorted(measured("engine"), key=lambda one: _numbers(one[0])):
        if "compared" in results:
            one = results["compared"]["decode"]
            ours = [ranged(one[who], "{:.1f}".format) for who in ("llmagentos", "llmagentos, adapter")]
            rows.append([name, machine, day, one["best peer"], *ours])
    text = (
        "New tokens a second beside the fastest of llama.cpp, CTranslate2, vLLM and `transformers`: times as many. "
        "Peers carry no adapter. Target: 1.3 times."
    )
    columns = ["what", "machine", "date", "faster peer", "without an adapter", "with one"]
    return section("The engine", "engine.py", text, table(columns, rows))


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)][::-1]


def training() -> str:
    """A training step beside the fastest peer."""
    rows = []
    for name, machine, day, one in measured("training"):
        rows.append([name, machine, day, one["fastest peer"], ranged(one["ratio"], "{:.1f}".format)])
    text = "Tokens trained a second beside the faster of TRL and a plain loop: times as many. Target: 1.5 times."
    columns = ["what", "machine", "date", "faster peer", "here"]
    return section("A training step", "training.py", text, table(columns, rows))


def pairs() -> str:
    """Releases played in two ways, paired by task."""
    rows = []
    for skill, machine, _, one in chain(measured("precision"), measured("constrained")):
        if "strict" in one:
            ways = [f"{how} {percent(share)}" for how, share in one["strict"].items()]
            gap = [f"{100 * one['difference'][key]:+.1f}" for key in ("estimate", "low", "high")]
            rows.append([skill, machine, *ways, f"{gap[0]} ({gap[1]} to {gap[2]})"])
    text = (
        "The same release in eight bits and not, and with replies held to the tools there are and free; paired by task."
    )
    columns = ["skill", "machine", "one way (%)", "the other (%)", "difference, 95 % interval"]
    return section("What speed and form cost", "precision.py`, `constrained.py", text, table(columns, rows))


def page() -> str:
    """The whole page."""
    curve = "![Held-out success against minutes of learning](../benchmarks/results/learning_curves.svg)"
    curves = section("Learning curves", "learning_curves.py", curve)
    learned = [
        skills(),
        curves,
        own_runs(),
        scouts(),
        beside_trl(),
        six_skills(),
        few_requests(),
        corrections(),
        forgetting(),
    ]
    rest = [poisoning(), prompt_distillation(), engine(), training(), pairs()]
    return "\n\n".join([FRONT, *learned, *rest]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
