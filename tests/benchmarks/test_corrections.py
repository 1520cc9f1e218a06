"""What is corrected is of every kind and not what is asked in other words; seeds are concluded together."""

from __future__ import annotations

import random

import corrections
import pytest
from measuring import JSON


def test_requests_are_drawn_of_every_kind_with_the_tool_that_is_wanted() -> None:
    requests = [{"text": f"{kind} {n}", "intent": kind} for kind in (*corrections.KINDS, "other") for n in range(9)]
    drawn = corrections.Measured._drawn(requests, random.Random(0), 4)
    assert len(dict(drawn)) == 4 * len(corrections.KINDS)
    assert all(corrections.KINDS[text.split()[0]] == tool for text, tool in drawn)
    assert drawn == corrections.Measured._drawn(requests, random.Random(0), 4)
    assert drawn != corrections.Measured._drawn(requests, random.Random(1), 4)


def test_seeds_are_concluded_together() -> None:
    def stage(share: float, released: bool) -> JSON:
        return {"corrected": share, "other words": share, "skill": 0.9, "minutes": 1.0, "released": released}

    ways = ("before", *corrections.WAYS)
    found = [dict.fromkeys(ways, stage(0.2, True)), {**dict.fromkeys(ways, stage(0.4, False))}]
    concluded = corrections.show(found)
    assert list(concluded) == list(ways)
    assert concluded["corrections"]["other words"] == {"median": 0.3, "lowest": 0.2, "highest": 0.4}
    assert (concluded["corrections"]["released"], concluded["corrections"]["seeds"]) == (1, 2)


def test_desks_are_concluded_together(capsys: pytest.CaptureFixture[str]) -> None:
    def one(after: float, released: bool) -> JSON:
        said = "5 of 6 corrected replies are given as corrected now, 0 before"
        gate = {"before": 0.8, "after": 0.83}
        return {"before": 0.7, "after": after, "minutes": 4.0, "gate": gate, "taken over": said, "released": released}

    concluded = corrections.show_desk([one(0.7, True), one(0.8, False)])
    assert concluded["after"] == {"median": 0.75, "lowest": 0.7, "highest": 0.8}
    assert (concluded["released"], concluded["seeds"]) == (1, 2)
    assert "5 of 6" in capsys.readouterr().out
