"""What is loaded when: the import and the help page stay light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import llmagentos

HEAVY = (
    "torch",
    "transformers",
    "sqlalchemy",
    "gymnasium",
    "numpy",
    "alembic",
    "matplotlib",
    "trafilatura",
    "tokenizers",
)
LOADED = (
    "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
)


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `code`."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import llmagentos").isdisjoint({*HEAVY, "click", "rich", "msgspec"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(f"from llmagentos.cli.main import run\nrun({arguments!r})")
    assert loaded.isdisjoint({*HEAVY, "rich"})
    assert "click" in loaded


def test_check_of_loaded_modules_can_fail() -> None:
    assert "numpy" in loaded_by("import numpy")


def test_root_names_load_on_first_use() -> None:
    assert set(dir(llmagentos)) == {"LLM", "Agent", "AgentOS", "__version__"}
    loaded = loaded_by("import llmagentos\nassert llmagentos.Agent and llmagentos.AgentOS and llmagentos.LLM")
    assert loaded.isdisjoint({"torch", "transformers", "gymnasium", "sqlalchemy"})


def test_unknown_root_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="Agent, AgentOS"):
        _ = llmagentos.Manager


def test_every_module_says_what_it_is() -> None:
    package = Path(llmagentos.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if "migrations" not in path.parts:
            assert path.read_text(encoding="utf-8").lstrip().startswith('"""'), f"{path} has no docstring"
