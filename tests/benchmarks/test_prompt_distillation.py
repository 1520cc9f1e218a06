"""A skill that was learned from a file is called by the file's own name."""

from __future__ import annotations

import prompt_distillation
import pytest


@pytest.mark.parametrize(
    ("skill", "name"),
    [
        ("Requests-v0?data=/a/b c/tickets.jsonl&most=50", "Requests-v0?data=tickets.jsonl&most=50"),
        ("Requests-v0?data=tickets.jsonl", "Requests-v0?data=tickets.jsonl"),
        ("TextGame-v0?name=a/b", "TextGame-v0?name=a/b"),
    ],
)
def test_folders_of_a_file_are_no_part_of_what_is_shown(skill: str, name: str) -> None:
    assert prompt_distillation.shown(skill) == name
