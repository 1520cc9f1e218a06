"""Real data that lies beside the project, where it does."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def clinc() -> Path:
    """150 intents of real assistant requests (github clinc/oos-eval, CC BY 3.0)."""
    folder = DATA / "clinc150"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: real requests are kept outside the repository")
    return folder
