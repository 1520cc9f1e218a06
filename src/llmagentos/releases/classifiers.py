"""A release's classifiers: prototypes of a skill's requests, as artefacts and at work.

In: prototypes to keep, and later a text with a digest. Out: an artefact, and an opinion on the text.
It does not know how prototypes were found, nor what weighs their opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from llmagentos.errors import EngineError
from llmagentos.records.release import Artefact, latest

if TYPE_CHECKING:
    from llmagentos.models.engine import Embedder
    from llmagentos.models.prototypes import Prototypes
    from llmagentos.records.calls import Opinion

KEPT = 16
"""Classifiers that are kept in memory."""


def artefact_name(skill: str) -> str:
    """Under which name a manifest holds the classifier of a skill's requests."""
    return f"classifier:{skill}"


def classifier_artefact(skill: str, prototypes: Prototypes | None, store: Callable[[bytes], str]) -> Artefact:
    """The artefact of prototypes; None takes out what there was before."""
    return Artefact(artefact_name(skill), "classifier", store(prototypes.to_bytes()) if prototypes else "", skill)


def classifier_of(artefacts: Iterable[Artefact], skill: str) -> str:
    """Digest of the classifier of a skill's requests; empty where there is none."""
    found = latest(artefacts).get(artefact_name(skill))
    return found.digest if found is not None else ""


class Classifiers:
    """Gives opinions by an embedder that is loaded when the first one is asked for. Thread-safe."""

    def __init__(self, read: Callable[[str], bytes], embedder: Callable[[], Embedder], name: Callable[[], str]) -> None:
        """`name` says the source of the embedding model."""
        self._read, self._embedder, self._name = read, embedder, name
        self._prototypes = lru_cache(KEPT)(self._load)

    @cached_property
    def name(self) -> str:
        """The source of the embedding model. Errors are those of the model library."""
        return self._name()

    def embed(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text; a full stop stands for an empty one."""
        return self._embedder().embed([text if text.strip() else "." for text in texts])

    def _load(self, digest: str) -> Prototypes:
        from llmagentos.models.prototypes import Prototypes

        return Prototypes.from_bytes(self._read(digest))

    def opinions(self, texts: list[str], prototypes: Prototypes) -> list[Opinion]:
        """What is right for each of `texts` by prototypes of this embedder's vectors."""
        return [prototypes.opinion(vector) for vector in self.embed(texts)] if texts else []

    def classify(self, text: str, digest: str) -> Opinion:
        """What is right for `text` by the prototypes. `EngineError` where they are another embedder's."""
        prototypes = self._prototypes(digest)
        if prototypes.embedder != self.name:
            raise EngineError(
                f"The live release compares requests by {prototypes.embedder}, and the embedding model is {self.name}. "
                f"Set LLMAGENTOS_EMBEDDING_MODEL={prototypes.embedder}, or learn the skill again."
            )
        return self.opinions([text], prototypes)[0]
