"""The gate at work: a candidate, the live release and the best releases play the same fresh tasks.

In: who plays, how many tasks, the gate's rules, a candidate. Out: a verdict. It does not know how a candidate was
learned, nor what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmagentos.evaluation.divergence import divergence, general_prompts
from llmagentos.evaluation.gate import Gate, GateRules
from llmagentos.evaluation.matches import Match, Played, play
from llmagentos.evaluation.metrics import pair
from llmagentos.kernel.rollouts import Rollouts, Series
from llmagentos.learning.worked import openings
from llmagentos.players import Players
from llmagentos.records.progress import Progress
from llmagentos.records.release import Artefact, Candidate, Release, Verdict

if TYPE_CHECKING:
    from llmagentos.environments.language import LanguageEnvironment


@dataclass(frozen=True, slots=True)
class JudgingSettings:
    """How much is measured before a verdict; the numbers trade time for certainty."""

    gate_tasks: int = 100
    kept_tasks: int = 100
    """Tasks on which a kept skill is compared: a loss is smaller than a gain and needs more to be seen."""
    rules: GateRules = field(default_factory=GateRules)


class Judging:
    """See the module."""

    def __init__(self, players: Players, rollouts: Rollouts, settings: JudgingSettings) -> None:
        self._players, self._rollouts, self._settings = players, rollouts, settings
        self._gate = Gate(settings.rules)

    def judge(self, candidate: Candidate, show: Callable[[Progress], None]) -> Verdict:
        """The gate's verdict; `GateError` or `AdapterError` where none can be reached."""
        players, live = self._players, self._players.releases.live()
        if candidate.change != "withdrawal":
            players.candidate_adapter(candidate)  # fails here where it brings none that fits
        wanted = candidate.upon(live)
        with players.serving(f"candidate:{candidate.id}", wanted) as name:
            matches = self._matches(candidate, live, name)
            runs = play(matches, self._rollouts, show)
            self._look_again(matches, runs, candidate, live, show)
            moved = self._moved(wanted, live.manifest.artefacts)
        target, kept = None, []
        for match, played in zip(matches, runs, strict=True):
            if match.skill == candidate.skill and candidate.change == "improvement":
                own, known = played[candidate.id], played[live.id]
                target = pair(own, known, skill=match.skill, reference_release=live.id)
            if match.skill in live.skills:
                kept.append(match.kept(played, candidate.id, live.id))
        return self._gate.judge(
            candidate, target, kept, divergence=moved, live_skills=live.skills, withdrawn=candidate.withdrawn
        )

    def _moved(self, wanted: Sequence[Artefact], live: Sequence[Artefact]) -> float:
        """Mean KL of what answers requests of no skill from what answers them now, in nats a token."""
        players, engine = self._players, self._players.engine
        prompts, routers = general_prompts(engine.renderer), [players.router(wanted), players.router(live)]
        answered: dict[tuple[str | None, ...], list[tuple[int, ...]]] = {}
        for prompt in prompts:
            by = tuple(router.choose(prompt) if router is not None else None for router in routers)
            answered.setdefault(by, []).append(prompt)
        moved = 0.0
        for by, group in answered.items():
            if by[0] != by[1]:
                new, old = (None if digest is None else players.stored_adapter(digest) for digest in by)
                moved += divergence(engine.decoder, new, old, group) * len(group)
        return moved / len(prompts)

    def _look_again(
        self,
        matches: list[Match],
        runs: list[Played],
        candidate: Candidate,
        live: Release,
        show: Callable[[Progress], None],
    ) -> None:
        """Play more fresh tasks of kept skills that chance may have made look worse."""
        close: list[tuple[Match, Played]] = []
        for match, played in zip(matches, runs, strict=True):
            if match.skill in live.skills and self._gate.is_close(match.kept(played, candidate.id, live.id)):
                suite = self._players.suite(self._players.environment(match.skill))
                further = match.again(suite.tasks("gate", self._settings.rules.further * len(match.tasks)))
                close += [(further, played)] if further else []
        for (_, played), more in zip(close, play([one for one, _ in close], self._rollouts, show), strict=True):
            for player, episodes in more.items():
                played[player] += episodes

    def _matches(self, candidate: Candidate, live: Release, adapter: str | None) -> list[Match]:
        """For each kept skill and the one to be improved: who plays its fresh gate tasks beside the candidate."""
        players = self._players
        improved = [candidate.skill] if candidate.change == "improvement" else []
        kept = [skill for skill in live.skills if skill not in candidate.withdrawn]
        matches = []
        for skill in dict.fromkeys([*kept, *improved]):
            env = players.environment(skill)
            count = self._settings.kept_tasks if skill in live.skills else self._settings.gate_tasks
            tasks = players.suite(env).tasks("gate", count)
            as_live = players.policy(env, live)
            told = players.told(skill, candidate.upon(live))
            policies = [replace(as_live, release=candidate.id, adapter=adapter, arguments=told)]
            best = players.releases.best(skill) if skill in live.skills else None
            if best is None or skill == candidate.skill:
                policies.append(as_live)
            if best is not None:
                policies.append(players.policy(env, players.releases.get(best[0])))
            series = {}
            for policy in policies:
                player = "the candidate" if policy.release == candidate.id else policy.release
                stage = f"gate: {skill} by {player}"
                series[policy.release] = Series(tasks, policy, stage=stage, labels={"purpose": "gate"})
            match = Match(skill, series, best)
            matches.append(match if skill == candidate.skill else self._once(match, env, candidate, live))
        return matches

    def _once(self, match: Match, env: LanguageEnvironment, candidate: Candidate, live: Release) -> Match:
        """The match without the candidate's own runs, where they would be those of a kept skill's best release."""
        players, reference = self._players, match.best[0] if match.best else live.id
        own, known = match.series[candidate.id].policy, match.series[reference].policy
        release = players.releases.get(reference)
        routers = [players.router(artefacts) for artefacts in (candidate.upon(live), release.manifest.artefacts)]
        if own.arguments != known.arguments or None in routers:
            return match
        brief = str(own.arguments.get("brief", ""))
        opened = openings(env, match.tasks, players.engine.renderer, brief)
        if len(opened) < len(match.tasks) or any(
            len({router.choose(one) for router in routers if router}) > 1 for one in opened
        ):
            return match
        series = {name: one for name, one in match.series.items() if name != candidate.id}
        return replace(match, series=series, twins={candidate.id: reference})
