"""Every intent has as many requests, none of which is asked; the nearest mean is found; seeds come together."""

from __future__ import annotations

from collections.abc import Sequence

import few_requests
from measuring import JSON

LINES = [
    {"text": f"{intent} {number}", "intent": intent, "split": "train" if number < 9 else "test"}
    for intent in ("balance", "transfer")
    for number in range(12)
]


def test_a_file_has_as_many_of_every_intent_and_other_requests_are_asked() -> None:
    file, asked = few_requests.drawn(LINES, 4, 5, seed=0)
    assert sorted(line["intent"] for line in file) == ["balance"] * 4 + ["transfer"] * 4
    assert all("split" not in line for line in file)
    assert len(asked) == len(set(asked)) == 5
    assert not {line["text"] for line in file} & {text for text, _ in asked}
    assert few_requests.drawn(LINES, 4, 5, seed=0) == (file, asked)
    assert few_requests.drawn(LINES, 4, 5, seed=1) != (file, asked)


def test_the_intent_with_the_nearest_mean_is_found() -> None:
    def embed(texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, int(text[-1]) / 20] if "balance" in text else [int(text[-1]) / 20, 2.0] for text in texts]

    file, asked = few_requests.drawn(LINES, 4, 6, seed=0)
    assert few_requests.nearest(embed, file, [text for text, _ in asked]) == [intent for _, intent in asked]


def test_only_the_call_alone_is_right() -> None:
    assert few_requests.said_exactly('{"balance": {}}', "balance")
    assert not few_requests.said_exactly('{"balance": {}} and more', "balance")
    assert not few_requests.said_exactly('{"transfer": {}}', "balance")
    assert not few_requests.said_exactly("balance", "balance")


def test_seeds_are_concluded_together() -> None:
    def unit(right: float, released: bool) -> JSON:
        return {"requests": 8, "right": right, "weights": 0.7, "nearest": 0.5, "minutes": 4.0, "released": released}

    concluded = few_requests.show({4: [unit(0.8, True), unit(0.9, False)]})
    assert concluded["4"]["right"] == {"median": 0.85, "lowest": 0.8, "highest": 0.9}
    assert (concluded["4"]["released"], concluded["4"]["seeds"]) == (1, 2)
