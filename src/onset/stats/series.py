"""One (task, metric, loss) as arrays in points, with the variance that its items explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MAX_ROWS = 120
"""More rows than this are averaged over neighbours within a run: the cost grows with the cube of the rows."""


@dataclass(frozen=True)
class Points:
    """Rows of one (task, metric, loss), as the curve sees them: arrays of one length n."""

    loss: Vector
    score: Vector
    """In points."""
    run: NDArray[np.int64]
    order: Vector
    """Place of the checkpoint in its run, counted in checkpoints."""
    variance: Vector
    """Of the score by the choice of items, in squared points; NaN where it is not known."""
    effects: Matrix
    """(n, k): columns whose coefficients are asked for; k may be 0."""
    weight: Vector
    """How many table rows each row stands for."""
    size: Vector
    """Decades of size from the mean, for a size effect with a prior (``SIZE_POINTS``); zeros for none."""
    shown: Vector
    """How much of an effect can show at each row, 0 to 1: nothing does at chance."""

    def __len__(self) -> int:
        return len(self.loss)


def item_variance(frame: pd.DataFrame) -> Vector:
    """Variance of each score by the choice of items, in squared points; NaN where the table does not say.

    The table's own ``stderr`` first; else the binomial variance where the score is a share of right
    answers. A score of exactly 0 or 1 keeps the variance that a slightly less extreme one would have.
    """
    score = frame["score"].to_numpy(dtype=float)
    count = _column(frame, "n_examples")
    known = np.full(len(frame), np.nan)
    if is_share(frame):
        smoothed = (score * count + 1.0) / (count + 2.0)
        known = smoothed * (1.0 - smoothed) / count
    stated = _column(frame, "stderr") ** 2
    use = np.isfinite(stated) & ((stated > 0) | ~np.isfinite(known))
    known = np.where(use, stated, known)
    positive = known[np.isfinite(known) & (known > 0)]
    if positive.size:
        known = np.maximum(known, 0.05 * float(np.median(positive)))
    result: Vector = known * 1e4
    return result


def is_share(frame: pd.DataFrame) -> bool:
    """Whether the score is a share of right answers, so that its noise is binomial."""
    names = {str(name).lower() for name in frame["metric"].unique()}
    shares = {"accuracy", "acc", "acc_norm", "exact_match", "em", "score"}
    score = frame["score"].to_numpy(dtype=float)
    return names <= shares and bool(np.nanmin(score) >= 0.0) and bool(np.nanmax(score) <= 1.0)


def _column(frame: pd.DataFrame, name: str) -> Vector:
    if name not in frame:
        return np.full(len(frame), np.nan)
    values: Vector = pd.to_numeric(frame[name]).to_numpy(dtype=float)
    return values


def points(
    frame: pd.DataFrame, effects: Matrix | None = None, limit: int = MAX_ROWS, *, size: Vector | None = None
) -> Points:
    """Observations of one (task, metric, loss) as arrays; neighbours in a run are averaged beyond ``limit`` rows."""
    columns = np.zeros((len(frame), 0)) if effects is None else np.asarray(effects, dtype=float)
    run = pd.factorize(frame["run"])[0].astype(np.int64)
    place = _column(frame, "tokens")
    sort = np.lexsort((place, run))
    order = np.empty(len(frame))
    starts = np.flatnonzero(np.r_[True, np.diff(run[sort]) != 0])
    counts = np.diff(np.r_[starts, len(frame)])
    order[sort] = np.arange(len(frame)) - np.repeat(starts, counts)
    result = Points(
        loss=frame["loss"].to_numpy(dtype=float),
        score=frame["score"].to_numpy(dtype=float) * 100.0,
        run=run,
        order=order,
        variance=item_variance(frame),
        effects=columns,
        weight=np.ones(len(frame)),
        size=np.zeros(len(frame)) if size is None else size,
        shown=np.ones(len(frame)),
    )
    return result if len(result) <= limit else _averaged(result, limit)


def _averaged(rows: Points, limit: int) -> Points:
    """Means over neighbours in loss within a run, so that about ``limit`` rows are left."""
    runs = int(rows.run.max()) + 1
    per_run = max(1, limit // runs)
    rank = np.empty(len(rows), dtype=np.int64)
    sort = np.lexsort((rows.loss, rows.run))
    counts = np.bincount(rows.run, minlength=runs)
    starts = np.r_[0, np.cumsum(counts)[:-1]]
    rank[sort] = np.arange(len(rows)) - np.repeat(starts, counts)
    cell = rows.run * per_run + rank * per_run // counts[rows.run]
    if runs > 3 * limit:  # a great many runs: neighbours in loss stand together for one
        effect = rows.effects[:, 0] if rows.effects.shape[1] else np.zeros(len(rows))
        sort = np.lexsort((rows.loss, effect))
        cell = np.empty(len(rows), dtype=np.int64)
        cell[sort] = np.arange(len(rows)) * (3 * limit) // len(rows)
    _, cell = np.unique(cell, return_inverse=True)
    size = np.bincount(cell).astype(float)

    def mean(values: Vector) -> Vector:
        averaged: Vector = np.bincount(cell, weights=values) / size
        return averaged

    return Points(
        loss=mean(rows.loss),
        score=mean(rows.score),
        run=rows.run[np.unique(cell, return_index=True)[1]],
        order=mean(rows.order),
        variance=mean(rows.variance) / size,
        effects=np.column_stack([mean(column) for column in rows.effects.T]) if rows.effects.shape[1] else
        np.zeros((len(size), 0)),
        weight=mean(rows.weight) * size,
        size=mean(rows.size),
        shown=mean(rows.shown),
    )  # fmt: skip


def difference_variance(rows: Points) -> float:
    """Noise variance from how far each row lies from its neighbours in loss: for tables that do not state it."""
    sort = np.argsort(rows.loss)
    loss, score = rows.loss[sort], rows.score[sort]
    if len(loss) < 3:
        return 1.0
    width = np.maximum(loss[2:] - loss[:-2], 1e-12)
    share = (loss[1:-1] - loss[:-2]) / width
    off = score[1:-1] - (score[:-2] + share * (score[2:] - score[:-2]))
    off /= np.sqrt(1.0 + share**2 + (1.0 - share) ** 2)
    return max(float((1.4826 * np.median(np.abs(off))) ** 2), 1e-4)
