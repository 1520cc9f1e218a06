"""What eight bits cost: a release served in int8 beside the same release served in fp32.

Run: python benchmarks/precision.py [--home FOLDER] [--tasks N] [--skill NAME ...] [--fresh]
Prints a table, writes benchmarks/results/precision.json. The home is one that has learned (default: the one that
`make demo` leaves); it is copied, so that nothing in it changes. Every skill is a unit, the greedy answers another.

Both play the same tasks of the report split greedily, through the kernel, with the same adapter; the difference is
paired by task, with a bootstrap interval. Greedy answers are those to general requests: how many are the same to the
last token, and after how many tokens the others part. fp32 is computed by PyTorch, int8 by the kernels where they fit.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from measuring import JSON
from pairing import REPORTS, Setting, measure, read_options

from llmagentos.learning.general import REQUESTS
from llmagentos.records.generation import GenerationRequest, Sampling
from llmagentos.records.message import Message

SETTING = Setting("LLMAGENTOS_PRECISION", {"fp32": "fp32", "int8": "int8"})


def compare_answers(home: Path) -> JSON:
    """Greedy answers of the live release to general requests."""
    answers: dict[str, list[tuple[int, ...]]] = {}
    for precision in SETTING.ways:
        with SETTING.opened(home, precision) as system:
            engine, (_, adapter) = system.engine, system.serving()
            prompts = [engine.renderer.render((Message("user", text),), first=True) for text in REQUESTS]
            asked = [
                GenerationRequest(tuple(token for part in prompt for token in part.tokens), Sampling(96), adapter)
                for prompt in prompts
            ]
            answers[precision] = [future.result().tokens for future in [engine.submit(one) for one in asked]]
    pairs = list(zip(*answers.values(), strict=True))
    parted = [place for place in (parting(*pair) for pair in pairs) if place is not None]
    return {
        "requests": len(pairs),
        "same": sum(one == other for one, other in pairs),
        "tokens": {name: sum(map(len, each)) for name, each in answers.items()},
        "parted after, median": statistics.median(parted) if parted else None,
    }


def parting(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place at which two answers have different tokens, None where one begins the other."""
    places = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(places, None)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, print, write."""
    options = read_options(__doc__, "precision", REPORTS / "demo" / "home", arguments)
    found, beside = measure(options, "precision", SETTING, {"greedy answers": compare_answers})
    SETTING.show(found)
    one = beside["greedy answers"]
    after = one["parted after, median"]
    told = f"; the others part after {after:.0f} tokens in the median" if after is not None else ""
    print(f"greedy answers: {one['same']} of {one['requests']} the same to the last token{told}")
    print(f"written to {options.results}")


if __name__ == "__main__":
    main()
