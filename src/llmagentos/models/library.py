"""The model library of one home: what there is, fetching it, and finding its folder.

In: the name of a source. Out: folders in Hugging Face format, whole or not at all. It does not load any weights.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from llmagentos.errors import ConfigError, ModelFileError
from llmagentos.models.card import ModelCard, card_of_folder, card_of_source
from llmagentos.models.convert import convert_gguf
from llmagentos.models.files import check_files, file_sha256, read_json, read_manifest, write_manifest
from llmagentos.models.packages import (
    STAGING,
    ProgressCallback,
    fetch_package_file,
    fetch_package_files,
    remove_stale,
)
from llmagentos.models.sources import KNOWN_MODELS, KnownModel, Source, find_known, parse_source
from llmagentos.records.progress import Progress

_HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "LICENSE*", "README.md")
"""What is taken from a hub: never pickled weights, which could run code."""


class ModelLibrary:
    """Models under `<home>/models`, downloads under `<home>/assets`."""

    def __init__(self, home: Path) -> None:
        self._models = home / "models"
        self._assets = home / "assets"

    def resolve(self, name: str) -> Source:
        """The source that a name means; see `models.sources.parse_source` for its errors."""
        return parse_source(name)

    def list(self) -> list[ModelCard]:
        """Known models first, then every other one that was pulled; a damaged one is listed with its fault."""
        names = [known.source for known in KNOWN_MODELS]
        for folder in sorted(self._models.glob("*")) if self._models.is_dir() else []:
            if folder.is_dir() and not folder.name.startswith("."):
                try:
                    manifest = read_manifest(folder)
                except ModelFileError:
                    continue  # its source is unreadable too; `show` and `pull` of it say what to do
                if manifest is not None and manifest.source not in names:
                    names.append(manifest.source)
        return [self._card_with_fault(parse_source(name)) for name in names]

    def show(self, name: str, *, verify: bool = False) -> ModelCard:
        """The card of a model, pulled or not; `verify` compares the content of every file with its digest.

        Raises `ModelFileError` when files are missing or damaged.
        """
        source = parse_source(name)
        folder = self._place(source)
        if source.kind == "remote" or (source.kind != "folder" and not folder.is_dir()):
            return card_of_source(source)
        check_files(folder, digests=verify)
        return card_of_folder(source, folder)

    def folder(self, name: str) -> Path:
        """The folder of a model that is here and whole by the sizes of its files.

        Raises `ModelFileError` that names the command to run when it is not.
        """
        source = _with_files(parse_source(name))
        folder = self._place(source)
        if not folder.is_dir():
            if source.kind == "folder":
                raise ModelFileError(f"There is no model folder {folder}. Give one that exists, or 'default'.")
            raise ModelFileError(f"The model {name!r} is not here yet. Fetch it: llmagentos models pull {name}")
        check_files(folder)
        read_json(folder, "config.json")
        return folder

    def pull(self, name: str, *, force: bool = False, progress: ProgressCallback | None = None) -> Path:
        """Bring a model here and return its folder; one that is here and whole is left alone unless `force`.

        The folder appears only when it is complete, and an old one is replaced only then.
        """
        source = _with_files(parse_source(name))
        folder = self._place(source)
        if source.kind == "folder":
            return self.folder(name)
        if not force and self._is_whole(source, folder):
            return folder
        self._make_models_folder()
        if source.kind == "package":
            known = find_known(source.name)
            if known is not None and known.files:
                return self._from_package(source, known, progress)
            file, digest = self._package_file(source, progress)
            return self._convert(source, file, digest, progress)
        if source.kind == "gguf":
            file = Path(source.place)
            if not file.is_file():
                raise ModelFileError(f"There is no GGUF file {file}. Give the path of one that exists.")
            return self._convert(source, file, file_sha256(file), progress)
        return self._from_hub(source, progress)

    def _place(self, source: Source) -> Path:
        return Path(source.place) if source.kind == "folder" else self._models / source.slug

    def _card_with_fault(self, source: Source) -> ModelCard:
        try:
            return self.show(source.name)
        except ModelFileError as error:
            return dataclasses.replace(card_of_source(source), folder=self._place(source), fault=str(error))

    def _is_whole(self, source: Source, folder: Path) -> bool:
        """Whether the folder is complete, and for a GGUF file still made from what the file is now."""
        try:
            manifest = read_manifest(folder)
            check_files(folder)
        except ModelFileError:
            return False
        if manifest is None:
            return False
        path = Path(source.place)
        return source.kind != "gguf" or not path.is_file() or file_sha256(path) == manifest.origin_sha256

    def _from_package(self, source: Source, known: KnownModel, progress: ProgressCallback | None) -> Path:
        """A folder in Hugging Face format inside a package, as it is."""
        members = {f"{known.member}/{name}": None for name in known.files}
        found = fetch_package_files(
            source.place,
            members,
            cache=self._assets,
            progress=progress,
            package_sha256=known.package_sha256,
            package_bytes=known.package_bytes,
        )
        with self._new_folder(source) as staging:
            for name in known.files:
                shutil.copyfile(found[f"{known.member}/{name}"], staging / name)
            write_manifest(
                staging, source.name, origin_sha256=known.package_sha256, licence=known.licence, title=known.title
            )
        return self._place(source)

    def _package_file(self, source: Source, progress: ProgressCallback | None) -> tuple[Path, str]:
        known = find_known(source.name)
        file = fetch_package_file(
            source.place,
            source.member,
            sha256=known.member_sha256 if known else None,
            cache=self._assets,
            progress=progress,
            package_sha256=known.package_sha256 if known else None,
            package_bytes=known.package_bytes if known else 0,
        )
        return file, known.member_sha256 if known else file_sha256(file)

    def _convert(self, source: Source, file: Path, digest: str, progress: ProgressCallback | None) -> Path:
        began = time.monotonic()

        def on_tensor(done: int, total: int) -> None:
            if progress is not None:
                stage = f"converting {source.name}"
                progress(Progress(stage, done, total, "tensors", seconds=time.monotonic() - began))

        with self._new_folder(source) as staging:
            title, licence = convert_gguf(file, staging, on_tensor)
            known = find_known(source.name)
            if known is not None:
                title, licence = known.title, known.licence
            write_manifest(staging, source.name, origin_sha256=digest, licence=licence, title=title)
        return self._place(source)

    def _from_hub(self, source: Source, progress: ProgressCallback | None) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        if progress is not None:
            progress(Progress(f"downloading {source.name}", 0, 0, "files"))
        with self._new_folder(source) as staging:
            try:
                snapshot_download(source.place, local_dir=staging, allow_patterns=list(_HUB_FILES))
            except (OSError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RuntimeError) as error:
                raise ModelFileError(
                    f"The model {source.name!r} could not be fetched from the model hub ({type(error).__name__}). "
                    "Check the name and the network (HF_ENDPOINT names another hub, HF_TOKEN your access), or download "
                    "it elsewhere and give its folder. The default model needs no hub: llmagentos models pull default"
                ) from error
            shutil.rmtree(staging / ".cache", ignore_errors=True)
            if not list(staging.glob("*.safetensors")):
                raise ModelFileError(
                    f"{source.name!r} has no safetensors weights; others are not loaded, they could run code."
                )
            write_manifest(staging, source.name, title=source.place)
        return self._place(source)

    @contextmanager
    def _new_folder(self, source: Source) -> Iterator[Path]:
        """An empty folder that takes the model's place when the block ends well and vanishes when it does not."""
        remove_stale(self._models)
        staging = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=self._models))
        try:
            made = staging / "new"
            made.mkdir()
            yield made
            place = self._place(source)
            if place.exists():
                place.rename(staging / "old")
            made.rename(place)
        except (OSError, SafetensorError) as error:
            raise ModelFileError(
                f"The model {source.name} could not be written below {self._models} ({error}). Free space there or set "
                f"LLMAGENTOS_HOME to another disk, then: llmagentos models pull {source.name}"
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _make_models_folder(self) -> None:
        try:
            self._models.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The home cannot hold models: {self._models} ({error.strerror}). "
                "Set LLMAGENTOS_HOME to a folder of yours."
            ) from error


def _with_files(source: Source) -> Source:
    if source.kind == "remote":
        raise ConfigError(f"{source.name} has no files here: the server runs it. Check it with: llmagentos doctor")
    return source
