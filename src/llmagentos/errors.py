"""Every exception that LLMAgentOS raises on purpose, in one tree.

    LLMAgentOSError
    ├── ConfigError            a setting, name or option that cannot be used
    │   ├── NotFoundError      an environment, model, release, skill ... nobody knows
    │   └── MissingExtraError  an optional part that is not installed
    ├── HomeError              the home cannot be opened
    │   ├── HomeLockedError    another process owns it
    │   └── StoreError         the database or a blob is damaged or refuses
    ├── ModelError             a model or its engine
    │   ├── ModelFileError     missing, corrupt or unsupported files
    │   ├── PromptTooLongError the prompt does not fit the window
    │   ├── EngineError        generation failed
    │   └── AdapterError       an adapter that does not fit its base
    ├── KernelError            a fault of the kernel, raised inside the program
    │   ├── PermissionDenied   a rule (or none) forbids the call
    │   └── BudgetExceeded     steps, tokens or time are used up
    ├── SourceError            a file or page that cannot be read as a document
    ├── EnvironmentFault       an environment raised, hung or broke its protocol
    ├── LearningError          a learner cannot learn from what it was given
    ├── GateError              a verdict cannot be reached (too few tasks, no rule)
    └── ReleaseError           a release cannot be made, shown or restored
        └── WithdrawnError     its weights rest on withdrawn data

A message says what failed with the value, what was expected or is available, and what to do next.
Nothing here knows any other module.
"""

from __future__ import annotations


class LLMAgentOSError(Exception):
    """Root of the tree. `exit_code` is what a command ends with when it is the cause."""

    exit_code = 1


class ConfigError(LLMAgentOSError):
    """A setting, name or option that cannot be used."""

    exit_code = 2


class NotFoundError(ConfigError):
    """A name that nothing is registered under."""

    def __init__(self, kind: str, name: str, available: list[str] | tuple[str, ...] = (), hint: str = "") -> None:
        known = f" Available: {', '.join(available)}." if available else ""
        then = f" {hint}" if hint else ""
        super().__init__(f"No {kind} named {name!r}.{known}{then}")
        self.kind, self.name, self.available = kind, name, tuple(available)


class MissingExtraError(ConfigError):
    """An optional part that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part. Install it with: pip install 'llmagentos[{extra}]'")
        self.extra = extra


class HomeError(LLMAgentOSError):
    """The home cannot be opened."""


class HomeLockedError(HomeError):
    """Another process owns the home."""


class StoreError(HomeError):
    """The database or a blob is damaged, missing or refuses a write."""


class ModelError(LLMAgentOSError):
    """A model or its engine."""


class ModelFileError(ModelError):
    """Missing, corrupt or unsupported model files."""


class PromptTooLongError(ModelError):
    """The prompt does not fit the model's window; never truncated silently."""

    def __init__(self, tokens: int, window: int) -> None:
        over = tokens - window
        super().__init__(
            f"Prompt of {tokens} tokens exceeds the window of {window} by {over}. Shorten it by {over} tokens."
        )
        self.tokens, self.window = tokens, window


class EngineError(ModelError):
    """Generation failed."""


class KernelsMissing(EngineError):
    """There are no compiled kernels here; the message says why and what to do. PyTorch computes instead."""


class AdapterError(ModelError):
    """An adapter that does not fit its base model."""


class KernelError(LLMAgentOSError):
    """A fault of the kernel, raised inside the program that made the call."""


class PermissionDenied(KernelError):
    """A rule, or the absence of one, forbids the call."""


class BudgetExceeded(KernelError):
    """Steps, tokens or time are used up."""


class SourceError(LLMAgentOSError):
    """A file or page that cannot be read as a document."""


class EnvironmentFault(LLMAgentOSError):
    """An environment raised, hung or broke its protocol."""


class LearningError(LLMAgentOSError):
    """A learner cannot learn from what it was given."""


class GateError(LLMAgentOSError):
    """A verdict cannot be reached."""


class ReleaseError(LLMAgentOSError):
    """A release cannot be made, shown or restored."""


class WithdrawnError(ReleaseError):
    """A release whose weights rest on withdrawn data."""
