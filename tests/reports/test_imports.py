"""Heavy libraries load when something is drawn or computed, not when a module is imported."""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    "llmagentos.evaluation.gate, llmagentos.evaluation.suite, llmagentos.reports.page, llmagentos.reports.terminal"
)


def test_importing_evaluation_and_reports_loads_nothing_heavy():
    code = f"import sys, {MODULES}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "matplotlib", "jinja2", "rich", "msgspec", "torch", "transformers", "sqlalchemy", "gymnasium"}
    assert "llmagentos" in loaded
    assert not heavy & set(loaded)
