"""TRL's SFTTrainer, GRPOTrainer and DPOTrainer until their minutes are over. Arguments: folder of the model, threads.

The learning rate rises for the first steps and falls linearly with the time that is left, to a twentieth, as ours does
with the steps that are left: no plan can be wrong. The adapter is written in PEFT's format.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import worker
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoTokenizer, LlamaForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

MARKING = Path(__file__).parents[2] / "src" / "llmagentos" / "environments" / "drills_marking.py"
"""Needs nothing but Python, so that the reward is the same; its neighbours have names of libraries."""
torch.set_num_threads(int(sys.argv[2]))
TOKENIZER = AutoTokenizer.from_pretrained(sys.argv[1])
WARMING = 4
"""Steps in which the learning rate rises."""
FLOOR = 0.05


class Budget(TrainerCallback):
    """Sets the learning rate by the time that is left and ends training when there is none."""

    def __init__(self, minutes: float, learning_rate: float) -> None:
        self.seconds, self.learning_rate = 60 * minutes, learning_rate
        self.began, self.steps, self.spent = 0.0, 0, 0.0

    def on_train_begin(self, *given: Any, **more: Any) -> None:
        self.began = time.perf_counter()

    def on_step_begin(self, *given: Any, optimizer: Any, **more: Any) -> None:
        left = 1 - (time.perf_counter() - self.began) / self.seconds
        factor = min((self.steps + 1) / WARMING, max(FLOOR, left))
        for group in optimizer.param_groups:
            group["lr"] = factor * self.learning_rate

    def on_step_end(self, arguments: Any, state: Any, control: Any, **more: Any) -> None:
        self.steps += 1
        self.spent = time.perf_counter() - self.began
        if self.spent >= self.seconds:
            control.should_training_stop = True


def common(settings: dict[str, Any], folder: str) -> dict[str, Any]:
    """What all trainers are told."""
    return {
        "output_dir": folder,
        "max_steps": 100_000,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": "constant",
        "max_grad_norm": settings["clip"],
        "weight_decay": 0.0,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "report_to": [],
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": settings["seed"],
    }


def weights(start: str | None) -> Any:
    """Fresh weights, with the adapter of a folder merged into them where one is given."""
    bare = LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    return PeftModel.from_pretrained(bare, start).merge_and_unload() if start else bare


def made_for(
    method: str, rows: list[Any], settings: dict[str, Any], folder: str, budget: Budget, start: str | None
) -> Any:
    """A trainer of a new adapter."""
    shared: dict[str, Any] = {
        "model": weights(start),
        "processing_class": TOKENIZER,
        "peft_config": LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], target_modules="all-linear"),
        "callbacks": [budget],
    }
    told = common(settings, folder)
    if method == "SFT":
        data = Dataset.from_dict({"input_ids": [row[0] for row in rows], "labels": [row[1] for row in rows]})
        more = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
        arguments = SFTConfig(per_device_train_batch_size=settings["batch"], **more, **told)
        return SFTTrainer(args=arguments, train_dataset=data, **shared)
    if method == "DPO":
        names = ("prompt", "chosen", "rejected")
        data = Dataset.from_dict({name: [row[place] for row in rows] for place, name in enumerate(names)})
        arguments = DPOConfig(
            per_device_train_batch_size=settings["tasks"] * settings["pairs"],
            beta=settings["beta"],
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, settings["likelihood"]],
            max_length=None,
            **told,
        )
        return DPOTrainer(args=arguments, train_dataset=data, **shared)
    data = Dataset.from_dict({"prompt": [row[0] for row in rows], "answer": [row[1] for row in rows]})
    arguments = GRPOConfig(
        per_device_train_batch_size=settings["tasks"] * settings["samples"],
        num_generations=settings["samples"],
        max_completion_length=settings["max_tokens"],
        temperature=settings["temperature"],
        num_iterations=settings["epochs"],
        epsilon=settings["clip_low"],
        epsilon_high=settings["clip_high"],
        loss_type="dr_grpo",
        scale_rewards="none",
        beta=0.0,
        **told,
    )
    return GRPOTrainer(args=arguments, train_dataset=data, reward_funcs=[rewards], **shared)


def marking() -> Any:
    """The module that marks drills."""
    spec = importlib.util.spec_from_file_location("drills_marking", MARKING)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def rewards(completions: list[str], answer: list[str], **more: Any) -> list[float]:
    """What drills are rewarded with."""
    mark = marking().mark
    return [mark(said, right).reward for said, right in zip(completions, answer, strict=True)]


def learn(
    method: str, rows: str, minutes: float, folder: str, settings: dict[str, Any], start: str | None = None
) -> dict[str, Any]:
    """Train on the rows of a JSON file; the adapter lies in `folder` then. Minutes are those of training alone."""
    given = json.loads(Path(rows).read_text())
    budget = Budget(minutes, settings["learning_rate"])
    trainer = made_for(method, given, settings, folder, budget, start)
    trainer.train()
    trainer.save_model(folder)
    logged = [one["reward"] for one in trainer.state.log_history if "reward" in one]
    return {"steps": budget.steps, "minutes": budget.spent / 60, "rewards": logged}


worker.serve(learn)
