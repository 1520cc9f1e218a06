"""The kernels' structures as ctypes sees them; they must agree with the C files beside this one.

In: tensors. Out: structures that point into them. Whoever makes one keeps the tensors alive.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int32, c_size_t, c_void_p

from torch import Tensor

BLOCK = 64
"""Outputs that a product computes together."""
SPAN = 32
"""Positions of a block of keys and values."""
MOST_QUERIES = 32
"""Tokens that attend together in training."""
MOST_LAYERS = 256
MOST_HEAD, MOST_GROUP = 256, 16
"""Largest head size, and most query heads on one key-value head."""


class Product(Structure):
    """A product in eight bits, or with `plain` in fp32."""

    _fields_ = (
        ("weight", c_void_p),
        ("plain", c_void_p),
        ("scale_O", c_void_p),
        ("inverse_I", c_void_p),
        ("bias_O", c_void_p),
        ("inputs", c_int32),
        ("outputs", c_int32),
    )


class Layer(Structure):
    """The weights of one block."""

    _fields_ = (
        ("input_norm_H", c_void_p),
        ("post_norm_H", c_void_p),
        ("query_norm_D", c_void_p),
        ("key_norm_D", c_void_p),
        ("products", Product * 4),
    )


class Model(Structure):
    """A whole decoder."""

    _fields_ = (
        *((name, c_int32) for name in ("layers", "hidden", "heads", "kv_heads", "size", "intermediate", "vocabulary")),
        ("norm_eps", c_float),
        *((name, c_void_p) for name in ("embedding_VH", "final_norm_H", "cos_TD", "sin_TD")),
        ("head", Product),
        ("layer", POINTER(Layer)),
    )


class Pair(Structure):
    """An adapter's two factors for one product."""

    _fields_ = (("a_IR", c_void_p), ("b_BR", c_void_p))


class Run(Structure):
    """Neighbouring tokens of one adapter."""

    _fields_ = (("first", c_int32), ("after", c_int32), ("rank", c_int32), ("half", c_int32), ("pairs", POINTER(Pair)))


class Cache(Structure):
    """Where keys and values lie, and which blocks each token sees."""

    _fields_ = (
        ("blocks", c_void_p),
        ("block_stride", c_size_t),
        ("table", c_void_p),
        ("most_blocks", c_int32),
        ("row_N", c_void_p),
        ("position_N", c_void_p),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("size", c_int32),
    )


class Segment(Structure):
    """Consecutive tokens that lie behind each other in one sequence."""

    _fields_ = (("first", c_int32), ("count", c_int32))


class Piece(Structure):
    """Queries that attend together, and the segments that they see."""

    _fields_ = tuple((name, c_int32) for name in ("first", "count", "position", "segment", "segments"))


class Factors(Structure):
    """An adapter's two factors for one product as they are trained, and where their gradients go."""

    _fields_ = tuple((name, c_void_p) for name in ("a_RI", "b_OR", "da_RI", "db_OR"))


class Training(Structure):
    """Both passes of a training step."""

    _fields_ = (
        *((name, c_int32) for name in ("tokens", "ends", "pieces", "rank", "longest", "recompute")),
        ("scale", c_float),
        *((name, c_void_p) for name in ("token_N", "position_N", "end_M")),
        ("piece", POINTER(Piece)),
        ("segment", POINTER(Segment)),
        ("factors", POINTER(Factors)),
        ("backward", POINTER(Product)),
        ("hidden_MH", c_void_p),
        ("workspace", c_void_p),
    )


class Batch(Structure):
    """One step."""

    _fields_ = (
        ("tokens", c_int32),
        ("runs", c_int32),
        ("ends", c_int32),
        ("token_N", c_void_p),
        ("run", POINTER(Run)),
        ("end_M", c_void_p),
        ("temperature_M", c_void_p),
        ("uniform_M", c_void_p),
        ("chosen_M", c_void_p),
        ("logprob_M", c_void_p),
        ("allowed_MW", c_void_p),
        ("logits_MV", c_void_p),
        ("cache", Cache),
        ("workspace", c_void_p),
    )


def pointer(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers lie; they must lie behind each other."""
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return int(tensor.data_ptr())


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Give the library's functions their types."""
    library.start_threads.argtypes = (ctypes.c_int,)
    library.start_threads.restype = None
    for said in (library.whole_panel, library.fp32_panel, library.zero_weight, library.input_bytes):
        said.argtypes = ()
        said.restype = ctypes.c_int
    library.workspace_size.argtypes = (POINTER(Model), POINTER(Batch))
    library.workspace_size.restype = c_size_t
    library.decode_step.argtypes = (POINTER(Model), POINTER(Batch))
    library.decode_step.restype = None
    library.training_size.argtypes = (POINTER(Model), POINTER(Training))
    library.training_size.restype = c_size_t
    for passed in (library.train_forward, library.train_backward):
        passed.argtypes = (POINTER(Model), POINTER(Training))
        passed.restype = None
    library.multiply.argtypes = (POINTER(Product), c_void_p, ctypes.c_long, c_void_p, c_void_p)
    library.multiply.restype = None
    return library
