"""Writes docs/gate.md from the gate's own arithmetic: python tests/evaluation/characteristics.py > docs/gate.md

In: the rules' defaults. Out: the page; a test compares it with the file, so that it stays true.
It does not know any measured skill.
"""

from __future__ import annotations

from llmagentos.evaluation.gate import GateRules
from llmagentos.evaluation.statistics import bound_rule_passes, gain_power, second_look_passes

TASKS = (100, 300, 800)
DROPS = (0.0, 0.02, 0.03, 0.06, 0.10)
GAINS = (0.0, 0.05, 0.10, 0.25)
FLIPS = (0.05, 0.10, 0.20)

INTRODUCTION = """\
# The gate

A candidate becomes a release only through the gate. It plays tasks of the gate's own split that nobody has seen
before, drawn anew for every verdict and logged, beside the releases it is compared with.

An **improvement** is released when all of these hold:

1. **Gain.** On the new skill its strict success is above the live release's: the paired bootstrap interval
   ({confidence} %, {resamples:,} resamples of tasks) lies above 0.
2. **Nothing lost.** On every kept skill it is not inferior to the best release that skill *ever* had, by more than
   {margin} points. The reference does not move down with each release, so small losses cannot add up.
3. **Near the live release elsewhere.** KL from the live release on prompts outside the new skill is at most
   {budget} nats per token.

A **consolidation** must be inferior nowhere; a skill whose prompt is to go (`--learner prompt-distillation`) is one:
the candidate plays with the brief prompt, the best release with the one that it had. A **withdrawal** may lose only
what it names. A gain that is only form (strict success rises, lenient success does not) is named as such in the
verdict. Where numbers are missing, not finite, unpaired or fewer than {minimum} tasks, there is no verdict but an error
that says what to run.

## How often it errs

*Unchanged* means: between two runs of the same skill some answers flip, half of them each way. With {bound} tasks and
more the gate asks that the one-sided {confidence} % **lower bound** of the difference is above −{margin} points. With
fewer that would refuse most good candidates, so it asks that the **estimate** is, and prints these error rates in the
verdict. A refusal by the estimate that chance may have made (by at most {looks} standard errors where a tenth of the
answers flip) is looked at again with {further} as many fresh tasks, and all are judged together: with several skills to
keep, each of which may be refused by chance, hardly anything would pass otherwise. The numbers below weigh every
outcome with its exact multinomial chance; where a bound decides, the normal bound stands for the bootstrap's (a test
compares the two).
"""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join("---" for _ in head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _share(chance: float) -> str:
    value = 100 * chance
    if value >= 99.95:
        return "100 %"
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.1f} %" if value >= 0.05 else "< 0.1 %"


def kept_passes(tasks: int, drop: float, flip: float, rules: GateRules) -> float:
    """Chance that the gate passes a kept skill that truly lost `drop`."""
    up, down = flip / 2, flip / 2 + drop
    if tasks >= rules.lower_bound_from:
        return bound_rule_passes(tasks, -rules.margin, up, down, rules.confidence)
    return second_look_passes(tasks, rules.further * tasks, rules.margin, rules.reach(tasks), up, down)


def chain_passes(tasks: int, loss: float, links: int, rules: GateRules, *, fixed: bool) -> float:
    """Chance that all `links` releases pass, each truly `loss` below the one before it."""
    chance = 1.0
    for link in range(1, links + 1):
        chance *= kept_passes(tasks, loss * (link if fixed else 1), rules.flip_rate, rules)
    return chance


def page() -> str:
    """The text of docs/gate.md."""
    rules = GateRules()
    introduction = INTRODUCTION.format(
        confidence=round(100 * rules.confidence),
        resamples=rules.resamples,
        margin=round(100 * rules.margin),
        budget=rules.divergence_budget,
        minimum=rules.minimum_tasks,
        bound=rules.lower_bound_from,
        looks=rules.second_look,
        further="twice" if rules.further == 2 else f"{rules.further} times",
    )
    rule = {n: "lower bound" if n >= rules.lower_bound_from else "estimate" for n in TASKS}
    kept = [
        [str(n), rule[n], f"{100 * flip:.0f} %"] + [_share(kept_passes(n, drop, flip, rules)) for drop in DROPS]
        for n in TASKS
        for flip in FLIPS
    ]
    gains = [
        [str(n)] + [_share(gain_power(n, gain, rules.flip_rate, rules.confidence)) for gain in GAINS] for n in TASKS
    ]
    chains = [
        [str(n), str(links)] + [_share(chain_passes(n, 0.02, links, rules, fixed=fixed)) for fixed in (True, False)]
        for n in TASKS
        for links in (3, 5)
    ]
    drops = ["unchanged", *(f"true loss {100 * drop:.0f} points" for drop in DROPS[1:])]
    return "\n".join(
        [
            introduction,
            "Chance that a kept skill **passes**:\n",
            _table(["tasks", "rule", "answers that flip", *drops], kept),
            f"\nChance that a new skill's gain is found significant, {100 * rules.flip_rate:.0f} % of answers flipping "
            "besides (the first column is the rate of false releases):\n",
            _table(["tasks", "no gain", *(f"gain {100 * gain:.0f} points" for gain in GAINS[1:])], gains),
            "\nA chain of releases, each truly 2 points below the one before, every one by itself within the margin. "
            "Chance that the **whole chain passes**:\n",
            _table(
                ["tasks", "links", "compared with the best ever (this gate)", "compared with the last release"], chains
            ),
            "\nWhich release was the best is itself an estimate. The simulated chains in\n"
            "`tests/evaluation/test_gate.py` choose it by its noisy gate score, as the releases do.\n",
            "Small tests are weak tests: at 100 tasks a verdict is a coarse sieve (it stops losses of 10 points, not "
            "of 3). Ask for more tasks where a skill matters: `GateRules` and `CycleSettings` are settings.",
            "",
        ]
    )


if __name__ == "__main__":
    print(page(), end="")
