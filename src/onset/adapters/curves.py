"""Two digitised curves of each run, tokens to loss and tokens to score, joined on tokens.

This is how published pictures are read where no table is to be had: the paper read LLaMA so. A loss is interpolated
between its neighbours, straight in the logarithm of the tokens, and never beyond the ends of its curve.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from onset.errors import OnsetError
from onset.tables import files

LOSS_COLUMNS = ("run", "tokens", "loss")
SCORE_COLUMNS = ("run", "tokens", "task", "metric", "score")


def read(path: str | Path, *, losses: str | Path | None = None) -> pd.DataFrame:
    """Observations from a table of scores and a table of losses, both along tokens.

    ``path``: columns ``run, tokens, task, metric, score`` and any further ones of observations. ``losses``: columns
    ``run, tokens, loss``; ``params`` and ``family`` may stand in either. A score at tokens outside the loss curve of
    its run cannot be placed: it is left out and counted in ``.attrs["notes"]``. Raises OnsetError for missing columns,
    for tokens or losses that are not numbers above zero, and for a run without a loss curve.
    """
    if losses is None:
        raise OnsetError(
            "curves of scores need curves of losses",
            where=path,
            advice="give a table with the columns run, tokens, loss: --losses FILE",
        )
    scores, places = files.read_table(Path(path)), files.read_table(Path(losses))
    _need(scores, SCORE_COLUMNS, path)
    _need(places, LOSS_COLUMNS, losses)
    return join(scores, places, where=path, where_losses=losses)


def join(
    scores: pd.DataFrame, places: pd.DataFrame, *, where: object = None, where_losses: object = None
) -> pd.DataFrame:
    """The scores with the loss of their run at their tokens; those outside the curve of losses are left out."""
    curve = pd.DataFrame({
        "run": places.run.astype("str"),
        "tokens": _numbers(places, "tokens", where_losses),
        "loss": _numbers(places, "loss", where_losses),
    })  # fmt: skip
    tokens = _numbers(scores, "tokens", where)
    unknown = sorted(set(scores.run.astype("str")) - set(curve.run))
    if unknown:
        raise OnsetError(
            f"no curve of losses for run {', '.join(unknown[:5])}",
            where=where_losses,
            advice="runs must be named alike",
        )
    loss = pd.Series(np.nan, scores.index)
    for run, points in curve.groupby("run"):
        rows = (scores.run == run).to_numpy()
        loss[rows] = _interpolated(points, tokens[rows].to_numpy(), str(run), where_losses)
    placed = scores.assign(tokens=tokens, loss=loss)
    for column in ("params", "family", "loss_name", "loss_unit"):
        if column in places and column not in scores:
            placed[column] = scores.run.map(places.groupby("run")[column].first())
    outside = loss.isna()
    if outside.all():
        raise OnsetError("no score lies within the tokens of its run's curve of losses", where=where)
    placed = placed[~outside]
    placed["tokens"] = placed.tokens.round()
    if outside.any():
        placed.attrs["notes"] = [f"scores outside their run's curve of losses, left out: {int(outside.sum())}"]
    return placed


def _interpolated(points: pd.DataFrame, tokens: np.ndarray, run: str, where: object) -> np.ndarray:
    """Losses at the tokens: straight lines in log tokens, NaN outside the curve."""
    points = points.drop_duplicates().sort_values("tokens")
    doubled = points.tokens[points.tokens.duplicated()]
    if len(doubled):
        raise OnsetError(
            f"the curve of run '{run}' has two losses at {doubled.iloc[0]:g} tokens", where=where, advice="keep one"
        )
    known = np.log(points.tokens.to_numpy(float))
    loss: np.ndarray = np.interp(np.log(tokens), known, points.loss.to_numpy(float), left=np.nan, right=np.nan)
    return loss


def _need(frame: pd.DataFrame, columns: tuple[str, ...], where: object) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise OnsetError(
            f"the table lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            where=where,
            advice=f"a digitised curve has the columns {', '.join(columns)}",
        )


def _numbers(frame: pd.DataFrame, column: str, where: object) -> pd.Series:
    values = pd.to_numeric(frame[column], errors="coerce").astype("float64")
    bad = frame.index[~(values > 0)]
    if len(bad):
        word = files.LINE if frame.index.name == files.LINE else "row"
        rows = ", ".join(str(row) for row in bad[:8]) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
        raise OnsetError(
            f"{column} is not a number above zero in {word} {rows}", where=where, advice="correct the rows"
        )
    return values
