"""The table of Krajewski et al. 2025 (arXiv 2512.08894): a row a (model, benchmark, metric), losses among them.

Columns ``flops, params, tokens, benchmark, metric_type, score, tpr``. Rows whose ``metric_type`` is
``cross_entropy_loss`` are losses in nats per token, named by their benchmark; all others are scores. Models have no
name: one is a size and a ratio of tokens to parameters (``tpr``). Every model is a training of its own.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from onset.adapters import source
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError
from onset.metrics.info import direction
from onset.tables import files
from onset.tables.units import NATS

COLUMNS = ("flops", "params", "tokens", "benchmark", "metric_type", "score")
LOSS = "cross_entropy_loss"


def looks_like(path: Path) -> bool:
    """A CSV file with these columns."""
    return set(COLUMNS) <= set(source.header(path))


def read(path: Path, reading: Reading) -> Results:
    """The scores and losses of all models of the table. Raises OnsetError for a count that is no number."""
    frame = files.read_table(path)
    numbers = {name: pd.to_numeric(frame[name], errors="coerce") for name in ("flops", "params", "tokens", "score")}
    for name in ("params", "tokens"):
        bad = frame.index[numbers[name].isna()]
        if len(bad):
            raise OnsetError(f"line {bad[0]}: {name} '{frame[name][bad[0]]}' is not a number", where=path)
    base = pd.DataFrame({name: numbers[name] for name in ("params", "tokens", "flops")})
    base["run"] = [f"{params:.4g}-{tokens:.4g}" for params, tokens in zip(base.params, base.tokens, strict=True)]
    base["value"] = numbers["score"]
    base["task"], base["metric"] = frame["benchmark"], frame["metric_type"]
    base = base.dropna(subset=["value", "task", "metric"])
    is_loss = base.metric == LOSS
    losses = base[is_loss].rename(columns={"task": "loss_name", "value": "loss"}).drop(columns="metric")
    scores = base[~is_loss].rename(columns={"value": "score"})
    scores["direction"] = scores.metric.map(lambda name: direction(name) or "higher")
    if losses.empty and scores.empty:
        raise OnsetError("the table has no rows", where=path)
    return Results(scores, losses.assign(loss_unit=NATS, training=False))


FORMAT = Format("apple-scaling", "table of Krajewski et al. 2025 (CSV)", looks_like, read)
