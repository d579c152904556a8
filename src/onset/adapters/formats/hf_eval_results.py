"""Hugging Face: ``.eval_results/*.yaml`` of a model's repository, results that were added by hand or by a bot.

A file is a list of results: ``dataset`` with ``id`` and ``task_id``, a ``value``, and perhaps ``notes`` on how it was
obtained ("With tools"), which makes another task of it. No metric is named (``--metric`` names it), and whether a value
is in percent is not stated: it is kept as it stands. The model is the folder around ``.eval_results``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from onset import reading as whole
from onset.adapters import names, source
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError

FOLDER = ".eval_results"


def looks_like(path: Path) -> bool:
    """A YAML file in a folder of this name, or one with the keys of a result."""
    if path.suffix not in (".yaml", ".yml"):
        return False
    text = source.head(path)
    return path.parent.name == FOLDER or all(f"{key}:" in text for key in ("dataset", "task_id", "value"))


def read(path: Path, reading: Reading) -> Results:
    """The scores of one file."""
    try:
        content = yaml.safe_load(whole.text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = (str(error) or "nested too deep").splitlines()[0]
        raise OnsetError(f"cannot read the YAML file: {said}", where=path) from error
    if not isinstance(content, list) or not all(isinstance(one, Mapping) for one in content):
        raise OnsetError("this is no list of evaluation results", where=path)
    place = names.place(_model(path, reading))
    rows = [_row(one, path, reading) for one in content]
    return Results(pd.DataFrame(rows).assign(run=place.run, step=place.step, tokens=place.tokens))


def _model(path: Path, reading: Reading) -> str:
    if reading.runs is not None:
        return str(source.run_of(path, reading)["run"])
    folder = path.resolve().parent
    return (folder.parent if folder.name == FOLDER else folder).name


def _row(one: Mapping[str, Any], path: Path, reading: Reading) -> dict[str, Any]:
    dataset = one.get("dataset")
    value = one.get("value")
    if not isinstance(dataset, Mapping) or not dataset.get("id") or isinstance(value, bool):
        raise OnsetError("a result has no dataset with an id", where=path)
    if not isinstance(value, int | float):
        raise OnsetError(f"the value '{value}' of a result is no number", where=path)
    task = str(dataset.get("task_id") or str(dataset["id"]).rpartition("/")[2])
    if notes := re.sub(r"\W+", "_", str(one.get("notes") or "").lower()).strip("_"):
        task += f":{notes}"
    return {"task": task, "metric": reading.metric or "score", "score": float(value), "direction": "higher"}


FORMAT = Format("hf-eval-results", "Hugging Face, .eval_results/*.yaml", looks_like, read)
