import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from llmagentos.experience.episodes import Episodes
from llmagentos.kernel.specification import ProcessSpec
from llmagentos.records.calls import Opinion
from llmagentos.records.generation import Sampling
from llmagentos.records.process import Limits
from llmagentos.records.task import Task
from llmagentos.store.store import Store
from llmagentos.tools.permissions import Permissions, Rule
from llmagentos.tools.tool import Tool
from llmagentos.tools.toolbox import Toolbox

CRASHING = '''
"""What the killed child and the resuming parent share."""
import hashlib, os, random, sys, time
from pathlib import Path

import gymnasium

from llmagentos.kernel.kernel import Kernel
from llmagentos.kernel.specification import ProcessSpec
from llmagentos.models.rendering import Renderer
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.records.calls import Act, CallTool, Generate, Now, Observe, Random
from llmagentos.records.message import Message, ToolCall
from llmagentos.records.task import Task
from llmagentos.store.store import Store
from llmagentos.tools.permissions import Permissions, Rule
from llmagentos.tools.tool import Tool
from llmagentos.tools.toolbox import Toolbox

LEDGER = Path(os.environ["LEDGER"])


class Echo(gymnasium.Env):
    action_space = observation_space = gymnasium.spaces.Text(100)

    def reset(self, *, seed=None, options=None):
        self.seen = [seed]
        return f"start {seed}", {}

    def step(self, action):
        self.seen.append(action)
        digest = hashlib.sha256(repr(self.seen).encode()).hexdigest()[:8]
        done = len(self.seen) > 5
        return f"seen {digest}", 1.0, done, False, {"success": done}


def book(line: str) -> str:
    """Append a line."""
    with LEDGER.open("a") as file:
        file.write(line + "\\n")
    time.sleep(0.002)
    return "booked " + line


def worker(number: int):
    seen = yield from Observe()
    observation, chance = seen.text, []
    for turn in range(5):
        reply = yield from Generate((Message("user", observation, outside=True),))
        chance.append((yield from Random()))
        booked = yield from CallTool(ToolCall("book", {"line": f"{number}-{turn}"}))
        assert not booked.error, booked.error
        result = yield from Act(f"{reply.text} {chance[-1]:.6f}")
        observation = result.observation
        chance.append((yield from Now()))
    return chance


def replies(prompt):
    return "r" + hashlib.sha256(prompt.encode()).hexdigest()[:4]


def kernel(store, model, record):
    engine = ScriptedEngine(Renderer(Path(model)), replies, delay=0.005)
    return Kernel(
        store, engine, environment=lambda task: Echo(), record=record,
        toolbox=Toolbox([Tool.of(book, effect=True)]), permissions=Permissions([Rule("book", "allow")]),
    )


def specs():
    return [ProcessSpec("crashing:worker", {"number": n}, Task("Echo-v0", n), labels={"n": str(n)}) for n in range(40)]


if __name__ == "__main__":
    sys.modules["crashing"] = sys.modules["__main__"]
    from llmagentos.experience.episodes import Episodes
    store = Store.open(Path(sys.argv[1]))
    running = kernel(store, sys.argv[2], Episodes(store).add)
    handles = [running.submit(spec) for spec in specs()]
    print("submitted", flush=True)
    for handle in handles:
        handle.result()
    print("finished", flush=True)
'''


@pytest.fixture
def crashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "crashing.py").write_text(CRASHING)
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import crashing

    yield crashing
    sys.modules.pop("crashing", None)


def kill_in_the_middle(tmp_path: Path, model: Path, lines: int) -> None:
    """Run the child and kill -9 it when its ledger has about `lines` lines."""
    ledger = tmp_path / "ledger"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "LEDGER": str(ledger)}
    command = [sys.executable, str(tmp_path / "crashing.py"), str(tmp_path / "home"), str(model)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "submitted\n"
    deadline = time.monotonic() + 60
    while not ledger.exists() or len(ledger.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


@pytest.mark.parametrize("lines", [20, 90])
def test_kill_in_the_middle_loses_nothing_and_does_nothing_twice(
    crashing: Any, tmp_path: Path, tiny_model: Path, lines: int
) -> None:
    kill_in_the_middle(tmp_path, tiny_model, lines)
    with Store.open(tmp_path / "home") as store:
        before = {info.id: journaled(store, info.id) for info in store.processes.list(limit=None)}
        assert len(before) == 40
        episodes = Episodes(store)
        kernel = crashing.kernel(store, tiny_model, episodes.add)
        resumed = kernel.resume()
        assert len(resumed) >= 20  # the kill came in the middle of their work
        for handle in resumed:
            handle.result(30)
        assert kernel.resume() == []
        kernel.close()
        found = episodes.select()
        assert sorted(int(episode.labels["n"]) for episode in found) == list(range(40))
        written = (tmp_path / "ledger").read_text().splitlines()
        assert len(written) == len(set(written))
        for episode in found:
            number = episode.labels["n"]
            mine = [line for line in written if line.startswith(f"{number}-")]
            if episode.outcome == "finished":
                assert mine == [f"{number}-{turn}" for turn in range(5)]
                assert episode.success
            else:
                assert episode.outcome == "unknown"
                assert "book" in episode.error
            assert_kept(before[episode.process], journaled(store, episode.process), episode)
        unknown = [episode for episode in found if episode.outcome == "unknown"]
        assert len(unknown) <= 4  # at most what the four workers were doing when they were killed
        assert len(found) - len(unknown) >= 36


class Stage(gymnasium.Env[str, str]):
    """Three turns of echo."""

    action_space = observation_space = gymnasium.spaces.Text(100)
    replayable = True
    word = "heard"

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = 0
        return f"start {seed}", {"instructions": "Count."}

    def step(self, action: str) -> Any:
        self.count += 1
        return f"{self.word} {action} ({self.count})", 0.0, self.count > 2, False, {}


class Changed(Stage):
    word = "now heard"


class Live(Stage):
    replayable = False


def journaled(store: Store, process: str) -> list[Any]:
    return [(entry.kind, entry.body) for entry in store.journal.entries(process)]


def assert_kept(before: list[Any], after: list[Any], episode: Any) -> None:
    """The journal only grew, and the transcript holds every journaled token."""
    assert after[: len(before)] == before
    sampled = [
        token
        for kind, body in after
        if kind == "result" and isinstance(body.get("value"), dict) and "tokens" in body["value"]
        for token in body["value"]["tokens"]
    ]
    segments = [token for s in episode.transcript.segments if s.origin == "sampled" for token in s.tokens]
    assert segments == sampled


class Hold:
    """Replies that stop at the first prompt with `word` in it until they are let go."""

    def __init__(self, before: str, after: str, word: str = "heard") -> None:
        self.before, self.after, self.word = before, after, word
        self.reached, self.release = threading.Event(), threading.Event()

    def __call__(self, prompt: str) -> str:
        if self.word not in prompt:
            return self.before
        self.reached.set()
        self.release.wait(30)
        return self.after

    def crash(self, kernel: Any) -> None:
        """Leave the kernel as a kill would once the held prompt is there: nothing more is written."""
        assert self.reached.wait(30)
        kernel.close()
        self.release.set()


def interrupted(build: Any, spec: ProcessSpec, hold: Hold | None = None, **options: Any) -> None:
    """Run `spec` until its held generation, then stop."""
    hold = hold or Hold("ok", "ok")
    kernel = build(hold, **options)
    kernel.submit(spec)
    hold.crash(kernel)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"constrained": True}, {"abstain": {"below": 0.5, "words": "unsure"}}, {"classifier": "d1"}],
    ids=lambda one: str(one),
)
def test_resumed_run_equals_the_uninterrupted_one(build: Any, store: Any, arguments: dict[str, Any]) -> None:
    from llmagentos.kernel.kernel import Kernel

    def classify(text: str, digest: str) -> Opinion:
        return Opinion(("left",), (0.0,), 99.0)

    task = Task("Counter-v0", 5, options={"turns": 4})
    spec = ProcessSpec("react", arguments, task=task, sampling=Sampling(seed=9, temperature=1.0))
    whole = build(lambda prompt: f"n{len(prompt)}", classify=classify).submit(spec).result(10)

    class Third(Hold):
        count = 0

        def __call__(self, prompt: str) -> str:
            self.count += 1
            return super().__call__(prompt) if self.count > 2 else f"n{len(prompt)}"

    hold = Third("", "never seen", "")
    kernel: Kernel = build(hold, classify=classify)
    handle = kernel.submit(spec)
    hold.crash(kernel)
    again = build(lambda prompt: f"n{len(prompt)}", classify=classify)
    (resumed,) = again.resume()
    episode = resumed.result(10)
    assert resumed.id == handle.id
    assert episode.transcript == whole.transcript
    assert episode.steps == whole.steps
    requests = again._interpreter._answers._services.engine.requests
    assert len(requests) == 2
    assert all([tool.name for tool in request.tools] == ["open_door"] for request in requests)
    assert all((request.sampling.grammar is not None) == ("constrained" in arguments) for request in requests)
    assert [step.action == "unsure" for step in whole.steps] == ["abstain" in arguments] * 4
    assert store.processes.get(handle.id).state == "finished"


def test_resumed_run_keeps_to_the_replies_that_were_last_named(build: Any) -> None:
    task = Task("Counter-v0", 5, options={"turns": 4, "replies": ["first", "second"]})
    spec = ProcessSpec("react", {"constrained": True}, task=task)
    hold = Hold("ok", "ok")
    kernel = build(hold)
    kernel.submit(spec)
    hold.crash(kernel)
    again = build(lambda prompt: "ok")
    (resumed,) = again.resume()
    episode = resumed.result(10)
    grammars = [one.grammar.text for one in episode.transcript.segments if one.grammar is not None]
    assert grammars == ["first", "second", "second", "second"]
    requests = again._interpreter._answers._services.engine.requests
    assert {request.sampling.grammar.text for request in requests} <= {"first", "second"}


def test_environment_that_answers_differently_ends_as_unknown(build: Any) -> None:
    interrupted(build, ProcessSpec("react", task=Task("Counter-v0", 1)), environment=lambda task: Stage())
    kernel = build(environment=lambda task: Changed())
    (handle,) = kernel.resume()
    episode = handle.result(10)
    assert episode.outcome == "unknown"
    assert "answered a journaled action differently" in episode.error
    assert [step.action for step in episode.steps] == ["ok"]
    assert any(segment.origin == "sampled" for segment in episode.transcript.segments)


def test_environment_that_is_not_replayable_ends_as_unknown(build: Any) -> None:
    interrupted(build, ProcessSpec("react", task=Task("Counter-v0", 1)), environment=lambda task: Live())
    (handle,) = build(environment=lambda task: Live()).resume()
    assert handle.result(10).outcome == "unknown"
    assert "not replayable" in handle.result(1).error


def test_closure_ends_as_unknown_with_what_it_had_done(build: Any) -> None:
    from llmagentos.programs.react import react

    interrupted(build, ProcessSpec(lambda: react(), task=Task("Counter-v0", 1)))
    (handle,) = build().resume()
    episode = handle.result(10)
    assert episode.outcome == "unknown"
    assert "closure" in episode.error
    assert len(episode.steps) == 1
    assert episode.observation == "start 1"


def test_changed_program_ends_as_unknown(build: Any, store: Any) -> None:
    from dataclasses import replace

    interrupted(build, ProcessSpec("react", task=Task("Counter-v0", 1)))
    (info,) = store.processes.list()
    store.processes.put(replace(info, digest="0" * 64))
    (handle,) = build().resume()
    assert "source of its program" in handle.result(10).error


def test_denied_action_is_replayed_as_denied(build: Any) -> None:
    permissions = Permissions([Rule("open_door", "deny")])
    spec = ProcessSpec("react", task=Task("Counter-v0", 1))
    interrupted(build, spec, Hold('{"open_door": {}}', "late", "Denied"), permissions=permissions)
    (handle,) = build(lambda prompt: "fine", permissions=permissions).resume()
    episode = handle.result(10)
    assert episode.outcome == "finished"
    assert "PermissionDenied" in episode.steps[0].observation
    assert episode.steps[1].observation == "heard fine (1)"


@pytest.mark.parametrize("idempotent", [True, False])
def test_interrupted_effect_is_repeated_only_with_a_key(build: Any, tmp_path: Path, idempotent: bool) -> None:
    calls: list[str] = []
    begun, release = threading.Event(), threading.Event()

    def pay_once(amount: int, idempotency_key: str) -> str:
        calls.append(idempotency_key)
        begun.set()
        release.wait(30)
        return "paid"

    def pay(amount: int) -> str:
        return pay_once(amount, "none")

    def toolbox() -> Toolbox:
        return Toolbox([Tool.of(pay_once if idempotent else pay, name="pay", effect=True)])

    allow = Permissions([Rule("pay", "allow")])
    first = build(
        lambda prompt: '{"pay": {"amount": 3}}' if "paid" not in prompt else "done",
        toolbox=toolbox(),
        permissions=allow,
    )
    first.submit(ProcessSpec("react", {"goal": "pay", "tools": [{"name": "pay"}]}))
    assert begun.wait(30)
    first.close()
    release.set()
    (handle,) = build(lambda prompt: "done", toolbox=toolbox(), permissions=allow).resume()
    episode = handle.episode(10)
    assert episode.outcome == ("finished" if idempotent else "unknown")
    assert len(calls) == (2 if idempotent else 1)
    assert len(set(calls)) == 1


def test_end_in_the_journal_is_kept_without_running_again(build: Any, store: Any, recorded: list[Any]) -> None:
    def refuse(episode: Any) -> None:
        raise OSError("killed here")

    kernel = build(record=refuse)
    with pytest.raises(OSError, match="killed here"):
        kernel.submit(ProcessSpec("react", task=Task("Counter-v0", 1))).result(10)
    (handle,) = build(lambda prompt: 1 // 0).resume()  # type: ignore[arg-type, return-value]
    episode = handle.result(10)
    assert (episode.outcome, episode.success, len(episode.steps)) == ("finished", True, 3)
    assert recorded == [episode]
    assert build().resume() == []


def test_children_of_a_crash_are_resumed_with_their_parent(
    build: Any, renderer: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "family.py").write_text(
        "from llmagentos.records.calls import Spawn, Wait\n"
        "def parent():\n"
        "    child = yield from Spawn('chat', {'messages': [{'role': 'user', 'content': 'x'}]})\n"
        "    return (yield from Wait(child))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    interrupted(build, ProcessSpec("family:parent"), Hold("", "late", "x"))
    handles = build(lambda prompt: "hello").resume()
    assert sorted(handle.result(10) for handle in handles) == ["hello", "hello"]
    sys.modules.pop("family", None)


def test_sleep_goes_on_where_it_was(build: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "sleeper.py").write_text(
        "from llmagentos.records.calls import Sleep\ndef nap():\n    yield from Sleep(1.5)\n    return 'rested'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    kernel = build()
    handle = kernel.submit(ProcessSpec("sleeper:nap"))
    while handle.state != "waiting":
        time.sleep(0.01)
    kernel.close()
    time.sleep(1.5)
    started = time.monotonic()
    (handle,) = build().resume()
    assert handle.result(10) == "rested"
    assert time.monotonic() - started < 1.4
    sys.modules.pop("sleeper", None)


def test_budget_of_a_resumed_process_counts_what_it_had_used(build: Any) -> None:
    spec = ProcessSpec("react", task=Task("Counter-v0", 1, options={"turns": 50}), limits=Limits(steps=3))
    interrupted(build, spec)
    (handle,) = build().resume()
    assert len(handle.result(10).steps) == 3
    assert handle.result(1).outcome == "truncated"
