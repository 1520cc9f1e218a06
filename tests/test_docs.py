"""The documentation is true: blocks run, links lead somewhere, commands, settings and targets are all described."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmagentos.agentos import AgentOS
from llmagentos.cli.main import run
from llmagentos.cli.reference import reference
from llmagentos.data import sources
from llmagentos.data.web import Page
from llmagentos.models.rendering import Renderer
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.release import Verdict

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PAGE_TEXT = b"<html><body><p>" + b"The shop pays the money back within a week. " * 5 + b"</p></body></html>"


def blocks(language: str) -> list[Any]:
    """Every fenced block of a language, named by page and number."""
    found = []
    for page in PAGES:
        fenced = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
        found += [pytest.param(text, id=f"{page.name}-{number}") for number, text in enumerate(fenced, 1)]
    return found


class QuickCycle:
    """Says at once what learning would say after minutes."""

    def learn(self, environment: str, **options: Any) -> Verdict:
        return Verdict("c1", False, f"no gain on {environment}")

    def study(self, documents: Any, *rest: Any) -> Verdict:
        assert documents
        return Verdict("c2", True, "lower loss")

    def evaluate(self, environment: str, **options: Any) -> str:
        return f"{environment}: 12 % [5, 21]"


@pytest.fixture
def machine(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, a model that always says the same, learning that takes no time, one page on the web."""
    monkeypatch.setenv("LLMAGENTOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMAGENTOS_MODEL", str(tiny_model))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
        TorchEngine, "load", lambda folder, **options: ScriptedEngine(Renderer(tiny_model), lambda prompt: "print(1)")
    )
    monkeypatch.setattr(AgentOS, "cycle", property(lambda system: QuickCycle()))
    monkeypatch.setattr(sources, "fetch", lambda url, limits: Page(url, PAGE_TEXT, "text/html", "utf-8"))
    known = AgentOS.library.fget  # type: ignore[attr-defined]
    here = lambda system: _Library(known(system), tiny_model)  # noqa: E731
    monkeypatch.setattr(AgentOS, "library", property(here))
    yield tmp_path
    AgentOS(tmp_path / "home").close()


class _Library:
    """The library with the default model in place."""

    def __init__(self, library: Any, folder: Path) -> None:
        self._library, self._folder = library, folder

    def show(self, name: str) -> Any:
        return self._library.show(str(self._folder))


@pytest.mark.parametrize("block", blocks("python"))
def test_python_block_runs(block: str, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmagentos.runtime.Runtime._folder", lambda runtime, name, show: machine)
    exec(compile(block, "block", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", blocks("sh"))
def test_shell_block_runs(block: str, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "make":
            assert set(words[1:]) <= targets
            continue
        assert words[0] == "llmagentos", line
        assert run(words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_listed() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md" and page.name not in index
    ] == []


def test_reference_of_commands_is_current() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference(), "Write it again: make docs"


def test_every_environment_variable_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    used = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"LLMAGENTOS_[A-Z_]+", path.read_text(encoding="utf-8"))
    }
    assert "LLMAGENTOS_HOME" in used
    assert {name for name in used if f"`{name}`" not in page} == set()


def test_every_command_that_an_error_names_exists() -> None:
    from llmagentos.cli.main import COMMANDS

    named = {
        (path.name, word)
        for path in (ROOT / "src").rglob("*.py")
        for word in re.findall(r"[:`] ?llmagentos ([a-z]+)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert {(name, word) for name, word in named if word not in COMMANDS} == set()


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_locks_pin_everything_without_local_tags() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)] == []
        assert "torch==2.13.0" in lines
        assert [line for line in lines if line.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_locks_cover_what_the_project_asks_for() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {
        "requirements.lock": project["dependencies"],
        "requirements-dev.lock": project["dependencies"] + project["optional-dependencies"]["dev"],
    }
    for name, wanted in asked.items():
        locked = {line.partition("==")[0] for line in (ROOT / name).read_text(encoding="utf-8").splitlines()}
        names = {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower().replace("_", "-") for one in wanted}
        assert names - locked == set(), name
