"""Scouting: runs that chance plays alone while the agent hardly ever wins; they need no model and cost next to nothing.

In: a step's own runs and settings. Out: groups of runs of other tasks in which some were rewarded more than others.
A uniformly random policy is the oldest explorer (Sutton and Barto 2018, section 2.2 with epsilon = 1). A model that has
learned nothing is no better one and takes its time: of a text adventure of a dozen turns chance won 4.7 runs a second,
the untrained agent with chance at every other turn 0.2. The shortest of what was won says most about how it is won, and
costs least to learn; what led back to where it had begun is left out (`loops`).
It does not know what is learned from it.
"""

from __future__ import annotations

from statistics import fmean

from llmagentos.learning.context import LearningContext, Practice
from llmagentos.learning.groups import SCOUTED, best_of, by_chance, ended
from llmagentos.learning.loops import without_loops
from llmagentos.learning.returning import search
from llmagentos.learning.run import LearningRun
from llmagentos.learning.strategy import ALONE, CLOSING, all_by_chance
from llmagentos.learning.watch import is_mixed
from llmagentos.records.episode import Episode

IN_VAIN = "scouted_in_vain"
"""Under which a run keeps in how many steps in a row scouts found nothing."""
TASKS, SAMPLES, ROUNDS = 8, 16, 8
"""Tasks of a round, runs of each, and rounds of a step at most."""
LONGEST = 0.05
"""Share of all minutes after which no other round of a step begins: the environment may be what is slow."""
AT_FIRST, FEW = 2, 0.5
"""Rounds of a step after which chance goes on from where it came (`returning`) if fewer than this share of their tasks
were won."""
SEARCH, SEARCHED = 0.25, "searched"
"""Share of all minutes that may go into that, half of what is left of it at a time, and under which a run keeps how
many seconds did."""
MOST_IN_VAIN = 2
"""Steps without anything found after which there are no more scouts."""
SELDOM = 0.25
"""Share of own runs that succeed below which scouts are sent."""
WAYS, MOST_WAYS = "ways", 8
"""Under which a run keeps the ways that won so, the newest ones, and how many: they are tried first in other tasks."""
CHOICE = 2
"""So many times more tasks than are kept are won before a step's scouts return."""
RETRACED = "demonstrate"
"""The program of runs that were played again without their loops."""


def scout(run: LearningRun, context: LearningContext, tasks: int, own: list[list[Episode]]) -> list[list[Episode]]:
    """Mixed groups of runs that chance played alone, of at most `tasks` tasks, those that are won in the shortest way;
    none where the agent's `own` runs of this step win often enough, or where chance cannot say all of a reply."""
    run.extra[SCOUTED] = 0
    if not tasks or not seldom_won(own) or int(run.extra.get(IN_VAIN, 0)) >= MOST_IN_VAIN:
        return []
    adapter, began = run.trainer.snapshot(), context.clock()
    played, found = list[list[Episode]](), list[list[Episode]]()
    for number in range(ROUNDS):
        explore = CLOSING if number % 2 else ALONE
        groups = ended(context.practice(adapter, Practice(TASKS, SAMPLES, run.seed(9, number), explore=explore)))
        played, found = played + groups, found + list(filter(is_mixed, groups))
        few = min(tasks, FEW * len(played))
        if number + 1 == AT_FIRST and len(won(found)) < few:
            searching = context.clock()
            found = _searched(run, context, played, tasks) or found
            if len(won(found)) >= few:
                break
            began += context.clock() - searching
        if enough(found, CHOICE * tasks) or context.clock() - began > LONGEST * context.minutes * 60:
            break
    run.extra[IN_VAIN] = 0 if found else int(run.extra.get(IN_VAIN, 0)) + 1
    groups = straightened(context, found, tasks)
    run.extra[SCOUTED] = len(groups)
    return groups


def enough(found: list[list[Episode]], tasks: int) -> bool:
    """Whether so many tasks were won, or rewarded for part of the way where none was won."""
    return len(won(found) or found) >= tasks


def won(found: list[list[Episode]]) -> list[list[Episode]]:
    """The groups of which some run succeeded."""
    return [group for group in found if any(one.success for one in best_of(group))]


def _searched(
    run: LearningRun, context: LearningContext, played: list[list[Episode]], tasks: int
) -> list[list[Episode]]:
    """What chance finds of the tasks that were `played` by going on from where it came."""
    before, began = float(run.extra.get(SEARCHED, 0.0)), context.clock()
    seconds = (SEARCH * context.minutes * 60 - before) / 2
    known = [tuple(map(str, way)) for way in run.extra.get(WAYS, [])] or context.ways(MOST_WAYS)
    found = search(played, context.wander, seconds, run.seed(10), wanted=tasks, known=known, clock=context.clock)
    run.extra[SEARCHED] = before + context.clock() - began
    ways = [tuple(step.action for step in best_of(group)[0].steps) for group in won(found)]
    run.extra[WAYS] = [list(way) for way in list(dict.fromkeys((*known, *ways)))[-MOST_WAYS:]]
    return found


def straightened(context: LearningContext, found: list[list[Episode]], tasks: int) -> list[list[Episode]]:
    """At most `tasks` of the groups, those that went farthest, in the fewest actions; in the place of their winners the
    shortest way without its loops, where that wins as well: it is played again to see."""
    ways = [(group, min(map(without_loops, best_of(group)), key=len)) for group in found]
    ways = sorted(ways, key=lambda pair: (*_short_of(pair[0]), len(pair[1]), _tokens(pair[0])))[:tasks]
    again = context.retrace([(group[0].task, way) for group, way in ways])
    groups = [group for group, _ in ways]
    for place, run in enumerate(again):
        best = best_of(groups[place])
        if (run.success, run.reward) >= (best[0].success, best[0].reward):
            groups[place] = [*(one for one in groups[place] if one not in best), run]
    return groups


def _short_of(group: list[Episode]) -> tuple[bool, float]:
    """How far its best run was from success: less is better."""
    best = best_of(group)[0]
    return not best.success, -best.reward


def _tokens(group: list[Episode]) -> int:
    """Of the shortest winner."""
    return min(len(one.transcript.trainable) for one in best_of(group))


def seldom_won(own: list[list[Episode]]) -> bool:
    """Whether the agent hardly ever wins, by the runs in which chance had no say if there are any, and whether chance
    could say all of it."""
    runs = [episode for group in own for episode in group]
    alone = [episode for episode in runs if not by_chance(episode)] or runs
    return all_by_chance(alone) and fmean(episode.success for episode in alone) < SELDOM
