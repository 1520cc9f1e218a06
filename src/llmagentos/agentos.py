"""`AgentOS`: the handle on the running system, and `LLM`, one model to talk to.

In: a home and the name of a model. Out: what the system has (releases, knowledge, episodes ...) and does.
It does not know how the rooms are composed (see `runtime`), the command line, nor what an agent's goal is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from llmagentos.config import Settings, load_settings
from llmagentos.errors import LLMAgentOSError, PermissionDenied
from llmagentos.llm import LanguageModel, Voice
from llmagentos.records.feedback import Feedback, FeedbackKind
from llmagentos.records.process import ProcessInfo, ProcessState
from llmagentos.records.progress import Progress
from llmagentos.records.release import Release
from llmagentos.runtime import Runtime, close_home, shared_home, shared_runtime

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
    from llmagentos.store.store import Store
    from llmagentos.tools.toolbox import Toolbox


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
        self._home = shared_home(asked.home, read_only)
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
        return shared_runtime(self._home, self.settings)

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
        """Say what you think of a reply of a finished run; see `experience.feedback.People.add`.

        The text is put into the form in which the run's environment wants it said: the name of a tool becomes a call.
        """
        task = self.episodes.get(episode).task
        if text and task.environment:
            try:
                environment = self.make_environment(task.environment)
            except LLMAgentOSError:  # its file is not where it was; what a person says is kept as it is
                pass
            else:
                text = environment.in_form(text)
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
        close_home(self._home)

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
