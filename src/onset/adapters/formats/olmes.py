"""olmo-eval and OLMES: ``metrics.json``, and ``*-predictions.jsonl`` with ``*-requests.jsonl``.

Predictions of questions with choices become item rows: ``sum_logits`` are nats, and the bytes of a choice come from its
request, or from ``bits_per_byte``. Where the backend gave no log-probabilities these fields are absent, and there are
no item rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import names, source
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.store.parts import ITEMS

_PREDICTIONS = "-predictions.jsonl"
_SPEC = re.compile(r"^(?:task-\d+-)?(?P<task>.+?)(?:_[0-9a-f]{6})?-predictions\.jsonl$")


def looks_like(path: Path) -> bool:
    """Predictions, by their name; metrics, by the keys of their tasks."""
    if path.name.endswith(_PREDICTIONS):
        return True
    if not path.name.endswith("metrics.json"):
        return False
    text = source.head(path, 1 << 20)
    return '"tasks"' in text and ('"primary_metric"' in text or '"num_instances"' in text)


def read(path: Path, reading: Reading) -> Results:
    """Scores of one ``metrics.json``, or item rows of one file of predictions."""
    if path.name.endswith(_PREDICTIONS):
        return _predictions(path)
    content = source.load_json(path)
    config = content.get("config") or {}
    rows, failed = [], [str(name) for name in (content.get("errors") or [])]
    for task in content.get("tasks") or []:
        place = _place(task.get("model") or config.get("model"), config, path)
        for metric, value in _flat(task.get("metrics") or {}, str(task.get("primary_metric") or "")):
            rows.append({
                "run": place.run, "step": place.step, "tokens": place.tokens, "task": str(task["task"]),
                "metric": metric, "score": value, "n_examples": task.get("num_instances"),
            })  # fmt: skip
    if not rows:
        raise OnsetError("the metrics hold no scores of tasks", where=path)
    notes = (f"{path.name}: tasks that failed: {', '.join(failed[:5])}",) if failed else ()
    return Results(pd.DataFrame(rows), notes=notes)


def _place(model: Any, config: Mapping[str, Any], path: Path) -> names.Place:
    """The run and step of a model that is a name, or a configuration with its name and revision."""
    if isinstance(model, Mapping):
        config, model = model, model.get("model") or model.get("name")
    revision = str(config.get("revision") or "")
    return names.place(str(model or path.parent.name), "" if revision in ("main", "None") else revision)


def _flat(metrics: Mapping[str, Any], primary: str) -> list[tuple[str, float]]:
    """(name, value) of ``{metric: {scorer: value}}``; the scorer is named where a metric has several."""
    found = []
    for metric, values in metrics.items():
        scorers = values if isinstance(values, Mapping) else {"": values}
        for scorer, value in scorers.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                plain = len(scorers) == 1 or f"{metric}:{scorer}" == primary
                found.append((metric if plain else f"{metric}:{scorer}", float(value)))
    return found


def _predictions(path: Path) -> Results:
    named = _SPEC.match(path.name)
    task = named["task"] if named else path.stem
    place = names.place(path.parent.name)
    requests = _requests(path)
    rows: list[dict[str, Any]] = []
    lost = 0
    for line in source.json_lines(path):
        made = _rows(line, requests)
        lost += not made
        rows += made
    if not rows:
        return Results(notes=(f"{path.name}: no log-probabilities of choices, no item rows",))
    columns = [name for name in ITEMS.names if name not in ("run", "step", "task", "digest")]
    frame = pd.DataFrame(rows, columns=columns).assign(
        run=place.run, step=-1 if place.step is None else place.step, task=task, digest=""
    )
    notes = (f"{path.name}: questions without scored choices or one right choice, left out: {lost}",) if lost else ()
    return Results(items=frame[ITEMS.names], notes=notes)


def _requests(path: Path) -> dict[tuple[str, int], str]:
    """The continuation of each (question, choice), from the requests beside the predictions or in their folder."""
    name = path.name.replace(_PREDICTIONS, "-requests.jsonl")
    places = (path.with_name(name), path.parent.parent.parent / "requests" / path.parent.name / name)
    found = next((place for place in places if place.exists()), None)
    if found is None:
        return {}
    lines = [line for line in source.json_lines(found) if "loglikelihood" in str(line.get("request_type"))]
    return {
        (str(line.get("doc_id")), int(line.get("idx") or 0)): str((line.get("request") or {}).get("continuation") or "")
        for line in lines
    }


def _rows(line: Mapping[str, Any], requests: Mapping[tuple[str, int], str]) -> list[dict[str, Any]]:
    """One row a choice; none without log-probabilities, or where the label is no place of a choice."""
    outputs, label, item = line.get("model_output") or [], line.get("label"), str(line.get("doc_id"))
    scored = [output.get("sum_logits") for output in outputs]
    if len(outputs) < 2 or None in scored or not isinstance(label, int) or not 0 <= label < len(outputs):
        return []
    return [
        {
            "item": item, "choice": place, "gold": place == label, "logprob": float(output["sum_logits"]),
            "logprob_uncond": output.get("sum_logits_uncond"), "tokens": output.get("num_tokens"),
            "bytes": _bytes(requests.get((item, place)), output), "text": None, "correct": None,
        }
        for place, output in enumerate(outputs)
    ]  # fmt: skip


def _bytes(continuation: str | None, output: Mapping[str, Any]) -> int | None:
    if continuation:
        return len(continuation.encode())
    bits = output.get("bits_per_byte")
    return round(-output["sum_logits"] / (bits * math.log(2))) if bits else None


FORMAT = Format("olmes", "olmo-eval and OLMES: metrics.json, predictions", looks_like, read)
