"""lighteval: ``results_<time>.json`` and, where it was asked to save them, ``details_<task>_<time>.parquet``.

A task is ``task|shots`` (older files ``suite|task|shots|0``). The means over subsets (``task:_average|5``) and over
everything (``all``) are no tasks and are left out. Details become item rows: with log-probabilities of the choices our
metrics are computed from them. The step is only in the model's name or revision; the run may be named by ``--runs``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from onset.adapters import names, source
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.store.parts import ITEMS


def looks_like(path: Path) -> bool:
    """A results file whose head is lighteval's general configuration."""
    return path.suffix == ".json" and '"config_general"' in source.head(path, 256)


def read(path: Path, reading: Reading) -> Results:
    """Published scores of one results file, and the item rows of the details of the same time."""
    content = source.load_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise OnsetError("this is no result of lighteval: it has no 'results'", where=path)
    config = content.get("config_general") or {}
    place, notes = _place(config, path), []
    rows, left_out = [], []
    for key, values in content["results"].items():
        task = _task(key)
        if task is None:
            left_out.append(key)
            continue
        rows += [
            {"task": task, "metric": metric, "score": float(value), "stderr": _error(values.get(f"{metric}_stderr"))}
            for metric, value in values.items()
            if not metric.endswith("_stderr") and isinstance(value, int | float) and math.isfinite(value)
        ]
    if left_out:
        notes.append(f"lighteval: means over tasks, left out: {', '.join(sorted(left_out)[:4])}")
    if config.get("max_samples"):
        notes.append(f"lighteval: scores of {place.run} are of at most {config['max_samples']} questions a task")
    items = _items(path, place)
    frame = pd.DataFrame(rows).assign(run=place.run, step=place.step, tokens=place.tokens)
    if len(items) and len(frame):
        frame["n_examples"] = frame.task.map(items.groupby("task").item.nunique())
    return Results(frame, items=items, notes=tuple(notes))


def _place(config: Mapping[str, Any], path: Path) -> names.Place:
    model = config.get("model_config") or {}
    name = config.get("model_name") or (model.get("model_name") if isinstance(model, Mapping) else None)
    revision = str(model.get("revision") or "") if isinstance(model, Mapping) else ""
    return names.place(str(name or path.parent.name), "" if revision == "main" else revision)


def _task(key: str) -> str | None:
    """The task of a key; None for a mean over tasks. Shots stay in the name only where they are not zero."""
    parts = key.split("|")
    if len(parts) == 4:
        parts = parts[1:3]
    name, shots = parts[0], parts[1] if len(parts) > 1 else "0"
    if name == "all" or name.endswith("_average"):
        return None
    return name if shots == "0" else f"{name}|{shots}"


def _error(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 and math.isfinite(value) else None


def _items(path: Path, place: names.Place) -> pd.DataFrame:
    """Item rows of the details written with these results, wherever the output folder keeps them."""
    time = path.stem.removeprefix("results_")
    roots = [path.parent, path.parent.parent, path.parent.parent.parent, path.parent.parent.parent.parent]
    found = next((f for root in roots if (f := sorted(root.glob(f"details/**/details_*_{time}.parquet")))), [])
    frames = [_of_details(file, time, place) for file in found]
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _of_details(path: Path, time: str, place: names.Place) -> pd.DataFrame:
    task = _task(path.stem.removeprefix("details_").removesuffix(f"_{time}")) or ""
    rows: list[dict[str, Any]] = []
    for number, sample in enumerate(pq.ParquetFile(path).read().to_pylist()):
        fields = {name.strip("_"): value for name, value in sample.items()}  # older files have __doc__
        rows += _of_sample(fields.get("doc") or {}, fields.get("model_response") or {}, number)
    columns = [name for name in ITEMS.names if name not in ("run", "step", "task", "digest")]
    frame = pd.DataFrame(rows, columns=columns).assign(
        run=place.run, step=-1 if place.step is None else place.step, task=task, digest=""
    )
    return frame.reindex(columns=ITEMS.names)


def _of_sample(doc: Mapping[str, Any], response: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """One row a choice; none where the choices were not scored or several are right."""
    choices, scored = list(doc.get("choices") or []), list(response.get("logprobs") or [])
    gold = doc.get("gold_index")
    golds = list(gold) if isinstance(gold, list | tuple | np.ndarray) else [gold]
    if len(choices) < 2 or len(scored) != len(choices) or len(golds) != 1 or golds[0] is None:
        return []
    bare = list(response.get("unconditioned_logprobs") or []) or [None] * len(choices)
    item = f"{doc.get('id') or number}"
    return [
        {
            "item": item, "choice": place, "gold": place == int(golds[0]), "logprob": float(scored[place]),
            "logprob_uncond": bare[place], "bytes": len(str(choice).encode()), "tokens": None, "text": None,
            "correct": None,
        }
        for place, choice in enumerate(choices)
    ]  # fmt: skip


FORMAT = Format("lighteval", "lighteval, results_<time>.json (and details)", looks_like, read)
