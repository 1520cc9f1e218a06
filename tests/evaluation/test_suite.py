"""Gate tasks are new for every verdict and every use is logged; report tasks never change."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from llmagentos.errors import ConfigError, GateError
from llmagentos.evaluation.suite import JournalUses, MemoryUses, Skill, SkillSuite, gate_seed
from llmagentos.records.task import Task


class Generated:
    """Tasks whose seeds follow the split's seed, the simplest (and most easily overlapping) generator."""

    def tasks(self, split, count, seed=0):
        return [Task("Shop-v0", seed + index, split) for index in range(count)]


class Finite:
    """An environment with eight gate tasks in all."""

    def tasks(self, split, count, seed=0):
        return [Task("Shop-v0", (seed + index) % 8, split) for index in range(count)]


class MemoryJournal:
    def __init__(self):
        self.kept = []

    def append(self, process, kind, body, *, sync=False):
        self.kept.append((process, kind, body, sync))
        return len(self.kept)

    def entries(self, process):
        return [SimpleNamespace(body=body) for name, _, body, _ in self.kept if name == process]


def suite(source=None, uses=None, **options):
    return SkillSuite(Skill("Shop", "Shop-v0", **options), source or Generated(), uses or MemoryUses())


def keys(tasks):
    return {task.key for task in tasks}


def test_gate_tasks_are_fresh_at_every_use_also_where_the_source_counts_from_its_seed():
    shop = suite()
    seen: set[str] = set()
    for _ in range(30):
        fresh = keys(shop.tasks("gate", 100))
        assert len(fresh) == 100
        assert not fresh & seen
        seen |= fresh


def test_every_gate_use_is_logged_before_anybody_plays():
    uses = MemoryUses()
    shop = suite(uses=uses, gate_tasks=5)
    shop.tasks("gate")
    shop.tasks("gate", 7)
    shop.tasks("development", 3)
    assert [(use.number, use.tasks, use.repeated) for use in uses.log] == [(0, 5, 0), (1, 7, 0)]
    assert uses.log[0].seed == gate_seed("Shop", 0)


def test_gate_uses_survive_a_restart_in_the_journal():
    journal = MemoryJournal()
    first = suite(uses=JournalUses(journal)).tasks("gate", 10)
    again = suite(uses=JournalUses(journal)).tasks("gate", 10)
    assert not keys(first) & keys(again)
    assert all(sync for *_, sync in journal.kept), "a forgotten use would serve the same tasks twice"
    assert [use.number for use in JournalUses(journal).uses("Shop")] == [0, 1]
    assert JournalUses(journal).uses("Drills") == []


def test_a_finite_gate_split_shows_its_repeats_in_the_log():
    uses = MemoryUses()
    shop = suite(Finite(), uses)
    shop.tasks("gate", 8)
    shop.tasks("gate", 8)
    assert [use.repeated for use in uses.log] == [0, 8]


def test_report_tasks_never_change():
    assert keys(suite().tasks("report", 20)) == keys(suite(uses=MemoryUses()).tasks("report", 20))


def test_nobody_chooses_the_seed_of_gate_or_report_tasks():
    for split in ("gate", "report"):
        with pytest.raises(ConfigError, match="take no seed"):
            suite().tasks(split, 10, seed=7)
    assert keys(suite().tasks("train", 5, seed=1)) != keys(suite().tasks("train", 5, seed=100))


def test_a_finite_split_gives_all_that_it_has():
    uses = MemoryUses()
    few = SimpleNamespace(tasks=lambda split, count, seed: Finite().tasks(split, min(count, 8), seed))
    assert len(suite(few, uses).tasks("gate", 300)) == 8
    assert uses.log[0].tasks == 8


def test_a_source_that_gives_no_repeated_or_foreign_tasks_is_refused_and_not_logged():
    uses = MemoryUses()
    with pytest.raises(GateError, match="8 of them different"):
        suite(Finite(), uses).tasks("gate", 9)
    with pytest.raises(GateError, match="gave 0"):
        suite(SimpleNamespace(tasks=lambda split, count, seed: []), uses).tasks("gate", 9)
    wrong = SimpleNamespace(tasks=lambda split, count, seed: [Task("Shop-v0", i, "train") for i in range(count)])
    with pytest.raises(GateError, match="3 of another split"):
        suite(wrong, uses).tasks("gate", 3)
    assert uses.log == []


def test_an_unknown_split_or_count_is_refused():
    with pytest.raises(ConfigError, match="No split 'test'"):
        suite().tasks("test", 3)
    with pytest.raises(ConfigError, match="at least 1"):
        suite().tasks("train")
    with pytest.raises(ConfigError, match="at least 1"):
        suite().tasks("gate", 0)


def test_concurrent_verdicts_never_share_tasks():
    shop, drawn = suite(), []
    threads = [threading.Thread(target=lambda: drawn.append(keys(shop.tasks("gate", 20)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*drawn)) == 160
