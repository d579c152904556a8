"""onset's own folders: a study, or the output of ``onset loss`` and ``onset eval``, and the log of one run.

The held-out losses of every checkpoint, and the scores of a study that has them. Tokens are as run.json states them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters.source import Format, Reading, Results, load_json
from onset.errors import OnsetError
from onset.store.parts import read_part
from onset.store.rundir import run_dirs
from onset.tables import study


def looks_like(path: Path) -> bool:
    """A folder with ``runs/*/run.json``."""
    return path.is_dir() and any(path.glob("runs/*/run.json"))


def read(path: Path, reading: Reading) -> Results:
    """All held-out losses of the folder's runs, and their scores where there are any."""
    losses = study.all_losses(path)
    described: list[dict[str, Any]] = []
    for run in run_dirs(path):
        meta = load_json(run.meta_path)
        described.append({
            "run": run.name, "name": meta.get("run") or run.name, "params": meta.get("params"),
            "per_step": meta.get("tokens_per_step"), "at": meta.get("tokens_at") or {},
        })  # fmt: skip
    about = {one["run"]: one for one in described}
    losses["tokens"] = [
        _tokens(about[run]["per_step"], about[run]["at"], int(step))
        for run, step in zip(losses.run, losses.step, strict=True)
    ]
    losses["params"] = losses.run.map({run: one["params"] for run, one in about.items()})
    count = Counter(one["name"] for one in described)
    names = {run: str(one["name"]) if count[one["name"]] == 1 else run for run, one in about.items()}
    losses["run"] = losses.run.map(names)
    scores, notes = _scores(path, names)
    items = _items(path, names) if reading.items else pd.DataFrame()
    return Results(scores, losses.assign(training=False), items, tuple(notes))


def _items(path: Path, names: dict[str, str]) -> pd.DataFrame:
    """All item rows of the folder's runs; a task that was asked in two forms bears the name that its scores have."""
    parts = [read_part(part) for run in run_dirs(path) for part in sorted(run.path.glob("items/[0-9]*/*.parquet"))]
    if not parts:
        return pd.DataFrame()
    items = pd.concat(parts, ignore_index=True)
    forms = items.groupby("task").digest.transform("nunique") > 1
    task = items.task.where(~forms, items.task + "@" + items.digest.str[:4])
    return items.assign(run=items.run.map(names), task=task)


def _tokens(per_step: float | None, stated: dict[str, float], step: int) -> float | None:
    if str(step) in stated:
        return float(stated[str(step)])
    return None if per_step is None or pd.isna(per_step) else float(per_step) * step


def _scores(path: Path, names: dict[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The folder's scores; none where nothing was scored, as after ``onset loss``."""
    if not any(path.glob("runs/*/items/[0-9]*/*.parquet")):
        return pd.DataFrame(), []
    try:
        frame = study.from_study(path)
    except OnsetError as error:
        return pd.DataFrame(), [f"{path.name}: its scores were not read: {error.what}"]
    notes = list(frame.attrs.get("notes", []))
    return frame.assign(run=frame.run.map(names)), notes


FORMAT = Format("onset", "folder of a study, of 'onset loss' or of 'onset eval'", looks_like, read, folder=True)
