"""BigScience's aggregated evaluations, ``<run>_agg.json``: aligned lists over the checkpoints of one run.

``{tokens: [...], checkpoints: [step, ...], results: {task: {metric: [...], <metric>_stderr: [...]}}}``. LAMBADA's
perplexity is of the last word of each passage; its logarithm is the only loss in these files, in nats per word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import source
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError

UNIT = "nats/word"
PERPLEXITY = "ppl"


def looks_like(path: Path) -> bool:
    """A JSON file of three aligned parts."""
    if path.suffix != ".json":
        return False
    start = source.head(path, 256)
    return '"tokens"' in start and (path.name.endswith("_agg.json") or '"checkpoints"' in source.head(path, 1 << 16))


def read(path: Path, reading: Reading) -> Results:
    """The scores of all checkpoints, and the losses that their perplexities are."""
    content = source.load_json(path)
    if not isinstance(content, dict) or not {"tokens", "checkpoints", "results"} <= content.keys():
        raise OnsetError("this is no aggregate of BigScience (tokens, checkpoints, results)", where=path)
    places = [{"tokens": t, "step": s} for t, s in zip(content["tokens"], content["checkpoints"], strict=True)]
    scores: list[dict[str, Any]] = []
    losses: list[dict[str, Any]] = []
    for task, metrics in content["results"].items():
        for metric, values in metrics.items():
            if metric.endswith("_stderr"):
                continue
            if len(values) != len(places):
                raise OnsetError(f"task '{task}' has {len(values)} values for {len(places)} checkpoints", where=path)
            if metric == PERPLEXITY:
                losses += _losses(task, values, places)
            else:
                scores += _scores(task, metric, values, metrics.get(f"{metric}_stderr"), places)
    fields = source.run_of(path, reading)
    fields["run"] = str(fields["run"]).removesuffix("_agg")
    return Results(pd.DataFrame(scores).assign(**fields), pd.DataFrame(losses).assign(**fields))


def _losses(task: str, values: Sequence[float], places: Sequence[Mapping[str, int]]) -> list[dict[str, Any]]:
    return [
        {**place, "loss_name": task, "loss_unit": UNIT, "loss": math.log(value), "training": False}
        for place, value in zip(places, values, strict=True)
        if value > 1
    ]


def _scores(
    task: str, metric: str, values: Sequence[float], errors: Sequence[float] | None, places: Sequence[Mapping[str, int]]
) -> list[dict[str, Any]]:
    erring: Sequence[float | None] = errors if errors is not None else [None] * len(places)
    return [
        # A standard error of zero is of scores that are all alike, not of certainty.
        {**place, "task": task, "metric": metric, "score": value, "stderr": error if error else None}
        for place, value, error in zip(places, values, erring, strict=True)
    ]


FORMAT = Format("bigscience", "BigScience aggregate, <run>_agg.json", looks_like, read)
