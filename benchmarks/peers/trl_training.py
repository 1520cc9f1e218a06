"""TRL's SFTTrainer. Arguments: folder of the model, threads, precision, folder to write to."""

import sys
import time
from typing import Any

import torch
import worker
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

torch.set_num_threads(int(sys.argv[2]))
HALF = sys.argv[3] == "bfloat16"
TOKENIZER = AutoTokenizer.from_pretrained(sys.argv[1])


class Clock(TrainerCallback):
    """Notes how long each step takes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.began = 0.0

    def on_step_begin(self, *given: Any, **more: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, *given: Any, **more: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def train(batches: list[list[list[int]]], trained: int) -> list[float]:
    """Seconds of each step; the loss is on the last `trained` tokens of each sequence."""
    rows = [row for batch in batches for row in batch]
    labels = [[token if n >= len(row) - trained else -100 for n, token in enumerate(row)] for row in rows]
    clock = Clock()
    trainer = SFTTrainer(
        model=LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32),
        args=SFTConfig(
            output_dir=sys.argv[4],
            per_device_train_batch_size=len(batches[0]),
            max_steps=len(batches),
            learning_rate=1e-4,
            bf16=HALF,
            use_cpu=True,
            gradient_checkpointing=False,
            max_length=None,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_dict({"input_ids": rows, "labels": labels}),
        processing_class=TOKENIZER,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        callbacks=[clock],
    )
    trainer.train()
    return clock.seconds


worker.serve(train)
