"""The curve that is drawn: through the scores as they are, over all losses seen.

The estimands leave out what all scores share by the choice of items, and what families differ in on average; a picture
of the scores contains both. Given the curve both are linear, so their mean follows from the mean curve. Checkpoints
beyond the window of the fit share an error of their own, estimated from them alone: what is shared near the onset is
not carried to losses far above it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from onset.stats.curve.estimands import Draws
from onset.stats.curve.model import CurveModel
from onset.stats.data import Array
from onset.stats.noise import item_variance, noise_of, presence, shared_item_columns

PLACES = 200
"""Even losses of the curve, over all that are seen and again within the window."""


class DrawnCurve:
    """Mean and band of posterior draws, with what the scores share."""

    def __init__(self, model: CurveModel, draws: Draws, level: float, *, still: bool) -> None:
        """Of ``draws``; ``still`` draws chance instead of a curve."""
        self.data, self.loss = model.data, draws.loss
        drawn = draws.excess + draws.level
        mean = np.zeros(len(draws.loss)) if still else drawn.mean(axis=1)
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
        # Where only few draws exceed chance their mean lies outside the quantiles.
        self._parts = mean, np.minimum(low, mean), np.maximum(high, mean)
        self._shared = _shared(model, draws.loss, mean)

    def at(self, loss: Array) -> tuple[Array, Array, Array]:
        """Mean, lower and upper end of the band at losses, as ability."""
        offset = np.interp(loss, *self._shared)
        mean, low, high = (np.interp(loss, self.loss, part) + offset for part in self._parts)
        return mean, low, high

    def frame(self) -> pd.DataFrame:
        """``loss, score, low, high`` over the losses seen."""
        lowest, highest = float(self.data.loss.min()), float(self.data.loss.max())
        inside = np.linspace(self.loss[0], min(self.loss[-1], highest), PLACES)
        loss = np.unique(np.concatenate([np.linspace(lowest, highest, PLACES), np.clip(inside, lowest, highest)]))
        mean, low, high = (self.data.to_score(part) for part in self.at(loss))
        ends = np.sort(np.stack([low, high]), axis=0)
        return pd.DataFrame({"loss": loss, "score": mean, "low": ends[0], "high": ends[1]})

    def residuals(self) -> pd.DataFrame:
        """``run, params, loss, residual`` of all rows in the order of the table, in units of the score."""
        data = self.data
        left = data.score - data.to_score(self.at(data.loss)[0])
        frame = pd.DataFrame(
            {
                "run": np.array(data.runs)[data.run], "params": 10.0**data.log_params, "loss": data.loss,
                "residual": left,
            }
        )  # fmt: skip
        return frame.iloc[np.argsort(data.rows, kind="stable")].reset_index(drop=True)


def _shared(model: CurveModel, loss: Array, mean: Array) -> tuple[Array, Array]:
    """Increasing losses of rows, and what scores share there, about a mean curve (ability at increasing losses)."""
    window, keep = model.window, model.window.keep
    found = np.empty(len(model.data))
    found[keep] = _within(model, np.interp(window.low + window.span * model.rows.grid, loss, mean))
    if not keep.all():
        found[~keep] = _beyond(model, float(mean[-1]))
    order = np.argsort(model.data.loss, kind="stable")
    return model.data.loss[order], found[order]


def _within(model: CurveModel, curve: Array) -> Array:
    """(rows of the window,) the shared error, and the families' offsets weighed by their rows."""
    likelihood, count = model.comparison.likelihood, len(model.window.data.families)
    coefficients = likelihood.products.coefficients(curve[:, None], np.ones(1))[:, 0]
    families = np.zeros(len(coefficients), dtype=bool)
    if count > 1:
        last = len(coefficients) - int(model.window.free_floor)
        families[last - count : last] = True
    own = likelihood.columns[:, families]
    shares = np.bincount(model.window.data.family, minlength=count) / len(own)
    offset = own.sum(axis=1) * (shares @ coefficients[families]) if count > 1 else 0.0
    return np.asarray(likelihood.columns[:, ~families] @ coefficients[~families] + offset)


def _beyond(model: CurveModel, edge: float) -> Array:
    """(rows beyond the window,) the error that they share about the ability at the edge of the window."""
    data, parts = model.data.subset(~model.window.keep), model.noise
    items = item_variance(data)[0]
    still = np.zeros(len(data))
    noise = noise_of(data, parts, presence(still), still, items)
    columns = shared_item_columns(data, items, min(parts.items**2, 1.0), 2.0 * float(np.ptp(model.data.loss)))
    white = noise.whiten(np.column_stack([data.ability - edge, columns]))
    inner = white[:, 1:].T @ white[:, 1:] + np.eye(columns.shape[1])
    return np.asarray(columns @ np.linalg.solve(inner, white[:, 1:].T @ white[:, 0]))
