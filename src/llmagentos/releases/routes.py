"""A release's adapters as one voice: which of them answers a run, by the routes that its manifest holds.

In: a manifest's artefacts of the kinds `adapter` and `router`. Out: a router between adapters, and an engine that
serves them under one name. It does not know how a route was found, nor what is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmagentos.errors import ReleaseError
from llmagentos.models.routing import Route, Router, read_routes, write_routes
from llmagentos.records.release import Artefact, latest

if TYPE_CHECKING:
    from llmagentos.models.engine import Engine

SHARED = "adapter"
"""Name of the adapter that answers whatever no route takes: trained on documents and conversations, or on skills by
earlier versions."""

Read = Callable[[str], bytes]
Load = Callable[[str], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Brings the tensors and config of the adapter with a digest."""


def adapter_name(skill: str) -> str:
    """Under which name a manifest holds the adapter of a skill that has one of its own."""
    return f"adapter:{skill}"


def route_artefact(skill: str, routes: Sequence[Route], store: Callable[[bytes], str]) -> Artefact:
    """The artefact that holds the routes of one skill."""
    return Artefact(f"route:{skill}", "router", store(write_routes(routes)), skill)


def adapter_of(artefacts: Iterable[Artefact], skill: str, read: Read) -> str:
    """Name of the adapter that answers runs of a known skill: that of its route, else the shared one."""
    routes = _routes(latest(artefacts), read)
    return next((route.adapter for route in routes if route.skill == skill), SHARED)


def digest_of(artefacts: Sequence[Artefact], skill: str, read: Read) -> str | None:
    """Digest of the adapter that `adapter_of` names, under which an engine serves it too; None for the bare base."""
    found = latest(artefacts).get(adapter_of(artefacts, skill, read))
    return found.digest if found is not None else None


def routed(artefacts: Iterable[Artefact], read: Read) -> set[str]:
    """Skills that have routes."""
    return {route.skill for route in _routes(latest(artefacts), read)}


def router_of(artefacts: Iterable[Artefact], read: Read) -> Router | None:
    """The router between a manifest's adapters, whose names are their digests; None where there are none.

    Later artefacts stand in the place of earlier ones of the same name. `ReleaseError` for several adapters that no
    route leads to.
    """
    named = latest(artefacts)
    adapters = {one.name: one.digest for one in named.values() if one.kind == "adapter"}
    if not adapters:
        return None
    routes = [route for route in _routes(named, read) if route.adapter in adapters]
    left = [name for name in adapters if name == SHARED or name not in {route.adapter for route in routes}]
    if len(left) > 1:
        raise ReleaseError(
            f"There are the adapters {', '.join(left)} and no router between them; one is served where nothing says "
            "which. Roll back to a release that has one: llmagentos releases list"
        )
    return Router(routes, left[0] if left else None).renamed(adapters)


def offer(engine: Engine, name: str, artefacts: Iterable[Artefact], read: Read, load: Load) -> bool:
    """Serve a manifest's adapters under one name; False where it has none, and the bare base answers."""
    router = router_of(artefacts, read)
    if router is None:
        return False
    for digest in sorted({route.adapter for route in router.routes} | ({router.otherwise or ""} - {""})):
        if digest not in engine.adapters:
            engine.offer_adapter(digest, lambda digest=digest: load(digest))  # type: ignore[misc]
    engine.offer_router(name, router)
    return True


def _routes(named: Mapping[str, Artefact], read: Read) -> list[Route]:
    return [route for one in named.values() if one.kind == "router" for route in _read(read(one.digest))]


@lru_cache(maxsize=256)
def _read(data: bytes) -> tuple[Route, ...]:
    return tuple(read_routes(data))
