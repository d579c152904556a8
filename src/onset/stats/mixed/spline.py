"""A penalised cubic spline of ability on loss, in mixed-model form: a straight part, and columns with a variance.

P-splines (Eilers and Marx 1996): cubic B-splines with second differences of the coefficients penalised, written as
fixed columns that the penalty leaves free and random ones whose standard deviation is a variance component (Currie and
Durban 2002). Knots are dense where checkpoints are, and where the score moves, so that one smoothness serves a curve
that is flat, jumps within hundredths of a nat, and is flat again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import isotonic_regression

Array = NDArray[np.float64]

MOST_KNOTS = 30
DEGREE = 3


@dataclass(frozen=True, eq=False)
class Spline:
    """A spline basis over the losses seen; beyond them it goes on as a straight line."""

    knots: Array
    """Knots of the B-splines, going on beyond both ends as far apart as the last two (Eilers and Marx)."""
    scale: float
    """The random columns are divided by it, so that their rows have a mean square of one."""

    @classmethod
    def over(cls, loss: Array, ability: Array, most: int = MOST_KNOTS, *, even: bool = False) -> Spline:
        """Knots for rows at these losses: a third each by the loss, by the rows and by how far the score moves.

        The score moves along its isotonic regression on the loss, so that noise lays few knots. ``even`` knots are laid
        by the loss alone: what the penalty leaves free is then a straight line, which is what goes on beyond the data.
        """
        sort = np.argsort(loss, kind="stable")
        place, starts = np.unique(loss[sort], return_index=True)
        if len(place) < 2:
            place = np.array([loss[0] * (1 - 1e-6), loss[0] * (1 + 1e-6)])
            warp = np.array([0.0, 1.0])
        else:
            counts = np.diff(np.r_[starts, len(loss)])
            mean = np.add.reduceat(ability[sort], starts) / counts
            moved = -isotonic_regression(mean, weights=counts.astype(float), increasing=False).x
            parts = [place, np.cumsum(counts).astype(float), moved]
            shares = (1.0, 0.0, 0.0) if even else (1 / 3, 1 / 3, 1 / 3)
            warp = np.asarray(sum(share * _unit(part) for share, part in zip(shares, parts, strict=True)))
        number = int(np.clip(len(place) // 2, 4, most))
        inner = np.interp(np.linspace(0.0, warp[-1], number), warp, place)
        inner = np.unique(np.round(inner, 12))
        steps = np.arange(1, DEGREE + 1)
        first, last = inner[1] - inner[0], inner[-1] - inner[-2]
        knots = np.r_[inner[0] - first * steps[::-1], inner, inner[-1] + last * steps]
        unscaled = cls(knots, 1.0)
        size = float(np.sqrt(np.mean(np.sum(unscaled.random(loss) ** 2, axis=1))))
        return cls(knots, max(size, 1e-12))

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest loss that the knots cover."""
        return float(self.knots[DEGREE]), float(self.knots[-DEGREE - 1])

    def fixed(self, loss: Array) -> Array:
        """(n, 2): ones, and a monotone column from 0 at the lowest loss to 1 at the highest."""
        basis = self._basis(loss)
        return np.column_stack([np.ones(len(loss)), basis @ np.linspace(0.0, 1.0, basis.shape[1])])

    def random(self, loss: Array, derivative: bool = False) -> Array:
        """(n, k) columns whose coefficients are independent with one variance; or their slopes along the loss."""
        basis = self._basis(loss, derivative)
        differences = np.diff(np.eye(basis.shape[1]), n=2, axis=0)
        return np.asarray(basis @ differences.T @ np.linalg.inv(differences @ differences.T)) / self.scale

    def slopes(self, loss: Array) -> Array:
        """(n, 2) slopes along the loss of the fixed columns."""
        basis = self._basis(loss, derivative=True)
        return np.column_stack([np.zeros(len(loss)), basis @ np.linspace(0.0, 1.0, basis.shape[1])])

    def _basis(self, loss: Array, derivative: bool = False) -> Array:
        low, high = self.span
        inside = np.clip(loss, low, high)
        size = len(self.knots) - DEGREE - 1
        splines = BSpline(self.knots, np.eye(size), DEGREE)
        slope = np.asarray(splines(inside, nu=1))
        if derivative:
            return slope
        return np.asarray(splines(inside)) + slope * (loss - inside)[:, None]


def _unit(values: Array) -> Array:
    """Values moved and scaled to 0 and 1; zeros where they do not vary."""
    spread = float(values[-1] - values[0])
    return (values - values[0]) / spread if abs(spread) > 1e-15 else np.zeros_like(values)
