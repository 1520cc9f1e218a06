"""A plain loop over `peft` and `transformers`. Arguments: folder of the model, threads, precision."""

import sys
import time

import torch
import worker
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

torch.set_num_threads(int(sys.argv[2]))
MODEL = get_peft_model(
    LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[3])),
    LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
)
PARAMETERS = [parameter for parameter in MODEL.parameters() if parameter.requires_grad]
OPTIMISER = torch.optim.AdamW(PARAMETERS, lr=1e-4)


def train(batches: list[list[list[int]]], trained: int) -> list[float]:
    """Seconds of each step; the loss is on the last `trained` tokens of each sequence."""
    seconds = []
    for batch in batches:
        began = time.perf_counter()
        ids = torch.tensor(batch)
        labels = ids.clone()
        labels[:, : ids.shape[1] - trained] = -100
        MODEL(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(PARAMETERS, 1.0)
        OPTIMISER.step()
        OPTIMISER.zero_grad()
        seconds.append(time.perf_counter() - began)
    return seconds


worker.serve(train)
