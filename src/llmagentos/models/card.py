"""What there is to know about a model without loading it.

In: a model's folder. Out: a `ModelCard`. It reads configuration and the weights' table of contents only.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from llmagentos.errors import ModelFileError
from llmagentos.models.files import read_json, read_manifest
from llmagentos.models.sources import Source, SourceKind, find_known

_MAX_HEADER_BYTES = 100 << 20
"""The limit that the safetensors format itself sets."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model, as `llmagentos models show` tells it; what is not known before it is pulled is 0 or empty."""

    name: str
    """Canonical source."""
    kind: SourceKind
    title: str = ""
    aliases: tuple[str, ...] = ()
    pulled: bool = False
    """Whether its files are here."""
    folder: Path | None = None
    architecture: str = ""
    layers: int = 0
    hidden: int = 0
    """Width of the residual stream."""
    heads: int = 0
    kv_heads: int = 0
    vocabulary: int = 0
    window: int = 0
    """Most tokens of prompt and reply together."""
    parameters: int = 0
    bytes: int = 0
    """Size of its files on disk; of the download while it is not pulled."""
    licence: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 by file name, as noted when the model was stored."""
    fault: str = ""
    """What is wrong with its files, empty when nothing is known to be."""


def card_of_source(source: Source) -> ModelCard:
    """The card of a model that is not here."""
    known = find_known(source.name)
    if known is None:
        return ModelCard(source.name, source.kind)
    return ModelCard(
        source.name, source.kind, known.title, known.aliases, bytes=known.package_bytes, licence=known.licence
    )


def card_of_folder(source: Source, folder: Path) -> ModelCard:
    """The card of a model whose files are in `folder`; raises `ModelFileError` when they cannot be read."""
    config = read_json(folder, "config.json")
    manifest = read_manifest(folder)
    known = find_known(source.name)
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 0)
    files = [path for path in folder.iterdir() if path.is_file()]
    return ModelCard(
        name=source.name,
        kind=source.kind,
        title=known.title if known else (manifest.title if manifest else folder.name),
        aliases=known.aliases if known else (),
        pulled=True,
        folder=folder,
        architecture=str((config.get("architectures") or [config.get("model_type", "")])[0]),
        layers=int(config.get("num_hidden_layers") or config.get("n_layer") or 0),
        hidden=int(config.get("hidden_size") or config.get("n_embd") or 0),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        vocabulary=int(config.get("vocab_size") or 0),
        window=int(config.get("max_position_embeddings") or config.get("n_positions") or 0),
        parameters=sum(count_parameters(path) for path in files if path.suffix == ".safetensors"),
        bytes=sum(path.stat().st_size for path in files),
        licence=known.licence if known else (manifest.licence if manifest else ""),
        digests={name: record.sha256 for name, record in manifest.files.items()} if manifest else {},
    )


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, from its header alone."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ModelFileError(f"{path} is damaged: its header claims {length:,} bytes. Fetch the model again.")
            header = msgspec.json.decode(file.read(length), type=dict[str, dict[str, object]])
        shapes = [
            msgspec.convert(entry["shape"], list[int]) for name, entry in header.items() if name != "__metadata__"
        ]
    except (struct.error, msgspec.MsgspecError, KeyError) as error:
        raise ModelFileError(
            f"{path} is damaged: its header cannot be read ({error}). Fetch the model again."
        ) from error
    return sum(math.prod(shape) for shape in shapes)
