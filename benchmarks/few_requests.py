"""How few requests are enough: a team's small file, learned as it is, then unseen requests asked of what is live.

Run: python benchmarks/few_requests.py [--each N ...] [--seeds N] [--minutes N] [--data FOLDER] [--home FOLDER]
     [--fresh]
Prints a table, writes benchmarks/results/few_requests.json; every size and seed is a unit of some six minutes.

So many training requests of each of CLINC150's 15 banking intents are one file without splits: what is judged on comes
out of it as well. It is learned by what `llmagentos learn --data FILE` chooses and released or refused; then requests
of the set's test split are asked one by one, as in a chat. Beside it stand both voices that such a reply is made of:
the model with its adapter alone, and the intent whose requests have the nearest mean embedding, which needs no learning
(prototypes, arXiv 1703.05175, eq. 1).
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from corpora import DATA, clinc_domain, environment
from measuring import JSON, add_model_options, add_results_options, open_units, spread, tell, unit_home

from llmagentos.agent import Agent
from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings
from llmagentos.learning.replying import alone
from llmagentos.programs.parsing import parse_call
from llmagentos.records.message import ToolCall

EACH = (7, 10, 20, 50)
"""Requests of an intent: the first is the least file that there is a verdict on."""
DOMAIN = "banking"
VOICES = ("right", "weights", "nearest")


def drawn(lines: Sequence[JSON], each: int, asked: int, seed: int) -> tuple[list[JSON], list[tuple[str, str]]]:
    """A file's requests, `each` of every intent, and (text, intent) of `asked` ones to be asked."""
    chance = random.Random(f"few/{seed}")
    intents = sorted({str(line["intent"]) for line in lines})
    train = {name: [one for one in lines if one["intent"] == name and one["split"] == "train"] for name in intents}
    picked = [one for name in intents for one in chance.sample(train[name], each)]
    chosen = [{"text": str(one["text"]), "intent": str(one["intent"])} for one in picked]
    chance.shuffle(chosen)
    test = [(str(line["text"]), str(line["intent"])) for line in lines if line["split"] == "test"]
    return chosen, chance.sample(test, min(asked, len(test)))


def nearest(
    embed: Callable[[Sequence[str]], list[list[float]]], shown: Sequence[JSON], asked: Sequence[str]
) -> list[str]:
    """For each text asked the intent whose shown requests have the nearest mean embedding."""
    intents = sorted({str(line["intent"]) for line in shown})
    known_ND = np.asarray(embed([str(line["text"]) for line in shown]))
    of_N = np.array([intents.index(str(line["intent"])) for line in shown])
    means_ID = np.stack([known_ND[of_N == number].mean(0) for number in range(len(intents))])
    means_ID /= np.linalg.norm(means_ID, axis=1, keepdims=True)
    return [intents[place] for place in (np.asarray(embed(asked)) @ means_ID.T).argmax(1)]


def measure(folder: Path, shared: Path, data: Path, model: str, settings: JSON) -> JSON:
    """One size and seed."""
    shutil.rmtree(folder, ignore_errors=True)
    seed = int(settings["seed"])
    lines, asked = drawn(list(clinc_domain(DOMAIN, data)), int(settings["each"]), int(settings["asked"]), seed)
    with AgentOS(unit_home(folder, shared, settings), model) as system:
        name, agent = environment(lines, folder / "requests.jsonl"), Agent(system=system)
        began = time.monotonic()
        verdict = agent.learn(name, minutes=float(settings["minutes"]), seed=seed)
        minutes = (time.monotonic() - began) / 60
        tell(f"  {len(lines)} requests: {verdict.reason}")
        right = [said_exactly(agent.ask(name, text).text, intent) for text, intent in asked]
        own = [
            said_exactly(said, intent) for said, (_, intent) in zip(by_weights(system, name, asked), asked, strict=True)
        ]
        plain = nearest(system.embedder.embed, lines, [text for text, _ in asked])
    shutil.rmtree(folder)
    found = {
        "requests": len(lines),
        "asked": len(asked),
        "right": round(sum(right) / len(asked), 4),
        "weights": round(sum(own) / len(asked), 4),
        "nearest": round(sum(one == intent for one, (_, intent) in zip(plain, asked, strict=True)) / len(asked), 4),
        "released": verdict.released,
        "reason": verdict.reason,
        "minutes": round(minutes, 2),
    }
    both = f"{found['weights']:.0%} by the weights, {found['nearest']:.0%} by the nearest mean"
    tell(f"  {found['right']:.0%} of {len(asked)} unseen, {both}")
    return found


def by_weights(system: AgentOS, name: str, asked: Sequence[tuple[str, str]]) -> list[str]:
    """What the live release's adapter alone replies."""
    players = system.cycle.players
    env, live = players.environment(name), system.releases.live()
    policy = players.policy(env, live)
    policy = replace(policy, arguments=alone(policy.arguments))
    runs = system.cycle.rollouts.play([env.asked([text]) for text, _ in asked], policy)
    return [run.steps[0].action if run.steps else "" for run in runs]


def said_exactly(reply: str, intent: str) -> bool:
    """Whether a reply is the call of an intent's tool and nothing else."""
    parsed = parse_call(reply, [intent])
    return parsed.well_formed and parsed.call == ToolCall(intent)


def show(found: dict[int, list[JSON]]) -> JSON:
    """Print medians over seeds, and return them."""
    from rich.console import Console
    from rich.table import Table

    titles = ("of each", "requests", "unseen, right", "weights alone", "nearest mean", "minutes", "released")
    table, concluded = Table(*titles), {}
    for each, units in found.items():
        one: JSON = {name: spread([unit[name] for unit in units]) for name in (*VOICES, "minutes")}
        one |= {"released": sum(unit["released"] for unit in units), "seeds": len(units)}
        concluded[str(each)] = one
        shares = [f"{one[name]['median']:.0%}" for name in VOICES]
        released = f"{one['released']} of {one['seeds']}"
        table.add_row(str(each), str(units[0]["requests"]), *shares, f"{one['minutes']['median']:.1f}", released)
    Console(width=100).print(table)
    return concluded


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, nargs="+", default=list(EACH), help="requests of an intent")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=4.0, help="of learning")
    parser.add_argument("--asked", type=int, default=300, help="unseen requests")
    parser.add_argument("--data", type=Path, default=DATA, help="where CLINC150 lies")
    add_model_options(parser)
    add_results_options(parser, "few_requests")
    options = parser.parse_args(arguments)
    shared = load_settings(options.home).home
    units = open_units(options, "few_requests")
    found: dict[int, list[JSON]] = {each: [] for each in options.each}
    for seed in range(options.seeds):
        for each in options.each:
            settings = {key: getattr(options, key) for key in ("minutes", "asked", "model")}
            settings |= {"each": each, "seed": seed}
            folder = shared / "benchmarks" / "few_requests" / f"{each}-{seed}"
            work = partial(measure, folder, shared, options.data, options.model, settings)
            found[each].append(units.measure(f"{each} of each, seed {seed}", settings, work))
    units.write(concluded=show(found))
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
