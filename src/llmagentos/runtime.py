"""The composition: one running system over one home, its rooms handed to each other here and nowhere else.

In: a home and settings. Out: store, library, engine, kernel, experience, releases, knowledge and the cycle, each opened
when first asked for. Inside a process all handles on the same home and model share one.
It does not know who holds the handles (see `agentos`), the command line, nor what an agent's goal is.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmagentos.config import Settings
from llmagentos.errors import ConfigError, ReleaseError
from llmagentos.records.episode import Episode
from llmagentos.records.process import ProcessState
from llmagentos.records.progress import Progress
from llmagentos.records.release import Manifest, Release

if TYPE_CHECKING:
    from llmagentos.cycle import Cycle
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.environments.reuse import Reusing
    from llmagentos.experience.episodes import Episodes
    from llmagentos.experience.feedback import People
    from llmagentos.kernel.handle import ProcessHandle
    from llmagentos.kernel.kernel import Kernel
    from llmagentos.knowledge.facts import Facts
    from llmagentos.models.engine import Embedder, Engine
    from llmagentos.models.library import ModelLibrary
    from llmagentos.releases.classifiers import Classifiers
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


class Runtime:
    """One base model at work on one home."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._engine: Engine | None = None
        self._embedder: Embedder | None = None
        self._kernel: Kernel | None = None
        self._scouts: Kernel | None = None
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
    def classifiers(self) -> Classifiers:
        from llmagentos.releases.classifiers import Classifiers

        library, named = self._home.library, self._settings.embedding_model
        return Classifiers(self._home.store.blobs.get, lambda: self.embedder(None), lambda: library.resolve(named).name)

    @cached_property
    def toolbox(self) -> Toolbox:
        from llmagentos.tools.tool import Tool
        from llmagentos.tools.toolbox import Toolbox

        facts = self.facts

        def search_knowledge(query: str) -> list[str]:
            """Statements that are known about something, best first."""
            return [found.fact.statement for found in facts.ask(query, limit=5)]

        return Toolbox([Tool.of(search_knowledge)])

    def _permissions(self, *, refusals_only: bool = False) -> Permissions:
        """The rules stored under the setting `permissions`, and that the own knowledge may be read. Every decision is
        in the audit log, or every refusal."""
        from llmagentos.tools.permissions import Permissions, Rule, only_refusals, read_rules

        store = self._home.store
        stored, audit = read_rules(store.settings.get("permissions", [])), store.audit.append
        rules = (*stored, Rule("search_knowledge", "allow"))
        return Permissions(rules, audit=only_refusals(audit) if refusals_only else audit)

    def make_environment(self, name: str) -> LanguageEnvironment:
        from llmagentos.environments.registry import make

        return make(name, home=self._home.folder)

    @cached_property
    def environments(self) -> Reusing:
        """Environments of runs."""
        from llmagentos.environments.registry import meant
        from llmagentos.environments.reuse import Reusing

        return Reusing(self.make_environment, meant)

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
        from llmagentos.releases.routes import offer

        release = self.releases.live() if identifier is None else self.releases.get(identifier)
        base = self._settings.model
        if release.manifest.base != base:
            if identifier is not None:
                on = release.manifest.base
                raise ReleaseError(f"Release {release.id} is on {on}, not on {base}. Leave the model out.")
            return Release("r0", Manifest(base)), None
        artefacts, read = release.manifest.artefacts, self._home.store.blobs.get
        if not any(artefact.kind == "adapter" for artefact in artefacts):
            return release, None
        engine = self.engine(on_progress)
        with self._opening:
            if release.id not in engine.adapters:
                offer(engine, release.id, artefacts, read, lambda digest: read_adapter(read(digest)))
        return release, release.id

    def kernel(self, on_progress: Callable[[Progress], None] | None) -> Kernel:
        from llmagentos.kernel.kernel import Kernel

        with self._opening:
            if self._kernel is None:
                take = self.environments.take
                self._kernel = Kernel(
                    self._home.store,
                    self.engine(on_progress),
                    environment=lambda task: take(task.environment),
                    record=self.episodes.add,
                    toolbox=self.toolbox,
                    permissions=self._permissions(),
                    recall=lambda query, limit: [found.fact.statement for found in self.facts.ask(query, limit)],
                    remember=lambda statement, source: self.facts.add(statement, source=source, origin="own").fact.id,
                    classify=lambda text, digest: self.classifiers.classify(text, digest),
                )
            return self._kernel

    def scouts(self, on_progress: Callable[[Progress], None] | None) -> Kernel:
        """A kernel for runs that chance plays alone: they are thousands, and only those that won are kept."""
        from llmagentos.kernel.forgetful import Forgetful
        from llmagentos.kernel.kernel import Kernel

        def keep_won(episode: Episode) -> None:
            if episode.success:
                self.episodes.add(episode)

        with self._opening:
            if self._scouts is None:
                take = self.environments.take
                self._scouts = Kernel(
                    Forgetful(),
                    self.engine(on_progress),
                    environment=lambda task: take(task.environment),
                    record=keep_won,
                    permissions=self._permissions(refusals_only=True),
                )
            return self._scouts

    def resume(self, on_progress: Callable[[Progress], None] | None) -> list[ProcessHandle]:
        known = {release.id for release in self.releases.list() if release.manifest.base == self._settings.model}
        for info in self._home.store.processes.list(UNFINISHED, None):
            if info.adapter and info.release in known:
                self.serving(info.release, on_progress)
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
                scouts=self.scouts(on_progress),
                episodes=self.episodes,
                people=self.people,
                releases=self.releases,
                library_folder=self._folder(self._settings.model, on_progress),
                settings=self._settings,
                make_environment=self.make_environment,
                classifiers=self.classifiers,
            )
        )

    def close(self) -> None:
        with self._opening:
            for kernel in (self._kernel, self._scouts):
                if kernel is not None:
                    kernel.close()
            if self._kernel is not None or self._scouts is not None:
                self.environments.close()
            if self._engine is not None:
                self._engine.close()
            if self._embedder is not None:
                self._embedder.close()
            self._kernel = self._scouts = self._engine = self._embedder = None
            for name in ("episodes", "people", "releases", "facts", "toolbox", "classifiers", "environments"):
                self.__dict__.pop(name, None)


_HOMES: dict[tuple[Path, bool], Home] = {}
_RUNTIMES: dict[tuple[Path, bool, Settings], Runtime] = {}
_SHARING = threading.RLock()


def shared_home(folder: Path, read_only: bool) -> Home:
    """The one `Home` of this folder in this process."""
    with _SHARING:
        if not _HOMES:
            atexit.register(_close_all)
        return _HOMES.setdefault((folder, read_only), Home(folder, read_only=read_only))


def shared_runtime(home: Home, settings: Settings) -> Runtime:
    """The one `Runtime` of this home, model and other settings in this process."""
    with _SHARING:
        return _RUNTIMES.setdefault((home.folder, home.read_only, settings), Runtime(home, settings))


def close_home(home: Home) -> None:
    """End everything that runs over a home and give it back."""
    with _SHARING:
        for (folder, read_only, _), runtime in _RUNTIMES.items():
            if (folder, read_only) == (home.folder, home.read_only):
                runtime.close()
        home.close()


def _close_all() -> None:
    for home in list(_HOMES.values()):
        close_home(home)
