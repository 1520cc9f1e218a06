"""Where a learner's state lies between a kill and its resumption: one file, replaced whole.

In: a state of tensors, numbers, text, lists and dicts. Out: the same state, or None. Tensors as safetensors, the rest
as JSON in its header: nothing is ever unpickled. It does not know what the state means.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from llmagentos.errors import LearningError


class FileCheckpoint:
    """A checkpoint in a file; its folder is made when first saved to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """The saved state, None without one. `LearningError` when the file is damaged."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
                state = _place(json.loads(file.metadata()["state"]), tensors)
            if not isinstance(state, dict):
                raise ValueError(f"it holds a {type(state).__name__} instead of a state")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise LearningError(
                f"The checkpoint {self.path} cannot be read ({error}). Delete it to begin anew: rm {self.path}"
            ) from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state: after a kill there is the old one or the new one."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {}
        plain = _lift(state, tensors)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        save_file(tensors, fresh, metadata={"state": json.dumps(plain)})
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(fresh, self.path)

    def clear(self) -> None:
        """Forget the state: the run is over."""
        self.path.unlink(missing_ok=True)


def _lift(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What JSON can hold: tensors leave by number, dicts are wrapped so that none is taken for such a number."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": {key: _lift(item, tensors) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return [_lift(item, tensors) for item in value]
    return value


def _place(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _place(item, tensors) for key, item in value["dict"].items()}
    if isinstance(value, list):
        return [_place(item, tensors) for item in value]
    return value
