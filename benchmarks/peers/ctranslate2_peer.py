"""CTranslate2 in int8. Arguments: folder of the model in Hugging Face format, folder for the converted one, threads."""

import json
import sys
from pathlib import Path

import ctranslate2
import worker
from ctranslate2.converters import TransformersConverter

SOURCE, TARGET = Path(sys.argv[1]), Path(sys.argv[2])
if not (TARGET / "model.bin").exists():
    TransformersConverter(str(SOURCE)).convert(str(TARGET), quantization="int8", force=True)
TOKENS = {
    number: text for text, number in json.loads((SOURCE / "tokenizer.json").read_text())["model"]["vocab"].items()
}
GENERATOR = ctranslate2.Generator(str(TARGET), device="cpu", inter_threads=1, intra_threads=int(sys.argv[3]))


def generate(prompts: list[list[int]], tokens: int) -> int:
    """One batch, greedy; the end may not come before all tokens are there."""
    found = GENERATOR.generate_batch(
        [[TOKENS[token] for token in prompt] for prompt in prompts],
        max_length=tokens,
        min_length=tokens,
        sampling_topk=1,
        include_prompt_in_result=False,
        max_batch_size=0,
    )
    return sum(len(one.sequences_ids[0]) for one in found)


worker.serve(generate)
