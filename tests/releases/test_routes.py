"""A release's adapters as one voice."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmagentos.errors import ReleaseError
from llmagentos.models.rendering import Renderer
from llmagentos.models.routing import Route, features
from llmagentos.models.scripted import ScriptedEngine
from llmagentos.records.release import Artefact
from llmagentos.releases.routes import SHARED, adapter_name, adapter_of, offer, route_artefact, routed, router_of
from llmagentos.store.store import Store

BIRDS, BOATS = (1, 2, 3), (7, 8, 9)


def own(store: Store, skill: str, opening: tuple[int, ...], digest: str, adapter: str = "") -> list[Artefact]:
    """An adapter and the route to it."""
    name = adapter or adapter_name(skill)
    route = route_artefact(skill, [Route(skill, name, features(opening), 0.5)], store.blobs.put)
    return [Artefact(name, "adapter", digest, skill), route]


def test_each_skill_has_its_adapter_and_the_rest_the_shared_one(store: Store) -> None:
    read = store.blobs.get
    artefacts = [
        *own(store, "birds", BIRDS, "one"),
        *own(store, "boats", BOATS, "two"),
        Artefact("prompt:birds", "settings", "x"),
    ]
    router = router_of(artefacts, read)
    assert router is not None
    assert [router.choose(opening) for opening in (BIRDS, BOATS, (5, 5))] == ["one", "two", None]
    router = router_of([*artefacts, Artefact(SHARED, "adapter", "three")], read)
    assert router is not None
    assert [router.choose(opening) for opening in (BIRDS, BOATS, (5, 5))] == ["one", "two", "three"]
    assert [adapter_of(artefacts, skill, read) for skill in ("birds", "boats", "cars")] == [
        "adapter:birds",
        "adapter:boats",
        SHARED,
    ]
    assert routed(artefacts, read) == {"birds", "boats"}


def test_later_artefacts_stand_in_the_place_of_earlier_ones(store: Store) -> None:
    artefacts = [*own(store, "birds", BIRDS, "one"), *own(store, "birds", BOATS, "new")]
    router = router_of(artefacts, store.blobs.get)
    assert router is not None
    assert [router.choose(opening) for opening in (BIRDS, BOATS)] == [None, "new"]
    gone = Artefact(adapter_name("birds"), "adapter", "")
    assert router_of([*artefacts, gone], store.blobs.get) is None
    assert router_of([], store.blobs.get) is None


def test_two_skills_may_share_an_adapter(store: Store) -> None:
    artefacts = [*own(store, "birds", BIRDS, "one"), *own(store, "boats", BOATS, "two", adapter_name("birds"))]
    router = router_of(artefacts, store.blobs.get)
    assert router is not None
    assert [router.choose(opening) for opening in (BIRDS, BOATS, (5, 5))] == ["two", "two", None]


def test_skills_of_earlier_versions_keep_the_shared_adapter_for_all(store: Store) -> None:
    shared = Artefact(SHARED, "adapter", "all", "birds")
    router = router_of([shared], store.blobs.get)
    assert router is not None
    assert router.choose(BOATS) == "all"
    router = router_of(
        [shared, own(store, "birds", BIRDS, "", SHARED)[1], *own(store, "boats", BOATS, "two")], store.blobs.get
    )
    assert router is not None
    assert [router.choose(opening) for opening in (BIRDS, BOATS, (5, 5))] == ["all", "two", "all"]


def test_adapters_that_nothing_leads_to_are_an_error(store: Store) -> None:
    with pytest.raises(ReleaseError, match="a, b and no router"):
        router_of([Artefact("a", "adapter", "1"), Artefact("b", "adapter", "2")], store.blobs.get)


def test_engine_serves_all_under_one_name(store: Store, tiny_model: Path) -> None:
    engine, loaded = ScriptedEngine(Renderer(tiny_model), ["yes"]), list[str]()
    artefacts = [*own(store, "birds", BIRDS, "one"), *own(store, "boats", BOATS, "two")]

    def load(digest: str) -> tuple[dict[str, int], dict[str, int]]:
        loaded.append(digest)
        return {}, {}

    assert offer(engine, "r1", artefacts, store.blobs.get, load)
    assert set(engine.adapters) == {"one", "two", "r1"}
    assert not offer(engine, "r0", [], store.blobs.get, load)
    assert loaded == [], "each when it is first asked for"
