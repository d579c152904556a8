"""A whole family, trained and scored: ``onset run`` against the usual tools, wall time in one go.

    python benchmarks/study.py --peer-python VENV/bin/python

The usual tools are the Trainer of transformers, one run after another, and lm-evaluation-harness on every checkpoint
(``usual_tools.py``, in the environment of ``--peer-python``). Both sides train the same shapes on the same tokens with
the same batches, rates and steps, and answer the same questions. Making the text and its tokens counts for onset
alone; the usual tools get them ready-made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from onset.models.transformer import glm_config
from onset.study.branching import trunks
from onset.study.files import dump
from onset.study.presets import preset
from onset.study.spec import Run, Schedule, Shape, Study, TaskUse
from onset.tasks.catalogue import write_requests
from onset.train.schedule import rate
from onset.work.ledger import StudyLedger

PEER = Path(__file__).with_name("usual_tools.py")


def family(widths: list[int], budgets: list[int], kind: str) -> Study:
    """Each width with each budget of steps, three checkpoints each, four tasks of the embedded world."""
    runs = []
    for width in widths:
        hidden = -(-width * 8 // 3 // 16) * 16
        shape = Shape(layers=4, width=width, heads=4, kv_heads=2, hidden=hidden, context=128, rotary_base=100.0)
        schedule = Schedule(kind=kind, peak_rate=8e-3, warmup_steps=40)  # type: ignore[arg-type]
        runs += [
            Run(
                name=f"w{width}-{steps}",
                shape=shape,
                tokens=steps * 16 * 128,
                batch=16,
                checkpoints=3,
                schedule=schedule,
            )
            for steps in budgets
        ]
    tasks = ("world_scripts_en", "world_facts_en", "world_exam_en", "world_scripts_zh")
    return preset("tiny").model_copy(
        update={"name": "family", "runs": tuple(runs), "tasks": tuple(TaskUse(name=name) for name in tasks)}
    )


def lay_out(place: StudyLedger, folder: Path) -> None:
    """What the usual tools need: runs, tokens, the tokenizer and the questions."""
    place.materials.prepare()
    runs = []
    for run in place.study.runs:
        mixture = place.materials.mixture(run)
        np.save(folder / f"{run.name}.npy", np.concatenate([mixture.batch(step) for step in range(run.steps)]))
        tokenizer = place.materials.tokenizer(run.tokenizer)
        runs.append(
            {
                "name": run.name, "seed": run.seed, "batch": run.batch, "steps": run.steps,
                "checkpoints": list(place.steps(run)), "config": glm_config(run.shape, tokenizer.vocab, tokenizer.eos),
                "rates": [rate(run.schedule, step, run.steps) for step in range(run.steps)],
            }
        )  # fmt: skip
    (folder / "runs.json").write_text(json.dumps(runs), encoding="utf-8")
    place.materials.tokenizer(place.study.runs[0].tokenizer).save(folder / "tokenizer")
    (folder / "tasks").mkdir()
    for name, task in place.tasks.items():
        write_requests(task, folder / "requests.jsonl")
        _harness_task(name, folder / "requests.jsonl", folder / "tasks")


def _harness_task(name: str, requests: Path, folder: Path) -> None:
    """A task of lm-evaluation-harness from what onset asks: the same prompts and continuations."""
    items: dict[str, dict[str, Any]] = {}
    for line in requests.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        item = items.setdefault(row["item"], {"prompt": row["prompt"], "choices": [], "gold": 0})
        if row["gold"]:
            item["gold"] = len(item["choices"])
        item["choices"].append(row["continuation"])
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items.values()), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(
        f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
        "output_type: multiple_choice\ndoc_to_text: prompt\ndoc_to_choice: choices\ndoc_to_target: gold\n"
        'target_delimiter: ""\nmetric_list:\n  - metric: acc\n',
        encoding="utf-8",
    )


def ours(study: Study, folder: Path) -> float:
    """Seconds of ``onset run`` from nothing to findings and page."""
    specification = folder / "family.toml"
    specification.write_text(dump(study), encoding="utf-8")
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "onset", "run", str(specification), "--out", str(folder / "onset")],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began


def final_loss(place: StudyLedger, run: Run) -> float:
    """Mean training loss of a run's last twenty steps."""
    lines = place.rundir(run).log_path.read_text(encoding="utf-8").splitlines()
    return float(np.mean([json.loads(line)["loss"] for line in lines[-20:]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 48])
    parser.add_argument("--budgets", type=int, nargs="+", default=[300, 400, 500, 600, 800], help="steps of each run")
    parser.add_argument("--schedule", choices=("wsd", "cosine"), default="wsd")
    options = parser.parse_args()
    study = family(options.widths, options.budgets, options.schedule)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "peer").mkdir()
        seconds = ours(study, folder)
        place = StudyLedger(study, folder / "onset")
        lay_out(place, folder / "peer")
        began = time.perf_counter()
        environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "PYTHONPATH")}
        subprocess.run(
            [str(options.peer_python), str(PEER), str(folder / "peer")], check=True, stdout=subprocess.DEVNULL,
            env=environment | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip
        peer_seconds = time.perf_counter() - began
        told = json.loads((folder / "peer" / "usual_tools.json").read_text(encoding="utf-8"))
        print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, schedule {options.schedule}")
        print(f"{len(study.runs)} runs, {sum(len(place.steps(run)) for run in study.runs)} checkpoints, "
              f"{len(study.tasks)} tasks; {len(trunks(study))} runs branch from a shared trunk")  # fmt: skip
        print(f"onset run: {seconds:.0f} s; usual tools: {peer_seconds:.0f} s, {told['training_seconds']:.0f} s of it "
              f"training; ratio {peer_seconds / seconds:.1f}")  # fmt: skip
        for run in study.runs:
            mine, theirs = final_loss(place, run), told["training"][run.name]["loss"]
            print(f"last training loss of {run.name}: onset {mine:.3f}, usual tools {theirs:.3f}")


if __name__ == "__main__":
    main()
