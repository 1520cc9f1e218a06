"""`transformers` `generate` with its own defaults. Arguments: folder of the model, precision, threads."""

import sys

import torch
import worker
from transformers import LlamaForCausalLM

torch.set_num_threads(int(sys.argv[3]))
MODEL = LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2])).eval()
MODEL.generation_config.eos_token_id = None
MODEL.generation_config.pad_token_id = 0


def generate(prompts: list[list[int]], tokens: int) -> int:
    """One batch, greedy, no end token."""
    ids = torch.tensor(prompts)
    with torch.inference_mode():
        found = MODEL.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens)
    return int(found.shape[0] * (found.shape[1] - ids.shape[1]))


worker.serve(generate)
