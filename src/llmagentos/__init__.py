"""LLMAgentOS: an operating system for LLM agents that keep learning.

`Agent`, `LLM` and `AgentOS` are loaded on first use, so that the import itself stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmagentos.agent import Agent
    from llmagentos.agentos import LLM, AgentOS

__version__ = "0.1.0"
__all__ = ["LLM", "Agent", "AgentOS", "__version__"]

_HOMES = {"Agent": "llmagentos.agent", "AgentOS": "llmagentos.agentos", "LLM": "llmagentos.agentos"}


def __getattr__(name: str) -> Any:
    """Load `Agent`, `AgentOS` or `LLM` when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'llmagentos' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
