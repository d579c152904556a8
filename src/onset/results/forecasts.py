"""Predicted scores of runs that were not made, and how such predictions did on the table itself."""

from __future__ import annotations

import pandas as pd
from pydantic import Field

from onset.results.base import Frame, Result, Table


class Forecast(Result):
    """Predicted scores and onsets; nothing in it was observed."""

    level: float = 0.95
    scores: Table
    """One row a target, task, metric and loss measure: ``task, metric, loss_name, params, tokens, loss, score, low,
    high, verdict, why``."""
    onsets: Table
    """One row a task and size: ``tokens`` with ``tokens_low, tokens_high`` until the onset, the same for ``flops``."""
    levels: tuple[float, ...] = ()
    """Probabilities of the quantiles."""
    quantiles: Table = Field(default_factory=pd.DataFrame)
    """One row a predicted score: ``target, task, metric, loss_name, loss_unit, quantiles`` (a list, as ``levels``)."""
    targets: Table = Field(default_factory=pd.DataFrame)
    """One row a target as it was asked for, with its number in ``target``."""
    notes: tuple[str, ...] = ()
    observations: Frame = None
    """What the forecast was learnt from."""
    law: Frame = None
    """The loss law for drawing: ``params, tokens, loss, low, high``; None where targets were given by loss."""

    def summary(self) -> pd.DataFrame:
        """The predicted scores."""
        return self.scores

    def _headline(self) -> str:
        made = int(self.scores["score"].notna().sum()) if "score" in self.scores else 0
        refused = len(self.scores) - made
        return f"Forecast: {made} scores at level {self.level:g}" + (f", {refused} refused" if refused else "")


class Backtest(Result):
    """Predictions of sizes that were held out because they were larger, and what was observed."""

    level: float = 0.95
    predictions: Table
    """``task, metric, loss_name, method, sizes_known, run, params, tokens, loss, seen, score, low, high``."""
    refusals: Table
    """``task, metric, sizes_known, why``: where no prediction was made."""
    followers: Table = Field(default_factory=pd.DataFrame)
    """Which continuous metric a discontinuous one follows, the best first: ``task, metric, soft, loss_name,
    checkpoints, rank_correlation, error_pp``: of larger sizes' scores read off the soft metric by a curve of the
    smaller."""

    def summary(self) -> pd.DataFrame:
        """One row a method: predictions, mean and median absolute error in pp, coverage, width in pp."""
        return self._table(["method"])

    def by_task(self) -> pd.DataFrame:
        """The same, one row a task, metric and method."""
        return self._table(["task", "metric", "method"])

    def _table(self, keys: list[str]) -> pd.DataFrame:
        rows = self.predictions
        told = rows.assign(
            error=100.0 * (rows["score"] - rows["seen"]).abs(),
            covered=(rows["low"] <= rows["seen"]) & (rows["seen"] <= rows["high"]),
            width=100.0 * (rows["high"] - rows["low"]),
        )
        table = told.groupby(keys, sort=False).agg(
            forecasts=("seen", "size"), error_pp=("error", "mean"), median_error_pp=("error", "median"),
            coverage=("covered", "mean"), width_pp=("width", "mean"),
        )  # fmt: skip
        return table.reset_index().assign(level=self.level)

    def _headline(self) -> str:
        return f"Backtest: {len(self.predictions)} predictions at level {self.level:g}"
