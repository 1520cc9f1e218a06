"""Prototypes find what is right for the nearest known requests, and no held-out request speaks for itself."""

from __future__ import annotations

import math

import pytest
import torch

from llmagentos.errors import ModelFileError
from llmagentos.models.prototypes import SHOWN, TEMPERATURES, Prototypes

LEFT, RIGHT, UP = "left", "right", "up"


def towards(*numbers: float) -> list[float]:
    """A unit vector."""
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def made(**more: object) -> Prototypes:
    vectors = [towards(1, 0.1, 0), towards(1, -0.1, 0), towards(0, 1, 0.1), towards(0, 1, -0.1)]
    return Prototypes.of(vectors, [LEFT, LEFT, RIGHT, RIGHT], "an embedder", 2.0, **more)  # type: ignore[arg-type]


def test_likeliest_reply_is_that_of_the_nearest_mean() -> None:
    prototypes = made()
    means = torch.tensor([towards(1, 0, 0), towards(0, 1, 0)])
    for vector in (towards(3, 1, 0), towards(1, 3, 2), towards(1, 1.01, 0)):
        found = prototypes.opinion(vector)
        expected = torch.log_softmax(means @ torch.tensor(vector) / prototypes.temperature, 0)
        assert found.replies == ((LEFT, RIGHT) if vector[0] > vector[1] else (RIGHT, LEFT))
        assert found.logprobs == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-3)
        assert found.weight == 2


def test_temperature_is_as_sharp_as_requests_find_their_own_reply() -> None:
    chance = torch.Generator().manual_seed(5)
    centres = torch.eye(8)[:4].repeat_interleave(20, 0)
    near, far = (centres + spread * torch.randn(80, 8, generator=chance) for spread in (0.05, 0.6))
    replies = [str(number // 20) for number in range(80)]
    sharp, blunt = (Prototypes.of(one.tolist(), replies, "", 1.0) for one in (near, far))
    assert sharp.found == 1
    assert 0.25 < blunt.found < 1
    assert TEMPERATURES[0] == sharp.temperature < blunt.temperature


def test_few_replies_of_many_are_told() -> None:
    vectors, replies = torch.eye(40).tolist(), [f"reply {number}" for number in range(40)]
    found = Prototypes.of(vectors, replies, "", 1.0).opinion(vectors[7])
    assert len(found.replies) == SHOWN
    assert found.replies[0] == "reply 7"


def test_held_out_request_is_no_witness_for_itself() -> None:
    """One that is labelled wrongly is not found again by its own label, and helps others all the same."""
    odd = towards(0.2, 0.1, 1)
    vectors = [towards(1, 0.1, 0), towards(1, -0.1, 0), towards(0, 1, 0.1), towards(0, 1, -0.1), odd]
    replies = [LEFT, LEFT, RIGHT, RIGHT, RIGHT]
    open_, held = (Prototypes.of(vectors, replies, "", 1.0, [False] * 4 + [apart]) for apart in (False, True))
    assert open_.opinion(odd).replies[0] == RIGHT
    assert held.opinion(odd).replies[0] == LEFT
    near = towards(0.25, 0.15, 1)
    assert held.opinion(near) == open_.opinion(near)
    assert held.opinion(near).replies[0] == RIGHT


def test_reply_that_only_a_held_out_request_has_is_nothing_without_it() -> None:
    held = Prototypes.of(
        [towards(1, 0), towards(0.9, 0.1), towards(0, 1)], [LEFT, LEFT, UP], "", 1.0, [False] * 2 + [True]
    )
    assert held.opinion(towards(0.1, 1)).replies[0] == UP
    found = held.opinion(towards(0, 1))
    assert found.replies[0] == LEFT
    assert all(math.isfinite(one) for one in found.logprobs)


def test_corrected_request_counts_by_itself() -> None:
    prototypes, corrected = made(), towards(1, 0, 0.3)
    assert prototypes.opinion(corrected).replies[0] == LEFT
    for reply in (RIGHT, UP):
        better = prototypes.besides([corrected], [reply])
        assert better.opinion(corrected).replies[0] == reply
        assert better.opinion(towards(1, 0.02, 0.28)).replies[0] == reply, "what is like it follows"
        assert better.opinion(towards(1, 0.1, -0.1)).replies[0] == LEFT, "what is not like it does not"


def test_bytes_are_read_back_and_damaged_ones_refused() -> None:
    prototypes = made(held=[True, False, False, True]).besides([towards(1, 0, 0.3)], [UP])
    data = prototypes.to_bytes()
    again = Prototypes.from_bytes(data)
    for vector in (towards(1, 0.1, 0), towards(0, 1, -0.1), towards(1, 0, 0.3), towards(1, 1, 1)):
        assert again.opinion(vector) == prototypes.opinion(vector)
    assert (again.embedder, again.found, again.replies) == ("an embedder", prototypes.found, (LEFT, RIGHT, UP))
    assert Prototypes.from_bytes(made().to_bytes()).opinion(towards(1, 0.1, 0)) == made().opinion(towards(1, 0.1, 0))
    for damaged in (b"", data[:40], data[:-8], data.replace(b"held_reply", b"held_repli"), b"\xff" * 99):
        with pytest.raises(ModelFileError, match="roll back"):
            Prototypes.from_bytes(damaged)


def test_one_reply_cannot_be_told_from_others() -> None:
    with pytest.raises(ValueError, match="two are needed"):
        Prototypes.of([towards(1, 0)], [LEFT], "", 1.0)
