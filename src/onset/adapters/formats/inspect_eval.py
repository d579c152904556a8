"""Inspect: ``.eval`` logs, which are zip archives with ``header.json`` and a file a sample.

A log without a header is of a running evaluation, one whose status is not ``success`` failed: neither has scores. The
samples of a log with one scorer become item rows (free answers). Epochs repeat the same questions, which count once:
their answers are samples of one question, from which pass@k is measured. Samples in parts (a folder each, since 2026)
are not read; the published scores are.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from onset import reading as whole
from onset.adapters import names
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.store.parts import ITEMS

RIGHT = {"C": True, "I": False}
"""Inspect's values of a sample that is right or wrong; others (partial, no answer) are neither."""


def looks_like(path: Path) -> bool:
    """A zip archive with this ending."""
    return path.suffix == ".eval" and path.is_file() and zipfile.is_zipfile(path)


def read(path: Path, reading: Reading) -> Results:
    """The metrics of every scorer of one log, and its samples as item rows."""
    try:
        with zipfile.ZipFile(path) as archive:
            if "header.json" not in archive.namelist():
                return Results(notes=(f"{path.name} has no header: the evaluation has not ended; left out",))
            header = _member(archive, "header.json", path)
            if header.get("status") != "success":
                return Results(notes=(f"{path.name} has the status '{header.get('status')}': left out",))
            samples = [_member(archive, name, path) for name in archive.namelist() if _is_sample(name)]
    except (zipfile.BadZipFile, OSError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise OnsetError(f"cannot read the log: {error}", where=path, advice="it may be cut short") from error
    about = header.get("eval") or {}
    place, task = _place(about), str(about.get("task") or path.stem).rpartition("/")[2]
    results = header.get("results") or {}
    epochs = max((int(sample.get("epoch") or 1) for sample in samples), default=1)
    questions = len({str(sample.get("id")) for sample in samples}) or _questions(about, results)
    scores = results.get("scores") or []
    rows = [row for score in scores for row in _published(score, task, len(scores) > 1)]
    frame = pd.DataFrame(rows).assign(run=place.run, step=place.step, tokens=place.tokens, n_examples=questions or None)
    notes = [f"{path.name}: {epochs} epochs of the same {questions} questions"] if epochs > 1 else []
    items = _items(samples, place, task, epochs) if len(scores) == 1 else pd.DataFrame()
    return Results(frame, items=items, notes=tuple(notes))


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    """One JSON file of the archive; one that unpacks to more than a text may hold is refused before it is unpacked."""
    if archive.getinfo(name).file_size > whole.WHOLE:
        raise OnsetError("the log holds a file that is too large", where=f"{path}: {name}", advice="check what it is")
    return whole.json_dict(archive.read(name), where=f"{path}: {name}")


def _is_sample(name: str) -> bool:
    return name.startswith("samples/") and name.count("/") == 1 and name.endswith(".json")


def _place(about: Mapping[str, Any]) -> names.Place:
    """The run of the model's name (without its provider), the step of the metadata or of the name."""
    model = str(about.get("model") or "model")
    metadata = about.get("metadata") or {}
    place = names.place(model.partition("/")[2] or model)
    step = names.step_of(metadata["step"]) if "step" in metadata else None
    tokens = names.count(metadata["tokens"]) if "tokens" in metadata else None
    return names.Place(place.run, place.step if step is None else int(step), tokens or place.tokens)


def _questions(about: Mapping[str, Any], results: Mapping[str, Any]) -> int:
    return int(results.get("total_samples") or (about.get("dataset") or {}).get("samples") or 0)


def _published(score: Mapping[str, Any], task: str, several: bool) -> list[dict[str, Any]]:
    """The metrics of one scorer; a scorer is named only where there are several, a reducer never but by its own."""
    values = {name: (value or {}).get("value") for name, value in (score.get("metrics") or {}).items()}
    name = f":{score.get('name')}" if several else ""
    error = values.get("stderr")
    return [
        {
            "task": task, "metric": f"{metric}{name}", "score": float(value),
            "stderr": float(error) if metric in ("accuracy", "mean") and error else None,
        }
        for metric, value in values.items()
        if metric not in ("stderr", "std", "var") and isinstance(value, int | float) and math.isfinite(value)
    ]  # fmt: skip


def _items(samples: list[dict[str, Any]], place: names.Place, task: str, epochs: int) -> pd.DataFrame:
    """A row a question: its answer, or with several epochs its answers; without one that is neither right nor wrong."""
    answers: dict[str, list[tuple[str, bool]]] = {}
    unclear = set()
    for sample in samples:
        score: Mapping[str, Any] = next(iter((sample.get("scores") or {}).values()), {})
        right, item = RIGHT.get(str(score.get("value"))), str(sample.get("id"))
        if right is None:
            unclear.add(item)
        else:
            answers.setdefault(item, []).append((str(score.get("answer") or ""), right))
    rows: list[dict[str, Any]] = []
    for item, given in answers.items():
        if epochs == 1:
            rows.append({"item": item, "text": given[0][0], "correct": given[0][1]})
        elif item not in unclear:
            texts, right_ones = [list(part) for part in zip(*given, strict=True)]
            rows.append({"item": item, "samples": texts, "samples_correct": right_ones})
    if not rows:
        return pd.DataFrame()
    frame = pd.DataFrame(rows).assign(
        run=place.run, step=-1 if place.step is None else place.step, task=task, digest="", choice=0, gold=True
    )
    return frame.reindex(columns=ITEMS.names)


FORMAT = Format("inspect", "Inspect, .eval log", looks_like, read)
