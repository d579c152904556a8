"""Marin's speedruns: ``speedrun_results.json``, the last loss of each run with its size, tokens and compute.

A source of losses only: bits per byte of validation texts. ``model_flops`` is the training compute of the model, and
``training_hardware_flops`` what the hardware could have done in that time, which is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import source
from onset.adapters.columns import LossColumn, classify
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError


def looks_like(path: Path) -> bool:
    """A JSON file with ``runs`` of ``run_info`` that give size and tokens."""
    if path.suffix != ".json":
        return False
    text = source.head(path, 1 << 16)
    return all(f'"{key}"' in text for key in ("runs", "run_info", "model_size", "total_tokens"))


def read(path: Path, reading: Reading) -> Results:
    """The losses of a file's runs. A run is named by its folder, several of one folder by their numbers."""
    content = source.load_json(path)
    runs = content.get("runs") if isinstance(content, dict) else None
    if not isinstance(runs, list) or not runs:
        raise OnsetError("the file has no runs", where=path)
    name = source.run_of(path, reading)["run"] if reading.runs is not None else _folder(path)
    rows = [
        {"run": name if len(runs) == 1 else f"{name}-{number}", **row}
        for number, run in enumerate(runs, start=1)
        for row in _losses(run.get("run_info") or {}, reading)
    ]
    if not rows:
        raise OnsetError("none of the runs has a loss of a validation text", where=path)
    return Results(losses=pd.DataFrame(rows))


def _folder(path: Path) -> str:
    """The last two folders: a method and a size (``adamw_llama_scaling/130m``)."""
    folder = path.resolve().parent
    return f"{folder.parent.name}/{folder.name}"


def _losses(info: Mapping[str, Any], reading: Reading) -> list[dict[str, Any]]:
    steps = (info.get("train_config") or {}).get("num_train_steps")
    base = {
        "step": steps, "tokens": info.get("total_tokens"), "params": info.get("model_size"),
        "flops": info.get("model_flops"), "training": False,
    }  # fmt: skip
    found = []
    for key, value in info.items():
        kind = classify(key, reading) if "/" in key and isinstance(value, int | float) else None
        if isinstance(kind, LossColumn):
            found.append({**base, "loss_name": kind.name, "loss_unit": kind.unit, "loss": float(value)})
    return found


FORMAT = Format("marin-speedrun", "Marin, speedrun_results.json", looks_like, read)
