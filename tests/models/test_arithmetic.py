"""One thread computes for everybody: results, errors and the choice of gradients come back to the caller."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from llmagentos.models.arithmetic import arithmetic, compute


@arithmetic
def here(offset: int = 0) -> int:
    """The thread that runs this, moved by `offset`."""
    return threading.get_ident() + offset


def test_everybody_computes_in_one_thread() -> None:
    with ThreadPoolExecutor(4) as pool:
        places = set(pool.map(lambda _: here(), range(8)))
    assert len(places) == 1
    assert places != {threading.get_ident()}
    assert here(offset=1) - here() == 1


def test_what_computes_may_ask_for_more() -> None:
    assert compute(lambda: compute(here)) == here()


def test_error_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        compute(lambda: 1 // 0)
    assert compute(lambda: 1) == 1


def test_caller_chooses_whether_gradients_are_recorded() -> None:
    assert compute(torch.is_grad_enabled)
    with torch.no_grad():
        assert not compute(torch.is_grad_enabled)
    assert compute(torch.is_grad_enabled)


def test_forked_process_computes_too() -> None:
    here()
    child = os.fork()
    if child == 0:
        os._exit(0 if compute(lambda: 7) == 7 else 1)
    assert os.waitpid(child, 0)[1] == 0
