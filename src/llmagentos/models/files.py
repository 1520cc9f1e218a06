"""The files of a model's folder: reading them, and noticing that one is missing or damaged.

In: a folder in Hugging Face format. Out: parsed JSON; a manifest of sizes and digests. It does not know where
the folder came from nor what the weights mean.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmagentos.errors import ModelFileError

SOURCE_FILE = "llmagentos.json"
"""Written beside the weights of a pulled model: where it came from and what its files must be."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What one file must be."""

    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """The content of `SOURCE_FILE`."""

    source: str
    """As given to `pull`: the name that transcripts and releases record."""
    files: dict[str, FileRecord]
    """By name inside the folder."""
    origin_sha256: str = ""
    """Digest of the one file that the folder was converted from; empty when it was not."""
    licence: str = ""
    title: str = ""
    version: int = 1


def mend(source: str) -> str:
    """The sentence that tells how to replace a pulled model."""
    return f"Fetch it again: llmagentos models pull {source} --force"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(folder: Path, name: str, *, optional: bool = False) -> dict[str, Any]:
    """A JSON object of a model's folder; an absent one is empty if `optional`, else `ModelFileError`."""
    path = folder / name
    if not path.is_file():
        if optional:
            return {}
        raise ModelFileError(
            f"The model folder {folder} has no {name}. Give a folder in Hugging Face format, or fetch a known model: "
            "llmagentos models pull default"
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"{path} is damaged: {error}. Fetch the model again: llmagentos models pull NAME --force"
        ) from error


def read_manifest(folder: Path) -> ModelManifest | None:
    """The manifest of a pulled model; None for a folder that was not pulled."""
    path = folder / SOURCE_FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=ModelManifest)
    except msgspec.DecodeError as error:
        raise ModelFileError(f"{path} is damaged: {error}. {mend('NAME')}") from error


def write_manifest(folder: Path, source: str, *, origin_sha256: str = "", licence: str = "", title: str = "") -> None:
    """Record every file now in `folder` under `source`."""
    files = {
        path.relative_to(folder).as_posix(): FileRecord(path.stat().st_size, file_sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SOURCE_FILE
    }
    manifest = ModelManifest(source, files, origin_sha256, licence, title)
    (folder / SOURCE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))


def check_files(folder: Path, *, digests: bool = False) -> None:
    """Compare a pulled folder with its manifest: sizes, and contents if `digests` (seconds for large models).

    Raises `ModelFileError` that names every file that is missing or differs. A folder without manifest passes.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return
    faults = []
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif path.stat().st_size != record.size:
            faults.append(f"{name} has {path.stat().st_size:,} bytes instead of {record.size:,}")
        elif digests and file_sha256(path) != record.sha256:
            faults.append(f"{name} has other content than when it was stored")
    if faults:
        raise ModelFileError(f"The model in {folder} is damaged: {'; '.join(faults)}. {mend(manifest.source)}")
