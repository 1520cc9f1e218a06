"""The composition: one runtime per home, opened late, and honest when something is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llmagentos
from llmagentos.agentos import LLM, AgentOS
from llmagentos.errors import (
    ConfigError,
    HomeLockedError,
    KernelsMissing,
    ModelFileError,
    NotFoundError,
    PermissionDenied,
    ReleaseError,
)
from llmagentos.kernel.specification import ProcessSpec
from llmagentos.models.native.library import load_kernels
from llmagentos.models.products import has_fast_int8
from llmagentos.records.release import Artefact, Candidate, Verdict
from llmagentos.store.lock import HomeLock, holder_of


def publish(system: AgentOS, seed: int = 0) -> str:
    """Make a release with a random adapter that fits the tiny model."""
    from llmagentos.models.adapters import new_adapter, write_adapter

    config = system.engine.decoder.config  # type: ignore[attr-defined]
    data = write_adapter(new_adapter(config, 2, 4.0, seed), config, system.settings.model)
    artefact = Artefact("adapter", "adapter", system.store.blobs.put(data), "s")
    candidate = Candidate(f"c{seed}", "s", (artefact,), "imitation", parent=system.releases.live().id)
    return system.releases.publish(candidate, Verdict(candidate.id, True, "a test")).id


def test_construction_opens_nothing(tmp_path: Path) -> None:
    AgentOS(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_handles_on_one_home_share_the_engine_and_kernel(system: AgentOS, tiny_model: Path) -> None:
    other = AgentOS(system.home, str(tiny_model))
    assert other.store is system.store
    assert other.engine is system.engine
    assert other.kernel is system.kernel


def test_close_gives_the_home_back_and_a_handle_opens_it_again(system: AgentOS) -> None:
    assert system.ps() == []
    assert holder_of(system.home) is not None
    system.close()
    assert holder_of(system.home) is None
    assert system.ps() == []
    assert holder_of(system.home) is not None


def test_home_that_has_an_owner_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with HomeLock(tmp_path), AgentOS(tmp_path) as system, pytest.raises(HomeLockedError, match="close it first"):
        _ = system.store


def test_reader_works_beside_the_owner(system: AgentOS) -> None:
    system.knowledge.add("The shop opens at nine.", source="test")
    with AgentOS(system.home, read_only=True) as reader:
        assert [found.fact.statement for found in reader.knowledge.ask("shop")] == ["The shop opens at nine."]
        assert reader.releases.live().id == "r0"


def test_home_is_free_after_the_process_ends(tmp_path: Path) -> None:
    code = f"from llmagentos import AgentOS; AgentOS({str(tmp_path)!r}).ps()"
    subprocess.run([sys.executable, "-c", code], check=True)
    with AgentOS(tmp_path) as system:
        assert system.ps() == []


@pytest.mark.parametrize(("name", "said"), [("gpt-3", "LLMAGENTOS_REMOTE_URL"), ("no such model!", "hub name")])
def test_unusable_model_is_refused_at_once_with_what_to_set(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AgentOS(tmp_path, name)


def test_damaged_model_says_how_to_mend_it(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with AgentOS(tmp_path / "home", str(folder)) as system, pytest.raises(ModelFileError, match="safetensors"):
        _ = system.engine


def test_model_left_out_is_that_of_the_live_release(system: AgentOS, tiny_model: Path) -> None:
    _ = system.releases.live()
    system.close()
    with AgentOS(system.home) as again:
        assert again.settings.model == str(tiny_model)


def test_processes_run_and_become_experience(system: AgentOS) -> None:
    (task,) = system.make_environment("Drills-v0").tasks("train", 1)
    episode = system.kernel.submit(ProcessSpec("policy", {"function": str}, task)).episode(30)
    assert episode.outcome == "finished"
    assert system.episodes.get(episode.id) == episode
    assert [info.state for info in system.ps()] == ["finished"]


def test_bare_base_is_served_without_an_adapter(system: AgentOS) -> None:
    release, adapter = system.serving()
    assert (release.id, adapter) == ("r0", None)


def test_live_release_is_served_by_its_adapter(system: AgentOS) -> None:
    identifier = publish(system)
    assert system.serving()[1] == identifier
    assert identifier in system.engine.adapters
    assert LLM(system=system).voice().adapter == identifier


def test_rollback_is_served_without_reopening(system: AgentOS) -> None:
    first, second = publish(system, 0), publish(system, 1)
    assert system.serving()[1] == second
    system.releases.rollback(first)
    assert system.serving()[1] == first
    system.releases.rollback("r0")
    assert system.serving()[1] is None


def test_adapters_of_one_base_never_serve_another(system: AgentOS, tiny_model: Path, tmp_path: Path) -> None:
    identifier = publish(system)
    other = AgentOS(system.home, str(shutil.copytree(tiny_model, tmp_path / "other")))
    assert other.serving()[1] is None
    with pytest.raises(ReleaseError, match="Leave the model out"):
        other.serving(identifier)
    with pytest.raises(ConfigError, match="home of its own"):
        _ = other.cycle


def kernels_are_here() -> bool:
    try:
        load_kernels(Path(os.environ["LLMAGENTOS_KERNELS"]))
    except KernelsMissing:
        return False
    return True


def test_settings_changed_since_are_taken_at_the_next_opening(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for precision, constrained in (("fp32", "off"), ("int8", "on"), ("fp32", "on")):
        monkeypatch.setenv("LLMAGENTOS_PRECISION", precision)
        monkeypatch.setenv("LLMAGENTOS_CONSTRAINED", constrained)
        if precision == "int8" and not (has_fast_int8() or kernels_are_here()):
            continue
        with AgentOS(tmp_path / "home", str(tiny_model)) as system:
            env = system.make_environment("Drills-v0")
            arguments = system.cycle.players.policy(env, system.releases.live()).arguments
            found.append((system.engine.decoder.precision, bool(arguments)))  # type: ignore[attr-defined]
    assert found in ([("fp32", False), ("int8", True), ("fp32", True)], [("fp32", False), ("fp32", True)])


def test_unknown_release_is_refused(system: AgentOS) -> None:
    with pytest.raises(NotFoundError, match="r0"):
        system.serving("r7")


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default embedding model."""
    monkeypatch.delenv("LLMAGENTOS_EMBEDDING_MODEL")


def test_llm_generates_and_embeds(encoder: None, system: AgentOS) -> None:
    llm = system.llm()
    assert isinstance(llm, llmagentos.LLM)
    assert llm.generate("where is my order", max_tokens=4) == llm.generate("where is my order", max_tokens=4)
    assert len(llm.embed(["order", "refund"])) == 2


def test_checkpoints_are_discarded_on_request(system: AgentOS) -> None:
    folder = system.home / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "Drills.safetensors").touch()
    assert system.discard_checkpoints() == 1
    assert list(folder.iterdir()) == []


def test_code_is_never_run(system: AgentOS, tmp_path: Path) -> None:
    with pytest.raises(PermissionDenied, match="sandbox"):
        system.execute(f"open({str(tmp_path / 'proof')!r}, 'w').close()")
    assert not (tmp_path / "proof").exists()


def test_interrupted_runs_go_on(system: AgentOS, tiny_model: Path) -> None:
    (task,) = system.make_environment("Drills-v0").tasks("train", 1)
    code = f"""
import os, time
from llmagentos.agentos import AgentOS
from llmagentos.kernel.specification import ProcessSpec
from llmagentos.records.task import Task
system = AgentOS({str(system.home)!r}, {str(tiny_model)!r})
entries = system.store.journal
real = entries.append
def append(process, kind, *rest, **options):
    number = real(process, kind, *rest, **options)
    if kind == "call" or number > 1:
        os._exit(9)
    return number
entries.append = append
system.kernel.submit(ProcessSpec("react", {{}}, Task("Drills-v0", {task.seed}))).episode(60)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert [info.state for info in system.ps()] != ["finished"]
    (handle,) = system.resume()
    assert handle.episode(60).outcome in ("finished", "unknown")
    assert [info.state for info in system.ps()] != ["running"]
