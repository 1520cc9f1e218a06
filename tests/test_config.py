"""What is told from outside is understood, or refused with what may be said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llmagentos.config import load_settings
from llmagentos.errors import ConfigError
from llmagentos.models.products import check_device, choose_precision


@pytest.mark.parametrize(("said", "meant"), [("", True), ("off", False), ("0", False), ("ON", True), ("1", True)])
def test_constrained_is_a_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, meant: bool) -> None:
    monkeypatch.setenv("LLMAGENTOS_CONSTRAINED", said)
    assert load_settings(tmp_path).constrained is meant


def test_replies_of_a_server_are_held_to_tools_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not load_settings(tmp_path, "remote:any").constrained
    monkeypatch.setenv("LLMAGENTOS_CONSTRAINED", "on")
    assert load_settings(tmp_path, "remote:any").constrained


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMAGENTOS_CONSTRAINED", "perhaps"),
        ("LLMAGENTOS_THREADS", "two"),
        ("LLMAGENTOS_THREADS", "-1"),
    ],
)
def test_setting_that_makes_no_sense_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        load_settings(tmp_path)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cuda:99"])
def test_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="LLMAGENTOS_DEVICE"):
        check_device(device)


def test_device_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(tmp_path).device == "cpu"
    monkeypatch.setenv("LLMAGENTOS_DEVICE", "cuda:1")
    assert load_settings(tmp_path).device == "cuda:1"
    assert choose_precision("auto", "cuda:1") == "bf16"
    if torch.cuda.is_available():
        check_device("cuda")
