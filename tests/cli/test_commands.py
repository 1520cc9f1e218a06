"""Single commands: what they print is what the system holds."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmagentos.agentos import AgentOS
from llmagentos.cli.demo import MARK, own_home
from llmagentos.cli.main import run
from llmagentos.errors import ConfigError
from llmagentos.records.release import Interval, SkillCheck, Verdict

FACT = "The shop opens at nine."


@pytest.fixture
def home(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LLMAGENTOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMAGENTOS_MODEL", str(tiny_model))
    yield tmp_path / "home"
    AgentOS(tmp_path / "home").close()


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [["ps"], ["agents"], ["skills"], ["environments"], ["models", "list"], ["models", "show"], ["releases", "list"],
     ["releases", "show", "live"], ["releases", "diff", "r0", "r0"], ["data", "list"], ["knowledge", "ask", "x"],
     ["doctor", "--offline"], ["feedback", "list"]],
    ids=" ".join,
)  # fmt: skip
def test_listing_is_json_on_request(arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run([*arguments, "--json"])
    assert isinstance(printed(capsys), list | dict)


def test_file_of_requests_is_read_as_told_and_says_what_will_be_hard(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Embedder:
        def embed(self, texts: list[str]) -> list[list[float]]:
            return [[1.0, 0.5] for _ in texts]

    monkeypatch.setattr(AgentOS, "embedder", Embedder())
    said = "go to the settings and choose the page that is called billing and then log out"
    lines = [{"mail": f"Mail {n}", "desk": n % 2, "reply": said, "number": f"n{n}"} for n in range(150)]
    path = tmp_path / "mails.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    told = ["data", "check", str(path), "-o", "request=mail"]
    assert run([*told, "-o", "label=desk"]) == 0
    shown = capsys.readouterr().out
    assert "read as: request from mail, label from desk" in shown
    assert "The labels are numbers" in shown
    assert run([*told, "-o", "answer=reply"]) == 0
    assert "Answers have 16 words in the middle" in capsys.readouterr().out
    assert run([*told, "-o", "answer=reply", "-o", "alike=0.7"]) == 0
    assert "Answers have" not in capsys.readouterr().out
    assert run([*told, "-o", "label=number"]) == 0
    assert "labels occur once" in capsys.readouterr().out
    with path.open("a") as file:
        file.write('{"mail": "no label"}\n' * 7)
    assert run([*told, "-o", "label=desk", "--most", "5"]) == 0
    again = f"and 2 more; llmagentos data check {path} --option request=mail --option label=desk --most 7 lists them"
    assert again in " ".join(capsys.readouterr().out.split())
    for wrong, reason in (("label", "NAME=VALUE"), ("colour=red", "no option 'colour'")):
        assert run([*told, "-o", wrong]) != 0
        assert reason in capsys.readouterr().err
    assert run(["learn", "SupportDesk-v0", "-o", "label=desk"]) == 2
    assert "--option goes with --data FILE" in capsys.readouterr().err


def test_fact_is_added_and_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["knowledge", "add", FACT, "--source", "owner"]) == 0
    assert "added" in capsys.readouterr().out
    assert run(["knowledge", "ask", "when does the shop open", "--json"]) == 0
    (found,) = printed(capsys)
    assert (found["fact"]["statement"], found["fact"]["source"]) == (FACT, "owner")


def test_documents_are_added_and_listed(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("The shop pays the money back within a week.")
    assert run(["data", "add", str(tmp_path / "a.txt")]) == 0
    assert "1 documents added" in capsys.readouterr().out
    assert run(["data", "list", "--json"]) == 0
    assert [document["title"] for document in printed(capsys)] == ["The shop pays the money back within a week."]


def test_requests_are_looked_through_for_what_does_not_fit(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [("refund", "money"), ("track", "parcel")] * 60
    lines = [{"text": f"{word} {n}", "label": label} for n, (label, word) in enumerate(asked)]
    lines.append({"text": "money planted", "label": "track", "split": "train"})
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    class Embedder:
        def embed(self, texts: list[str]) -> list[list[float]]:
            return [[float("money" in text), float("parcel" in text), 0.1] for text in texts]

    monkeypatch.setattr(AgentOS, "embedder", Embedder())
    assert run(["data", "check", str(path), "--json"]) == 0
    said, shown = capsys.readouterr()
    assert "reading tickets.jsonl" in shown
    (found,) = json.loads(said)
    assert (found["request"], found["says"], found["neighbours_say"]) == ("money planted", "track", "refund")
    assert run(["data", "check", str(path)]) == 0
    said, shown = capsys.readouterr()
    assert "'money planted' expects track" in said.replace("\n", " ")
    assert "1 of " in said
    assert "comparing requests" in shown
    assert run(["data", "check", str(path), "--look-at", "40"]) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert " of 40 training requests look wrong." in said
    assert "more were not looked at; --look-at" in said
    assert run(["data", "check", str(tmp_path / "none.jsonl")]) == 2


def test_run_prints_and_keeps_its_episodes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "Drills-v0", "--tasks", "2", "--max-tokens", "4", "--json"]) == 0
    played = printed(capsys)
    assert len(played) == 2
    with AgentOS(home) as system:
        assert {episode["id"] for episode in played} == {episode.id for episode in system.episodes.select()}
    assert run(["ps", "--state", "finished", "--json"]) == 0
    assert len(printed(capsys)) == 2


def test_run_that_cannot_finish_fails(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text(
        "import gymnasium\n"
        "from gymnasium import spaces\n"
        "class Broken(gymnasium.Env):\n"
        "    observation_space = action_space = spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None): raise RuntimeError('no world today')\n"
        "gymnasium.register('Broken-v0', entry_point=Broken)\n"
    )
    assert run(["run", f"{tmp_path / 'broken.py'}:Broken-v0"]) == 1
    assert "no world today" in capsys.readouterr().err


def test_rewards_that_are_no_numbers_fail_their_runs_alone(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.py").write_text(
        "import gymnasium\n"
        "from gymnasium import spaces\n"
        "class Odd(gymnasium.Env):\n"
        "    action_space = observation_space = spaces.Text(1000, min_length=0, charset='')\n"
        "    action_space.contains = lambda text: True\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        Odd.made = getattr(Odd, 'made', 0) + 1\n"
        "        self.reward = [float('nan'), float('inf'), 1.0][Odd.made % 3]\n"
        "        return 'go', {}\n"
        "    def step(self, action): return 'done', self.reward, True, False, {'success': True}\n"
        "gymnasium.register('Odd-v0', entry_point=Odd)\n"
    )
    assert run(["run", f"{tmp_path / 'odd.py'}:Odd-v0", "--tasks", "3", "--max-tokens", "4", "--json"]) == 0
    played = printed(capsys)
    assert sorted(one["outcome"] for one in played) == ["failed", "failed", "finished"]
    assert all("A reward is a finite number" in one["error"] for one in played if one["outcome"] == "failed")
    with AgentOS(home) as system:
        assert len(system.episodes.select()) == 3


def test_split_without_tasks_is_told(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.py").write_text(
        "import gymnasium\n"
        "from llmagentos.environments.language import LanguageEnvironment\n"
        "class Untasked(LanguageEnvironment):\n"
        "    def __init__(self): super().__init__('Untasked-v0')\n"
        "    def tasks(self, split, count, seed=0): return []\n"
        "gymnasium.register('Untasked-v0', entry_point=Untasked)\n"
    )
    assert run(["run", f"{tmp_path / 'none.py'}:Untasked-v0"]) == 2
    assert "no tasks in the split train" in capsys.readouterr().err


def test_chat_answers_each_line(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n\n/new\nagain\n"))
    assert run(["chat", "--max-tokens", "4"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 2
    with AgentOS(home) as system:
        dialogues = [info.arguments["messages"] for info in system.ps()]
    assert dialogues == [[{"role": "user", "content": "again"}], [{"role": "user", "content": "hello"}]]


def test_chat_keeps_the_dialogue(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\nagain\n"))
    assert run(["chat", "--max-tokens", "4", "--system", "Be brief."]) == 0
    with AgentOS(home) as system:
        roles = [message["role"] for message in system.ps()[0].arguments["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_chat_asks_a_skill_and_takes_a_label_as_correction(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": f"request {n}", "label": ("refund", "delay")[n % 2]} for n in range(200)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    skill = f"Requests-v0?data={tmp_path / 't.jsonl'}"
    said = "My parcel is late.\n/correct dellay\n/correct Delay\nAnother one.\n/good\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    assert run(["chat", "--skill", skill]) == 0
    assert "no tool 'dellay'. Some that there are: delay" in capsys.readouterr().err
    assert run(["feedback", "list", "--json"]) == 0
    corrected, good = printed(capsys)
    assert (corrected["text"], good["kind"]) == ('{"delay": {}}', "good")
    with AgentOS(home) as system:
        asked = [system.episodes.get(one["episode"]).task for one in (corrected, good)]
        shown = system.episodes.get(corrected["shown"])
        assert system.cycle.unheeded(asked[0].skill) == {shown.id}
    assert [task.options["asked"] for task in asked] == [["My parcel is late."], ["Another one."]], "each one anew"
    assert shown.transcript.segments[-1] == system.engine.renderer.force('{"delay": {}}')
    assert run(["chat", "--skill", skill, "--system", "Be brief."]) == 2
    assert run(["chat", "--skill", "SupportDesk-v0", "-m", "hello"]) == 2
    assert "tasks of its own" in capsys.readouterr().err


def test_model_is_shown_and_verified(home: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", str(tiny_model), "--verify"]) == 0
    assert "LlamaForCausalLM" in capsys.readouterr().out


def test_doctor_finds_a_home_that_cannot_be_written(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(["--home", str(tmp_path / "file" / "home"), "doctor", "--offline"]) == 1
    said = capsys.readouterr().out
    assert "✗ Home" in said
    assert "LLMAGENTOS_HOME" in said


def test_doctor_is_content_with_a_good_machine(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["knowledge", "add", FACT])
    assert run(["doctor", "--offline"]) == 0
    said = capsys.readouterr().out
    for what in ("Python", "PyTorch", "Processor", "Memory", "Disk", "Home", "Owner", "Store", "Model", "Embeddings"):
        assert what in said


def test_verdict_is_shown_with_its_checks(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from llmagentos.cli.releases import show_verdict

    check = SkillCheck("Drills-v0", 100, 0.5, 0.4, "r1", Interval(0.1, 0.04, 0.16), "gain", True)
    show_verdict(Verdict("c1", False, "KL is over its budget.", (check,), 0.3, 0.1))
    said = capsys.readouterr().out
    assert "refused: KL is over its budget." in said
    assert "+10.0 [+4.0, +16.0]" in said
    assert "40.0 % (r1)" in said


def test_demo_has_a_home_of_its_own_with_the_shared_models(tmp_path: Path) -> None:
    (tmp_path / "shared" / "models" / "m").mkdir(parents=True)
    home = own_home(tmp_path / "out", tmp_path / "shared")
    assert (home / "models" / "m").is_dir()
    (home / "llmagentos.db").write_text("an earlier demo's")
    assert own_home(tmp_path / "out", tmp_path / "shared") == home
    assert not (home / "llmagentos.db").exists()
    assert (tmp_path / "shared" / "models" / "m").is_dir()


def test_demo_never_clears_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "out" / "home").mkdir(parents=True)
    (tmp_path / "out" / "home" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="--out"):
        own_home(tmp_path / "out", tmp_path / "shared")
    assert (tmp_path / "out" / "home" / "thesis.txt").read_text() == "mine"
    assert MARK.startswith(".")


def test_environment_variable_chooses_the_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["knowledge", "add", FACT]) == 0
    assert (home / "llmagentos.db").exists()


@pytest.mark.parametrize("word", ["/quit", "/exit", "/bye"])
def test_chat_is_left_by_a_word(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{word}\nWhere is my order?\n"))
    assert run(["chat", "--max-tokens", "4"]) == 0
    assert capsys.readouterr().out == "", "nothing behind it is asked"


def test_chat_takes_thumbs_and_corrections(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "/good\nWhere is my order?\n/help\n/bad\n/correct It is on its way.\nAnd the other?\n/correct\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    assert run(["chat", "--max-tokens", "4"]) == 0
    out, told = capsys.readouterr()
    assert "no answer yet" in told
    assert "There is no /help. There are: /good, /bad, /correct, /better, /new, /quit." in told
    assert "needs the right text" in told
    assert "correction by" in out
    assert run(["feedback", "list", "--json"]) == 0
    bad, corrected = printed(capsys)
    assert (bad["kind"], corrected["kind"], corrected["text"]) == ("bad", "correction", "It is on its way.")
    assert bad["episode"] == corrected["episode"]
    with AgentOS(home) as system:
        last = system.episodes.select(limit=5)[0]
        spoken = "".join(system.engine.renderer.decode(segment.tokens) for segment in last.transcript.segments)
    assert "It is on its way." in spoken, "the dialogue goes on from what should have been said"
    assert run(["feedback", "withdraw", bad["id"], "--reason", "a slip"]) == 0
    assert run(["feedback", "add", bad["episode"], "--good", "--reviewer", "ann"]) == 0
    capsys.readouterr()
    assert run(["feedback", "list", "--withdrawn"]) == 0
    assert "a slip" in capsys.readouterr().out
    assert run(["feedback", "add", bad["episode"], "--good", "--better", "x"]) == 2
    assert run(["feedback", "add", bad["episode"]]) == 2
