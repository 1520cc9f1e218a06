"""A tiny real model that every room's tests may use: random weights, a true tokenizer, no network.

Out: `tiny_model`, a folder in Hugging Face format that transformers and our own engine both load.
It does not know who uses it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from llmagentos.agentos import AgentOS

settings.register_profile("untimed", deadline=None)  # a busy machine fails no test
settings.load_profile("untimed")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # products of tiny models are slower on several threads
KERNELS = Path(tempfile.gettempdir()) / f"llmagentos-kernels-{os.getuid()}"
os.environ["LLMAGENTOS_KERNELS"] = str(KERNELS)  # compiled once, not for every home
os.environ["LLMAGENTOS_EMBEDDING_MODEL"] = str(KERNELS / "no-encoder")  # nothing is fetched but where a test wants it

CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TINY_CORPUS = (
    "system user assistant tool You are a helpful assistant. Please tell me where my order is.",
    'Reply with one JSON object: {"order_status": {"order_id": "A1"}} {"refund": {"order_id": "B2", "amount": 12}}',
    "Add the numbers and give only the sum. Sort the numbers from small to large. The answer is yes or no.",
    "the customer asks the shop for a refund of the order, the shop checks the order and the policy",
)
TINY_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "torch_dtype": "float32",
}


def build_tiny_tokenizer(path: Path) -> int:
    """Train a byte-level BPE tokenizer on a few sentences, write `tokenizer.json`, return the vocabulary's size."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TINY_CORPUS * 4, trainer)
    tokenizer.save(str(path))
    return int(tokenizer.get_vocab_size())


def build_tiny_model(folder: Path, *, template: str | None = CHATML_TEMPLATE, seed: int = 0) -> Path:
    """Write a random two-layer Llama with tied embeddings and its tokenizer into `folder`."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    size = build_tiny_tokenizer(folder / "tokenizer.json")
    random = np.random.default_rng(seed)
    hidden, inner, heads = TINY_CONFIG["hidden_size"], TINY_CONFIG["intermediate_size"], TINY_CONFIG["head_dim"]
    key = TINY_CONFIG["num_key_value_heads"] * heads

    def weight(*shape: int) -> Any:
        return (random.standard_normal(shape) * 0.08).astype(np.float32)

    tensors = {"model.embed_tokens.weight": weight(size, hidden), "model.norm.weight": np.ones(hidden, np.float32)}
    for layer in range(TINY_CONFIG["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        tensors[at + "input_layernorm.weight"] = np.ones(hidden, np.float32)
        tensors[at + "post_attention_layernorm.weight"] = np.ones(hidden, np.float32)
        for name, rows in (("q", hidden), ("k", key), ("v", key), ("o", hidden)):
            tensors[f"{at}self_attn.{name}_proj.weight"] = weight(rows, hidden)
        for name, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
            tensors[f"{at}mlp.{name}_proj.weight"] = weight(*shape)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": TINY_CONFIG["max_position_embeddings"],
    }
    if template is not None:
        tokenizer_config["chat_template"] = template
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    for name, content in (
        ("config.json", {**TINY_CONFIG, "vocab_size": size}),
        ("tokenizer_config.json", tokenizer_config),
        ("generation_config.json", ends),
    ):
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random two-layer Llama (hidden 64, 4 heads, 2 key-value heads) with a ChatML tokenizer."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def kernels() -> Any:
    """The compiled kernels; where there can be none the test is skipped and says why."""
    from llmagentos.errors import KernelsMissing
    from llmagentos.models.native.products import Kernels

    try:
        return Kernels.load(KERNELS, 2)
    except KernelsMissing as why:
        pytest.skip(f"no kernels: {why}")


@pytest.fixture
def system(tmp_path: Path, tiny_model: Path) -> Iterator[AgentOS]:
    """An open system on a home of its own."""
    from llmagentos.agentos import AgentOS

    with AgentOS(tmp_path / "home", str(tiny_model)) as opened:
        yield opened
