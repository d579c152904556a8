"""Every Eval Ever, single questions: ``<id>_samples.jsonl`` beside a record, to item rows and from them.

The schema (``instance_level_eval``) has a text and whether it is right. Log-probabilities of choices have no place in
it: they are written as text into ``metadata``, under the names of the item rows, and read from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from onset import reading as whole
from onset.adapters.source import json_lines
from onset.errors import OnsetError
from onset.store.parts import ITEMS, write_text

VERSION = "instance_level_eval_0.3.0"
SUFFIX = "_samples.jsonl"
OF_ROW = ("logprob", "logprob_uncond", "tokens", "bytes", "gold", "missing")
"""What is kept of each choice, as lists in ``metadata``."""


def read(record: Path, base: Mapping[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """Item rows of the samples beside a record, and notes; ``base`` has the run and step of the record.

    A sample may stand there once for each metric: where these agree on whether it is right it counts once, where they
    do not it is left out and counted.
    """
    path = record.with_name(record.stem + SUFFIX)
    if not path.exists():
        return pd.DataFrame(), []
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    torn: set[tuple[str, str]] = set()
    for sample in json_lines(path):
        made = _rows(sample, path)
        key = (str(sample["evaluation_name"]), str(sample["sample_id"]))
        if key in rows and [row["correct"] for row in rows[key]] != [row["correct"] for row in made]:
            torn.add(key)
        rows.setdefault(key, made)
    kept = [row for key, made in rows.items() if key not in torn for row in made]
    notes = [f"{path.name}: samples that stand there as right and as wrong, left out: {len(torn)}"] if torn else []
    step = base.get("step")
    frame = pd.DataFrame(kept).assign(run=base["run"], step=-1 if step is None else int(step), digest="")
    return frame.reindex(columns=ITEMS.names), notes


def _rows(sample: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    try:
        judged = None if sample.get("error") else sample["evaluation"]["is_correct"]
        common = {"task": str(sample["evaluation_name"]), "item": str(sample["sample_id"])}
    except (KeyError, TypeError) as error:
        raise OnsetError(f"a sample lacks {error}", where=path, advice="the file may be cut short") from error
    told = sample.get("metadata") or {}
    if "logprob" in told:
        of_rows = {name: whole.json_text(told[name], where=path) for name in OF_ROW if name in told}
        count = len(of_rows["logprob"])
        made = [{**common, "choice": at, **{name: of_rows[name][at] for name in of_rows}} for at in range(count)]
        for row in made:
            row |= {"cluster": told.get("cluster"), "correct": judged if count == 1 else None}
    else:
        made = [{**common, "choice": 0, "gold": True, "correct": judged}]
    if len(made) == 1:
        made[0]["text"] = _text(sample.get("output"))
    return made


def _text(output: Any) -> str | None:
    """What was answered: a text, or the first of a list of them."""
    raw = output.get("raw") if isinstance(output, Mapping) else None
    return str(raw[0] if isinstance(raw, list) and raw else raw) if raw else None


def write(items: pd.DataFrame, record: Path, evaluation: str, model: str) -> dict[str, Any]:
    """Write the samples of one record beside it, and return what the record says of them.

    Item rows do not keep the text of a question: ``input.raw`` is the item's id.
    """
    lines = [
        _sample(rows, str(task), str(item), evaluation, model)
        for (task, item), rows in items.groupby(["task", "item"], sort=True)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path = record.with_name(record.stem + SUFFIX)
    write_text(path, text)
    return {
        "format": "jsonl", "file_path": path.name, "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(text.encode()).hexdigest(), "total_rows": len(lines),
    }  # fmt: skip


def _sample(rows: pd.DataFrame, task: str, item: str, evaluation: str, model: str) -> dict[str, Any]:
    rows = rows.sort_values("choice")
    correct = _correct(rows)
    text = rows.text.iloc[0] if len(rows) == 1 and pd.notna(rows.text.iloc[0]) else ""
    told = {name: json.dumps(_values(rows[name])) for name in OF_ROW if name in rows}
    if "cluster" in rows and pd.notna(rows.cluster.iloc[0]):
        told["cluster"] = str(rows.cluster.iloc[0])
    return {
        "schema_version": VERSION, "evaluation_id": evaluation, "model_id": model, "evaluation_name": task,
        "sample_id": item, "interaction_type": "single_turn", "input": {"raw": item, "reference": []},
        "output": {"raw": [str(text)]}, "answer_attribution": [],
        "evaluation": {"score": float(correct), "is_correct": correct}, "metadata": told,
        "error": _missing(rows),
    }  # fmt: skip


def _missing(rows: pd.DataFrame) -> str | None:
    """Why an item could not be scored, if it could not."""
    reasons = rows["missing"].dropna().tolist() if "missing" in rows else []
    return str(reasons[0]) if reasons else None


def _correct(rows: pd.DataFrame) -> bool:
    """Whether a free answer is right, or the likeliest choice; what was not answered is not right."""
    if len(rows) == 1:
        return bool(pd.notna(rows.correct.iloc[0]) and rows.correct.iloc[0])
    if rows.logprob.isna().any():
        return False
    return bool(rows.gold.to_numpy(bool)[int(rows.logprob.to_numpy(float).argmax())])


def _values(values: pd.Series) -> Sequence[Any]:
    return [None if pd.isna(one) else one for one in values.astype(object).tolist()]
