from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llmagentos.errors import LLMAgentOSError, NotFoundError, ReleaseError, StoreError, WithdrawnError
from llmagentos.experience.episodes import Episodes
from llmagentos.records.episode import Episode
from llmagentos.records.release import Artefact, Candidate, ChangeKind, Interval, SkillCheck, Verdict
from llmagentos.records.task import Task
from llmagentos.records.transcript import Transcript
from llmagentos.releases.prompts import prompt_artefact
from llmagentos.releases.registry import Releases
from llmagentos.store.store import Store


def candidate(
    store: Store,
    name: str,
    *,
    parent: str = "",
    skill: str = "S",
    artefact: str = "main",
    episodes: tuple[str, ...] = (),
    change: ChangeKind = "improvement",
) -> Candidate:
    digest = store.blobs.put(f"weights of {name}".encode())
    made = (Artefact(artefact, "adapter", digest, skill),)
    return Candidate(name, skill, made, "imitation", change, parent, {"steps": 3}, episodes, 1.0)


def yes(name: str, released: bool = True, **scores: float) -> Verdict:
    checks = tuple(
        SkillCheck(skill, 300, score, 0.5, "r0", Interval(score - 0.5, 0.0, 1.0), "gain", released)
        for skill, score in scores.items()
    )
    return Verdict(name, released, "All passed." if released else "SupportDesk lost 12 points.", checks, 0.1, 0.5, 2.0)


def test_registry_begins_with_the_bare_base(releases: Releases) -> None:
    live = releases.live()
    assert (live.id, live.manifest.base, live.manifest.artefacts, live.skills) == ("r0", "pypi:base==1", (), ())
    assert releases.live() == live
    assert releases.list() == [live]
    assert [move[0] for move in releases.history()] == ["r0"]


def test_registry_publishes_what_the_gate_passed(store: Store, releases: Releases) -> None:
    wanted = candidate(store, "c1", episodes=("e1",))
    releases.add_candidate(wanted)
    releases.add_candidate(wanted)
    assert releases.candidates() == releases.open_candidates() == [wanted]
    release = releases.publish(wanted, yes("c1", S=0.9))
    assert release == releases.live() == releases.get("r1")
    assert (release.parent, release.candidate, release.skills) == ("r0", "c1", ("S",))
    assert release.manifest.artefacts == wanted.artefacts
    assert release.verdict == yes("c1", S=0.9)
    assert releases.verdicts() == [yes("c1", S=0.9)]
    assert releases.open_candidates() == []
    assert releases.candidates() == [wanted]


def test_registry_chains_skills_and_artefacts(store: Store, releases: Releases) -> None:
    first = releases.publish(candidate(store, "c1"), yes("c1", S=0.9))
    second = releases.publish(candidate(store, "c2", parent="r1", skill="T", artefact="other"), yes("c2", S=0.9, T=0.6))
    third = releases.publish(candidate(store, "c3", parent="r2", skill="S"), yes("c3", S=0.95, T=0.6))
    assert second.skills == third.skills == ("S", "T")
    assert [artefact.name for artefact in third.manifest.artefacts] == ["main", "other"]
    assert third.manifest.artefacts[1] == second.manifest.artefacts[1]
    assert third.manifest.artefacts[0] != first.manifest.artefacts[0]
    assert [release.id for release in releases.list()] == ["r0", "r1", "r2", "r3"]
    assert releases.diff("r1", "r2") == [
        f"+ adapter other for T ({second.manifest.artefacts[1].digest[:12]})",
        "skill gained: T",
    ]


def test_registry_takes_an_artefact_out_by_an_empty_digest(store: Store, releases: Releases) -> None:
    releases.publish(candidate(store, "c1", artefact="a"), yes("c1"))
    without = Candidate("c2", "S", (Artefact("a", "adapter", ""),), "removal", "withdrawal", "r1")
    release = releases.publish(without, yes("c2"))
    assert (release.manifest.artefacts, release.skills) == ((), ())


def test_registry_keeps_the_skills_that_a_withdrawal_still_measured(store: Store, releases: Releases) -> None:
    releases.publish(candidate(store, "c1"), yes("c1", S=0.9))
    releases.publish(candidate(store, "c2", parent="r1", skill="T"), yes("c2", S=0.9, T=0.7))
    again = candidate(store, "c3", parent="r2", skill="T", change="withdrawal")
    assert releases.publish(again, yes("c3", S=0.8)).skills == ("S",)


def test_registry_counts_a_skill_compared_twice_by_all_its_tasks(store: Store, releases: Releases) -> None:
    def check(score: float, tasks: int) -> SkillCheck:
        return SkillCheck("S", tasks, score, 0.5, "r0", Interval(0.1, 0.0, 0.2), "gain", True)

    twice = Verdict("c1", True, "All passed.", (check(0.9, 100), check(0.6, 200)))
    releases.publish(candidate(store, "c1"), twice)
    assert releases.best("S") == ("r1", pytest.approx(0.7))


def test_registry_refuses_and_remembers(store: Store, releases: Releases) -> None:
    bad = candidate(store, "c1")
    releases.refuse(bad, yes("c1", released=False, S=0.2))
    assert releases.live().id == "r0"
    assert releases.verdicts() == [yes("c1", released=False, S=0.2)]
    assert releases.best("S") is None
    with pytest.raises(ReleaseError, match=r"refused already.*none is judged twice"):
        releases.publish(bad, yes("c1", S=0.9))
    assert releases.live().id == "r0"


def test_registry_publishes_nothing_without_a_yes_on_that_candidate(store: Store, releases: Releases) -> None:
    wanted = candidate(store, "c1")
    with pytest.raises(ReleaseError, match="SupportDesk lost 12 points"):
        releases.publish(wanted, yes("c1", released=False))
    with pytest.raises(ReleaseError, match="'other'"):
        releases.publish(wanted, yes("other"))
    with pytest.raises(ReleaseError, match="says yes"):
        releases.refuse(wanted, yes("c1"))
    with pytest.raises(ReleaseError, match="'other'"):
        releases.refuse(wanted, yes("other", released=False))
    assert (releases.live().id, releases.verdicts()) == ("r0", [])


def test_registry_publishes_a_candidate_once(store: Store, releases: Releases) -> None:
    wanted = candidate(store, "c1")
    releases.publish(wanted, yes("c1"))
    with pytest.raises(ReleaseError, match="released already"):
        releases.publish(wanted, yes("c1"))
    with pytest.raises(ReleaseError, match="released already"):
        releases.refuse(wanted, yes("c1", released=False))
    assert [release.id for release in releases.list()] == ["r0", "r1"]


def test_registry_refuses_a_candidate_of_a_release_that_is_not_live(store: Store, releases: Releases) -> None:
    releases.publish(candidate(store, "c1"), yes("c1"))
    with pytest.raises(ReleaseError, match=r"started from r0, but r1 is live now and keeps S"):
        releases.publish(candidate(store, "c2", skill="T"), yes("c2"))
    releases.rollback("r0")
    assert releases.publish(candidate(store, "c3", skill="T"), yes("c3")).skills == ("T",)


def test_registry_refuses_artefacts_that_are_missing_or_damaged(store: Store, releases: Releases) -> None:
    missing = Candidate("c0", "S", (Artefact("a", "adapter", "0" * 64),), "l")
    for attempt in (lambda: releases.add_candidate(missing), lambda: releases.publish(missing, yes("c0"))):
        with pytest.raises(StoreError, match="missing"):
            attempt()
    wanted = candidate(store, "c1")
    store.blobs.path(wanted.artefacts[0].digest).write_bytes(b"tampered")
    with pytest.raises(StoreError, match="damaged"):
        releases.publish(wanted, yes("c1"))
    assert releases.live().id == "r0"


def test_registry_rolls_back_to_the_same_bytes_in_under_a_second(store: Store, releases: Releases) -> None:
    weights = bytes(range(256)) * 4 * 10_000
    digest = store.blobs.put(weights)
    releases.publish(Candidate("c1", "S", (Artefact("main", "adapter", digest),), "l"), yes("c1"))
    releases.publish(candidate(store, "c2", parent="r1"), yes("c2"))
    began = time.perf_counter()
    release = releases.rollback("r1")
    assert time.perf_counter() - began < 1.0
    assert releases.live() == release
    assert store.blobs.get(release.manifest.artefacts[0].digest) == weights
    assert [move[0] for move in releases.history()] == ["r0", "r1", "r2", "r1"]
    releases.rollback("r1")
    assert len(releases.history()) == 4
    assert releases.rollback("r2").id == releases.live().id == "r2"


def test_registry_rolls_back_to_nothing_damaged_or_unknown(store: Store, releases: Releases) -> None:
    release = releases.publish(candidate(store, "c1"), yes("c1"))
    releases.publish(candidate(store, "c2", parent="r1"), yes("c2"))
    store.blobs.path(release.manifest.artefacts[0].digest).write_bytes(b"tampered")
    with pytest.raises(StoreError, match="damaged"):
        releases.rollback("r1")
    with pytest.raises(NotFoundError, match=r"'r9'.*r0, r1, r2"):
        releases.rollback("r9")
    assert releases.live().id == "r2"


def test_registry_knows_the_best_release_a_skill_ever_had(store: Store, releases: Releases) -> None:
    assert releases.best("S") is None
    releases.publish(candidate(store, "c1"), yes("c1", S=0.90))
    releases.publish(candidate(store, "c2", parent="r1", skill="T"), yes("c2", S=0.89, T=0.5))
    releases.publish(candidate(store, "c3", parent="r2", skill="U"), yes("c3", S=0.88, T=0.5, U=0.1))
    releases.refuse(candidate(store, "c4", parent="r3"), yes("c4", released=False, S=1.0))
    assert releases.best("S") == ("r1", 0.90)
    assert releases.best("T") == ("r3", 0.5)
    assert releases.best("U") == ("r3", 0.1)
    releases.rollback("r0")
    assert releases.best("S") == ("r1", 0.90)


def test_registry_withdraws_releases_resting_on_episodes_and_their_descendants(
    store: Store, releases: Releases
) -> None:
    releases.publish(candidate(store, "c1", episodes=("e1", "e2")), yes("c1", S=0.9))
    releases.publish(candidate(store, "c2", parent="r1", episodes=("e3",)), yes("c2", S=0.95))
    releases.rollback("r0")
    releases.publish(candidate(store, "c3", skill="T", artefact="t", episodes=("e4",)), yes("c3", T=0.5))
    assert releases.withdraw_episodes(["e2", "unknown"]) == ["r1", "r2"]
    assert [release.withdrawn for release in releases.list()] == [False, True, True, False]
    for withdrawn in ("r1", "r2"):
        with pytest.raises(WithdrawnError, match=r"These can: r0, r3.*rollback"):
            releases.rollback(withdrawn)
    assert releases.live().id == "r3"
    assert releases.best("S") is None
    assert releases.best("T") == ("r3", 0.5)
    assert releases.rollback("r0").id == "r0"
    assert releases.withdraw_episodes(["e3"]) == ["r2"]


def test_registry_publishes_nothing_that_rests_on_withdrawn_episodes(store: Store, releases: Releases) -> None:
    releases.publish(candidate(store, "c1", episodes=("e1",)), yes("c1", S=0.9))
    assert releases.to_learn_from().id == "r1"
    releases.withdraw_episodes(["e1", "e9"])
    with pytest.raises(WithdrawnError, match="rollback r0"):
        releases.to_learn_from()
    with pytest.raises(WithdrawnError, match=r"c2 would serve main.*withdrawn"):
        releases.publish(candidate(store, "c2", parent="r1", episodes=("e2",)), yes("c2"))
    with pytest.raises(WithdrawnError, match="c3 would serve main, other"):
        releases.publish(candidate(store, "c3", parent="r1", artefact="other", episodes=("e2",)), yes("c3"))
    with pytest.raises(WithdrawnError):
        releases.publish(candidate(store, "c4", parent="r1", change="withdrawal", episodes=("e9",)), yes("c4"))
    laundered = Candidate("c5", "S", releases.live().manifest.artefacts, "l", "withdrawal", "r1")
    with pytest.raises(WithdrawnError):
        releases.publish(laundered, yes("c5"))
    assert releases.live().id == "r1"
    clean = candidate(store, "c6", parent="r1", change="withdrawal", episodes=("e2",))
    release = releases.publish(clean, yes("c6", S=0.8))
    assert (release.id, release.withdrawn) == ("r2", False)


def test_registry_gives_the_same_settings_to_a_later_release(store: Store, releases: Releases) -> None:
    told = prompt_artefact("S", "S", store.blobs.put)

    def with_prompt(name: str, parent: str, episode: str) -> Candidate:
        made = candidate(store, name, parent=parent, episodes=(episode,))
        return replace(made, artefacts=(*made.artefacts, told))

    releases.publish(with_prompt("c1", "", "e1"), yes("c1", S=0.9))
    releases.withdraw_episodes(["e1"])
    releases.rollback("r0")
    release = releases.publish(with_prompt("c2", "r0", "e2"), yes("c2", S=0.9))
    assert (release.withdrawn, release.manifest.artefacts[1]) == (False, told)


def test_registry_notices_episodes_withdrawn_from_experience(store: Store, releases: Releases) -> None:
    episodes = Episodes(store)
    episodes.add(Episode("e1", Task("X", 1), Transcript("m")))
    episodes.withdraw("e1", "asked")
    with pytest.raises(WithdrawnError):
        releases.publish(candidate(store, "c1", episodes=("e1",)), yes("c1"))


def test_registry_lets_one_of_two_threads_publish(store: Store, releases: Releases) -> None:
    made = [candidate(store, f"c{index}", skill=f"S{index}") for index in range(6)]
    errors: list[LLMAgentOSError] = []

    def publish(one: Candidate) -> None:
        try:
            releases.publish(one, yes(one.id))
        except ReleaseError as error:
            errors.append(error)

    threads = [threading.Thread(target=publish, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 5
    assert [release.id for release in releases.list()] == ["r0", "r1"]


def test_registry_is_read_while_another_owns_the_home(home: Path) -> None:
    with Store.open(home) as store:
        with Store.open(home, read_only=True) as reader:
            assert Releases(reader, "b").live().id == "r0"
            assert [release.id for release in Releases(reader, "b").list()] == ["r0"]
        Releases(store, "b").publish(candidate(store, "c1"), yes("c1"))
        with Store.open(home, read_only=True) as reader:
            assert Releases(reader, "b").live().id == "r1"
            with pytest.raises(StoreError, match="read-only"):
                Releases(reader, "b").rollback("r0")


KILLED = """
import os, signal, sys
from pathlib import Path
from llmagentos.records.release import Artefact, Candidate, Interval, SkillCheck, Verdict
from llmagentos.releases.registry import Releases
from llmagentos.store.store import Store

home, last, verb = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
store = Store.open(home)
releases = Releases(store, "b")
releases.live()
digest = store.blobs.put(b"weights")
candidate = Candidate("c1", "S", (Artefact("a", "adapter", digest),), "l", episodes=("e1", "e2"))
check = SkillCheck("S", 10, 0.9, 0.1, "r0", Interval(0.8, 0.7, 0.9), "gain", True)
verdict = Verdict("c1", True, "yes", (check,))
if verb == "rollback":
    releases.publish(candidate, verdict)
seen = 0

def count(line):
    global seen
    seen += 1
    if seen == last:
        os.kill(os.getpid(), signal.SIGKILL)

store.database._connection.set_trace_callback(count)
if verb == "publish":
    releases.publish(candidate, verdict)
else:
    releases.rollback("r0")
store.database._connection.set_trace_callback(None)
print(seen)
"""


@pytest.mark.parametrize("verb", ["publish", "rollback"])
def test_registry_killed_in_the_middle_is_old_or_new(tmp_path: Path, verb: str) -> None:
    def attempt(home: Path, last: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(home), str(last), verb], capture_output=True, text=True, check=False
        )

    whole = attempt(tmp_path / "whole", 0)
    statements = int(whole.stdout)
    old, new = ("r0", "r1") if verb == "publish" else ("r1", "r0")
    assert statements > 4
    for last in (1, statements // 2, statements - 1, statements):
        home = tmp_path / f"killed{last}"
        child = attempt(home, last)
        assert child.returncode == -9, child.stderr
        with Store.open(home) as store:
            releases = Releases(store, "b")
            live = releases.live().id
            assert live == (new if last == statements else old)
            published = live == "r1" or verb == "rollback"
            assert [release.id for release in releases.list()] == (["r0", "r1"] if published else ["r0"])
            assert len(releases.verdicts()) == (1 if published else 0)
            assert (releases.best("S") is not None) == published
            assert store.check() == []
            if not published:
                digest = store.blobs.put(b"weights")
                again = Candidate("c1", "S", (Artefact("a", "adapter", digest),), "l", episodes=("e1", "e2"))
                assert releases.publish(again, Verdict("c1", True, "yes")).id == "r1"


def test_registry_publishes_and_moves_under_full_sync(store: Store, releases: Releases) -> None:
    releases.live()
    wanted = candidate(store, "c1")
    lines: list[str] = []
    store.database._connection.set_trace_callback(lines.append)
    releases.publish(wanted, yes("c1"))
    releases.rollback("r0")
    store.database._connection.set_trace_callback(None)
    words = [line for line in lines if re.match(r"PRAGMA synchronous|BEGIN|COMMIT", line)]
    one = ["PRAGMA synchronous=FULL", "BEGIN IMMEDIATE", "COMMIT", "PRAGMA synchronous=NORMAL"]
    assert [re.sub(r"\s+$", "", word) for word in words] == one * 2
