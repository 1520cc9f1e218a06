"""The two-minute form of the demonstration, on the real default model and through the real kernel."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from llmagentos.agentos import AgentOS
from llmagentos.cli.demo import own_home
from llmagentos.config import DEFAULT_MODEL
from llmagentos.demo import DRILLS, Demonstration, plan
from llmagentos.models.arithmetic import compute
from llmagentos.records.progress import Progress
from llmagentos.reports.page import write_report

SHARED = Path(__file__).parent.parent / ".home"
"""Keeps the fetched model between runs of the tests; made where it is missing."""


@pytest.mark.timeout(900)
def test_quick_demo_measures_learns_judges_and_reports(tmp_path: Path) -> None:
    import torch

    compute(lambda: torch.set_num_threads(os.cpu_count() or 1))
    events: list[Progress] = []
    with AgentOS(own_home(tmp_path, SHARED), DEFAULT_MODEL) as system:
        results = Demonstration(system.cycle, plan(quick=True), events.append).run()
        live = system.releases.live().id
        practised = system.episodes.count(skill=DRILLS, split="train")
        reported = system.episodes.select(split="report")
    page = write_report(results, tmp_path / "report")
    written = json.loads((page.parent / "results.json").read_text())

    (skill,) = results.skills
    assert skill.name == DRILLS
    assert skill.low <= skill.after - skill.before <= skill.high
    assert skill.zero_shot_before is not None
    assert practised >= 16, "policy gradient practises on training tasks"
    (verdict,) = results.verdicts
    assert verdict.checks, f"the gate compared nothing: {verdict.reason}"
    assert verdict.released == (live == "r1")
    assert len(results.retention) == (2 if verdict.released else 1)
    assert results.curves[0].points[-1].reward is not None
    assert all(not episode.transcript.trainable[0] for episode in reported)
    assert {"minutes", "skills", "retention", "verdicts"} <= set(written)
    assert {"name", "before", "after", "low", "high"} <= set(written["skills"][0])
    assert {"candidate", "released", "reason"} <= set(written["verdicts"][0])
    assert any(event.stage.startswith("policy-gradient") for event in events)
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page.read_text())
