"""What people correct of a live skill: taken over at once, in other words too, and at what cost to the skill.

Run: python benchmarks/corrections.py [--seeds N] [--desks N] [--each N] [--minutes N] [--data FOLDER] [--home FOLDER]
     [--fresh]
Prints two tables, writes benchmarks/results/corrections.json. Every seed is a unit of ten to twenty minutes.

The agent learns the banking requests of CLINC150 by imitation. Then come kinds of request that the file has not (of
the set's domain of credit cards), and a person says for `each` of a kind which tool is right. `corrections` is what
`llmagentos learn NAME` does then; `everything` is the usual imitation (`--learner imitation`) for as many minutes as it
took to learn the skill, with the same corrections among the file's demonstrations. Told are the requests that were
corrected, requests of the same kinds in other words (from CLINC150's test split), and the skill's own report split.

Runs of several turns (`--desks`): SupportDesk-v0 is learned, then `RUNS` of its own training runs that failed are
corrected where they first depart from what its expert says, one reply of each. Told are the replies that are given as
corrected then, and the desk's report split.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from functools import partial
from pathlib import Path

from corpora import DATA, clinc_domain, written
from measuring import JSON, add_model_options, add_results_options, open_units, spread, tell, unit_home

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings
from llmagentos.environments.registry import write_query

KINDS = {"report_lost_card": "freeze_account", "card_declined": "account_blocked"}
"""Kinds of request that the skill has no tool of its own for, and which one a person wants called."""
WAYS = ("corrections", "everything")
OTHER_WORDS = 20
"""Requests of each kind that nobody corrects."""
DESK, RUNS, PLAYED = "SupportDesk-v0", 6, 80
"""A skill of several turns, how many of its runs are corrected, and the most that are played for that."""
DESK_MINUTES = 4.0


class Measured:
    """One home in which a skill is learned, corrected and measured."""

    def __init__(self, system: AgentOS, name: str, requests: dict[str, list[JSON]], settings: JSON) -> None:
        self.agent, self.system, self.name, self.tasks = Agent(system=system), system, name, int(settings["tasks"])
        chance, each = random.Random(int(settings["seed"])), int(settings["each"])
        self.corrected = self._drawn(requests["train"], chance, each)
        self.others = self._drawn(requests["test"], chance, OTHER_WORDS)

    @staticmethod
    def _drawn(requests: list[JSON], chance: random.Random, each: int) -> list[tuple[str, str]]:
        of_kind = {kind: [one["text"] for one in requests if one["intent"] == kind] for kind in KINDS}
        return [(text, KINDS[kind]) for kind, texts in of_kind.items() for text in chance.sample(texts, each)]

    def correct(self) -> int:
        """Ask what is to be corrected and correct what is wrong; how much that was."""
        wrong = 0
        for text, tool in self.corrected:
            answer = self.agent.ask(self.name, text)
            if tool not in answer.text:
                self.agent.give_feedback(answer, "correction", tool)
                wrong += 1
        return wrong

    def figures(self) -> JSON:
        """Shares of requests that are answered as a person wants, and of the skill's own."""
        report = self.system.cycle.evaluate(self.name, tasks=self.tasks)
        return {
            "corrected": self._right(self.corrected),
            "other words": self._right(self.others),
            "skill": round(report.score.strict.estimate, 4),
        }

    def learn(self, minutes: float, learner: str, seed: int) -> JSON:
        """Learn and measure what is live then."""
        began = time.monotonic()
        verdict = self.agent.learn(self.name, minutes=minutes, learner=learner, seed=seed)
        spent = round((time.monotonic() - began) / 60, 2)
        tell(f"  {learner}: {verdict.reason}")
        return {**self.figures(), "released": verdict.released, "reason": verdict.reason, "minutes": spent}

    def _right(self, requests: list[tuple[str, str]]) -> float:
        return round(sum(tool in self.agent.ask(self.name, text).text for text, tool in requests) / len(requests), 4)


def measure(folder: Path, shared: Path, model: str, name: str, requests: dict[str, list[JSON]], settings: JSON) -> JSON:
    """One seed."""
    shutil.rmtree(folder, ignore_errors=True)
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        one, seed, minutes = Measured(system, name, requests, settings), int(settings["seed"]), settings["minutes"]
        learned = one.learn(minutes, "imitation", seed)
        if not learned["released"]:
            raise SystemExit(f"The skill was not learned: {learned['reason']}")
        release, found = system.releases.live().id, {"before": learned, "wrong": one.correct()}
        for way, learner in zip(WAYS, ("auto", "imitation"), strict=True):
            system.releases.rollback(release)
            found[way] = one.learn(minutes, learner, seed + 1)
    shutil.rmtree(folder)
    return found


def desk(folder: Path, shared: Path, model: str, settings: JSON) -> JSON:
    """One seed of the desk."""
    shutil.rmtree(folder, ignore_errors=True)
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        agent, cycle, tasks, seed = Agent(system=system), system.cycle, int(settings["tasks"]), int(settings["seed"])

        def success() -> float:
            return round(cycle.evaluate(DESK, tasks=tasks).score.strict.estimate, 4)

        learned = agent.learn(DESK, minutes=DESK_MINUTES, learner="imitation", seed=seed)
        if not learned.released:
            raise SystemExit(f"The desk was not learned: {learned.reason}")
        before, given = success(), corrected(agent, seed)
        began = time.monotonic()
        verdict = agent.learn(DESK, minutes=settings["minutes"], seed=seed + 1)
        spent = round((time.monotonic() - began) / 60, 2)
        tell(f"  corrections: {verdict.reason}")
        candidate = system.releases.candidates()[-1]
        found: JSON = {"before": before, "after": success(), "corrected": given, "minutes": spent}
        check = next(one for one in verdict.checks if one.skill == DESK)
        gate = {"before": round(check.reference, 4), "after": round(check.candidate, 4)}
        found |= {"gate": gate, "taken over": candidate.evidence["corrections"]}
        found |= {"released": verdict.released, "reason": verdict.reason}
    shutil.rmtree(folder)
    return found


def corrected(agent: Agent, seed: int) -> int:
    """Correct failed training runs, each where it first departs from the expert; how many those were."""
    env, given = agent.system.make_environment(DESK), 0
    for run in agent.run(DESK, tasks=PLAYED, split="train", seed=seed + 1).episodes:
        expert, seen = env.expert(run.task), run.observation
        if run.success or expert is None:
            continue
        for place, step in enumerate(run.steps):
            right = expert(seen)
            if step.action.strip() != right.strip():
                agent.system.give_feedback(run.id, "correction", right, place=place)
                given += 1
                break
            seen = step.observation
        if given == RUNS:
            break
    return given


def show_desk(found: list[JSON]) -> JSON:
    """Print what became of the desk, and return medians over seeds."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "taken over", "desk before", "after", "by the gate", "minutes", "released", title="several turns")
    for seed, one in enumerate(found):
        gate = f"{one['gate']['before']:.0%} -> {one['gate']['after']:.0%}"
        shares = [f"{one[name]:.0%}" for name in ("before", "after")]
        said = one["taken over"].partition(" corrected")[0]
        table.add_row(f"seed {seed}", said, *shares, gate, f"{one['minutes']:.1f}", "yes" if one["released"] else "no")
    Console(width=100).print(table)
    names = ("before", "after", "minutes")
    counted = {"released": sum(one["released"] for one in found), "seeds": len(found)}
    return {name: spread([one[name] for one in found]) for name in names} | counted


def show(found: list[JSON]) -> JSON:
    """Print medians over seeds, and return them."""
    from rich.console import Console
    from rich.table import Table

    names = ("corrected", "other words", "skill", "minutes")
    concluded = {
        way: {name: spread([one[way][name] for one in found]) for name in names}
        | {"released": sum(one[way]["released"] for one in found), "seeds": len(found)}
        for way in ("before", *WAYS)
    }
    table = Table("", *names, "released")
    for way, one in concluded.items():
        cells = [f"{one[name]['median']:.0%}" for name in names[:-1]] + [f"{one['minutes']['median']:.1f}"]
        table.add_row(way, *cells, f"{one['released']} of {one['seeds']}")
    Console(width=100).print(table)
    return concluded


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--desks", type=int, default=1, help="seeds of the desk")
    parser.add_argument("--each", type=int, default=4, help="requests of a kind that are corrected")
    parser.add_argument("--minutes", type=float, default=2.0, help="of learning")
    parser.add_argument("--tasks", type=int, default=150, help="of the skill's report split")
    parser.add_argument("--data", type=Path, default=DATA, help="where CLINC150 lies")
    add_model_options(parser)
    add_results_options(parser, "corrections")
    options = parser.parse_args(arguments)
    shared = load_settings(options.home).home
    path = written("clinc-banking", options.data, shared / "benchmarks" / "corpora")
    name = "Requests-v0" + write_query({"data": str(path)})
    cards = list(clinc_domain("credit_cards", options.data))
    requests = {split: [one for one in cards if one["split"] == split] for split in ("train", "test")}
    units, found = open_units(options, "corrections"), []
    for seed in range(options.seeds):
        settings = {key: getattr(options, key) for key in ("each", "minutes", "tasks", "model")} | {"seed": seed}
        folder = shared / "benchmarks" / "corrections" / str(seed)
        work = partial(measure, folder, shared, options.model, name, requests, settings)
        found.append(units.measure(f"seed {seed}", settings, work))
    desks = []
    for seed in range(options.desks):
        settings = {"minutes": DESK_MINUTES, "tasks": options.tasks, "model": options.model, "seed": seed}
        work = partial(desk, shared / "benchmarks" / "corrections" / f"desk-{seed}", shared, options.model, settings)
        desks.append(units.measure(f"desk, seed {seed}", settings, work))
    units.write(concluded={"requests": show(found), "desk": show_desk(desks) if desks else {}})
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
