"""Sealing a forecast and scoring it later: quantiles against what came.

The score of a forecast is the continuous ranked probability score (Gneiting and Raftery 2007), here twice the mean
pinball loss over the sealed quantiles: an absolute error that rewards narrow intervals which hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.errors import OnsetError
from onset.results import Forecast
from onset.results.sealed import OpenedForecast, SealedForecast

Vector = NDArray[np.float64]

NEAR = 0.02
"""Relative difference up to which sizes and tokens are those of a target without a run's name."""
NEAR_LOSS = 0.005
"""The same for losses."""

_GIVEN = ("run", "family", "params", "tokens", "loss")


def seal(forecast: Forecast, source: str) -> SealedForecast:
    """A forecast with its quantiles as it will be sealed, dated now; raises OnsetError where all was refused."""
    quantiles = forecast.quantiles
    if quantiles.empty:
        raise OnsetError("every forecast was refused, so there is nothing to seal", where=source)
    names = [name for name in _GIVEN if name in forecast.targets]
    targets = forecast.targets[["target", *names]].astype(object)
    if forecast.observations is None:
        raise OnsetError("the forecast has lost the observations that it was learnt from", advice="forecast again")
    return SealedForecast(
        onset_version=metadata.version("onset-lm"), created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=source, data_sha256=digest(forecast.observations), levels=tuple(map(float, forecast.levels)),
        targets=targets.where(targets.notna(), None), predictions=quantiles,
    )  # fmt: skip


def digest(observations: pd.DataFrame) -> str:
    """SHA-256 of observations that does not depend on the order of rows and columns."""
    names = sorted(observations.columns)
    rows = observations[names].to_csv(index=False, header=False, float_format="%.12g").splitlines()
    return hashlib.sha256("\n".join([",".join(names), *sorted(rows)]).encode()).hexdigest()


def score(sealed: SealedForecast, results: pd.DataFrame, *, as_sealed: bool, signature: str = "") -> OpenedForecast:
    """The forecast against observations: a target is found by its run, else by size and tokens, else by its loss.

    Of several checkpoints of a run without tokens in the target, the last one counts. Raises OnsetError where the
    results have none of the targets.
    """
    levels = np.array(sealed.levels)
    targets = sealed.targets.set_index("target")
    told, missing = [], 0
    for prediction in sealed.predictions.to_dict("records"):
        seen = _seen(results, targets.loc[prediction["target"]], prediction)
        if seen is None:
            missing += 1
            continue
        named = {name: prediction[name] for name in ("target", "task", "metric", "loss_name")}
        told.append(named | _scored(levels, np.array(prediction["quantiles"], dtype=float), seen))
    if not told:
        raise OnsetError(
            "the results have no score of any target of the forecast",
            advice="give a table with the targets' run (or params and tokens), task and metric",
        )
    return OpenedForecast(
        sha256=sealed.sha256, as_sealed=as_sealed, signature=signature, created=sealed.created,
        scores=pd.DataFrame(told), missing=missing,
    )  # fmt: skip


def crps(levels: Vector, quantiles: Vector, seen: float) -> float:
    """Continuous ranked probability score from quantiles: twice the mean pinball loss, weighted by their spacing."""
    edges = np.r_[0.0, (levels[1:] + levels[:-1]) / 2.0, 1.0]
    pinball = (seen - quantiles) * (levels - (seen < quantiles))
    return float(2.0 * np.sum(np.diff(edges) * pinball))


def _scored(levels: Vector, quantiles: Vector, seen: float) -> dict[str, float]:
    made = {"predicted": float(np.interp(0.5, levels, quantiles)), "seen": seen}
    for level in (0.8, 0.95):
        low, high = np.interp([(1 - level) / 2, (1 + level) / 2], levels, quantiles)
        made |= {f"low_{level:.0%}"[:-1]: float(low), f"high_{level:.0%}"[:-1]: float(high)}
    rank = float(np.interp(seen, quantiles, levels, left=0.0, right=1.0))
    return made | {"error": made["predicted"] - seen, "rank": rank, "crps": crps(levels, quantiles, seen)}


def _seen(results: pd.DataFrame, target: pd.Series, prediction: Mapping[Hashable, Any]) -> float | None:
    """The score that came of one prediction."""
    rows = results[(results["task"] == prediction["task"]) & (results["metric"] == prediction["metric"])]
    if "loss_name" in rows and (rows["loss_name"] == prediction["loss_name"]).any():
        rows = rows[rows["loss_name"] == prediction["loss_name"]]
    known = {name: target[name] for name in _GIVEN if name in target and pd.notna(target[name])}
    if "run" in known and (results["run"] == known["run"]).any():
        rows = rows[rows["run"] == known["run"]]
    elif "params" in known:
        rows = rows[np.abs(rows["params"] / float(known["params"]) - 1.0) <= NEAR]
    if "tokens" in known:
        rows = rows[np.abs(rows["tokens"] / float(known["tokens"]) - 1.0) <= NEAR]
    elif "loss" in known:
        rows = rows[np.abs(rows["loss"] / float(known["loss"]) - 1.0) <= NEAR_LOSS]
    if rows.empty:
        return None
    ordered = rows.sort_values("tokens") if "tokens" in rows else rows
    return float(ordered["score"].iloc[-1])
