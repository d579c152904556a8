"""A curve of score on loss fitted locally at the lowest losses, to be drawn on beyond them.

    link(score) = a + b * x + c * log10(size) + family + run,   x = loss / lowest - 1,   weight exp(-(x / h)^2 / 2)

Local likelihood (Loader 1999) with random intercepts of families and runs and a size effect at equal loss that is
shrunk to none, by penalised quasi-likelihood (Breslow and Clayton 1993). The variances of the intercepts are found by
expectation maximisation with a weak prior. ``link`` gives the curve chance as its floor and the best score as ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from onset.stats.data import Array, CurveData, Ints
from onset.stats.prediction.link import Link

RUN_PRIOR, FAMILY_PRIOR = 0.06, 0.15
"""Standard deviations of runs and of families on the logit scale, which the data correct: seeds differ by about a
percentage point in the middle of the range, corpora by more."""
PRIOR_COUNT = 2.0
"""Runs (or families) that the prior of their variance counts for."""
SIZE_PRIOR = 0.1
"""Standard deviation of what ten times the parameters change at equal loss, on the logit scale."""

MOST_TURN = 0.2
"""Relative distance above the lowest loss up to which a parabola's turn counts as one of the parabola alone."""

_STEPS = 12
_SLOPES = (100.0, 30.0, 100.0)


@dataclass(frozen=True, eq=False)
class LocalLogistic:
    """One fitted curve; ``value`` gives mean and variance on the link scale."""

    link: Link
    lowest: float
    degree: int
    coefficients: Array = field(repr=False)
    covariance: Array = field(repr=False)
    centre: float
    """Largest log10 of the sizes; NaN where the curve has no size effect."""
    families: tuple[str, ...]
    runs: tuple[str, ...]
    spreads: tuple[float, float]
    """Standard deviations of the intercepts of families and of runs."""
    dispersion: float
    """Variance of the rows about the curve as a multiple of what their items say."""

    @property
    def slope(self) -> float:
        """Change of the link by relative loss at the lowest loss."""
        return float(self.coefficients[1])

    @property
    def _turn(self) -> float:
        """The loss below which a quadratic curve stays as it is: where it would turn back; zero where it does not.

        A parabola through a steep rise that levels off falls again beyond it, which no score has said. Where nearly all
        rows lie on its falling side, scores do fall, and it is left alone.
        """
        if self.degree < 2 or self.coefficients[2] == 0.0:
            return 0.0
        place = -float(self.coefficients[1]) / (2.0 * float(self.coefficients[2]))
        return (
            max(self.lowest * (1.0 + place), 0.0) if place < (MOST_TURN if self.coefficients[2] < 0 else 0.0) else 0.0
        )

    def value(
        self, loss: Array, log_params: float = np.nan, family: str | None = None, run: str | None = None
    ) -> tuple[Array, Array]:
        """Mean and variance of a run at losses, without its items.

        A run or family of the table has its own intercept; another has the spread of the intercepts.
        """
        columns = np.zeros((len(loss), len(self.coefficients)))
        columns[:, : self.degree + 1] = _powers(np.maximum(loss, self._turn), self.lowest, self.degree)
        first, extra = self.degree + 1, 0.0
        if np.isfinite(self.centre):
            columns[:, first] = log_params - self.centre if np.isfinite(log_params) else 0.0
            first += 1
        for name, known, spread in zip((family, run), (self.families, self.runs), self.spreads, strict=True):
            if name is not None and name in known:
                columns[:, first + known.index(name)] = 1.0
            elif known:
                extra += spread**2
            first += len(known)
        variance = np.einsum("ij,jk,ik->i", columns, self.covariance, columns)
        return columns @ self.coefficients, np.maximum(variance, 0.0) + extra


def fit(data: CurveData, bandwidth: float, degree: int = 1) -> LocalLogistic:
    """The curve under a kernel of ``bandwidth``, a share of the lowest loss; infinite: all rows count the same."""
    link, lowest = Link.of(data), float(data.loss.min())
    families = data.families if len(data.families) > 1 else ()
    sized = bool(np.isfinite(data.log_params).all() and np.ptp(data.log_params) > 1e-9)
    centre = float(data.log_params.max()) if sized else np.nan
    distance = (data.loss / lowest - 1.0) / bandwidth if np.isfinite(bandwidth) else np.zeros(len(data))
    columns = [_powers(data.loss, lowest, degree)]
    columns += [(data.log_params - centre)[:, None]] if sized else []
    columns += [_indicators(data.family, len(families))] if families else []
    columns += [_indicators(data.run, len(data.runs))]
    spread = link.unit * np.r_[_SLOPES[: degree + 1], [SIZE_PRIOR] * sized]
    fitted = _fit(data, link, np.hstack(columns), np.exp(-0.5 * distance**2), spread, len(families))
    theta, covariance, spreads, dispersion = fitted
    return LocalLogistic(link, lowest, degree, theta, covariance, centre, families, data.runs, spreads, dispersion)


def _powers(loss: Array, lowest: float, degree: int) -> Array:
    return np.vander(loss / lowest - 1.0, degree + 1, increasing=True)


def _indicators(codes: Ints, count: int) -> Array:
    return np.asarray(codes[:, None] == np.arange(count), dtype=float)


def _fit(
    data: CurveData, link: Link, columns: Array, kernel: Array, fixed: Array, families: int
) -> tuple[Array, Array, tuple[float, float], float]:
    """Coefficients, covariance, spreads of families and runs, and dispersion; ``fixed`` are prior deviations."""
    kept = kernel > 1e-4
    rows = data.subset(kept) if not kept.all() else data
    columns, kernel, share = columns[kept], kernel[kept], link.share(data.ability[kept])
    first = len(fixed)
    groups = [slice(first, first + families), slice(first + families, columns.shape[1])]
    priors = FAMILY_PRIOR * link.unit, RUN_PRIOR * link.unit
    spreads, dispersion = list(priors), 1.0
    theta: Array = np.zeros(columns.shape[1])
    covariance: Array = np.eye(columns.shape[1])
    value = link.start(share)
    for step in range(_STEPS):
        fitted = link.inverse(value)
        slope = link.slope(fitted)
        noise, known = link.noise(rows, fitted)
        weight = kernel * slope**2 / (noise * dispersion)
        deviations = np.r_[
            fixed, np.full(families, spreads[0]), np.full(columns.shape[1] - first - families, spreads[1])
        ]
        # The first step is a fit to the scores on the link scale; the others go on from the curve.
        working = value + (share - fitted) / slope * (step > 0)
        covariance = np.asarray(np.linalg.inv((columns.T * weight) @ columns + np.diag(deviations**-2.0)))
        theta = covariance @ (columns.T @ (weight * working))
        moved = columns @ theta
        change = float(np.abs(moved - value).max())
        value = value + (moved - value) * (1.0 if step == 0 else min(1.0, 2.0 / max(change, 1e-9)))
        own = np.diag(covariance)
        spreads = [_spread(theta[at], own[at], prior) for at, prior in zip(groups, priors, strict=True)]
        dispersion = _dispersion(share, link.inverse(value), noise, kernel, known)
        if step > 3 and change < 1e-3:
            break
    return theta, covariance, (spreads[0], spreads[1]), dispersion


def _spread(values: Array, variances: Array, prior: float) -> float:
    """Standard deviation of intercepts: their mean square with its uncertainty, and the prior's."""
    total = float(np.sum(values**2 + variances)) + PRIOR_COUNT * prior**2
    return float(np.sqrt(total / (len(values) + PRIOR_COUNT)))


def _dispersion(share: Array, fitted: Array, noise: Array, kernel: Array, known: bool) -> float:
    """Mean square of standardised residuals where the kernel looks; below one only where items are unknown."""
    found = float(np.sum(kernel * (share - fitted) ** 2 / noise) / max(float(kernel.sum()), 1e-9))
    return max(found, 1.0 if known else 1e-3)
