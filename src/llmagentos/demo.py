"""The demonstration: the whole cycle on one machine, from a bare model to kept skills and a refused update.

In: a cycle on a fresh home. Out: `CycleResults`, every number of which was measured in this run.
It does not know how results are shown.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from llmagentos.cycle import Cycle, CycleSettings
from llmagentos.errors import LLMAgentOSError
from llmagentos.evaluation.metrics import continual_scores, pair
from llmagentos.evaluation.statistics import paired_bootstrap
from llmagentos.kernel.rollouts import Policy, Series
from llmagentos.learning.context import Learner
from llmagentos.learning.language.imitation import Imitation, ImitationSettings
from llmagentos.learning.language.policy_gradient import PolicyGradient, PolicyGradientSettings
from llmagentos.learning.trainer import AdapterSettings
from llmagentos.learning.worked import worked_examples
from llmagentos.models.arithmetic import compute
from llmagentos.records.episode import Episode
from llmagentos.records.identity import new_id
from llmagentos.records.progress import Progress
from llmagentos.records.release import Candidate
from llmagentos.records.results import (
    Conversation,
    Curve,
    CurvePoint,
    CycleResults,
    Machine,
    Sample,
    SkillResult,
    Stage,
    Turn,
    VerdictResult,
    verdict_result,
)
from llmagentos.records.task import Task

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment

SUPPORT = "SupportDesk-v0"
GENEROUS = "SupportDesk-v0?intents=refund&policy=generous"
CALLING = "FunctionCalling-v0?category=simple,multiple"
DRILLS = "Drills-v0?kind=lookup&level=1"
EXAMPLES = 2
"""Worked conversations in the few-shot prompt."""
ZERO_SHOT, FEW_SHOT = "zero-shot", "few-shot"
HARM_NOTE = (
    "Made to show a refusal: it was taught to refund also when the window is closed. It gains on that, and would break "
    "the policy that the support desk keeps."
)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One skill of the demonstration."""

    environment: str
    learner: Learner
    minutes: float
    more: Learner | None = None
    """A second learner that goes on where the first ends, as part of the same candidate."""
    more_minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What is learned and how much is measured."""

    lessons: tuple[Lesson, ...]
    report_tasks: int
    settings: CycleSettings
    harm: Lesson | None
    seed: int = 0


def plan(*, full: bool = False, quick: bool = False) -> DemoPlan:
    """The three forms of the demonstration."""
    if quick:
        rules = replace(CycleSettings().rules, minimum_tasks=8)
        return DemoPlan(
            (Lesson(DRILLS, PolicyGradient(PolicyGradientSettings(tasks=4, samples=4, replay=0)), 0.5),),
            12,
            CycleSettings(gate_tasks=12, kept_tasks=12, development_tasks=8, rules=rules),
            None,
        )
    # Two runs a step: after 360 runs 65 and 72 % on two sets of 96 tasks, where four a step gave 57 and 63 %. After 240
    # steps at 1e-3 with a quarter of general answers: 90 % of 96 development tasks, 0.38 nats from the base on general
    # requests; 300 steps at 2e-3 with a tenth of them went past the gate's 0.5. With an anchor in their place the desk
    # came to 90 % of 60 report tasks, but the drills then took 4 points of it (360 tasks) and were refused.
    # The steps are given, and minutes for them that also do where a neighbour takes a third of the machine.
    support = Imitation(
        ImitationSettings(batch=2, pool=128, limit=240, replay_share=0.25, anchor=0.0, evaluate_every=60)
    )
    own_runs = PolicyGradient(PolicyGradientSettings(AdapterSettings(learning_rate=2e-4), tasks=6, samples=4))
    rate = AdapterSettings(learning_rate=3e-4)
    drills = PolicyGradient(PolicyGradientSettings(rate, tasks=6, temperature=0.8, limit=60, replay=4))
    lessons = [
        Lesson(SUPPORT, support, 6.0, own_runs if full else None, 1.5),
        Lesson(DRILLS, drills, 2.5),
    ]
    if full:
        # A tenth of replayed runs at 1e-3 learned as much (23 of 43 gate tasks), and took the desk from 88 to 48 % and
        # the drills from 96 to 18 % of 300. As many replayed as new ones at 7e-4: 20 of 43, desk 86 -> 92, drills 96 ->
        # 100 %.
        rate = AdapterSettings(learning_rate=7e-4)
        calling = Imitation(ImitationSettings(rate, batch=4, pool=128, limit=260, replay_share=1.0, anchor=0.0))
        lessons.append(Lesson(CALLING, calling, 9.0))
    # Runs of the desk are replayed beside it: an update that looks careful, and takes the desk from 75 to 38 % all the
    # same (60 tasks) while it gains 48 points on 40 of its own.
    rate = AdapterSettings(learning_rate=4e-4)
    harm = Imitation(ImitationSettings(rate, batch=4, pool=64, limit=10, replay_share=0.5, anchor=0.0))
    return DemoPlan(
        tuple(lessons),
        300 if full else 60,
        CycleSettings(gate_tasks=300 if full else 60, kept_tasks=300 if full else 120, development_tasks=12),
        Lesson(GENEROUS, harm, 0.8),
    )


@dataclass(slots=True)
class _Measured:
    """What was seen of one skill on its report tasks."""

    tasks: list[Task]
    zero_shot: list[Episode]
    few_shot: list[Episode]
    by_release: dict[str, list[Episode]] = field(default_factory=dict)
    baselines: dict[str, float] = field(default_factory=dict)
    candidate: Candidate | None = None
    release: str = ""

    @property
    def before(self) -> list[Episode]:
        """The better of the two prompts: a gain must not be one of the prompt."""
        return max(self.zero_shot, self.few_shot, key=success)


def success(episodes: Sequence[Episode]) -> float:
    """Share of strict successes."""
    return sum(episode.success for episode in episodes) / len(episodes)


def lenient(episodes: Sequence[Episode]) -> float:
    """Share of successes whatever the form."""
    return sum(episode.success or episode.lenient for episode in episodes) / len(episodes)


class Demonstration:
    """Runs a plan on a cycle whose home is fresh."""

    def __init__(self, cycle: Cycle, plan: DemoPlan, on_progress: Callable[[Progress], None]) -> None:
        self.cycle = Cycle(cycle.parts, plan.settings)
        self.plan, self.show = plan, on_progress
        self.verdicts: list[VerdictResult] = []
        self.curves: list[Curve] = []
        self.stages: list[Stage] = []
        self.measured: dict[str, _Measured] = {}
        self._began = self._mark = time.monotonic()

    def run(self) -> CycleResults:
        """Measure, learn skill after skill, try to release harm, and tell."""
        environments = {
            lesson.environment: self.cycle.parts.make_environment(lesson.environment) for lesson in self.plan.lessons
        }
        self._measure_base(environments)
        self._stage("measuring the bare model")
        for lesson in self.plan.lessons:
            self._learn(lesson, environments[lesson.environment])
            self._measure_release(environments)
        if self.plan.harm is not None:
            self._learn(self.plan.harm, self.cycle.parts.make_environment(self.plan.harm.environment), note=HARM_NOTE)
        return self._results()

    def _stage(self, name: str) -> None:
        now = time.monotonic()
        self.stages.append(Stage(name, (now - self._mark) / 60))
        self._mark = now

    # Measuring.

    def _measure_base(self, environments: dict[str, LanguageEnvironment]) -> None:
        """The bare model with a zero-shot and a few-shot prompt, and simple policies beside it, all at once."""
        bare = self.cycle.parts.releases.get("r0")
        series: dict[tuple[str, str], Series] = {}
        for name, env in environments.items():
            policy, tasks = self.cycle.players.policy(env, bare), env.tasks("report", self.plan.report_tasks)
            examples = worked_examples(env, self.cycle.rollouts, env.tasks("train", EXAMPLES, seed=1))
            series[name, ZERO_SHOT] = self._series(env, tasks, policy, ZERO_SHOT)
            if examples:
                shown = replace(policy, arguments={**policy.arguments, "examples": examples})
                series[name, FEW_SHOT] = self._series(env, tasks, shown, FEW_SHOT)
        played = dict(zip(series, self._play(list(series.values())), strict=True))
        for name, env in environments.items():
            zero = played[name, ZERO_SHOT]
            few = played.get((name, FEW_SHOT), zero)
            found = _Measured(list(series[name, ZERO_SHOT].tasks), zero, few, {"r0": max(zero, few, key=success)})
            for baseline, make in _baselines(env).items():
                by_rule = [
                    Series([task], Policy(baseline, program="policy", arguments={"function": make()}))
                    for task in found.tasks
                ]
                found.baselines[baseline] = success([runs[0] for runs in self.cycle.rollouts.play_together(by_rule)])
            self.measured[name] = found

    def _series(self, env: LanguageEnvironment, tasks: list[Task], policy: Policy, how: str = "") -> Series:
        stage = f"report: {env.skill}, {policy.release} {how}".strip()
        return Series(tasks, policy, stage=stage, labels={"purpose": "report"})

    def _play(self, series: list[Series]) -> list[list[Episode]]:
        return self.cycle.rollouts.play_together(series, on_progress=self.show)

    def _measure_release(self, environments: dict[str, LanguageEnvironment]) -> None:
        live = self.cycle.parts.releases.live()
        left = {name: env for name, env in environments.items() if live.id not in self.measured[name].by_release}
        series = [
            self._series(env, self.measured[name].tasks, self.cycle.players.policy(env, live))
            for name, env in left.items()
        ]
        for name, runs in zip(left, self._play(series), strict=True):
            self.measured[name].by_release[live.id] = runs
        self._stage(f"reporting on {live.id}")

    # Learning.

    def _learn(self, lesson: Lesson, env: LanguageEnvironment, note: str = "") -> None:
        live, show = self.cycle.parts.releases.live(), self.show
        try:
            place = self.cycle.places.find(env, live, lesson.learner.name)
            candidate = self.cycle.teach(
                env,
                lesson.learner,
                place.start,
                minutes=lesson.minutes,
                seed=self.plan.seed,
                place=place,
                on_progress=show,
            )
            if lesson.more is not None:
                begun = self.cycle.players.candidate_adapter(candidate)
                going_on = self.cycle.teach(
                    env,
                    lesson.more,
                    begun,
                    minutes=lesson.more_minutes,
                    seed=self.plan.seed,
                    place=place,
                    on_progress=show,
                )
                candidate = _joined(candidate, going_on)
            self._stage(f"learning {env.skill}")
            verdict = self.cycle.decide(candidate, on_progress=show)
        except LLMAgentOSError as error:
            self.verdicts.append(VerdictResult("none", False, str(error), skill=env.skill, learner=lesson.learner.name))
            self._stage(f"learning {env.skill}")
            return
        now = self.cycle.parts.releases.live().id
        self.verdicts.append(verdict_result(verdict, candidate, release=now if verdict.released else "", note=note))
        self.curves.append(_curve(candidate))
        if lesson.environment in self.measured:
            found = self.measured[lesson.environment]
            found.candidate = candidate
            found.release = now if verdict.released else ""
        self._stage(f"judging {env.skill}")

    # Telling.

    def _results(self) -> CycleResults:
        releases = tuple(release.id for release in self.cycle.parts.releases.list())
        names = [lesson.environment for lesson in self.plan.lessons]
        last = self.cycle.parts.releases.live().id
        rows = tuple(
            tuple(
                success(self.measured[name].by_release[one]) if one in self.measured[name].by_release else None
                for name in names
            )
            for one in releases
        )
        counters = self.cycle.engine.counters
        trained = sum(int(found.candidate.evidence["tokens"]) for found in self.measured.values() if found.candidate)
        return CycleResults(
            minutes=(time.monotonic() - self._began) / 60,
            skills=tuple(self._skill(name, last) for name in names),
            retention=rows,
            releases=releases,
            verdicts=tuple(self.verdicts),
            curves=tuple(self.curves),
            samples=tuple(sample for name in names for sample in _samples(name, self.measured[name], last)),
            stages=tuple(self.stages),
            continual=_continual(rows, len(names)),
            margin=self.plan.settings.rules.margin,
            live=last,
            machine=machine(self.cycle),
            versions={name: version(name) for name in ("llmagentos", "torch", "tokenizers", "gymnasium")}
            | {"python": platform.python_version()},
            model=self.cycle.parts.settings.model,
            seed=self.plan.seed,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            tokens={
                "sampled": counters.sampled,
                "prompt": counters.prefilled,
                "cached": counters.cached,
                "trained": trained,
            },
        )

    def _skill(self, name: str, last: str) -> SkillResult:
        found = self.measured[name]
        after = found.by_release[last]
        scores = pair(after, found.before, skill=name, reference_release="r0")
        gain = paired_bootstrap(scores.candidate, scores.reference)
        candidate = found.candidate
        return SkillResult(
            name=name,
            before=success(found.before),
            after=success(after),
            low=gain.low,
            high=gain.high,
            tasks=len(found.tasks),
            lenient_before=lenient(found.before),
            lenient_after=lenient(after),
            zero_shot_before=success(found.zero_shot),
            few_shot_before=success(found.few_shot),
            baselines=found.baselines,
            learned_in=found.release,
            learner=candidate.learner if candidate else "",
            minutes=float(candidate.evidence["minutes"]) if candidate else None,
        )


def machine(cycle: Cycle) -> Machine:
    """Where this runs."""
    import psutil
    import torch

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    except OSError:
        name = platform.processor()
    return Machine(
        processor=name,
        cores=os.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        threads=compute(torch.get_num_threads),
        precision=cycle.engine.decoder.precision,
        system=f"{platform.system()} {platform.release()}",
    )


def _baselines(env: LanguageEnvironment) -> dict[str, Callable[[], Callable[[str], str]]]:
    """Simple policies that the desk's score is read beside; none where an environment has none."""
    if not env.name.startswith(SUPPORT):
        return {}
    from llmagentos.environments.support_desk_baselines import BASELINES

    return BASELINES


def _curve(candidate: Candidate) -> Curve:
    points = tuple(
        CurvePoint(
            minutes=point["minutes"],
            strict=point.get("development_strict", point.get("strict")),
            lenient=point.get("development_lenient", point.get("lenient")),
            reward=point.get("reward"),
            loss=point.get("loss") if "reward" not in point else None,
            tasks=int(point.get("development_tasks", 0)),
        )
        for point in candidate.evidence["curve"]
    )
    return Curve(candidate.skill, candidate.learner, points)


def _joined(first: Candidate, second: Candidate) -> Candidate:
    """The second candidate, which began where the first ended, with the evidence of both."""
    one, two = first.evidence, second.evidence
    later = [{**point, "minutes": point["minutes"] + one["minutes"]} for point in two["curve"]]
    together = {name: one[name] + two[name] for name in ("steps", "tokens", "minutes")}
    return replace(
        second,
        id=new_id("candidate"),
        learner=f"{first.learner}, {second.learner}",
        evidence={**two, **together, "curve": one["curve"] + later},
    )


def _samples(name: str, found: _Measured, last: str, count: int = 2) -> list[Sample]:
    """Tasks that failed before and succeed now; where there are none, any."""
    pairs = list(zip(found.before, found.by_release[last], strict=True))
    better = [(old, new) for old, new in pairs if new.success and not old.success] or pairs
    return [
        Sample(name, old.task.key, _conversation(old, "r0"), _conversation(new, last)) for old, new in better[:count]
    ]


def _conversation(episode: Episode, release: str) -> Conversation:
    turns = [Turn("user", episode.observation)]
    for step in episode.steps:
        called = step.action.lstrip().startswith("{")
        turns.append(Turn("assistant", step.action))
        if step.observation:
            turns.append(Turn("tool" if called else "user", step.observation))
    return Conversation(tuple(turns), episode.success, release, episode.lenient, episode.outcome)


def _continual(rows: tuple[tuple[float | None, ...], ...], skills: int) -> dict[str, float | None]:
    """ACC, BWT, FWT and forgetting over the releases, where there is one for each skill."""
    square = rows[1:]
    if len(square) != skills or any(cell is None for row in rows for cell in row):
        return {}
    numbers = [[float(cell) for cell in row if cell is not None] for row in rows]
    scores = continual_scores(numbers[1:], numbers[0])
    return {
        "accuracy": scores.accuracy,
        "backward_transfer": scores.backward_transfer,
        "forward_transfer": scores.forward_transfer,
        "forgetting": scores.forgetting,
    }
