"""The command line as a whole: help, wrong usage, errors, interruption, a home in use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from llmagentos.agentos import AgentOS
from llmagentos.cli.main import COMMANDS, cli, run
from llmagentos.errors import StoreError

HOLD = """
import sys, time
from pathlib import Path
from llmagentos.store.lock import HomeLock
with HomeLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
READING = [
    ["ps"], ["agents"], ["skills"], ["environments"], ["models", "list"], ["releases", "list"],
    ["releases", "show", "live"], ["releases", "diff", "r0", "r0"], ["data", "list"], ["knowledge", "ask", "shop"],
]  # fmt: skip
WRITING = [
    ["knowledge", "add", "The shop closes at six."], ["data", "add", __file__], ["releases", "rollback", "r0"],
    ["run", "Drills-v0"], ["learn", "Drills-v0"], ["evaluate", "Drills-v0"], ["chat", "-m", "hello"],
]  # fmt: skip


def paths(group: click.Group, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and sub-command, as typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*at, name)
        if isinstance(command, click.Group):
            yield from paths(command, (*at, name))


EVERY = [list(path) for path in paths(cli)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMAGENTOS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def used_home(home: Path) -> Iterator[Path]:
    """A home with a fact in it that another process owns."""
    with AgentOS(home) as system:
        system.knowledge.add("The shop opens at nine.", source="test")
        _ = system.releases.live()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        yield home
        owner.kill()


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_help_page_says_what_a_command_does(path: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"Usage: llmagentos {' '.join(path)}")
    described = [line for line in page.splitlines()[2:] if line.startswith("  ")]
    assert described
    assert described[0].strip()


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_option_says_what_it_does(path: list[str]) -> None:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts}"


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_unknown_option_fails(path: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err
    assert not home.exists()


def test_listing_names_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    page = capsys.readouterr().out
    for name, (_, summary) in COMMANDS.items():
        assert name in page
        assert summary.split()[0] in page


def test_package_is_a_command_and_lists_what_else_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "llmagentos", "environments"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "./my_env.py:MyEnv-v0" in done.stdout


def test_unknown_learner_is_answered_before_anything_is_loaded(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["learn", "Drills-v0", "--learner", "imitatoin"]) == 2
    assert "Choose one of: auto, imitation" in capsys.readouterr().err
    assert not home.exists()


def test_unknown_command_is_answered_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lern"]) == 2
    assert "learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "NoSuch-v0"], 2, "Available: SupportDesk-v0"),
        (["--model", "gpt-3", "agents"], 2, "LLMAGENTOS_REMOTE_URL"),
        (["--model", "no such model", "agents"], 2, "hub name"),
        (["releases", "show", "r9"], 2, "Available: r0"),
        (["releases", "rollback", "r9"], 2, "Available: r0"),
        (["data", "add", "no/such/file"], 2, "text file"),
        (["data", "add", "http://127.0.0.1/"], 1, "public internet"),
        (["run"], 2, "SupportDesk-v0"),
        (["learn"], 2, "--env"),
        (["demo", "--full", "--quick"], 2, "not both"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_error_is_one_line_with_its_exit_code(
    arguments: list[str], code: int, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    answer = capsys.readouterr()
    assert said in answer.err
    assert "Traceback" not in answer.err + answer.out


def test_debugging_shows_where_an_error_came_from(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAGENTOS_DEBUG", "1")
    with pytest.raises(Exception, match="No release named"):
        run(["releases", "show", "r9"])


def test_fault_of_the_program_is_not_disguised(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AgentOS, "ps", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(["ps"])


def test_interruption_ends_with_130_and_says_what_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AgentOS, "ps", interrupted)
    assert run(["ps"]) == 130
    assert "kept" in capsys.readouterr().err


def test_damaged_database_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with AgentOS(home) as system:
        system.knowledge.add("The shop opens at nine.", source="test")
    (home / "llmagentos.db").write_bytes(b"not a database" * 1000)
    assert run(["ps"]) == StoreError.exit_code
    assert "llmagentos.db" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_command_works_beside_the_owner(
    arguments: list[str], used_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0, capsys.readouterr().err
    if arguments[0] == "knowledge":
        assert "opens at nine" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", WRITING, ids=lambda arguments: arguments[0])
def test_writing_command_names_the_owner_and_changes_nothing(
    arguments: list[str], used_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 1
    said = capsys.readouterr().err
    assert "kill " in said
    assert "LLMAGENTOS_HOME" in said


def test_new_home_is_listed_as_empty(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ps"]) == 0
    assert "none yet" in capsys.readouterr().out


def test_reader_that_leaves_early_is_no_error(home: Path) -> None:
    command = f"{sys.executable} -m llmagentos.cli.main environments | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
