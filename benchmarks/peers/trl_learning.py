"""TRL's SFTTrainer and GRPOTrainer until their minutes are over. Arguments: folder of the model, threads.

The number of steps is planned from the time of two steps that are thrown away, for the schedule of the learning rate,
and nobody goes on after the minutes. The adapter is written in PEFT's format.
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
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

MARKING = Path(__file__).parents[2] / "src" / "llmagentos" / "environments" / "drills_marking.py"
"""Needs nothing but Python, so that the reward is the same; its neighbours have names of libraries."""
torch.set_num_threads(int(sys.argv[2]))
TOKENIZER = AutoTokenizer.from_pretrained(sys.argv[1])
TRIED = 2
"""Steps from whose time the plan is made; the last one counts."""


class Budget(TrainerCallback):
    """Ends training when its minutes are over and notes when each step ended."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.moments: list[float] = []

    def on_train_begin(self, *given: Any, **more: Any) -> None:
        self.moments = [time.perf_counter()]

    def on_step_end(self, arguments: Any, state: Any, control: Any, **more: Any) -> None:
        self.moments.append(time.perf_counter())
        if self.moments[-1] - self.moments[0] >= 60 * self.minutes:
            control.should_training_stop = True


def common(settings: dict[str, Any], steps: int, folder: str) -> dict[str, Any]:
    """What both trainers are told."""
    return {
        "output_dir": folder,
        "max_steps": steps,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": "linear",
        "warmup_steps": max(1, round(0.06 * steps)),
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


def made_for(method: str, rows: list[Any], settings: dict[str, Any], steps: int, folder: str, budget: Budget) -> Any:
    """A trainer on fresh weights."""
    shared: dict[str, Any] = {
        "model": LlamaForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32),
        "processing_class": TOKENIZER,
        "peft_config": LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], target_modules="all-linear"),
        "callbacks": [budget],
    }
    told = common(settings, steps, folder)
    if method == "SFT":
        data = Dataset.from_dict({"input_ids": [row[0] for row in rows], "labels": [row[1] for row in rows]})
        more = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
        arguments = SFTConfig(per_device_train_batch_size=settings["batch"], **more, **told)
        return SFTTrainer(args=arguments, train_dataset=data, **shared)
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


def learn(method: str, rows: str, minutes: float, folder: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train on the rows of a JSON file; the adapter lies in `folder` then. Minutes are those of training alone."""
    given = json.loads(Path(rows).read_text())
    trial = Budget(60.0)
    made_for(method, given, settings, TRIED, folder, trial).train()
    planned = max(TRIED, int(60 * minutes / (trial.moments[-1] - trial.moments[-2])))
    budget = Budget(minutes)
    trainer = made_for(method, given, settings, planned, folder, budget)
    trainer.train()
    trainer.save_model(folder)
    logged = [one["reward"] for one in trainer.state.log_history if "reward" in one]
    spent = (budget.moments[-1] - budget.moments[0]) / 60
    return {"steps": len(budget.moments) - 1, "planned": planned, "minutes": spent, "rewards": logged}


worker.serve(learn)
