"""The kernels are compiled once where they can be, and where they cannot be somebody is told why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmagentos.errors import KernelsMissing
from llmagentos.models.native import library
from llmagentos.models.native.library import load_kernels, processor_features
from llmagentos.models.torch_engine import TorchEngine
from llmagentos.records.generation import GenerationRequest, Sampling

needs_processor = pytest.mark.skipif(
    not processor_features() >= library.NEEDED or library.compiler() is None, reason="no kernels on this machine"
)


@needs_processor
def test_library_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_kernels(tmp_path)
    (kept,) = tmp_path.iterdir()
    written = kept.stat().st_mtime_ns
    library._load.cache_clear()
    monkeypatch.setattr(library, "_compile", lambda *arguments: pytest.fail("compiled again"))
    load_kernels(tmp_path)
    assert kept.stat().st_mtime_ns == written


@needs_processor
def test_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; sys.stderr.write('no such flag\\n'); sys.exit(3)"
    monkeypatch.setenv("CC", f'{sys.executable} -c "{program}"')
    with pytest.raises(KernelsMissing, match="no such flag"):
        load_kernels(tmp_path)
    assert not list(tmp_path.iterdir())


def test_processor_without_the_instructions_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "processor_features", lambda: frozenset({"sse2", "fma"}))
    with pytest.raises(KernelsMissing, match="lacks avx2, f16c"):
        load_kernels(tmp_path)


@pytest.mark.parametrize(
    ("missing", "said"), [("", "AMX"), ("amx_int8", "AVX-512 VNNI"), ("avx512bw", "AVX2"), ("fma", "")]
)
def test_best_instructions_are_named(missing: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = library.INSTRUCTIONS["AMX"]
    monkeypatch.setattr(library, "processor_features", lambda: there - {missing})
    assert library.instructions() == said


@needs_processor
def test_no_compiler_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "compiler", lambda: None)
    with pytest.raises(KernelsMissing, match="gcc or clang"):
        load_kernels(tmp_path)


@needs_processor
def test_damaged_library_says_how_to_mend_it(tmp_path: Path) -> None:
    command = library.compiler()
    assert command is not None
    (tmp_path / f"kernels-{library._digest(command)}.so").write_bytes(b"no library")
    with pytest.raises(KernelsMissing, match="remove it"):
        load_kernels(tmp_path)


def test_engine_computes_without_kernels_where_there_are_none(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "processor_features", lambda: frozenset())
    engine = TorchEngine.load(tiny_model, kernels=tmp_path)
    try:
        assert engine.decoder.kernels is None
        assert engine.submit(GenerationRequest((5, 6, 7), Sampling(3))).result(60).tokens
    finally:
        engine.close()
