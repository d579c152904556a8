"""By how many nats a stage's curve lies off the base's, from pairs: a tuned checkpoint and the one that it starts from.

Both stand at one loss, belong to one run and answer the same items, so what sets a run or a choice of items apart moves
both and cancels in the shift. The model is a self-modelling regression (Lawton et al. 1972, Technometrics 14, 513):

    base    f(loss + u_r)                      f(x) = H (1 + exp((x - m) / w))^-q
    tuned   h f(loss + u_r - s_r)

with one form f for both stages, a displacement u_r of each run, a factor h on the height and a shift s_r of each run.
Whatever form f has, an error of it moves both stages alike. It is fitted by least squares, weighted by the variance of
the items; errors are those of a cluster-robust covariance with pairs as clusters (Bell and McCaffrey 2002, "CR3"), so
that rows of a pair may err together. The shifts of runs are averaged by their precision; where they differ by more than
their errors, the error of the mean grows by the Birge ratio (Birge 1932, Physical Review 40, 207).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import stdtrit

from onset.stats.data import Array, Bools, Ints, curve_data

FEWEST_PAIRS = 6
"""Pairs without which the stages are compared as if they were independent."""

PRIOR_WIDTH, PRIOR_POWER, PRIOR_TOP, PRIOR_HEIGHT, PRIOR_RUN = 1.5, 0.7, 0.7, 0.3, 0.15
"""Standard deviations of weak normal priors: of log w, log q, log H, log h, and of u_r as a share of the losses."""

LEAST_ERROR = 0.01
"""Standard deviation of ability that checkpoints have beside that of their items."""


@dataclass(frozen=True)
class PairedShift:
    """The shift along the loss (positive: the stage has the ability at higher loss), with its interval."""

    nats: float
    low: float
    high: float
    count: int


def paired_shift(both: pd.DataFrame, base: pd.Series[bool], level: float) -> PairedShift | None:
    """The shift of one stage from the rows of both; ``base`` says which rows are the base's.

    Pairs are rows of equal size at exactly the same loss. None with fewer than ``FEWEST_PAIRS``, or where the curve
    leaves the shift open.
    """
    pairs = _pairs(both, base)
    if pairs is None:
        return None
    fit = _fit(pairs)
    if fit is None:
        return None
    shifts, covariance = fit
    weight = 1.0 / np.diag(covariance)
    weight /= weight.sum()
    mean = float(weight @ shifts)
    runs = len(shifts)
    between = float(((shifts - mean) ** 2 / np.diag(covariance)).sum()) / max(runs - 1, 1)
    error = float(np.sqrt(weight @ covariance @ weight * max(1.0, between)))
    reach = float(stdtrit(max(pairs.count - pairs.columns, 2), 0.5 + level / 2)) * error
    if not np.isfinite(reach) or reach > np.ptp(pairs.loss):
        return None
    return PairedShift(mean, mean - reach, mean + reach, pairs.count)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Rows of both stages of the runs that have pairs."""

    loss: Array
    ability: Array
    variance: Array
    tuned: Bools
    run: Ints
    cluster: Ints
    """Which checkpoint of the base each row belongs to."""
    count: int
    """Clusters with both stages."""
    floor: bool
    """Whether the level without the ability is unknown."""

    @property
    def runs(self) -> int:
        return int(self.run.max()) + 1

    @property
    def columns(self) -> int:
        """Parameters of the model."""
        return 6 + 2 * self.runs - (self.runs == 1)


def _pairs(both: pd.DataFrame, base: pd.Series[bool]) -> _Pairs | None:
    data = curve_data(both)
    tuned = ~base.to_numpy(bool)[data.rows]
    variance = data.item_variance()
    variance = np.where(np.isfinite(variance), variance, LEAST_ERROR**2) + LEAST_ERROR**2
    frame = pd.DataFrame({"size": np.nan_to_num(data.log_params), "loss": data.loss, "tuned": tuned, "run": data.run})
    cluster = frame.groupby(["size", "loss"], sort=False).ngroup().to_numpy()
    owner = pd.Series(data.run[~tuned], index=cluster[~tuned]).groupby(level=0).first()
    paired = np.intersect1d(owner.index, cluster[tuned])
    if len(paired) < FEWEST_PAIRS:
        return None
    run = owner.reindex(cluster).to_numpy()
    keep = np.isin(run, owner[paired].unique())
    return _Pairs(
        data.loss[keep], data.ability[keep], variance[keep], tuned[keep],
        np.unique(run[keep], return_inverse=True)[1].astype(np.int64),
        np.unique(cluster[keep], return_inverse=True)[1].astype(np.int64), len(paired), data.chance.value is None,
    )  # fmt: skip


class _Model:
    """The residuals of the pairs as a function of the parameters, those of the priors below them."""

    def __init__(self, pairs: _Pairs) -> None:
        self.pairs, self.error = pairs, np.sqrt(pairs.variance)
        self.span = float(np.ptp(pairs.loss))
        self.top = max(float(np.quantile(pairs.ability, 0.9) - (pairs.ability.min() if pairs.floor else 0.0)), 0.05)

    def start(self, place: float, width: float) -> Array:
        """First values: m at a share of the losses, w as a share of them."""
        found = np.zeros(self.pairs.columns)
        found[:5] = self.pairs.loss.min() + place * self.span, np.log(width * self.span), 0.0, np.log(self.top), 0.0
        found[5] = self.pairs.ability.min() if self.pairs.floor else 0.0
        return found

    def shifts(self) -> slice:
        """Which parameters are the shifts of the runs."""
        return slice(6, 6 + self.pairs.runs)

    def __call__(self, given: Array) -> Array:
        """Residuals by their errors."""
        pairs, (m, w, q, top, height, floor) = self.pairs, given[:6]
        own = given[6 + pairs.runs :] if pairs.runs > 1 else np.zeros(1)
        at = pairs.loss + own[pairs.run] - np.where(pairs.tuned, given[self.shifts()][pairs.run], 0.0)
        curve = np.exp(top - np.exp(q) * np.logaddexp(0.0, (at - m) / np.exp(w)))
        values = np.where(pairs.tuned, np.exp(height), 1.0) * curve + (floor if pairs.floor else 0.0)
        priors = [(w - np.log(0.1 * self.span)) / PRIOR_WIDTH, q / PRIOR_POWER, (top - np.log(self.top)) / PRIOR_TOP,
                  height / PRIOR_HEIGHT, 0.0 if pairs.floor else floor, *(own / (PRIOR_RUN * self.span))]  # fmt: skip
        return np.concatenate([(pairs.ability - values) / self.error, priors])


def _fit(pairs: _Pairs) -> tuple[Array, Array] | None:
    """(runs,) the shifts and their covariance, by the best of a few starts."""
    model = _Model(pairs)
    found = min(
        (least_squares(model, model.start(place, width), max_nfev=200)
         for place in (0.15, 0.4, 0.7) for width in (0.04, 0.15)),
        key=lambda one: float(one.cost),
    )  # fmt: skip
    rows = len(pairs.loss)
    jacobian: Array = np.asarray(found.jac, dtype=np.float64)
    residuals: Array = np.asarray(found.fun, dtype=np.float64)
    try:
        bread = np.linalg.inv(jacobian.T @ jacobian)
        meat = np.zeros_like(bread)
        for cluster in range(int(pairs.cluster.max()) + 1):
            at = np.flatnonzero(pairs.cluster[:rows] == cluster)
            part = jacobian[at]
            left = np.linalg.solve(np.eye(len(at)) - part @ bread @ part.T, residuals[at])
            meat += np.outer(part.T @ left, part.T @ left)
    except np.linalg.LinAlgError:
        return None
    covariance = (bread @ meat @ bread)[model.shifts(), model.shifts()]
    variances = np.diag(covariance)
    if not np.isfinite(variances).all() or (variances <= 0).any():
        return None
    return found.x[model.shifts()], covariance
