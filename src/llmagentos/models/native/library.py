"""The kernels' library: compiled once for this processor, kept in a folder, loaded by ctypes.

In: a C compiler, the one that is there (`CC`, cc, gcc, clang) or the package `ziglang`. Out: the library, or the reason
why there is none; then PyTorch computes the same, only slower.
It does not know what the kernels compute.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from llmagentos.errors import KernelsMissing

SOURCES = ("pool.h", "registers.h", "tiles.h", "products.h", "attention.h", "decode.h", "train.h", "kernels.c")
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC", "-pthread")
NEEDED = frozenset({"avx2", "f16c", "fma"})
"""What the kernels ask of a processor, as Linux names it."""
_WIDE = NEEDED | {"avx512_vnni", "avx512bw", "avx512dq", "avx512vl"}
INSTRUCTIONS = {"AMX": _WIDE | {"amx_tile", "amx_int8"}, "AVX-512 VNNI": _WIDE, "AVX2": NEEDED}
"""What they are compiled for, the faster first (see `tiles.h` and `registers.h`)."""
PATIENCE_S = 120
"""Seconds after which a compiler hangs."""

_lock = threading.Lock()


def load_kernels(folder: Path) -> ctypes.CDLL:
    """The library from `folder`, compiled into it where it is not there. `KernelsMissing` says why it cannot be."""
    with _lock:
        return _load(folder)


@cache
def _load(folder: Path) -> ctypes.CDLL:
    missing = NEEDED - processor_features()
    if missing:
        raise KernelsMissing(f"this processor lacks {', '.join(sorted(missing))}")
    command = compiler()
    if command is None:
        raise KernelsMissing("no C compiler was found; install gcc or clang, or: pip install 'llmagentos[kernels]'")
    path = folder / f"kernels-{_digest(command)}.so"
    if not path.exists():
        _compile(command, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise KernelsMissing(f"{path} cannot be loaded ({error}); remove it to have it compiled again") from error


def processor_features() -> frozenset[str]:
    """Names of what this processor can do; empty where Linux on x86 does not tell."""
    if platform.machine() != "x86_64":
        return frozenset()
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def instructions() -> str:
    """The best of `INSTRUCTIONS` that this processor has; empty for none."""
    return next((name for name, needed in INSTRUCTIONS.items() if needed <= processor_features()), "")


def compiler() -> tuple[str, ...] | None:
    """The command of a C compiler, None where there is none."""
    chosen = os.environ.get("CC")
    if chosen:
        return tuple(shlex.split(chosen))
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return (found,)
    return (sys.executable, "-m", "ziglang", "cc") if find_spec("ziglang") else None


def _digest(command: tuple[str, ...]) -> str:
    """Sources, command and processor: whatever changes one of them asks for a new library."""
    digest = hashlib.sha256(repr((command, FLAGS, sorted(processor_features()))).encode())
    for name in SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def _compile(command: tuple[str, ...], path: Path) -> None:
    """Compile beside `path` and move it there whole: another process may do the same at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    source = Path(__file__).parent / "kernels.c"
    try:
        done = subprocess.run(
            [*command, *FLAGS, "-o", str(unfinished), str(source), "-lm"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
            raise KernelsMissing(f"{' '.join(command)} could not compile the kernels: {said}")
        unfinished.replace(path)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelsMissing(f"{' '.join(command)} could not compile the kernels: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
