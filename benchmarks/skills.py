"""Held-out success of every skill, from the bare model to each learner: what is learned, by what, in how many minutes.

Run: python benchmarks/skills.py [--skill NAME ...] [--seeds N] [--first N] [--tasks N] [--data FOLDER] [--fresh]
Prints a table, writes benchmarks/results/skills.json. Every (skill, seed) is a unit in a home of its own, of less than
an hour; one that is there is not measured again, and a killed one goes on behind its last finished stage.

Stages: the bare model with a zero-shot and with a few-shot prompt; imitation of the environment's expert, or of its
right answers where there is none; and, each from the imitated adapter, rejection sampling, policy gradient and DPO on
own rewarded runs. The games have no expert: a player is imitated that knows the form of a move and nothing else, so far
as it won by luck.
All play the same tasks of the report split greedily, strict and lenient, each with its 95 % interval in the results; a
figure of the table is the median over seeds. Replies are held to the tools there are (`LLMAGENTOS_CONSTRAINED`), in
practice too, unless `--free` is said. Minutes are wall time of learning, practice included.
CLINC150 is learned from at most 50 requests an intent and, as its 150 tools are nearly all of a prompt, without them
from the beginning; success is given for its intents and for requests out of scope too. Files: `corpora.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

from corpora import DATA, written
from measuring import (
    JSON,
    add_model_options,
    add_results_options,
    as_share,
    open_units,
    seeds_together,
    spread,
    tell,
    unit_home,
    unit_state,
    write_results,
)

from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings
from llmagentos.demo import lenient, success
from llmagentos.environments.registry import write_query
from llmagentos.environments.requests import RequestsEnvironment
from llmagentos.errors import LearningError
from llmagentos.evaluation.metrics import score
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.language.policy_gradient import PolicyGradient, PolicyGradientSettings
from llmagentos.learning.language.preference import Preference, PreferenceSettings
from llmagentos.learning.language.rejection_sampling import RejectionSampling, RejectionSamplingSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.learning.worked import worked_examples
from llmagentos.releases.prompts import play_arguments

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment, Policy
    from llmagentos.learning.context import Learner
    from llmagentos.models.adapters import FusedAdapter
    from llmagentos.records.episode import Episode
    from llmagentos.records.progress import Progress
    from llmagentos.records.task import Task

SERVED = "measured"
EXAMPLES = 2
"""Worked examples of the few-shot prompt."""
TOLD_EVERY = 60.0
KINDS = {"calls": True, "no call": False}
"""Requests that begin with a call, and those that no tool fits."""


# What is learned.


@dataclass(frozen=True, slots=True)
class Plan:
    """One skill: where it is learned, from whom and for how long."""

    environment: str
    corpus: str = ""
    """The set of requests that the environment reads, if it is one."""
    options: tuple[tuple[str, int], ...] = ()
    minutes: float = 4.0
    """Of imitation."""
    more_minutes: float = 2.5
    """Of each learner behind it."""
    imitation: ImitationSettings = ImitationSettings(batch=4, pool=128, replay_share=0.25)
    tasks: int = 0
    """Held-out tasks, where more are wanted than for other skills."""
    beginner: Callable[[int], Policy] | None = None
    """Seed -> who is imitated where there is no expert."""

    def name(self, data: Path, work: Path) -> str:
        """The environment's name; a corpus is written first."""
        if not self.corpus:
            return self.environment
        return self.environment + write_query({"data": str(written(self.corpus, data, work)), **dict(self.options)})


def hanoi(seed: int) -> Policy:
    """Makes any move that the rules allow and that does not undo its last one."""
    chance, last = random.Random(f"hanoi/{seed}"), [""]

    def move(observation: str) -> str:
        towers = {name: [int(one) for one in re.findall(r"\d", disks)] for name, disks in _TOWER.findall(observation)}
        allowed = [
            f"{here}{there}"
            for here, there in permutations(towers, 2)
            if towers[here] and (not towers[there] or towers[here][-1] < towers[there][-1])
        ]
        new = [one for one in allowed if one != last[0][::-1]] or allowed
        last[0] = chance.choice(new)
        return "[{} {}]".format(*last[0])

    return move


_TOWER = re.compile(r"^([A-C]): \[(.*)\]", re.MULTILINE)


def guesses(seed: int) -> Policy:
    """Guesses any number."""
    chance = random.Random(f"guesses/{seed}")
    return lambda observation: f"[{chance.randint(1, 20)}]"


FEW = ImitationSettings(AdapterSettings(learning_rate=7e-4), batch=4, pool=64, limit=60, replay_share=0.25)
"""For the form of a move: what is to be learned beyond it is left to own runs."""
PLANS = {
    "SupportDesk": Plan("SupportDesk-v0", imitation=ImitationSettings(batch=2, pool=128, limit=240, replay_share=0.25)),
    "FunctionCalling": Plan("FunctionCalling-v0?category=simple,multiple", minutes=6.0),
    "CLINC150": Plan(
        "Requests-v0",
        "clinc150",
        (("most", 50),),
        minutes=24.0,
        imitation=ImitationSettings(batch=32, pool=1024, limit=4000, replay_share=0.03, brief=True),
        tasks=600,
    ),
    "RESTAURANTS-8K": Plan("Requests-v0", "restaurants8k", minutes=6.0),
    "GuessTheNumber": Plan(
        "TextGame-v0?name=GuessTheNumber", minutes=1.0, more_minutes=5.0, imitation=FEW, beginner=guesses
    ),
    "TowerOfHanoi": Plan("TextGame-v0?name=TowerOfHanoi", minutes=3.0, more_minutes=5.0, imitation=FEW, beginner=hanoi),
    "Drills": Plan("Drills-v0?kind=lookup&level=1", minutes=1.0, more_minutes=1.5, imitation=FEW),
    "Reasoning": Plan("Reasoning-v0?name=chain_sum&max_terms=2&min_digits=1&max_digits=2"),
}
"""By the names that the table has."""


FURTHER = ["rejection-sampling", "policy-gradient", "dpo"]


def further(wanted: Sequence[str]) -> dict[str, Learner]:
    """The learners that go on from the imitated adapter."""
    each = {"tasks": 8, "samples": 8, "replay": 0}
    rate = AdapterSettings(learning_rate=3e-4, clip=0.5)
    known: dict[str, Learner] = {
        "rejection-sampling": RejectionSampling(RejectionSamplingSettings(replace(rate, learning_rate=8e-4), **each)),
        "policy-gradient": PolicyGradient(PolicyGradientSettings(rate, **each)),
        "dpo": Preference(PreferenceSettings(rate, **each)),
    }
    return {name: known[name] for name in wanted}


# One unit.


class Unit:
    """One skill learned once by every learner."""

    def __init__(self, system: AgentOS, folder: Path, plan: Plan, environment: str, settings: JSON) -> None:
        self.system, self.plan, self.seed = system, plan, int(settings["seed"])
        self.env: LanguageEnvironment = system.make_environment(environment)
        self.tasks: list[Task] = self.env.tasks("report", int(settings["tasks"]))
        self.brief: JSON = {"brief": self.env.skill} if plan.imitation.brief else {}
        """What the prompt is after imitation, as an argument of the program."""
        self._path = folder / "state.json"
        self._state = unit_state(folder, settings, stages={})
        self._told = 0.0

    def run(self) -> JSON:
        """Every stage that is not done yet; figures by stage."""
        self._bare()
        self._stage("imitation", self._imitation(), self.plan.minutes)
        begun = self._adapter("imitation")
        for name, learner in further(self._state["settings"]["learners"]).items():
            self._stage(f"+ {name}", learner, self.plan.more_minutes, begun)
        return {"tasks": len(self.tasks), "stages": self._state["stages"]}

    def _bare(self) -> None:
        if "few-shot" in self._state["stages"]:
            return
        self._measure("zero-shot", None, 0.0)
        drawn = self.env.tasks("train", EXAMPLES, seed=1)
        shown = worked_examples(self.env, self.system.cycle.rollouts, drawn)
        self._measure("few-shot", None, 0.0, shown)

    def _imitation(self) -> Learner:
        beginner = self.plan.beginner
        if beginner is not None:
            self.env.expert = lambda task: beginner(task.seed)  # type: ignore[method-assign]
        return Imitation(self.plan.imitation)

    def _stage(self, name: str, learner: Learner, minutes: float, start: FusedAdapter | None = None) -> None:
        if name in self._state["stages"]:
            return
        began = time.monotonic()
        try:
            candidate = self.system.cycle.teach(
                self.env,
                learner,
                start,
                minutes=minutes,
                seed=self.seed,
                replay=start is None,
                on_progress=self._tell,
            )
        except LearningError as problem:
            self._state["stages"][name] = {"failed": str(problem)}
            self._save()
            tell(f"  {name}: {problem}")
            return
        self._state.setdefault("adapters", {})[name] = candidate.artefacts[0].digest
        read, constrained = self.system.store.blobs.get, self.system.settings.constrained
        told = play_arguments(candidate.artefacts, self.env.skill, read, constrained=constrained)
        self._state.setdefault("told", {})[name] = {**told, **self.brief}
        spent = (time.monotonic() - began) / 60
        self._measure(name, self._adapter(name), spent, steps=int(candidate.evidence["steps"]))

    def _adapter(self, name: str) -> FusedAdapter | None:
        digest = self._state.get("adapters", {}).get(name)
        return self.system.cycle.players.stored_adapter(digest) if digest else None

    def _measure(
        self,
        name: str,
        adapter: FusedAdapter | None,
        minutes: float,
        examples: list[list[str]] | None = None,
        steps: int = 0,
    ) -> None:
        cycle = self.system.cycle
        policy = cycle.players.policy(self.env, self.system.releases.live())
        if examples:
            policy = replace(policy, arguments={**policy.arguments, "examples": examples})
        if adapter is not None:
            cycle.engine.serve(SERVED, adapter)
            policy = replace(policy, release=SERVED, adapter=SERVED, arguments=self._state["told"][name])
        episodes = cycle.rollouts.play(self.tasks, policy, labels={"purpose": "report"})
        measured = {**figures(episodes), **self._by_kind(episodes)}
        unsure = self._state.get("told", {}).get(name, {}).get("abstain", {})
        told = {f"abstains {when}": round(unsure[when], 4) for when in ("below", "farther")} if unsure else {}
        self._state["stages"][name] = {**measured, **told, "minutes": round(minutes, 2), "steps": steps}
        self._save()
        tell(f"  {name}: {success(episodes):.0%} strict, {lenient(episodes):.0%} lenient, {minutes:.1f} min")

    def _by_kind(self, episodes: Sequence[Episode]) -> JSON:
        """Strict success on requests that begin with a call, and on those that no tool fits."""
        if not isinstance(self.env, RequestsEnvironment):
            return {}
        called = [self.env.case(task).turns[0].call is not None for task in self.tasks]
        return {
            kind: figures([one for one, its in zip(episodes, called, strict=True) if its == calls])
            for kind, calls in KINDS.items()
            if calls in called
        }

    def _save(self) -> None:
        write_results(self._path, self._state)

    def _tell(self, event: Progress) -> None:
        if time.monotonic() - self._told >= TOLD_EVERY:
            self._told = time.monotonic()
            measured = ", ".join(f"{key} {value:.3g}" for key, value in event.metrics.items())
            tell(f"    {event.stage}: {event.done:.0f} of {event.total:.0f}, {event.seconds / 60:.1f} min, {measured}")


def figures(episodes: Sequence[Episode]) -> JSON:
    """Strict and lenient success with their intervals."""
    found = score(list(episodes))
    return {
        "strict": round(found.strict.estimate, 4),
        "interval": [round(found.strict.low, 4), round(found.strict.high, 4)],
        "lenient": round(found.lenient.estimate, 4),
    }


# From units to a table.


def conclude(found: dict[str, list[JSON]]) -> JSON:
    """Strict success of each skill's stages over its seeds: median and range, and the minutes."""
    concluded: JSON = {}
    for skill, units in found.items():
        stages = dict.fromkeys(name for unit in units for name in unit["stages"])
        concluded[skill] = {}
        for name in stages:
            seen = [unit["stages"][name] for unit in units if "strict" in unit["stages"].get(name, {})]
            if seen:
                concluded[skill][name] = {
                    **{key: spread([one[key] for one in seen]) for key in ("strict", "lenient", "minutes")},
                    "seeds": len(seen),
                }
                for kind in KINDS:
                    parts = [one[kind]["strict"] for one in seen if kind in one]
                    if parts:
                        concluded[skill][name][kind] = spread(parts)
    return concluded


def show(concluded: JSON) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="held-out success: strict / lenient, median over seeds (range of strict)")
    for column in ("skill", "stage", "strict", "lenient", "minutes", "seeds"):
        table.add_column(column, justify="left" if column in ("skill", "stage") else "right")
    for skill, stages in concluded.items():
        for name, one in stages.items():
            minutes = f"{one['minutes']['median']:.1f}"
            table.add_row(
                skill, name, as_share(one["strict"]), f"{one['lenient']['median']:.0%}", minutes, str(one["seeds"])
            )
            for kind in KINDS:
                if kind in one:
                    table.add_row("", f"  of these, {kind}", f"{one[kind]['median']:.0%}")
        table.add_section()
    Console(width=100).print(table)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skill", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--learner", nargs="*", choices=FURTHER, default=FURTHER, help="that go on from imitation")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--tasks", type=int, default=150, help="held-out tasks, the same for all")
    parser.add_argument("--shorten", type=float, default=1.0, help="multiplies the minutes, to try it out")
    parser.add_argument("--free", action="store_true", help="do not hold replies to the tools there are")
    parser.add_argument("--data", type=Path, default=DATA, help="where CLINC150 and RESTAURANTS-8K lie")
    add_model_options(parser)
    add_results_options(parser, "skills")
    return parser.parse_args(arguments)


def measure_unit(folder: Path, shared: Path, model: str, plan: Plan, environment: str, settings: JSON) -> JSON:
    """Run a unit in `folder`, going on where it was killed, and remove the folder when it is done."""
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        results = Unit(system, folder, plan, environment, settings).run()
    shutil.rmtree(folder)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write. Each seed goes through all skills before the next begins."""
    options = read_options(arguments)
    os.environ["LLMAGENTOS_CONSTRAINED"] = "off" if options.free else "on"
    shared = load_settings(options.home).home
    work = shared / "benchmarks" / "skills"
    if options.fresh:
        shutil.rmtree(work, ignore_errors=True)
    units = open_units(options, "skills")
    for seed in range(options.first, options.first + options.seeds):
        for skill in options.skill:
            made = PLANS[skill]
            plan = replace(
                made, minutes=made.minutes * options.shorten, more_minutes=made.more_minutes * options.shorten
            )
            environment = plan.name(options.data, shared / "benchmarks" / "corpora")
            learned = {"imitation": asdict(plan.imitation), "minutes": [plan.minutes, plan.more_minutes]}
            said = {name: asdict(learner.settings) for name, learner in further(options.learner).items()}  # type: ignore[attr-defined]
            settings = {
                "model": options.model,
                "tasks": plan.tasks or options.tasks,
                "seed": seed,
                "free": options.free,
                "learners": options.learner,
                **learned,
                **said,
            }
            settings = json.loads(json.dumps(settings))
            folder = work / f"{skill}-{seed}"
            measure = partial(measure_unit, folder, shared, options.model, plan, environment, settings)
            units.measure(f"{skill}, seed {seed}", settings, measure)
    concluded = conclude(seeds_together(units.results))
    units.write(concluded=concluded)
    show(concluded)
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
