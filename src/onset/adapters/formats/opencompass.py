"""OpenCompass: an output folder (``results/<model>/<dataset>.json``), or the summary table alone.

Scores are percentages and become fractions. A result with ``error`` failed and is no score. OpenCompass's ``PPL`` is
a mean negative log-likelihood over the whole prompt and its ``BPB`` counts the bytes of another text than the tokens:
neither is a loss or a gold bits-per-byte, and both are left out, as are ``correct_bpb`` and averages over groups.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import names, source
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.tables import files

_NO_SCORE = re.compile(r"bpb|ppl|perplexity|^details$|_count$|^total$|average", re.IGNORECASE)
MEANS = "OpenCompass: measures that are no score of a task (PPL, BPB, averages), left out: "


def looks_like(path: Path) -> bool:
    """An output folder, or the folder of outputs of several times."""
    return path.is_dir() and bool(_result_files(path)) and not any(path.glob("runs/*/run.json"))


def _result_files(path: Path) -> list[Path]:
    found = [f for pattern in ("results/*/*.json", "*/results/*/*.json") for f in path.glob(pattern)]
    beside = (path / "predictions", *path.glob("*/predictions"), path / "summary", *path.glob("*/summary"))
    return sorted(found) if any(folder.is_dir() for folder in beside) else []


def read(path: Path, reading: Reading) -> Results:
    """The scores of all results; of one written twice, the run of the latest time counts."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    failed, dropped = [], set()
    for file in _result_files(path):
        content = source.load_json(file)
        model, task = file.parent.name, file.stem
        if not isinstance(content, dict) or "error" in content:
            failed.append(f"{model}/{task}")
            continue
        for metric, value in content.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                continue
            if _NO_SCORE.search(metric):
                dropped.add(metric)
                continue
            rows[model, task, metric] = _row(model, task, metric, value, content.get("details"))
    notes = [f"OpenCompass: results that failed, left out: {', '.join(failed[:5])}"] if failed else []
    notes += [MEANS + ", ".join(sorted(dropped))] if dropped else []
    if not rows:
        raise OnsetError("the folder holds no scores of OpenCompass", where=path, advice="; ".join(notes) or None)
    return Results(pd.DataFrame(rows.values()), notes=tuple(notes))


def _row(model: str, task: str, metric: str, value: float, details: Any = None) -> dict[str, Any]:
    place = names.place(model)
    return {
        "run": place.run, "step": place.step, "tokens": place.tokens, "task": task, "metric": metric,
        "score": value / 100, "n_examples": len(details) if isinstance(details, list) and details else None,
    }  # fmt: skip


def summary_looks_like(path: Path) -> bool:
    """A CSV file with the columns of a summary."""
    return source.header(path)[:4] == ["dataset", "version", "metric", "mode"]


def read_summary(path: Path, reading: Reading) -> Results:
    """The scores of a summary: one column a model, two decimals of a percent, '-' where there is none."""
    frame = files.read_table(path)
    rows, dropped = [], set()
    for line in frame.to_dict("records"):
        metric = str(line["metric"])
        if metric == "-" or line["version"] == "-" or _NO_SCORE.search(metric):
            dropped.add(f"{line['dataset']} {metric}")
            continue
        for model in frame.columns[4:]:
            if str(line[model]).strip() not in ("-", "", "nan"):
                rows.append(_row(str(model), str(line["dataset"]), metric, float(line[model])))
    notes = (MEANS + ", ".join(sorted(dropped)[:5]),) if dropped else ()
    return Results(pd.DataFrame(rows), notes=notes)


FORMAT = Format("opencompass", "OpenCompass, output folder", looks_like, read, folder=True)
SUMMARY = Format("opencompass-summary", "OpenCompass, summary (CSV)", summary_looks_like, read_summary)
