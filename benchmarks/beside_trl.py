"""What is learned in a third of TRL's time: held-out success beside SFTTrainer, GRPOTrainer and DPOTrainer.

Run: python benchmarks/beside_trl.py [--only UNIT ...] [--tasks N] [--shorten X] [--home FOLDER] [--fresh]
Prints a table, writes benchmarks/results/beside_trl.json; every unit takes less than an hour.

Alike for both: the model, the start, the task, adapters of rank 16 on every linear layer, batch or group size,
peak learning rate with a linear fall, clipping, the reward. TRL learns in fp32 (bf16 is slower here) and uses all
cores; ours in fp32 and, as shipped, with eight-bit frozen weights, each for a third of TRL's minutes, practice
included. TRL's imports and loading are not counted. All play the same tasks of the report split greedily on our engine
in fp32, ours as shipped in int8.
Units: `imitation` of the support desk's expert, TRL with the same runs as rows; `reinforcement` on the drills with
groups of 8 and Dr. GRPO, whose worked examples in the prompt, which TRL has not, are switched off; `preference` on the
drills by DPO with 0.2 times the likelihood of the better run. TRL's pairs come from groups of the start, drawn before
and not counted; ours come from groups of the model as it is, drawn within our minutes. `preference-imitated` is the
same on harder drills from a start that has the form: right answers imitated for a moment, which TRL has merged into its
weights and we go on with.
Target: the success that TRL has at its end, in at most a third of its time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import JSON, add_model_options, add_results_options, open_units, tell, unit_home
from peers.contender import HERE, Contender, environment

from llmagentos.agentos import AgentOS
from llmagentos.config import load_settings
from llmagentos.evaluation.metrics import score
from llmagentos.learning.language.grpo import Grpo, GrpoSettings
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.language.preference import Preference, PreferenceSettings, pairs_of
from llmagentos.learning.trainer import AdapterSettings, from_transcript
from llmagentos.learning.worked import expert_runs
from llmagentos.models.adapters import FusedAdapter, from_peft, read_adapter
from llmagentos.models.library import ModelLibrary
from llmagentos.programs.opening import opening
from llmagentos.records.message import Message
from llmagentos.records.release import Candidate
from llmagentos.records.task import reset_options

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment

SERVED, ADAPTER_FILE = "measured", "adapter_model.safetensors"
SHARE = 1 / 3
"""Of TRL's minutes, for ours."""
ROWS = 2000
"""Training tasks that TRL draws from; more than it gets through."""
PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True, slots=True)
class Unit:
    """One way of learning and its task."""

    environment: str
    method: str
    """TRL's trainer."""
    minutes: float
    """Of TRL."""
    learner: Imitation | Grpo | Preference
    rows: Callable[[AgentOS, LanguageEnvironment, str | None], list[JSON]]
    """What TRL learns from; runs for it are those of the adapter that is served by this name."""
    imitated: int = 0
    """Steps of imitation that the start of both comes from; 0 for the bare model."""

    @property
    def settings(self) -> JSON:
        """Both sides' settings by the names that TRL's side reads."""
        said = asdict(self.learner.settings)
        return {**said.pop("adapter"), **said, "max_tokens": 24, "seed": 0}


def demonstrations(system: AgentOS, env: LanguageEnvironment, start: str | None = None) -> list[JSON]:
    """Tokens and labels of the expert's runs."""
    runs = expert_runs(env, system.cycle.rollouts, env.tasks("train", ROWS))
    rows: list[JSON] = []
    for run in runs:
        sequence = from_transcript(run.transcript)
        scored = set(sequence.targets.tolist())
        labels = [token if place in scored else -100 for place, token in enumerate(sequence.tokens)]
        rows.append([list(map(int, sequence.tokens)), list(map(int, labels))])  # type: ignore[arg-type]
    return rows


def prompts(system: AgentOS, env: LanguageEnvironment, start: str | None = None) -> list[JSON]:
    """The text of each prompt and the right answer."""
    renderer = system.cycle.engine.renderer
    rows: list[JSON] = []
    for task in env.tasks("train", ROWS):
        seen, info = env.reset(seed=task.seed, options=reset_options(task))
        first = Message("user", seen, outside=True)
        parts = renderer.render(opening(info["instructions"], info["tools"], (), first), first=True)
        text = renderer.decode(tuple(token for part in parts for token in part.tokens))
        rows.append([text, env.right_answer(task)])  # type: ignore[arg-type]
    return rows


def preferred(system: AgentOS, env: LanguageEnvironment, start: str | None = None) -> list[JSON]:
    """The text of a prompt, of a better and of a worse reply, from groups of the start."""
    cycle, renderer = system.cycle, system.cycle.engine.renderer
    policy = cycle.players.policy(env, system.releases.get("r0"))
    policy = replace(policy, adapter=start, sampling=replace(policy.sampling, temperature=1.0, top_p=1.0))
    runs = cycle.rollouts.play(env.tasks("train", GROUPS), policy, samples=GROUP)
    rows: list[JSON] = []
    for at in range(0, len(runs), GROUP):
        for pair in pairs_of(runs[at : at + GROUP], PAIRS, random.Random(at)):
            begins = int(pair[0].targets[0])
            texts = [renderer.decode(one.tokens[begins:]) for one in pair]
            rows.append([renderer.decode(pair[0].tokens[:begins]), *texts])
    return rows


RATE = AdapterSettings(learning_rate=4e-4, clip=0.5)
GROUP, GROUPS, PAIRS = 8, 400, 2
"""Runs of a task, tasks from which TRL's pairs come, most pairs of a task."""
PREFERENCE = Preference(
    PreferenceSettings(RATE, tasks=8, samples=GROUP, pairs=PAIRS, replay=0, hinted=0, limit=100_000, patience=10_000)
)
UNITS = {
    "imitation": Unit(
        "SupportDesk-v0",
        "SFT",
        9.0,
        Imitation(ImitationSettings(batch=2, pool=128, limit=100_000, replay_share=0.0, orient=True)),
        demonstrations,
    ),
    "reinforcement": Unit(
        "Drills-v0?kind=lookup&level=1",
        "GRPO",
        24.0,
        Grpo(GrpoSettings(RATE, tasks=8, samples=8, epochs=1, replay=0, hinted=0, limit=100_000, patience=10_000)),
        prompts,
    ),
    "preference": Unit("Drills-v0?kind=lookup&level=1", "DPO", 9.0, PREFERENCE, preferred),
    "preference-imitated": Unit("Drills-v0?kind=lookup&level=4", "DPO", 9.0, PREFERENCE, preferred, imitated=16),
}


@contextmanager
def opened(home: Path, model: str, precision: str) -> Iterator[AgentOS]:
    """The system with its frozen weights in a precision."""
    os.environ["LLMAGENTOS_PRECISION"] = precision
    with AgentOS(home, model) as system:
        yield system


def played(system: AgentOS, env: LanguageEnvironment, tasks: int, adapter: FusedAdapter | None) -> JSON:
    """Held-out success of an adapter."""
    cycle = system.cycle
    policy = cycle.players.policy(env, system.releases.get("r0"))
    if adapter is not None:
        cycle.engine.serve(SERVED, adapter)
        policy = replace(policy, release=SERVED, adapter=SERVED)
    found = score(cycle.rollouts.play(env.tasks("report", tasks), policy, labels={"purpose": "report"}))
    interval = [round(found.strict.low, 4), round(found.strict.high, 4)]
    return {
        "strict": round(found.strict.estimate, 4),
        "interval": interval,
        "lenient": round(found.lenient.estimate, 4),
    }


def imitated(system: AgentOS, env: LanguageEnvironment, steps: int) -> Candidate | None:
    """What both begin from, where that is not the bare model."""
    if not steps:
        return None
    learner = Imitation(ImitationSettings(limit=steps, replay_share=0.0))
    return system.cycle.teach(env, learner, None, minutes=60, replay=False)


def adapter_of(system: AgentOS, candidate: Candidate | None) -> FusedAdapter | None:
    """The adapter that a candidate brings."""
    return system.cycle.players.candidate_adapter(candidate) if candidate is not None else None


def for_trl(system: AgentOS, begun: Candidate, folder: Path) -> Path:
    """The adapter of a start as a folder that PEFT reads."""
    from safetensors.torch import save_file

    tensors, settings = read_adapter(system.cycle.parts.store.blobs.get(begun.artefacts[0].digest))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / ADAPTER_FILE)
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def from_trl(system: AgentOS, folder: Path, start: Path | None) -> FusedAdapter:
    """The adapter that TRL has written; it went on from merged weights, so that the start's is added to it."""
    import torch
    from safetensors.torch import load_file

    decoder = system.cycle.engine.decoder
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / ADAPTER_FILE)
    if start is not None:
        before = load_file(start / ADAPTER_FILE)
        tensors = {
            name: torch.cat([before[name], new], dim=0 if ".lora_A." in name else 1) for name, new in tensors.items()
        }
        settings |= {"r": 2 * settings["r"], "lora_alpha": 2 * settings["lora_alpha"]}  # both have the same two
    found = from_peft(tensors, settings, decoder.config)
    return found.to(decoder.dtype, decoder.device)


def measure(folder: Path, shared: Path, unit: Unit, peer: Contender, settings: JSON) -> JSON:
    """Let TRL learn, then ours for a third of its minutes, in each precision."""
    tasks, home = int(settings["tasks"]), unit_home(folder, shared, settings)
    with opened(home, settings["model"], "fp32") as system:
        env = system.make_environment(unit.environment)
        begun = imitated(system, env, unit.imitated)
        results: JSON = {"tasks": tasks, "start": played(system, env, tasks, adapter_of(system, begun))}
        tell(f"  start: {results['start']}")
        rows = folder / "rows.json"
        rows.write_text(json.dumps(unit.rows(system, env, SERVED if begun else None)), encoding="utf-8")
        made = {"method": unit.method, "rows": str(rows), "folder": str(folder / "trl"), "settings": unit.settings}
        given = for_trl(system, begun, folder / "start") if begun is not None else None
        if given is not None:
            made["start"] = str(given)
    _, learned = peer.ask(minutes=settings["minutes"], **made)
    peer.close()
    with opened(home, settings["model"], "fp32") as system:
        results["TRL"] = {**played(system, env, tasks, from_trl(system, folder / "trl", given)), **learned}
        tell(f"  TRL: {results['TRL']}")
    for precision in PRECISIONS:
        with opened(home, settings["model"], precision) as system:
            minutes, seed = learned["minutes"] * SHARE, PRECISIONS.index(precision)
            start = adapter_of(system, begun)
            candidate = system.cycle.teach(env, unit.learner, start, minutes=minutes, seed=seed, replay=False)
            found = played(system, env, tasks, adapter_of(system, candidate))
            spent = {key: candidate.evidence[key] for key in ("steps", "minutes")}
            met = found["strict"] >= results["TRL"]["strict"]
            results[f"ours, {precision}"] = {**found, **spent, "met": met}
            tell(f"  ours, {precision}: {results[f'ours, {precision}']}")
    shutil.rmtree(folder)
    return results


def show(found: dict[str, JSON]) -> None:
    """Print what each has learned."""
    from rich.console import Console
    from rich.table import Table

    table = Table("learning", "by", "strict [95 %]", "lenient", "steps", "minutes", title="held-out success")
    for name, one in found.items():
        for by in ("start", "TRL", *[f"ours, {precision}" for precision in PRECISIONS]):
            each = one[by]
            said = "{:.1%} [{:.1%}, {:.1%}]".format(each["strict"], *each["interval"])
            spent = [str(each.get("steps", "")), f"{each['minutes']:.1f}" if "minutes" in each else ""]
            table.add_row(name, by, said, f"{each['lenient']:.1%}", *spent)
        table.add_section()
    Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(UNITS), default=list(UNITS))
    parser.add_argument("--tasks", type=int, default=200, help="held-out tasks")
    parser.add_argument("--shorten", type=float, default=1.0, help="multiplies the minutes, to try it out")
    add_model_options(parser)
    add_results_options(parser, "beside_trl")
    options = parser.parse_args(arguments)
    shared = load_settings(options.home).home
    work = shared / "benchmarks" / "peers"
    work.mkdir(parents=True, exist_ok=True)
    python = environment(work, "trl")
    if python is None:
        raise SystemExit("TRL cannot be installed here; there is nothing to compare with.")
    model = str(ModelLibrary(shared).pull(options.model))
    peer = Contender("TRL", [python, str(HERE / "trl_learning.py"), model, str(len(os.sched_getaffinity(0)))], work)
    units = open_units(options, "beside TRL")
    found = {}
    for name in options.only:
        unit = UNITS[name]
        settings = {"model": options.model, "tasks": options.tasks, "minutes": unit.minutes * options.shorten}
        settings |= {"environment": unit.environment, "settings": json.loads(json.dumps(unit.settings))}
        settings |= {"imitated": unit.imitated} if unit.imitated else {}
        folder = shared / "benchmarks" / "beside_trl" / name
        found[name] = units.measure(name, settings, partial(measure, folder, shared, unit, peer, settings))
    units.write()
    show(found)
    print(f"written to {options.results}")


if __name__ == "__main__":
    sys.exit(main())
