from __future__ import annotations

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmagentos.errors import ConfigError, NotFoundError
from llmagentos.knowledge.facts import Facts
from llmagentos.records.identity import new_id


def statements(facts: Facts, question: str, at: float | None = None, valid_at: float | None = None) -> list[str]:
    return [found.fact.statement for found in facts.ask(question, at=at, valid_at=valid_at)]


def test_facts_added_are_found_best_first(facts: Facts) -> None:
    change = facts.add("The library opens at nine.", source="sign")
    facts.add("The museum across the long street has a library too, and closes at noon", source="sign")
    facts.add("Cats sleep", source="ann")
    assert change.kind == "added"
    assert change.previous is None
    assert facts.get(change.fact.id) == change.fact
    assert statements(facts, "When does the library open?")[0] == "The library opens at nine."
    scores = [found.score for found in facts.ask("library opens")]
    assert scores == sorted(scores, reverse=True)
    assert facts.ask("???") == []
    assert len(facts.ask("library", limit=1)) == 1


def test_facts_said_again_are_confirmed_and_stored_once(facts: Facts) -> None:
    first = facts.add("Cats sleep a lot.", source="ann")
    again = facts.add("  cats sleep A LOT", source="bob")
    assert again.kind == "confirmed"
    assert again.fact == first.fact
    assert facts.sources(first.fact.id) == ["ann", "bob"]
    assert len(facts.list()) == 1


def test_facts_superseded_are_closed_and_never_lost(facts: Facts) -> None:
    old = facts.add("The price of the lamp is 30 euros", source="shop")
    between = time.time()
    time.sleep(0.005)
    new = facts.add("The price of the lamp is 25 euros", source="shop")
    assert new.kind == "superseded"
    assert new.previous is not None
    assert new.previous.id == old.fact.id
    assert new.previous.valid_to == new.fact.valid_from
    assert new.previous.superseded_by == new.fact.id
    assert statements(facts, "price of the lamp") == ["The price of the lamp is 25 euros"]
    assert statements(facts, "price of the lamp", at=between) == ["The price of the lamp is 30 euros"]
    assert statements(facts, "price of the lamp", valid_at=between) == ["The price of the lamp is 30 euros"]
    assert facts.get(old.fact.id).statement == old.fact.statement
    back = facts.add("The price of the lamp is 30 euros", source="shop")
    assert back.kind == "superseded"
    assert back.fact.id != old.fact.id


def test_facts_superseded_from_a_time_on_hold_until_then(facts: Facts) -> None:
    facts.add("The CEO of Acme is Ann", source="web", valid_from=1000.0)
    change = facts.add("The CEO of Acme is Bob", source="web", valid_from=2000.0)
    assert change.kind == "superseded"
    assert statements(facts, "CEO of Acme", valid_at=1500.0) == ["The CEO of Acme is Ann"]
    assert statements(facts, "CEO of Acme", valid_at=2000.0) == ["The CEO of Acme is Bob"]
    assert statements(facts, "CEO of Acme", valid_at=500.0) == []


def test_facts_of_the_past_do_not_retire_the_present(facts: Facts) -> None:
    facts.add("The CEO of Acme is Bob", source="web", valid_from=2000.0)
    change = facts.add("The CEO of Acme is Ann", source="web", valid_from=1000.0)
    assert (change.kind, change.fact.valid_to) == ("added", 2000.0)
    assert statements(facts, "CEO of Acme") == ["The CEO of Acme is Bob"]
    assert statements(facts, "CEO of Acme", valid_at=1500.0) == ["The CEO of Acme is Ann"]
    assert facts.add("The CEO of Acme is Ann", source="web").kind == "superseded"


def test_facts_from_outside_cannot_retire_what_a_person_said(facts: Facts) -> None:
    person = facts.add("The refund window is 30 days", source="owner", origin="person")
    outside = facts.add("The refund window is 7 days", source="evil.example", origin="outside")
    own = facts.add("The refund window is 9 days", source="a run", origin="own")
    assert outside.kind == "added"
    assert own.previous is not None
    assert own.previous.id == outside.fact.id
    assert facts.get(person.fact.id).valid_to is None
    assert person.fact.statement in statements(facts, "refund window")
    change = facts.add("The refund window is 14 days", source="owner")
    assert change.kind == "superseded"
    assert statements(facts, "refund window") == ["The refund window is 14 days"]


def test_facts_of_one_owner_do_not_retire_anothers(facts: Facts) -> None:
    facts.add("My name is Ann", source="ann", owner="ann")
    assert facts.add("My name is Bob", source="bob", owner="bob").kind == "added"
    assert facts.add("My name is Ann", source="bob", owner="bob").kind == "superseded"


def test_facts_retracted_are_out_of_answers_and_stay_on_record(facts: Facts) -> None:
    change = facts.add("Cats bark", source="ann")
    before = time.time()
    time.sleep(0.005)
    retracted = facts.retract(change.fact.id)
    assert retracted.retracted is not None
    assert facts.retract(change.fact.id) == retracted
    assert statements(facts, "cats bark") == []
    assert statements(facts, "cats bark", at=before) == ["Cats bark"]
    assert facts.add("Cats bark", source="ann").kind == "added"
    for access in (facts.get, facts.retract, facts.sources):
        with pytest.raises(NotFoundError):
            access("fact_unknown")


def test_facts_recorded_later_are_unseen_at_a_pinned_time(facts: Facts) -> None:
    pinned = time.time()
    time.sleep(0.005)
    facts.add("Cats sleep", source="ann")
    assert statements(facts, "cats", at=pinned) == []
    assert facts.list(at=pinned) == []
    assert statements(facts, "cats") == ["Cats sleep"]


def test_facts_in_chinese_are_found(facts: Facts) -> None:
    facts.add("图书馆早上九点开门。", source="门口")
    facts.add("猫喜欢睡觉", source="ann")
    assert statements(facts, "图书馆几点开门？") == ["图书馆早上九点开门。"]
    assert facts.add("图书馆早上九点开门", source="bob").kind == "confirmed"


def test_facts_of_higher_confidence_come_first(facts: Facts) -> None:
    facts.add("Perhaps the cave is deep", source="a", confidence=0.1)
    facts.add("Perhaps the cave is cold", source="b", confidence=0.9)
    assert statements(facts, "cave") == ["Perhaps the cave is cold", "Perhaps the cave is deep"]


@pytest.mark.parametrize(
    ("statement", "confidence"), [("", 1.0), (" \n\0", 1.0), ("x" * 20_001, 1.0), ("ok", 1.5), ("ok", float("nan"))]
)
def test_facts_refuse_what_is_no_statement(facts: Facts, statement: str, confidence: float) -> None:
    with pytest.raises(ConfigError):
        facts.add(statement, source="a", confidence=confidence)


def test_facts_take_half_surrogates(facts: Facts) -> None:
    assert facts.add("broken \ud83d text", source="model").fact.statement == "broken ? text"
    facts.ask("\ud83d broken")


def test_facts_said_by_many_threads_at_once_are_stored_once(facts: Facts) -> None:
    kinds: list[str] = []
    threads = [
        threading.Thread(target=lambda: kinds.extend(facts.add(f"Fact {n}", source="a").kind for n in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (kinds.count("added"), kinds.count("confirmed")) == (20, 60)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(st.sampled_from(["Ann", "Bob", "Carl", "nice"]), min_size=1, max_size=8))
def test_facts_keep_all_that_was_said_and_hold_only_the_last(facts: Facts, said: list[str]) -> None:
    owner = new_id("owner")
    changes = [facts.add(f"The CEO of Acme is {who}", source="a", owner=owner) for who in said]
    for change, who in zip(changes, said, strict=True):
        assert facts.get(change.fact.id).statement == f"The CEO of Acme is {who}"
    holding = [fact.statement.rsplit(" ", 1)[1] for fact in facts.list(limit=None) if fact.owner == owner]
    names = [who for who in said if who != "nice"]
    assert sorted(holding) == sorted(names[-1:] + ["nice"] * ("nice" in said))
