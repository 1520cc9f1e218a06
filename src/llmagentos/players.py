"""Who plays: releases and candidates as policies over environments, with their adapters in the engine.

In: the engine, adapters in the store, releases, environments by name. Out: policies that say what a run is told, fresh
tasks, adapters in the engine's layout. It does not know who learns and who judges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmagentos.errors import AdapterError, GateError
from llmagentos.evaluation.suite import JournalUses, Skill, SkillSuite
from llmagentos.kernel.rollouts import Policy
from llmagentos.models.adapters import FusedAdapter, from_peft, read_adapter, write_adapter
from llmagentos.records.generation import Sampling
from llmagentos.records.identity import JSON
from llmagentos.records.process import Limits
from llmagentos.records.release import Artefact, Candidate, Release
from llmagentos.releases.prompts import play_arguments

if TYPE_CHECKING:
    from llmagentos.config import Settings
    from llmagentos.environments.language import LanguageEnvironment
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
        """Name under which the engine serves a release's adapter; None for the bare base."""
        adapter = None if release.id in self.engine.adapters else self.adapter(release)
        if adapter is not None:
            self.engine.serve(release.id, adapter, released=True)
        return release.id if release.id in self.engine.adapters else None

    def adapter(self, release: Release) -> FusedAdapter | None:
        """The adapter of a release in the engine's layout; None for the bare base."""
        for artefact in release.manifest.artefacts:
            if artefact.kind == "adapter":
                return self.stored_adapter(artefact.digest)
        return None

    def candidate_adapter(self, candidate: Candidate) -> FusedAdapter:
        """The adapter that a candidate brings; `GateError` when it brings none."""
        for artefact in candidate.artefacts:
            if artefact.kind == "adapter":
                return self.stored_adapter(artefact.digest)
        raise GateError(f"Candidate {candidate.id} brings no adapter; there is nothing to judge.")

    def stored_adapter(self, digest: str) -> FusedAdapter:
        """The adapter of an artefact in the engine's layout; `AdapterError` for one of another base."""
        tensors, settings = read_adapter(self.store.blobs.get(digest))
        decoder = self.engine.decoder
        if settings.get("base_model_name_or_path") not in (self.settings.model, None):
            raise AdapterError(
                f"The adapter {digest[:12]} was trained on {settings['base_model_name_or_path']}, "
                f"the engine serves {self.settings.model}."
            )
        return from_peft(tensors, settings, decoder.config).to(decoder.dtype, decoder.device)

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
