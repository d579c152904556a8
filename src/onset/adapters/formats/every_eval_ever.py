"""Every Eval Ever: records of evaluations in the common schema, read and written.

The schema has no place for the training of a model. Its ``additional_details`` of a model (all values text) are used
for it, and proposed: ``run, step, tokens, params, loss, loss_name, loss_unit``. A record is one model or checkpoint;
its single questions stand beside it (``every_eval_ever_samples``).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd

from onset.adapters import names, source
from onset.adapters.formats import every_eval_ever_samples
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.metrics.info import bounds
from onset.store.parts import write_text

VERSION = "0.3.0"
"""Version of the schema that is written. What is read is alike in 0.2.1, the first with details of a model."""
PLACE = ("data", "onset")
"""Records of version 0.3 lie at ``data/<benchmark>/<developer>/<model>/<uuid>.json``, and their samples beside them."""
UNKNOWN = {"deployment_type": "unknown", "model_availability": "unknown"}
"""Details of a model that version 0.3 asks for, and that a table of observations does not have."""
TRAINING = ("run", "step", "tokens", "params", "loss", "loss_name", "loss_unit")
"""Our details of a model."""


def looks_like(path: Path) -> bool:
    """A JSON file with the keys of a record."""
    if path.suffix != ".json":
        return False
    text = source.head(path, 1 << 16)
    return '"evaluation_results"' in text and '"model_info"' in text


def read(path: Path, reading: Reading) -> Results:
    """The scores of one record, and its loss where the details of the model give it."""
    record = source.load_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("evaluation_results"), list):
        raise OnsetError("this is no record of Every Eval Ever", where=path)
    model = record.get("model_info") or {}
    told = model.get("additional_details") or {}
    place = names.place(str(told.get("run") or model.get("id") or model.get("name") or path.stem))
    base = {
        "run": place.run, "step": names.step_of(told["step"]) if "step" in told else place.step,
        "tokens": names.count(told["tokens"]) if "tokens" in told else place.tokens,
        "params": names.count(told["params"]) if "params" in told else None,
    }  # fmt: skip
    scores = [{**base, **row} for result in record["evaluation_results"] if (row := _score(result)) is not None]
    losses = []
    if "loss" in told:
        unit = {name: told[name] for name in ("loss_name", "loss_unit") if name in told}
        losses.append({**base, "loss_name": "loss", **unit, "loss": float(told["loss"]), "training": False})
    items, notes = every_eval_ever_samples.read(path, base)
    return Results(pd.DataFrame(scores), pd.DataFrame(losses), items, tuple(notes))


def _score(result: Mapping[str, Any]) -> dict[str, Any] | None:
    config, details = result.get("metric_config") or {}, result.get("score_details") or {}
    value = details.get("score")
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if config.get("score_type") == "levels" and config.get("has_unknown_level") and value == -1:
        return None  # the schema's word for an unknown score
    extra = config.get("additional_details") or {}
    metric = str(extra.get("metric") or config.get("metric_name") or config.get("metric_id") or "score")
    uncertain = details.get("uncertainty") or {}
    error = (uncertain.get("standard_error") or {}).get("value")
    return {
        "task": str(result["evaluation_name"]), "metric": metric, "score": _in_range(float(value), metric, config),
        "stderr": float(error) if isinstance(error, int | float | str) and float(error) > 0 else None,
        "n_examples": uncertain.get("num_samples"),
        "chance": float(extra["chance"]) if "chance" in extra else None,
        "direction": "lower" if config.get("lower_is_better") else "higher",
    }  # fmt: skip


def _in_range(value: float, metric: str, config: Mapping[str, Any]) -> float:
    """A share that the record gives out of a hundred, as a fraction."""
    return value / 100 if bounds(metric) == (0.0, 1.0) and config.get("max_score") == 100 else value


def write(
    observations: pd.DataFrame,
    folder: str | Path,
    *,
    items: pd.DataFrame | None = None,
    organization: str = "unknown",
    retrieved: str = "0",
) -> list[Path]:
    """Write a table of observations as records below a folder, one file a checkpoint, and return their paths.

    ``items`` are item rows: those of a checkpoint go beside its record, as samples. ``organization`` is who provides
    the data; ``retrieved`` is the time of the record in seconds since 1970, as text.
    """
    written = []
    keys = ["run", "step", "tokens", "loss_name"]
    for _, rows in observations.groupby(keys, sort=True, dropna=False):
        record = _record(rows, organization, retrieved)
        place = Path(*PLACE, _portable(organization), _portable(str(rows.run.iloc[0])), f"{_uuid(rows, record)}.json")
        path = Path(folder) / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if items is not None and len(own := _of_checkpoint(items, rows)):
            told = every_eval_ever_samples.write(own, path, record["evaluation_id"], record["model_info"]["id"])
            told["file_path"] = place.with_name(told["file_path"]).as_posix()
            record["detailed_evaluation_results"] = told
        write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def _portable(name: str) -> str:
    """A name that may be a folder anywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "unknown"


def _uuid(rows: pd.DataFrame, record: Mapping[str, Any]) -> UUID:
    """The name of a record: of the form that the schema asks for, and the same whenever it is written again."""
    key = json.dumps([record["evaluation_id"], str(rows.loss_name.iloc[0]), str(rows.tokens.iloc[0])])
    return UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4)


def _of_checkpoint(items: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The item rows of the checkpoint and the tasks of some observations."""
    first = rows.iloc[0]
    step = -1 if pd.isna(first.step) else int(first.step)
    own: pd.DataFrame = items[(items.run == first.run) & (items.step == step) & items.task.isin(rows.task)]
    return own


def _record(rows: pd.DataFrame, organization: str, retrieved: str) -> dict[str, Any]:
    first = rows.iloc[0]
    details = UNKNOWN | {name: f"{first[name]}" for name in TRAINING if name in rows and pd.notna(first[name])}
    checkpoint = f"{first.run}@step{int(first.step)}" if pd.notna(first.step) else str(first.run)
    return {
        "schema_version": VERSION,
        "evaluation_id": f"onset/{checkpoint}/{retrieved}",
        "retrieved_timestamp": retrieved,
        "source_metadata": {
            "source_type": "evaluation_run", "source_organization_name": organization,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "onset", "version": "unknown"},
        "model_info": {"name": str(first.run), "id": checkpoint, "additional_details": details},
        "evaluation_results": [_result(row) for _, row in rows.iterrows()],
    }  # fmt: skip


def _result(row: pd.Series) -> dict[str, Any]:
    low, high = bounds(str(row.metric))
    extra = {"metric": str(row.metric)} | ({"chance": f"{row.chance}"} if pd.notna(row.chance) else {})
    limits = {"score_type": "continuous", "min_score": low, "max_score": high} if math.isfinite(low + high) else {}
    uncertain: dict[str, Any] = {"standard_error": {"value": float(row.stderr)}} if pd.notna(row.stderr) else {}
    uncertain |= {"num_samples": int(row.n_examples)} if pd.notna(row.n_examples) else {}
    return {
        "evaluation_name": str(row.task),
        "source_data": {"dataset_name": str(row.task), "source_type": "other"},
        "metric_config": {"lower_is_better": row.direction == "lower", **limits, "additional_details": extra},
        "score_details": {"score": float(row.score), **({"uncertainty": uncertain} if uncertain else {})},
    }


FORMAT = Format("every-eval-ever", "Every Eval Ever, record (JSON)", looks_like, read)
