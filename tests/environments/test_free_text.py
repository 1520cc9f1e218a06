"""The space of all texts."""

from __future__ import annotations

from llmagentos.environments.free_text import FreeText


def test_free_text_contains_every_text_and_nothing_else() -> None:
    space = FreeText()
    assert all(text in space for text in ("", "order", "打开门", "\x00", "x" * 100_000))
    assert not any(other in space for other in (1, None, b"bytes", ["a"]))


def test_samples_repeat_with_the_seed_and_belong_to_the_space() -> None:
    one, other = FreeText(seed=3), FreeText(seed=3)
    samples = [one.sample() for _ in range(20)]
    assert samples == [other.sample() for _ in range(20)]
    assert len(set(samples)) > 5
    assert all(sample in one for sample in samples)
    assert one == other
