from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from llmagentos.errors import NotFoundError, StoreError
from llmagentos.experience.episodes import Episodes
from llmagentos.records.episode import Episode, Step
from llmagentos.records.task import Reward, Split, Task
from llmagentos.records.transcript import Segment, Transcript
from llmagentos.store.store import Store


def episode(
    number: int, environment: str = "X-v0", split: Split = "train", skill: str = "", **fields: object
) -> Episode:
    made = Episode(
        f"ep_{number}",
        Task(environment, number, split, skill),
        Transcript("m", (Segment("prompt", (1, 2, 3)), Segment("sampled", (4, 5), (-0.1, -2.5)))),
        steps=(Step("act", "see", 1.0, "r1"),),
        rewards=(Reward(1.0),),
        created=float(number),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def identifiers(found: list[Episode]) -> list[str]:
    return [one.id for one in found]


def test_episodes_come_back_equal(episodes: Episodes) -> None:
    first = episode(1, labels={"run": "a"}, owner="ann", origin="person", error="e", outcome="failed")
    episodes.add(first)
    assert episodes.get("ep_1") == first
    assert episodes.select() == [first]


def test_episodes_are_selected_by_every_condition(episodes: Episodes) -> None:
    episodes.add_many(
        [
            episode(1, "A-v0", success=True, lenient=True, release="r1", labels={"run": "1", "kind": "expert"}),
            episode(2, "A-v0", "gate", release="r1", labels={"run": "1"}),
            episode(3, "A-v0", "train", "special", success=True, lenient=True, release="r2"),
            episode(4, "B-v0", "report", labels={"run": "2"}, origin="person"),
        ]
    )
    assert identifiers(episodes.select(origin="person")) == ["ep_4"]
    assert identifiers(episodes.select(origin="own", limit=1)) == ["ep_3"]
    assert identifiers(episodes.select(environment="A-v0")) == ["ep_3", "ep_2", "ep_1"]
    assert identifiers(episodes.select(environment="A-v0", newest=False, limit=2)) == ["ep_1", "ep_2"]
    assert identifiers(episodes.select(skill="A-v0")) == ["ep_2", "ep_1"]
    assert identifiers(episodes.select(skill="special")) == ["ep_3"]
    assert identifiers(episodes.select(split="gate")) == ["ep_2"]
    assert identifiers(episodes.select(success=True)) == ["ep_3", "ep_1"]
    assert identifiers(episodes.select(success=False, release="r1")) == ["ep_2"]
    assert identifiers(episodes.select(labels={"run": "1"}, limit=1)) == ["ep_2"]
    assert identifiers(episodes.select(labels={"run": "1", "kind": "expert"})) == ["ep_1"]
    assert episodes.select(labels={"run": "expert"}) == []
    assert (episodes.count(), episodes.count(skill="A-v0", success=True), episodes.count(labels={"run": "1"})) == (
        4,
        1,
        2,
    )


def test_episodes_added_twice_are_stored_once(episodes: Episodes) -> None:
    episodes.add(episode(1, labels={"a": "b"}))
    episodes.add_many([episode(1, labels={"a": "b"}), episode(2)])
    assert episodes.count() == 2


def test_episodes_are_never_overwritten(episodes: Episodes) -> None:
    episodes.add(episode(1))
    with pytest.raises(StoreError, match="never overwritten"):
        episodes.add_many([episode(2), episode(1, success=True)])
    assert episodes.count() == 1
    with pytest.raises(StoreError, match="share an identifier"):
        episodes.add_many([episode(3), episode(3, success=True)])


def test_episodes_withdrawn_are_out_of_every_answer(episodes: Episodes, tmp_path: Path) -> None:
    episodes.add_many([episode(1), episode(2)])
    episodes.withdraw("ep_1", "its owner asked")
    episodes.withdraw("ep_1", "again")
    assert identifiers(episodes.select()) == ["ep_2"]
    assert episodes.count() == 1
    assert episodes.export_jsonl(tmp_path / "out.jsonl") == 1
    with pytest.raises(NotFoundError, match="its owner asked"):
        episodes.get("ep_1")
    with pytest.raises(NotFoundError):
        episodes.withdraw("ep_9", "nobody")
    episodes.add(episode(1))
    assert episodes.count() == 1


def test_episodes_export_reads_back_line_by_line(episodes: Episodes, tmp_path: Path) -> None:
    made = [episode(1, observation="门"), episode(2, steps=(Step("\ud800", ""),))]
    episodes.add_many(made)
    assert episodes.export_jsonl(tmp_path / "out.jsonl") == 2
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [msgspec.convert(json.loads(line), Episode) for line in lines] == made


def test_episodes_of_many_tokens_become_blobs(episodes: Episodes, store: Store) -> None:
    long = episode(1, transcript=Transcript("m", (Segment("prompt", tuple(range(50_000))),)))
    episodes.add(long)
    assert len(list(store.blobs.digests())) == 1
    assert episodes.get("ep_1") == long


def test_episodes_are_added_by_many_threads(episodes: Episodes) -> None:
    def work(start: int) -> None:
        for number in range(start, start + 20):
            episodes.add(episode(number))
            assert episodes.get(f"ep_{number}").task.seed == number

    threads = [threading.Thread(target=work, args=(100 * index,)) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert episodes.count() == 100


def test_episodes_two_hundred_are_added_quickly(episodes: Episodes) -> None:
    transcript = Transcript(
        "m", (Segment("prompt", tuple(range(600))), Segment("sampled", tuple(range(200)), (-0.5,) * 200)) * 2
    )
    best = 1.0
    for attempt in range(5):
        batch = [episode(1000 * attempt + index, transcript=transcript) for index in range(200)]
        began = time.perf_counter()
        episodes.add_many(batch)
        best = min(best, time.perf_counter() - began)
    # 0.1 s is the target on an idle machine; a busy one gets twice that before this fails.
    assert best < 0.2


def test_episodes_of_a_killed_batch_are_there_entirely_or_not_at_all(tmp_path: Path) -> None:
    home = tmp_path / "killed"
    program = """
import os, signal, sys
from pathlib import Path
from llmagentos.experience.episodes import Episodes
from llmagentos.records.episode import Episode
from llmagentos.records.task import Task
from llmagentos.records.transcript import Transcript
from llmagentos.store.store import Store
store = Store.open(Path(sys.argv[1]))
episodes = Episodes(store)
def batch(start):
    return [Episode(f"e{n}", Task("X", n), Transcript("m"), labels={"a": "b"}) for n in range(start, start + 50)]
episodes.add_many(batch(0))
store.database._connection.set_trace_callback(lambda line: "COMMIT" in line and os.kill(os.getpid(), signal.SIGKILL))
episodes.add_many(batch(50))
"""
    child = subprocess.run([sys.executable, "-c", program, str(home)], capture_output=True, check=False)
    assert child.returncode == -9, child.stderr
    with Store.open(home) as store:
        assert Episodes(store).count() == 50
        assert store.check() == []
