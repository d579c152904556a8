"""A family with the usual tools: transformers' Trainer, run after run, then lm-evaluation-harness on each checkpoint.

    python benchmarks/usual_tools.py FOLDER

``FOLDER`` is what ``benchmarks/study.py`` lays out: ``runs.json``, each run's tokens, a tokenizer, and ``tasks``. Needs
transformers, accelerate and lm_eval, and nothing of onset: it can run in an environment of its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch


def train(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one run by the Trainer, with its checkpoints in the folder; returns seconds and the last losses."""
    from torch.utils.data import SequentialSampler
    from transformers import GlmConfig, GlmForCausalLM, Trainer, TrainerCallback, TrainingArguments

    began = time.perf_counter()
    ids = torch.from_numpy(np.load(folder / f"{run['name']}.npy"))
    torch.manual_seed(run["seed"])
    model = GlmForCausalLM(GlmConfig(**{k: v for k, v in run["config"].items() if k != "architectures"}))
    adam = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    rates = run["rates"]
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rates[min(step, len(rates) - 1)])
    losses: list[float] = []

    class InOrder(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *args: Any, **settings: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **settings: Any) -> None:
            if state.global_step in run["checkpoints"]:
                model.save_pretrained(folder / "models" / run["name"] / str(state.global_step))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **settings: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=run["batch"], max_steps=run["steps"],
        use_cpu=True, max_grad_norm=1.0, report_to=[], save_strategy="no", logging_steps=20, disable_tqdm=True,
    )  # fmt: skip
    data = [{"input_ids": row, "labels": row} for row in ids]
    InOrder(model, arguments, train_dataset=data, callbacks=[Keep()], optimizers=(adam, schedule)).train()
    return {"seconds": time.perf_counter() - began, "loss": losses[-1]}


def evaluate(model: Path, tokenizer: Path, tasks: Path) -> dict[str, Any]:
    """All tasks on one checkpoint, by lm-evaluation-harness."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    found = simple_evaluate(
        model="hf", model_args={"pretrained": str(model), "tokenizer": str(tokenizer)}, batch_size=32, device="cpu",
        tasks=[path.stem for path in sorted(tasks.glob("*.yaml"))],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False), bootstrap_iters=0,
    )  # fmt: skip
    return {name: value.get("acc,none") for name, value in found["results"].items()}


def main() -> None:
    folder = Path(sys.argv[1])
    runs = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    began = time.perf_counter()
    out: dict[str, Any] = {"training": {}, "accuracy": {}}
    for run in runs:
        out["training"][run["name"]] = train(run, folder)
    out["training_seconds"] = time.perf_counter() - began
    for run in runs:
        for step in run["checkpoints"]:
            model = folder / "models" / run["name"] / str(step)
            out["accuracy"][f"{run['name']} {step}"] = evaluate(model, folder / "tokenizer", folder / "tasks")
    out["seconds"] = time.perf_counter() - began
    (folder / "usual_tools.json").write_text(json.dumps(out, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
