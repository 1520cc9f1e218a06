"""Who plays: releases and candidates as policies over environments, with their adapters in the engine.

In: the engine, adapters in the store, releases, environments by name. Out: policies that say what a run is told, fresh
tasks, adapters in the engine's layout. It does not know who learns and who judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmagentos.errors import AdapterError, GateError
from llmagentos.evaluation.suite import JournalUses, Skill, SkillSuite
from llmagentos.kernel.rollouts import Policy
from llmagentos.models.adapters import FusedAdapter, from_peft, read_adapter, write_adapter
from llmagentos.records.generation import Sampling
from llmagentos.records.identity import JSON
from llmagentos.records.process import Limits
from llmagentos.records.release import Artefact, Candidate, Release
from llmagentos.releases.prompts import play_arguments
from llmagentos.releases.routes import digest_of, offer, router_of

if TYPE_CHECKING:
    from llmagentos.config import Settings
    from llmagentos.environments.language import LanguageEnvironment
    from llmagentos.models.routing import Router
    from llmagentos.models.torch_engine import TorchEngine
    from llmagentos.releases.registry import Releases
    from llmagentos.store.store import Store


@dataclass(frozen=True, slots=True)
class Players:
    """See the module."""

    engine: TorchEngine
    store: Store
    releases: Releases
    settings: Settings
    make_environment: Callable[[str], LanguageEnvironment]

    # Environments and what is played in them.

    def environment(self, name: str) -> LanguageEnvironment:
        """An environment by its name or by the skill that was learned in it.

        A skill of a user's own file is called by its short id; the file's path is remembered in the home.
        """
        return environment_named(name, self.make_environment, self.store)

    def skill(self, environment: LanguageEnvironment) -> Skill:
        """How an environment's tasks are played: greedy, by `react`, with its own limits of a reply and of a run."""
        sampling, limits = Sampling(max_tokens=environment.reply_tokens), Limits(steps=environment.most_steps)
        return Skill(environment.skill, environment.name, sampling=sampling, limits=limits)

    def suite(self, environment: LanguageEnvironment) -> SkillSuite:
        """Its tasks by split; those of the gate are new at every call, and logged."""
        return SkillSuite(self.skill(environment), environment, JournalUses(self.store.journal))

    # Policies.

    def policy(self, environment: LanguageEnvironment, release: Release) -> Policy:
        """A release playing an environment, told what it needs to be told."""
        skill = self.skill(environment)
        told = self.told(skill.name, release.manifest.artefacts)
        return Policy(release.id, self.serve(release), skill.program, told, skill.sampling, skill.limits)

    def told(self, skill: str, artefacts: tuple[Artefact, ...]) -> dict[str, JSON]:
        """Arguments of the program that plays `skill` with these artefacts."""
        return play_arguments(artefacts, skill, self.store.blobs.get, constrained=self.settings.constrained)

    # Adapters.

    def serve(self, release: Release) -> str | None:
        """Name under which the engine serves a release's adapters; None for the bare base."""
        known = release.id in self.engine.adapters or self.offer(release.id, release.manifest.artefacts)
        return release.id if known else None

    @contextmanager
    def serving(self, name: str, artefacts: Sequence[Artefact]) -> Iterator[str | None]:
        """Serve artefacts' adapters under `name` for as long as the block runs; None where there are none."""
        before = set(self.engine.adapters)
        known = self.offer(name, artefacts)
        try:
            yield name if known else None
        finally:
            for offered in set(self.engine.adapters) - before:
                self.engine.unload_adapter(offered)

    def offer(self, name: str, artefacts: Sequence[Artefact]) -> bool:
        """Serve the adapters of some artefacts under one name; False where there are none."""
        return offer(self.engine, name, artefacts, self.store.blobs.get, self._peft)

    def router(self, artefacts: Sequence[Artefact]) -> Router | None:
        """What chooses between the adapters of some artefacts, by digest; None where there are none."""
        return router_of(artefacts, self.store.blobs.get)

    def adapter(self, release: Release, skill: str = "") -> FusedAdapter | None:
        """The adapter that serves a known skill, or what belongs to none, in the engine's layout; None for the bare
        base."""
        digest = digest_of(release.manifest.artefacts, skill, self.store.blobs.get)
        return self.stored_adapter(digest) if digest else None

    def candidate_adapter(self, candidate: Candidate) -> FusedAdapter:
        """The adapter that a candidate brings; `GateError` when it brings none."""
        for artefact in candidate.artefacts:
            if artefact.kind == "adapter":
                return self.stored_adapter(artefact.digest)
        raise GateError(f"Candidate {candidate.id} brings no adapter; there is nothing to judge.")

    def stored_adapter(self, digest: str) -> FusedAdapter:
        """The adapter of an artefact in the engine's layout; `AdapterError` for one of another base."""
        decoder = self.engine.decoder
        return from_peft(*self._peft(digest), decoder.config).to(decoder.dtype, decoder.device)

    def _peft(self, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
        tensors, settings = read_adapter(self.store.blobs.get(digest))
        if settings.get("base_model_name_or_path") not in (self.settings.model, None):
            raise AdapterError(
                f"The adapter {digest[:12]} was trained on {settings['base_model_name_or_path']}, "
                f"the engine serves {self.settings.model}."
            )
        return tensors, settings

    def store_adapter(self, adapter: FusedAdapter) -> str:
        """The digest of an adapter that is stored now."""
        return self.store.blobs.put(write_adapter(adapter, self.engine.decoder.config, self.settings.model))


def environment_named(name: str, make: Callable[[str], LanguageEnvironment], store: Store) -> LanguageEnvironment:
    """What `make` makes of a name or of a skill's short id; where a short id leads is remembered in the home."""
    known = store.settings.get("environments", {})
    env = make(known.get(name, name))
    if env.skill != env.name and known.get(env.skill) != env.name and not store.database.read_only:
        store.settings.put("environments", {**known, env.skill: env.name})
    return env
