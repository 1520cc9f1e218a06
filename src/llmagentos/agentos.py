"""The composition: one running system over one home, its rooms handed to each other here and nowhere else.

In: a home and the name of a model. Out: store, library, engine, kernel, experience, releases, knowledge and the cycle,
each opened when first asked for. Inside a process all handles on the same home share one `AgentOS`.
It does not know the command line nor what an agent's goal is.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from llmagentos.config import Settings, load_settings
from llmagentos.errors import ConfigError, PermissionDenied, ReleaseError
from llmagentos.llm import LanguageModel, Voice
from llmagentos.records.feedback import Feedback, FeedbackKind
from llmagentos.records.process import ProcessInfo, ProcessState
from llmagentos.records.progress import Progress
from llmagentos.records.release import Manifest, Release

if TYPE_CHECKING:
    from llmagentos.cycle import Cycle
    from llmagentos.data.intake import Intake
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.experience.episodes import Episodes
    from llmagentos.experience.feedback import People
    from llmagentos.kernel.handle import ProcessHandle
    from llmagentos.kernel.kernel import Kernel
    from llmagentos.knowledge.facts import Facts
    from llmagentos.models.engine import Embedder, Engine
    from llmagentos.models.library import ModelLibrary
    from llmagentos.releases.registry import Releases
    from llmagentos.store.lock import HomeLock
    from llmagentos.store.store import Store
    from llmagentos.tools.permissions import Permissions
    from llmagentos.tools.toolbox import Toolbox

UNFINISHED: tuple[ProcessState, ...] = ("ready", "running", "waiting")


class Home:
    """One home inside this process: its lock, store and library, shared by every model that runs on it."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Nothing is opened yet. `read_only` takes no lock and changes nothing, beside another process's work."""
        self.folder = folder
        self.read_only = read_only
        self._lock: HomeLock | None = None
        self._store: Store | None = None
        self._opening = threading.RLock()

    @property
    def store(self) -> Store:
        """The store; the first use takes the home's lock (`HomeLockedError` when another process has it)."""
        from llmagentos.store.lock import HomeLock
        from llmagentos.store.store import Store

        with self._opening:
            if self._store is None:
                if not self.read_only:
                    self._lock = HomeLock(self.folder).acquire()
                try:
                    self._store = Store.open(self.folder, read_only=self.read_only)
                except BaseException:
                    self.close()
                    raise
            return self._store

    def releases(self, base: str) -> Releases:
        """The releases of this home; `base` is what a new home begins with."""
        from llmagentos.releases.registry import Releases

        return Releases(self.store, base)

    @cached_property
    def library(self) -> ModelLibrary:
        """The models of this home."""
        from llmagentos.models.library import ModelLibrary

        return ModelLibrary(self.folder)

    def close(self) -> None:
        """Close the store and give the home back."""
        with self._opening:
            if self._store is not None:
                self._store.close()
            if self._lock is not None:
                self._lock.release()
            self._store = self._lock = None


class AgentOS:
    """The running system over one home, speaking with one base model.

    `AgentOS()` twice on the same home and model are two handles on the same runtime. It is opened lazily and closed
    at exit; `close()` or a `with` block end it earlier.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        model: str | None = None,
        *,
        read_only: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """`model` is checked by name at once (`ConfigError`, `NotFoundError`), fetched and loaded when first needed.

        Left out (and `LLMAGENTOS_MODEL` unset) it is the base of the home's live release, in a new home the default.
        `read_only` works beside another process that owns the home. `on_progress` sees a model being fetched.
        """
        asked = load_settings(home, model)
        self.home: Path = asked.home
        """The folder of everything that is kept."""
        self.on_progress = on_progress
        self._home = _shared_home(asked.home, read_only)
        self._asked = replace(asked, model=self._home.library.resolve(asked.model).name)
        self._explicit = bool(model or os.environ.get("LLMAGENTOS_MODEL"))

    @cached_property
    def settings(self) -> Settings:
        """What this system was told, with the source of the model that it speaks with."""
        if self._explicit:
            return self._asked
        live = self._home.releases(self._asked.model).live()
        return replace(self._asked, model=live.manifest.base)

    @property
    def _runtime(self) -> Runtime:
        return _shared_runtime(self._home, self.settings)

    @property
    def store(self) -> Store:
        """Journal, processes, documents and blobs."""
        return self._home.store

    @property
    def library(self) -> ModelLibrary:
        """Models by name."""
        return self._home.library

    @property
    def engine(self) -> Engine:
        """The engine of the base model; the first use fetches and loads it."""
        return self._runtime.engine(self.on_progress)

    @property
    def embedder(self) -> Embedder:
        """The encoder of texts; the first use fetches and loads it."""
        return self._runtime.embedder(self.on_progress)

    @property
    def kernel(self) -> Kernel:
        """Runs processes; the first use loads the model."""
        return self._runtime.kernel(self.on_progress)

    @property
    def episodes(self) -> Episodes:
        """Every finished run."""
        return self._runtime.episodes

    @property
    def people(self) -> People:
        """What people said about replies."""
        return self._runtime.people

    def give_feedback(
        self, episode: str, kind: FeedbackKind, text: str = "", *, place: int = -1, reviewer: str = ""
    ) -> Feedback:
        """Say what you think of a reply of a finished run; see `experience.feedback.People.add`."""
        return self.people.add(episode, kind, text, place=place, reviewer=reviewer, force=self.engine.renderer.force)

    def withdraw_feedback(self, identifier: str, reason: str) -> list[str]:
        """Nothing is learned from it any more; returns the releases that rest on it, which are marked."""
        return self.releases.withdraw_episodes(self.people.withdraw(identifier, reason))

    @property
    def releases(self) -> Releases:
        """What is and was live."""
        return self._runtime.releases

    @property
    def knowledge(self) -> Facts:
        """Facts, stated and asked for."""
        return self._runtime.facts

    @property
    def toolbox(self) -> Toolbox:
        """The system's own tools. A tool is used only where a rule allows it (setting `permissions`)."""
        return self._runtime.toolbox

    @property
    def cycle(self) -> Cycle:
        """Learning, evaluation, the gate and releases; the first use loads the model."""
        return self._runtime.cycle(self.on_progress)

    def make_environment(self, name: str) -> LanguageEnvironment:
        """An environment by name, its data kept in this home."""
        return self._runtime.make_environment(name)

    def serving(self, release: str | None = None) -> tuple[Release, str | None]:
        """A release (the live one by default) and the adapter of the engine that serves it, loaded where it is not."""
        return self._runtime.serving(release, self.on_progress)

    def take_in(
        self,
        location: str | Path,
        *,
        allow_private: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Intake:
        """Read a file, folder or web page into this home's documents; see `data.sources.open_source` for errors.

        `allow_private` lets addresses of this machine's own network through.
        """
        from llmagentos.data.intake import take_in
        from llmagentos.data.sources import SourceLimits
        from llmagentos.data.web import WebLimits

        limits = SourceLimits(web=WebLimits(allow_private=allow_private))
        return take_in(location, self.store.documents, limits=limits, on_progress=on_progress)

    def llm(self) -> LLM:
        """The live release to talk to."""
        return LLM(system=self)

    def ps(self, states: Collection[ProcessState] | None = None, limit: int = 100) -> list[ProcessInfo]:
        """Processes, the newest first."""
        return self.store.processes.list(states, limit)

    def resume(self) -> list[ProcessHandle]:
        """Go on with every process that an interrupted system left unfinished; those that cannot end as `unknown`."""
        return self._runtime.resume(self.on_progress)

    def discard_checkpoints(self) -> int:
        """Forget where interrupted learning stood; the number of checkpoints that there were."""
        _ = self.store  # only the owner of the home may
        found = [path for path in (self.home / "checkpoints").glob("*") if path.is_file()]
        for path in found:
            path.unlink()
        return len(found)

    def execute(self, code: str) -> NoReturn:
        """Refuses: code of a model runs in a sandbox or not at all, and this version has no sandbox."""
        raise PermissionDenied(
            f"{len(code.splitlines())} lines of code were not run: code written by a model runs only in the sandbox, "
            "and this version of LLMAgentOS has none yet. Read the code, and run it yourself if you trust it."
        )

    def close(self) -> None:
        """End the engine and the kernel and give the home back; handles on it open it again when used."""
        _close_home(self._home)

    def __enter__(self) -> AgentOS:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        known = self.__dict__.get("settings", self._asked)
        return f"AgentOS(home={str(self.home)!r}, model={known.model!r})"


class LLM(LanguageModel):
    """One model to talk to: `LLM().generate(...)`. It answers as the live release of its home does."""

    def __init__(
        self, model_name: str | None = None, home: str | Path | None = None, *, system: AgentOS | None = None
    ) -> None:
        """`model_name` is any source of the model library; `system` takes an open AgentOS instead."""
        self._system = system or AgentOS(home, model_name)

    def voice(self) -> Voice:
        """The engine with the live release's adapter."""
        _, adapter = self._system.serving()
        return Voice(self._system.engine, adapter)

    def embedder(self) -> Embedder:
        """The encoder that the setting `embedding_model` names."""
        return self._system.embedder

    def __repr__(self) -> str:
        return f"LLM(system={self._system!r})"


class Runtime:
    """One base model at work on one home."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._engine: Engine | None = None
        self._embedder: Embedder | None = None
        self._kernel: Kernel | None = None
        self._opening = threading.RLock()

    @cached_property
    def episodes(self) -> Episodes:
        from llmagentos.experience.episodes import Episodes

        return Episodes(self._home.store)

    @cached_property
    def people(self) -> People:
        from llmagentos.experience.feedback import People

        return People(self._home.store, self.episodes)

    @cached_property
    def releases(self) -> Releases:
        return self._home.releases(self._settings.model)

    @cached_property
    def facts(self) -> Facts:
        from llmagentos.knowledge.facts import Facts

        return Facts(self._home.store)

    @cached_property
    def toolbox(self) -> Toolbox:
        from llmagentos.tools.tool import Tool
        from llmagentos.tools.toolbox import Toolbox

        facts = self.facts

        def search_knowledge(query: str) -> list[str]:
            """Statements that are known about something, best first."""
            return [found.fact.statement for found in facts.ask(query, limit=5)]

        return Toolbox([Tool.of(search_knowledge)])

    def _permissions(self) -> Permissions:
        """The rules stored under the setting `permissions`, and that the own knowledge may be read."""
        from llmagentos.tools.permissions import Permissions, Rule, read_rules

        store = self._home.store
        stored = read_rules(store.settings.get("permissions", []))
        return Permissions((*stored, Rule("search_knowledge", "allow")), audit=store.audit.append)

    def make_environment(self, name: str) -> LanguageEnvironment:
        from llmagentos.environments.registry import make

        return make(name, home=self._home.folder)

    def engine(self, on_progress: Callable[[Progress], None] | None) -> Engine:
        with self._opening:
            if self._engine is None:
                _ = self._home.store  # the home's owner loads the model: nobody loads it to find the home locked
                source = self._home.library.resolve(self._settings.model)
                self._engine = (
                    self._remote(source.place, on_progress) if source.kind == "remote" else self._embedded(on_progress)
                )
            return self._engine

    def _embedded(self, on_progress: Callable[[Progress], None] | None) -> Engine:
        from llmagentos.models.torch_engine import TorchEngine

        return TorchEngine.load(
            self._folder(self._settings.model, on_progress),
            threads=self._settings.threads,
            device=self._settings.device,
            precision=self._settings.precision,
            kernels=self._settings.kernels,
        )

    def _remote(self, model: str, on_progress: Callable[[Progress], None] | None) -> Engine:
        from llmagentos.models.remote.engine import open_remote
        from llmagentos.models.rendering import Renderer

        remote = self._settings.remote
        assert remote is not None  # else the name would not have been resolved
        renderer = Renderer(self._folder(remote.tokenizer, on_progress)) if remote.tokenizer else None
        return open_remote(remote, model, renderer)

    def embedder(self, on_progress: Callable[[Progress], None] | None) -> Embedder:
        from llmagentos.models.encoder import TextEncoder
        from llmagentos.models.remote.engine import open_remote

        with self._opening:
            if self._embedder is None:
                name, remote = self._settings.embedding_model, self._settings.remote
                source = self._home.library.resolve(name)
                if source.kind == "remote" and remote is not None:
                    self._embedder = open_remote(remote, source.place)
                else:
                    self._embedder = TextEncoder.load(self._folder(name, on_progress))
            return self._embedder

    def _folder(self, name: str, on_progress: Callable[[Progress], None] | None) -> Path:
        """A model's folder; one that was never fetched is fetched, a damaged one raises with its remedy."""
        library = self._home.library
        if library.show(name).pulled:
            return library.folder(name)
        return library.pull(name, progress=on_progress)

    def serving(
        self, identifier: str | None, on_progress: Callable[[Progress], None] | None
    ) -> tuple[Release, str | None]:
        from llmagentos.models.adapters import read_adapter

        release = self.releases.live() if identifier is None else self.releases.get(identifier)
        base = self._settings.model
        if release.manifest.base != base:
            if identifier is not None:
                on = release.manifest.base
                raise ReleaseError(f"Release {release.id} is on {on}, not on {base}. Leave the model out.")
            return Release("r0", Manifest(base)), None
        adapters = [artefact for artefact in release.manifest.artefacts if artefact.kind == "adapter"]
        if not adapters:
            return release, None
        if len(adapters) > 1:
            names = ", ".join(artefact.name for artefact in adapters)
            raise ReleaseError(
                f"Release {release.id} has the adapters {names} and no router between them; one is served."
            )
        engine = self.engine(on_progress)
        with self._opening:
            if release.id not in engine.adapters:
                blobs, digest = self._home.store.blobs, adapters[0].digest
                engine.offer_adapter(release.id, lambda: read_adapter(blobs.get(digest)))
        return release, release.id

    def kernel(self, on_progress: Callable[[Progress], None] | None) -> Kernel:
        from llmagentos.kernel.kernel import Kernel

        with self._opening:
            if self._kernel is None:
                self._kernel = Kernel(
                    self._home.store,
                    self.engine(on_progress),
                    environment=lambda task: self.make_environment(task.environment),
                    record=self.episodes.add,
                    toolbox=self.toolbox,
                    permissions=self._permissions(),
                    recall=lambda query, limit: [found.fact.statement for found in self.facts.ask(query, limit)],
                    remember=lambda statement, source: self.facts.add(statement, source=source, origin="own").fact.id,
                )
            return self._kernel

    def resume(self, on_progress: Callable[[Progress], None] | None) -> list[ProcessHandle]:
        known = {release.id for release in self.releases.list() if release.manifest.base == self._settings.model}
        for info in self._home.store.processes.list(UNFINISHED, None):
            if info.adapter in known:
                self.serving(info.adapter, on_progress)
        return self.kernel(on_progress).resume()

    def cycle(self, on_progress: Callable[[Progress], None] | None) -> Cycle:
        live = self.releases.live()
        if live.manifest.base != self._settings.model:
            raise ConfigError(
                f"The releases of the home {self._home.folder} are on {live.manifest.base}. Leave the model out, or "
                f"use the other in a home of its own: llmagentos --home FOLDER --model {self._settings.model} ..."
            )
        if self._home.library.resolve(self._settings.model).kind == "remote":
            raise ConfigError(
                f"{self._settings.model} cannot learn here: its weights are the server's. Learn with the embedded "
                "engine (llmagentos --model default ...), and let the server serve what was learned."
            )
        from llmagentos.cycle import Cycle, CycleParts

        return Cycle(
            CycleParts(
                store=self._home.store,
                engine=self.engine(on_progress),
                kernel=self.kernel(on_progress),
                episodes=self.episodes,
                people=self.people,
                releases=self.releases,
                library_folder=self._folder(self._settings.model, on_progress),
                settings=self._settings,
                make_environment=self.make_environment,
            )
        )

    def close(self) -> None:
        with self._opening:
            if self._kernel is not None:
                self._kernel.close()
            if self._engine is not None:
                self._engine.close()
            if self._embedder is not None:
                self._embedder.close()
            self._kernel = self._engine = self._embedder = None
            for name in ("episodes", "people", "releases", "facts", "toolbox"):
                self.__dict__.pop(name, None)


_HOMES: dict[tuple[Path, bool], Home] = {}
_RUNTIMES: dict[tuple[Path, bool, str], Runtime] = {}
_SHARING = threading.RLock()


def _shared_home(folder: Path, read_only: bool) -> Home:
    with _SHARING:
        if not _HOMES:
            atexit.register(_close_all)
        return _HOMES.setdefault((folder, read_only), Home(folder, read_only=read_only))


def _shared_runtime(home: Home, settings: Settings) -> Runtime:
    with _SHARING:
        return _RUNTIMES.setdefault((home.folder, home.read_only, settings.model), Runtime(home, settings))


def _close_home(home: Home) -> None:
    with _SHARING:
        for (folder, read_only, _), runtime in _RUNTIMES.items():
            if (folder, read_only) == (home.folder, home.read_only):
                runtime.close()
        home.close()


def _close_all() -> None:
    for home in list(_HOMES.values()):
        _close_home(home)
