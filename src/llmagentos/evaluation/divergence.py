"""How far a candidate has moved from the live release where it was not meant to move.

In: token sequences outside the new skill and two adapters on one base. Out: mean KL(candidate || live) in nats a token.
KL(new || old) predicts forgetting (arXiv 2509.04259). It does not know the gate's budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from llmagentos.errors import GateError
from llmagentos.models.adapters import FusedAdapter
from llmagentos.models.arithmetic import arithmetic
from llmagentos.models.decoder import Decoder
from llmagentos.models.logprobs import mean_divergence, next_logprobs
from llmagentos.models.packing import pack
from llmagentos.models.rendering import Renderer
from llmagentos.records.message import Message

REQUESTS: tuple[str, ...] = (
    "What is the capital of Italy?",
    "Write a short poem about the sea.",
    "Explain how rain forms in two sentences.",
    "Give me three ideas for a birthday present.",
    "Translate 'good morning' into French.",
    "Summarise: The meeting was moved from Monday to Thursday because the room was taken.",
    "Who wrote Romeo and Juliet?",
    "Name a fruit that is yellow.",
    "How do I boil an egg?",
    "What is the opposite of cold?",
    "Tell me a fact about elephants.",
    "Suggest a name for a black cat.",
)
"""General requests that belong to no skill: what an agent should still answer as before."""
POSITIONS = 12
"""Last tokens of each sequence that are compared: in a chat these are the words that the answer begins with."""


def general_prompts(renderer: Renderer) -> list[tuple[int, ...]]:
    """The general requests as the model sees them, each up to where its answer begins."""
    rendered = [renderer.render((Message("user", text),), first=True) for text in REQUESTS]
    return [tuple(token for segment in segments for token in segment.tokens) for segments in rendered]


@arithmetic
def divergence(
    decoder: Decoder, candidate: FusedAdapter | None, live: FusedAdapter | None, sequences: Sequence[Sequence[int]]
) -> float:
    """Mean KL(candidate || live) over the last `POSITIONS` tokens of each sequence; 0 for the same adapter.

    Raises `GateError` for no sequences.
    """
    if not sequences:
        raise GateError("The divergence needs at least one sequence of tokens outside the new skill.")
    if candidate is live:
        return 0.0
    tree = pack(sequences, device=decoder.device)
    rows = torch.from_numpy(np.unique(np.concatenate([places[-POSITIONS:] for places in tree.index])))
    new_MV, old_MV = (next_logprobs(decoder, tree, adapter, rows) for adapter in (candidate, live))
    return float(mean_divergence(new_MV, old_MV))
