from __future__ import annotations

from llmagentos.models.routing import Route
from llmagentos.records.release import Artefact, Manifest, Release
from llmagentos.releases.prompts import prompt_artefact
from llmagentos.releases.routes import SHARED, adapter_name, route_artefact
from llmagentos.releases.withdrawal import rebuilt
from llmagentos.store.store import Store


def release(number: int, *artefacts: Artefact, skills: tuple[str, ...] = ("S",)) -> Release:
    return Release(f"r{number}", Manifest("base", artefacts), f"r{number - 1}", skills=skills)


def test_what_a_skill_is_told_goes_back_with_its_adapter(store: Store) -> None:
    put, read = store.blobs.put, store.blobs.get
    route = route_artefact("S", [Route("S", adapter_name("S"), {}, 0.5)], put)
    first, second = (Artefact(adapter_name("S"), "adapter", digest, "S") for digest in ("one", "two"))
    old, new = (prompt_artefact("S", brief, put) for brief in ("all", "brief"))
    other = prompt_artefact("T", "other", put)
    earlier = [release(0, skills=()), release(1, first, route), release(2, first, route, old, other)]
    live = release(3, second, route, new, other)
    candidate = rebuilt(live, earlier, {"two"}, read)
    assert (candidate.change, candidate.parent, candidate.withdrawn) == ("withdrawal", "r3", ())
    assert {one.name: one.digest for one in candidate.artefacts} == {
        first.name: "one",
        route.name: route.digest,
        old.name: old.digest,
    }
    out = rebuilt(live, earlier, {"one", "two"}, read)
    assert {one.name: one.digest for one in out.artefacts} == dict.fromkeys((first.name, route.name, old.name), "")
    assert out.withdrawn == ("S",)


def test_skill_that_joined_a_shared_adapter_later_is_taken_out(store: Store) -> None:
    one, two = (Artefact(SHARED, "adapter", digest) for digest in ("one", "two"))
    live = release(2, two, skills=("S", "T"))
    candidate = rebuilt(live, [release(1, one)], {"two"}, store.blobs.get)
    assert (candidate.artefacts, candidate.withdrawn) == ((one,), ("T",))
