"""Blocks are shared by contents, given up in order of use, and never lost or handed out twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmagentos.models.blocks import BlockPool, beginning


def tokens(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def fill(pool: BlockPool, sequence: np.ndarray, owner: int = 0) -> list[int]:
    """Use and publish the blocks of a sequence, the last perhaps in part."""
    digests = pool.digests(sequence, owner)
    blocks = pool.match(digests)
    for index in range(len(blocks), -(-len(sequence) // pool.span)):
        blocks.append(pool.take())
        before = digests[index - 1] if index else beginning(owner)
        pool.publish(blocks[index], owner, before, sequence[index * pool.span : (index + 1) * pool.span])
    return blocks


def test_same_beginning_is_found_and_another_owner_s_is_not() -> None:
    pool = BlockPool(8, 2)
    kept = fill(pool, tokens(1, 2, 3, 4, 5))
    assert pool.match(pool.digests(tokens(1, 2, 3, 4, 9, 9), 0)) == kept[:2]
    assert pool.match(pool.digests(tokens(1, 2, 3, 4), 1)) == []
    assert pool.match(pool.digests(tokens(3, 4), 0)) == []  # the same tokens after others are something else


def test_nearest_block_is_the_one_that_goes_on_alike_longest() -> None:
    pool = BlockPool(8, 4)
    first, second = fill(pool, tokens(1, 2, 3, 4)), fill(pool, tokens(1, 2, 9))
    assert pool.nearest(beginning(0), tokens(1, 2, 3, 8)) == (first[0], 3)
    assert pool.nearest(beginning(0), tokens(1, 2, 9, 8)) == (second[0], 3)
    assert pool.nearest(beginning(0), tokens(7, 2)) == (-1, 0)
    assert pool.nearest(beginning(1), tokens(1, 2)) == (-1, 0)


def test_least_recently_used_blocks_leave_first() -> None:
    pool = BlockPool(3, 2)
    old, new = fill(pool, tokens(1, 2)), fill(pool, tokens(3, 4))
    for block in (*old, *new):
        pool.release(block)
    assert pool.match(pool.digests(tokens(1, 2), 0)) == old
    pool.release(old[0])
    taken = [pool.take(), pool.take()]
    assert new[0] in taken
    assert pool.match(pool.digests(tokens(3, 4), 0)) == []
    assert pool.match(pool.digests(tokens(1, 2), 0)) == old


def test_no_block_is_left_when_all_are_in_use() -> None:
    pool = BlockPool(1, 2)
    pool.take()
    with pytest.raises(MemoryError, match="all 1 blocks"):
        pool.take()


def test_few_idle_blocks_are_kept_where_few_are_asked_for() -> None:
    pool = BlockPool(8, 2, most_idle=1)
    for block in fill(pool, tokens(1, 2)) + fill(pool, tokens(3, 4)):
        pool.release(block)
    assert pool.match(pool.digests(tokens(1, 2), 0)) == []
    assert len(pool.match(pool.digests(tokens(3, 4), 0))) == 1


def test_forgotten_owner_s_blocks_come_back_though_some_are_in_use() -> None:
    pool = BlockPool(4, 2)
    blocks = fill(pool, tokens(1, 2, 3, 4), owner=5)
    pool.release(blocks[1])
    pool.forget(5)
    assert pool.match(pool.digests(tokens(1, 2), 5)) == []
    pool.release(blocks[0])
    assert pool.room == 4


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.integers(0, 1), st.booleans())))
def test_every_block_is_somewhere_once(history: list[tuple[list[int], int, bool]]) -> None:
    pool = BlockPool(12, 2, most_idle=5)
    held: list[list[int]] = []
    for numbers, owner, leave in history:
        if pool.room >= -(-len(numbers) // 2):
            held.append(fill(pool, tokens(*numbers), owner))
        if leave and held:
            for block in reversed(held.pop(0)):
                pool.release(block)
        if leave and not owner:
            pool.forget(1)
        users = {block for blocks in held for block in blocks}
        assert users.isdisjoint(pool._free)
        assert users.isdisjoint(pool._idle)
        assert len(users) + len(pool._free) + len(pool._idle) == 12
        assert set(pool._known.values()) == set(pool._content)
