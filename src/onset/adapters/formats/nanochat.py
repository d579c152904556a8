"""nanochat: series of trainings, evaluations of checkpoints, their descriptions, and logs.

``results.csv`` of the miniseries and of the scaling laws (a training a row), ``base_model_<step>.csv`` (a task a row),
``meta_<step>.json`` beside the weights, and the printed log. Validation losses are bits per byte. A ``core_score`` of
0.0 in ``results.csv`` means that it was not measured. Accuracies are taken, not the centred ones, whose baselines
are disputed.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd

from onset.adapters import source
from onset.adapters.columns import BITS
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.tables import files

VALIDATION = "val"
CORE = {"task": "CORE", "metric": "centered_accuracy"}
_EVAL = re.compile(r"base_model_(\d+)\.csv$")
_META = re.compile(r"meta_(\d+)\.json$")
_LINE = re.compile(r"Step (\d+) \| Validation bpb: ([\d.]+)")
_CORE_LINE = re.compile(r"Step (\d+) \| CORE metric: ([\d.]+)")
_BATCH = re.compile(r"Total batch size ([\d,]+)")


def looks_like(path: Path) -> bool:
    """By the names of files and columns."""
    if _EVAL.search(path.name):
        return "Accuracy" in source.head(path, 256)
    if _META.search(path.name):
        return '"val_bpb"' in source.head(path, 1 << 16)
    if path.name == "results.csv":
        return {"depth", "val_bpb", "core_score"} <= set(source.header(path))
    return path.suffix in (".log", ".txt", ".out") and bool(_LINE.search(source.head(path, 1 << 22)))


def read(path: Path, reading: Reading) -> Results:
    """The scores and losses of one of nanochat's files."""
    if _EVAL.search(path.name):
        return _evaluation(path)
    if _META.search(path.name):
        return _meta(path)
    if path.suffix == ".csv":
        return _series(path)
    return _log(path, reading)


def _series(path: Path) -> Results:
    frame = files.read_table(path)
    wanted = ["depth", "tokens_trained", "num_iterations", "val_bpb", "core_score"]
    number = {name: pd.to_numeric(frame[name], errors="coerce") for name in wanted}
    size = frame["num_params"] if "num_params" in frame else frame["params_total"]
    run = "d" + frame["depth"].astype("str").str.strip()
    if "flops_budget" in frame:
        run += "-" + frame["flops_budget"].astype("str").str.strip()
    base = pd.DataFrame({
        "run": run, "step": number["num_iterations"], "tokens": number["tokens_trained"],
        "params": pd.to_numeric(size, errors="coerce"),
    })  # fmt: skip
    losses = base.assign(loss_name=VALIDATION, loss_unit=BITS, loss=number["val_bpb"], training=False)
    scores = base.assign(**CORE, score=number["core_score"].replace(0.0, np.nan)).dropna(subset=["score"])
    notes = []
    if len(scores) < len(base):
        notes.append(
            f"{path.name}: trainings whose CORE score was not measured (0.0), left out: {len(base) - len(scores)}"
        )
    if "num_params" in frame:
        notes.append(f"{path.name}: the miniseries counts 524,288 tokens a step, whatever the batch was")
    return Results(scores, losses.dropna(subset=["loss"]), notes=tuple(notes))


def _evaluation(path: Path) -> Results:
    step = int(_EVAL.search(path.name)[1])  # type: ignore[index]  # read is only called for such names
    rows = []
    with open(path, newline="", encoding="utf-8-sig") as handle:
        for task, accuracy, *rest in csv.reader(handle):
            task, accuracy = task.strip(), accuracy.strip()
            if task == "CORE" and rest:
                rows.append({**CORE, "score": float(rest[0])})
            elif task != "Task" and accuracy:
                rows.append({"task": task, "metric": "accuracy", "score": float(accuracy)})
    if not rows:
        raise OnsetError("the evaluation has no scores", where=path)
    return Results(pd.DataFrame(rows).assign(step=step, run=_tag(path)))


def _tag(path: Path) -> str:
    """The model's tag: that of the only folder of checkpoints, since the evaluation's file does not name it."""
    folders = [f for f in (path.resolve().parent.parent / "base_checkpoints").glob("*") if f.is_dir()]
    return folders[0].name if len(folders) == 1 else path.resolve().parent.parent.name


def _meta(path: Path) -> Results:
    meta = source.load_json(path)
    value, step, batch = meta.get("val_bpb"), meta.get("step"), meta.get("total_batch_size")
    if step is None or not isinstance(value, int | float):
        return Results(notes=(f"{path.name}: no validation loss was measured",))
    row = {
        "run": path.resolve().parent.name, "step": step, "tokens": step * batch if batch else np.nan,
        "loss_name": VALIDATION, "loss_unit": BITS, "loss": value, "training": False,
    }  # fmt: skip
    return Results(losses=pd.DataFrame([row]))


def _log(path: Path, reading: Reading) -> Results:
    text = path.read_text(encoding="utf-8", errors="replace")
    batch = _BATCH.search(text)
    per_step = int(batch[1].replace(",", "")) if batch else np.nan
    fields = source.run_of(path, reading)
    losses = pd.DataFrame(
        {"step": int(step), "loss": float(value)} for step, value in dict(_LINE.findall(text)).items()
    ).assign(loss_name=VALIDATION, loss_unit=BITS, training=False, **fields)
    cores = dict(_CORE_LINE.findall(text))
    scores = pd.DataFrame([{"step": int(step), **CORE, "score": float(value)} for step, value in cores.items()])
    for frame in (losses, scores):
        if len(frame):
            frame["tokens"] = frame.step * per_step
    return Results(scores.assign(**fields) if len(scores) else scores, losses)


FORMAT = Format("nanochat", "nanochat: results.csv, base_model_<step>.csv, meta_<step>.json, log", looks_like, read)
