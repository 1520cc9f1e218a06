"""By what a skill is learned: from who there is to imitate, and from what own runs come to.

In: an environment, who plays and where it would be learned. Out: a learner's name with the reason, and the runs that
told. It does not learn; the rules are `learning/strategy.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from llmagentos.kernel.rollouts import Rollouts
from llmagentos.learning.context import Path
from llmagentos.learning.replying import alone
from llmagentos.learning.returning import Wander, search, wander
from llmagentos.learning.strategy import (
    PROBE_SAMPLES,
    PROBE_TASKS,
    QUICKLY,
    Choice,
    chances,
    check_time,
    choose,
    learner_named,
)
from llmagentos.learning.watch import is_mixed
from llmagentos.learning.worked import expert_runs, has_answers, has_expert, prompt_share, same_prompt
from llmagentos.places import Places
from llmagentos.players import Players
from llmagentos.records.calls import Exploration
from llmagentos.records.episode import Episode
from llmagentos.records.progress import Progress

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment

MOST_SEARCHING = 60.0
"""Seconds that chance may look for where it wins, where nobody says how long looking may take."""

OnProgress = Callable[[Progress], None]


def _quiet(event: Progress) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Choosing:
    """See the module."""

    places: Places
    rollouts: Rollouts
    scouts: Rollouts
    """For runs that chance plays alone."""
    corrected: Callable[[str], list[Episode]]
    """Runs of a skill that people corrected."""

    @property
    def _players(self) -> Players:
        return self.places.players

    def choose(
        self,
        env: LanguageEnvironment,
        learner: str = "auto",
        on_progress: OnProgress = _quiet,
        *,
        seconds: float | None = None,
    ) -> Choice:
        """The learner for an environment (see `learning.strategy`); own runs that tell may take `seconds` each.

        `LearningError` where none succeeds and no right answer is known, which says how many were not over by then.
        """
        if learner != "auto":
            return Choice(learner_named(learner).name, "as asked for")  # type: ignore[arg-type]
        if has_expert(env) or self.corrected(env.skill):
            return choose(env.skill, demonstrations=True, probe=(), prompt_share=self.prompt_share(env))
        probe = self.probe(env, seconds=seconds, on_progress=on_progress)
        runs, answers = [run for group in probe for run in group], has_answers(env)
        if seconds is not None and not answers and not any(run.success for run in runs):
            named = f"say by what it is learned: llmagentos learn '{env.skill}' --learner policy-gradient"
            check_time(runs, seconds, named)
        chance = self.by_chance(env, probe, seconds=seconds, on_progress=on_progress)
        return choose(env.skill, demonstrations=False, probe=probe, answers=answers, chance=chance)

    def by_chance(
        self,
        env: LanguageEnvironment,
        probe: list[list[Episode]],
        *,
        seed: int = 0,
        seconds: float | None = None,
        on_progress: OnProgress = _quiet,
    ) -> list[list[Episode]]:
        """The same as `probe` with chance having a say in what is replied, until some runs are rewarded more than
        others, in each of the ways that there are (`strategy.chances`) and in about `seconds`.

        Nothing where it is not called for: some runs of `probe` were rewarded more than others or succeed, right
        answers are known, or replies cannot be counted.
        """
        runs = [run for group in probe for run in group]
        to_go_by = any(run.success for run in runs) or any(map(is_mixed, probe))
        if to_go_by or has_answers(env):
            return []
        played: list[list[Episode]] = []
        began = time.monotonic()
        for number, explore in enumerate(chances(runs)):
            played += self.probe(env, seed=seed + number, seconds=seconds, on_progress=on_progress, explore=explore)
            if explore.alone and number + 1 == len(QUICKLY) and not any(map(is_mixed, played)):
                left = ((seconds or MOST_SEARCHING) - (time.monotonic() - began)) / 2
                played += search(played, self._wander(env, left, on_progress), left, seed, wanted=1)
            if any(map(is_mixed, played)) or (seconds is not None and time.monotonic() - began >= seconds):
                break
        return played

    def _wander(self, env: LanguageEnvironment, seconds: float, on_progress: OnProgress) -> Wander:
        """Runs of chance on training tasks, from where it came before."""
        policy = self._players.policy(env, self._players.releases.live())
        began, counts = time.monotonic(), {"runs": 0.0, "won": 0.0}

        def play(paths: Sequence[Path], seed: int) -> list[Episode]:
            runs = wander(self.scouts, policy, paths, seed)
            counts["runs"] += len(runs)
            counts["won"] += sum(run.success for run in runs)
            spent = time.monotonic() - began
            on_progress(Progress(f"searching {env.skill}", min(spent, seconds), seconds, "seconds", {**counts}, spent))
            return runs

        return play

    def prompt_share(self, env: LanguageEnvironment) -> float:
        """Share of a demonstration's tokens that a brief prompt would leave out; 0 where it is brief already."""
        told = self._players.told(env.skill, self._players.releases.live().manifest.artefacts)
        if "brief" in told or not same_prompt(env):
            return 0.0
        shown = expert_runs(env, self.rollouts, env.tasks("train", PROBE_TASKS))
        return prompt_share([run.transcript for run in shown])

    def probe(
        self,
        env: LanguageEnvironment,
        *,
        seed: int = 0,
        seconds: float | None = None,
        on_progress: OnProgress = _quiet,
        explore: Exploration | None = None,
    ) -> list[list[Episode]]:
        """Several sampled runs of what learning begins from on each of a few training tasks: what it can do with luck.

        A run that takes longer than `seconds` is ended as truncated. `explore` is how often chance replies.
        """
        live = self._players.releases.live()
        policy, place = self._players.policy(env, live), self.places.find(env, live, "policy-gradient")
        if seconds is not None:
            policy = replace(policy, limits=replace(policy.limits, seconds=seconds))
        arguments = alone(policy.arguments) | ({"explore": asdict(explore)} if explore else {})
        policy = replace(policy, sampling=replace(policy.sampling, temperature=1.0), arguments=arguments)
        with ExitStack() as serving:
            if place.start is not None and not place.known:
                served = self._players.engine.serving(f"start:{env.skill}", place.start, released=True)
                policy = replace(policy, adapter=serving.enter_context(served))
            rollouts = self.scouts if explore is not None and explore.alone else self.rollouts
            runs = rollouts.play(
                env.tasks("train", PROBE_TASKS, seed=seed),
                policy,
                samples=PROBE_SAMPLES,
                stage=f"probing {env.skill}",
                labels={"purpose": "probe"},
                on_progress=on_progress,
            )
        return [runs[at : at + PROBE_SAMPLES] for at in range(0, len(runs), PROBE_SAMPLES)]
