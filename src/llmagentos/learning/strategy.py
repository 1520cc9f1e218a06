"""Which learner for which skill: measured, not guessed.

In: whether there is something to imitate, and the pass rate of a few own runs. Out: a choice with its reason.
It does not know how any learner works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from statistics import fmean, median
from typing import Any, Literal, TypeAlias, cast, get_args

from llmagentos.errors import ConfigError, LearningError
from llmagentos.learning.context import Learner
from llmagentos.learning.watch import is_mixed
from llmagentos.programs.countable import quoting_under, said_under, tools_under
from llmagentos.records.calls import Exploration
from llmagentos.records.episode import Episode
from llmagentos.records.transcript import turns

LearnerName: TypeAlias = Literal[
    "imitation",
    "brief-imitation",
    "dagger",
    "rejection-sampling",
    "policy-gradient",
    "grpo",
    "dr-grpo",
    "dpo",
    "kto",
    "prompt-distillation",
]
DISTILLING: LearnerName = "prompt-distillation"
LEARNERS: tuple[str, ...] = get_args(LearnerName)

CURRICULUM: dict[str, Any] = {"repeat": 0.25, "flat": 16}
"""Of learners from groups that are asked for by name: practice goes where runs are mixed, and ends where it is flat."""

FURTHER_RATE = 7e-4
"""Learning rate of imitation from a live adapter. At 1e-3 with little replay a third skill took the first from 88 to
48 %; at this rate, with as many replayed runs as new ones, both rose."""

MANY_SHORT_RUNS: dict[str, Any] = {"brief": True, "batch": 32, "pool": 1024, "limit": 4000, "replay_share": 0.1}
"""Of imitation with a brief prompt: where that was nearly all of a run, a request and a short reply are left."""

_LEARNERS: dict[str, tuple[str, str, tuple[str, dict[str, Any]] | None]] = {
    "imitation": ("imitation", "Imitation", None),
    "brief-imitation": ("imitation", "Imitation", ("ImitationSettings", MANY_SHORT_RUNS)),
    "dagger": ("dagger", "Dagger", None),
    "rejection-sampling": ("rejection_sampling", "RejectionSampling", ("RejectionSamplingSettings", CURRICULUM)),
    "policy-gradient": ("policy_gradient", "PolicyGradient", ("PolicyGradientSettings", CURRICULUM)),
    "grpo": ("grpo", "Grpo", ("GrpoSettings", {**CURRICULUM, "variant": "grpo"})),
    "dr-grpo": ("grpo", "Grpo", ("GrpoSettings", {**CURRICULUM, "variant": "dr-grpo"})),
    "dpo": ("preference", "Preference", ("PreferenceSettings", {**CURRICULUM, "loss": "dpo"})),
    "kto": ("preference", "Preference", ("PreferenceSettings", {**CURRICULUM, "loss": "kto"})),
    "prompt-distillation": ("prompt_distillation", "PromptDistillation", None),
}
"""Module, class, and settings that make the variant."""

EXPLORING: LearnerName = "rejection-sampling"
"""Gives chance a say in practice, where replies can be counted."""
PRACTISING = ("policy-gradient", "grpo", "dr-grpo", "rejection-sampling", "dpo", "kto")
"""Learners of own rewarded runs: they need something that succeeds now and then to begin with."""

MOSTLY_PROMPT = 0.9
"""From this share of a run's tokens on, a prompt costs more than what is learned by it: CLINC150's 150 tools are 0.95,
and as many minutes without them are several times as many requests (`benchmarks/skills.py`)."""
MANY_TURNS = 4
"""Replies of a run from which on its winners are imitated: one reward says little about each of many turns, and a
policy gradient computes every run. In 5 minutes of GuessTheNumber that was 7 steps, from 43 to 41 %; winners alone were
23 steps, to 78 %."""
SOLVED = 0.5
"""Share of own runs that succeed from which on a policy gradient learns from them. Where fewer do, imitating winners is
the longer stride: in three minutes slogans of a wanted form rose from 0 to 97 instead of 12 %, and a thermostat from 11
to 100 %, where a policy gradient made `done` likelier, which wins at once in one task of nine."""
PROBE_TASKS, PROBE_SAMPLES = 12, 8
"""Own runs that tell whether reinforcement has anything to start from."""
ALONE = Exploration(turns=1.0, quoted=1.0)
CLOSING = replace(ALONE, words=0.25)
"""Chance says everything, which needs no model and hardly any time; the latter closes in words now and then, where
tools are offered: in one world words end a run in success, in another one they waste it."""
BY_CHANCE = Exploration(0.5)
"""Chance replies at half of the turns."""
QUICKLY = (ALONE, CLOSING, ALONE, CLOSING)
CHANCES = (BY_CHANCE,) * 8
"""Rounds of as many such runs at most, where none of them succeeds; the quick ones first, where chance can say all that
there is to reply. Where one run in a hundred wins by chance, a single round finds nothing in one case of three and
eight in one of two thousand."""
LOOKING_SHARE = 0.2
"""Of the minutes that may go into looking for what to learn, and by what."""
SHORTEST_LOOK = 20.0
"""Seconds that a skill is looked at where the minutes are few."""

NOTHING_TO_BEGIN_WITH = (
    "Give the environment an expert(task) or a reward for part of the way, choose an easier level, or say what can be "
    "replied, if it does not yet: in its info['replies'], or as the enum of a tool's arguments."
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to learn with, and why."""

    learner: LearnerName
    reason: str


def choose(
    skill: str,
    *,
    demonstrations: bool,
    probe: Sequence[Sequence[Episode]],
    prompt_share: float = 0.0,
    answers: bool = False,
    chance: Sequence[Sequence[Episode]] = (),
) -> Choice:
    """Imitate where there is an expert or corrected runs; else reinforce where some runs succeed and some fail.

    Where none succeeds and the right `answers` are known, those are imitated; where they are not and some runs were
    rewarded more than others, these are reinforced, or the winners of runs in which `chance` had a say are imitated.
    `probe` may be empty where there are demonstrations. `prompt_share` (0 to 1) of a demonstration's tokens is a prompt
    that all runs have in common: where that is nearly everything it is left out from the beginning.
    `LearningError` says what is missing otherwise.
    """
    if demonstrations and prompt_share >= MOSTLY_PROMPT:
        reason = (
            f"there is an expert to imitate, and its prompt, {prompt_share:.0%} of a run, can go from the beginning"
        )
        return Choice("brief-imitation", reason)
    if demonstrations:
        return Choice("imitation", "there is an expert or a corrected run to imitate")
    rates = [sum(episode.success for episode in group) / len(group) for group in probe if group]
    solved = sum(rate > 0 for rate in rates)
    if solved == 0 and answers:
        tried = sum(map(len, probe))
        return Choice("imitation", f"none of {tried} own runs succeeded, and the right answers are known to imitate")
    differ = sum(map(is_mixed, probe))
    if solved == 0 and differ:
        most = max(episode.reward for group in probe for episode in group)
        found = (
            f"no own run succeeded yet, and in {differ} of {len(probe)} tasks some were rewarded more than others, "
            f"{most:.4g} at most"
        )
        learner, why = reinforcing(probe)
        return Choice(learner, f"{found}{why}")
    if solved == 0 and (by_chance := sum(map(is_mixed, chance))):
        found = f"no own run succeeded yet, and in {by_chance} of {len(chance)} tasks some did when chance had a say"
        return Choice(EXPLORING, f"{found}; the winners alone are imitated")
    if solved == 0:
        raise LearningError(_nothing_to_learn_from(skill, probe))
    if all(rate == 1 for rate in rates):
        raise LearningError(f"All {sum(map(len, probe))} own runs of {skill} succeeded: there is nothing to learn.")
    found = f"pass@1 is {sum(rates) / len(rates):.0%} and pass@{len(probe[0])} {solved / len(rates):.0%}"
    learner, why = reinforcing(probe)
    return Choice(learner, f"{found}{why}")


def time_to_look(minutes: float, skills: int = 1) -> float:
    """Seconds for looking at each of some skills where learning may take `minutes`."""
    return max(SHORTEST_LOOK, LOOKING_SHARE * minutes * 60 / skills)


def check_time(runs: Sequence[Episode], seconds: float, otherwise: str) -> None:
    """`LearningError` where runs were ended because they took longer than the `seconds` that they had; `otherwise` is
    what helps besides more minutes."""
    late = sum(run.outcome == "truncated" and run.seconds >= seconds for run in runs)
    if late:
        raise LearningError(
            f"{late} of {len(runs)} runs were not over after the {seconds:.0f} seconds that there are for looking. "
            f"Give more minutes, or {otherwise}"
        )


def _nothing_to_learn_from(skill: str, probe: Sequence[Sequence[Episode]]) -> str:
    """That no run succeeded, and what to do; where runs failed on the way, what the first of them said."""
    runs = [episode for group in probe for episode in group]
    failed = [episode for episode in runs if episode.outcome in ("failed", "unknown")]
    first = f"The first one said: {failed[0].error} Mend the environment." if failed else ""
    if failed and len(failed) == len(runs):
        return f"None of {len(runs)} own runs of {skill} could be finished. {first}"
    some = f"{len(failed)} of them could not be finished. {first}" if failed else NOTHING_TO_BEGIN_WITH
    return (
        f"None of {len(runs)} own runs of {skill} succeeded, and there is no expert: there is nothing to imitate and "
        f"nothing to reinforce. {some}"
    )


def reinforcing(probe: Sequence[Sequence[Episode]]) -> tuple[LearnerName, str]:
    """What learns from own rewarded runs such as those of `probe`, and why not a policy gradient where that is so."""
    typical = median(turns(episode.transcript.segments) for group in probe for episode in group)
    if typical >= MANY_TURNS:
        return "rejection-sampling", f"; of runs of {typical:.0f} turns the winners alone are imitated"
    replies = int(median(countable(episode) for group in probe for episode in group))
    if replies > PROBE_SAMPLES:
        return EXPLORING, f"; of {replies} replies {PROBE_SAMPLES} runs of a task try few, so chance has a say too"
    if fmean(episode.success for group in probe for episode in group) < SOLVED:
        return "rejection-sampling", "; as long as few succeed the winners alone are imitated"
    return "policy-gradient", ""


def chances(probe: Sequence[Episode]) -> tuple[Exploration, ...]:
    """In what ways chance may have a say in runs such as those of `probe`, one round each."""
    counted = CHANCES if any(map(countable, probe)) else ()
    return (*QUICKLY, *counted) if all_by_chance(probe) else counted


def all_by_chance(episodes: Sequence[Episode]) -> bool:
    """Whether chance can say all that could be replied in these runs: it can be counted, or quoted."""
    held = {segment.grammar for episode in episodes for segment in episode.transcript.segments if segment.grammar}
    return bool(held) and all(said_under(one) or quoting_under(one) for one in held)


def countable(episode: Episode) -> int:
    """How many replies or calls a run could choose from, or else tools; 0 where they cannot be counted or are more than
    chance could try."""
    held = {segment.grammar for segment in episode.transcript.segments if segment.grammar is not None}
    return max((len(said_under(grammar) or tools_under(grammar)) for grammar in held), default=0)


def check_learner(name: str) -> None:
    """`ConfigError` for a name that no learner has."""
    if name not in LEARNERS:
        raise ConfigError(f"No learner named {name!r}. Choose one of: auto, {', '.join(LEARNERS)}.")


def learner_named(name: str, *, further: bool = False) -> Learner:
    """A learner with its default settings, gentler where it goes on from a live adapter; `ConfigError` for an unknown
    name."""
    check_learner(name)
    module, kind, settings = _LEARNERS[name]
    found = import_module(f"llmagentos.learning.language.{module}")
    learner: Any = getattr(found, kind)(*([getattr(found, settings[0])(**settings[1])] if settings else []))
    if further and module == "imitation":
        adapter = replace(learner.settings.adapter, learning_rate=FURTHER_RATE)
        learner = type(learner)(replace(learner.settings, adapter=adapter))
    return cast("Learner", learner)
