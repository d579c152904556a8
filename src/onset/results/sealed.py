"""A forecast under seal: predictions fixed before the run was scored, and how they came out."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd

from onset.results.base import Record, Result, Table

SEAL_VERSION = 1


class SealedForecast(Record):
    """What was predicted, from which data, when and by which version; its SHA-256 is that of its canonical JSON."""

    seal_version: int = SEAL_VERSION
    onset_version: str
    created: str
    """UTC, ISO 8601."""
    source: str
    """Name of the table or study that the forecast was learnt from."""
    data_sha256: str
    """Of the observations that the forecast was learnt from."""
    levels: tuple[float, ...]
    """Probabilities of the quantiles."""
    targets: Table
    """One row a target: ``target`` (its number) and what was given of ``run, family, params, tokens, loss``."""
    predictions: Table
    """One row a target, task, metric and loss measure: ``quantiles`` (a list in the order of ``levels``)."""

    def canonical(self) -> str:
        """JSON with sorted keys and no spaces: the same forecast has the same text."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


class OpenedForecast(Result):
    """A sealed forecast beside what then came."""

    sha256: str
    """Digest of the forecast as it stands in the file."""
    as_sealed: bool
    """Whether the file's content has the digest that the seal names."""
    signature: str = ""
    """What ``ssh-keygen`` said of the signature; empty where there is none."""
    created: str
    scores: Table
    """``target, task, metric, loss_name, predicted, seen, error, rank, crps`` and ``low_80, high_80, low_95, high_95``;
    ``rank`` is the probability that the forecast gave to scores below the one seen."""
    missing: int = 0
    """Predictions for which the results have no score."""

    def summary(self) -> pd.DataFrame:
        """One row a metric: predictions scored, mean and median absolute error, coverage at 80 and 95 %, mean CRPS."""
        rows = self.scores
        told = rows.assign(absolute=rows["error"].abs(), within_80=_within(rows, "80"), within_95=_within(rows, "95"))
        table = told.groupby("metric", sort=False).agg(
            predictions=("seen", "size"), mean_error=("absolute", "mean"), median_error=("absolute", "median"),
            within_80=("within_80", "mean"), within_95=("within_95", "mean"), crps=("crps", "mean"),
        )  # fmt: skip
        return table.reset_index()

    def calibration(self) -> pd.DataFrame:
        """``stated, observed``: how many of the scores lay below each quantile of their forecasts."""
        return calibration(self.scores)

    def _headline(self) -> str:
        whole = "as it was sealed" if self.as_sealed else "NOT as it was sealed"
        counts = f"{len(self.scores)} predictions scored, {self.missing} without a score"
        return f"Forecast of {self.created}: {counts}, {whole}"


def calibration(scores: pd.DataFrame) -> pd.DataFrame:
    """``stated, observed`` of scored predictions with a column ``rank``: see ``OpenedForecast.calibration``."""
    stated = np.linspace(0.05, 0.95, 19)
    rank = scores["rank"].to_numpy(float)
    return pd.DataFrame({"stated": stated, "observed": [float(np.mean(rank <= level)) for level in stated]})


def _within(rows: pd.DataFrame, level: str) -> pd.Series:
    return (rows[f"low_{level}"] <= rows["seen"]) & (rows["seen"] <= rows[f"high_{level}"])
