"""The likelihood of many curves at once, from products that are computed once.

A score is ``height * g(loss) + columns @ coefficients + noise``, with a flat prior on the height between 0 and all
there is, unit normal coefficients (shared items, family offsets, a free floor) and the covariance of ``noise``. Given g
all of it is Gaussian, so height and coefficients are integrated exactly. A curve enters by its values on a grid of
losses, linear in between: the rows, however many, enter once, by their products with the grid, none averaged.
Whatever is left out (a run, a checkpoint) is taken from these products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from onset.stats.data import Array
from onset.stats.noise import Noise

LARGEST_GRID = 160
"""Losses of the grid; with fewer rows the grid is the losses themselves and the likelihood exact."""


def loss_grid(x: Array) -> Array:
    """Increasing losses that curves are evaluated at: those seen, or a grid of their quantiles and even places."""
    seen = np.unique(x)
    if len(seen) <= LARGEST_GRID:
        return np.asarray(seen)
    half = LARGEST_GRID // 2
    even = np.linspace(seen[0], seen[-1], half)
    return np.unique(np.concatenate([np.quantile(seen, np.linspace(0, 1, LARGEST_GRID - half)), even]))


def interpolation(x: Array, grid: Array) -> Array:
    """(n, m) matrix that takes values on the grid to values at x, by straight lines."""
    found = np.zeros((len(x), len(grid)))
    rows = np.arange(len(x))
    if len(grid) == 1:
        found[:, 0] = 1.0
        return found
    right = np.clip(np.searchsorted(grid, x, side="left"), 1, len(grid) - 1)
    share = np.clip((x - grid[right - 1]) / (grid[right] - grid[right - 1]), 0.0, 1.0)
    found[rows, right - 1] = 1 - share
    found[rows, right] += share
    return found


@dataclass(frozen=True, eq=False)
class Solved:
    """What the rows say of k curves."""

    evidence: Array
    """(k,) log likelihood integrated over height and coefficients, less that of no ability at all."""
    centre: Array
    """(k,) best height, not bounded."""
    precision: Array
    """(k,) of the height."""


@dataclass(frozen=True, eq=False)
class Products:
    """Inner products of whitened grid columns (m), coefficients' columns (c) and scores."""

    grid: Array
    """(m, m)."""
    scores: Array
    """(m,) grid columns with scores."""
    columns: Array
    """(c, m)."""
    columns_columns: Array
    columns_scores: Array
    scores_scores: float
    room: float

    @classmethod
    def of(cls, whitened: Array, count: int, room: float) -> Products:
        """From whitened scores, ``count`` columns of coefficients and grid columns, side by side (n, 1 + c + m)."""
        return cls.split(whitened.T @ whitened, count, room)

    @classmethod
    def split(cls, products: Array, c: int, room: float) -> Products:
        """From the inner products of all these columns, (1 + c + m) squared."""
        return cls(
            products[1 + c :, 1 + c :], products[1 + c :, 0], products[1 : 1 + c, 1 + c :],
            products[1 : 1 + c, 1 : 1 + c], products[1 : 1 + c, 0], float(products[0, 0]), room,
        )  # fmt: skip

    def _inner(self) -> Array:
        return np.asarray(np.linalg.inv(np.eye(len(self.columns_columns)) + self.columns_columns))

    def solve(self, values: Array) -> Solved:
        """The evidence and the height of each of (m, k) curves given on the grid."""
        taken = self.columns.T @ self._inner()
        grid = self.grid - taken @ self.columns
        scores = self.scores - taken @ self.columns_scores
        precision = np.maximum((values * (grid @ values)).sum(axis=0), 1e-12)
        pull = scores @ values
        return Solved(_over_heights(pull, precision, self.room), pull / precision, precision)

    def coefficients(self, values: Array, height: Array) -> Array:
        """(c, k) best coefficients beside (m, k) curves of these heights."""
        left = self.columns_scores[:, None] - (self.columns @ values) * height
        return np.asarray(self._inner() @ left)

    def coefficients_error(self) -> Array:
        """(c, c) covariance of the coefficients, the curve given."""
        return self._inner()

    def no_ability(self) -> float:
        """Log likelihood of the scores without an ability, up to the determinant of the noise."""
        fitted = self.columns_scores @ self._inner() @ self.columns_scores
        size = np.linalg.slogdet(np.eye(len(self.columns_columns)) + self.columns_columns)[1]
        return float(-0.5 * (self.scores_scores - fitted) - 0.5 * size)


class CurveLikelihood:
    """The rows of a curve under one noise, ready to weigh any curves on the grid."""

    def __init__(self, ability: Array, columns: Array, weights: Array, noise: Noise, room: float) -> None:
        """From scores (n,), columns of coefficients (n, c) and interpolation weights (n, m)."""
        self.noise = noise
        self.columns = columns
        self._count, self._room = columns.shape[1], room
        self.whitened = noise.whiten(np.column_stack([ability, columns, weights]))
        self._gram = self.whitened.T @ self.whitened
        self.products = Products.split(self._gram, self._count, room)

    def solve(self, values: Array) -> Solved:
        """What all rows say of (m, k) curves on the grid."""
        return self.products.solve(values)

    def log_likelihood_of_no_ability(self) -> float:
        """Of the scores without any ability, up to a constant that is the same for every noise."""
        return self.products.no_ability() - 0.5 * self.noise.log_det

    def only_run(self, run: int) -> Products:
        """The products of one run."""
        return Products.of(self.whitened[self.noise.run == run], self._count, self._room)

    def without_run(self, run: int) -> Products:
        """The products of all other runs."""
        return Products.of(self.whitened[self.noise.run != run], self._count, self._room)

    def without_row(self, row: int) -> Products:
        """The products of all other rows: with correlated noise, the whitened direction of the row is taken out."""
        unit = np.zeros(len(self.whitened))
        unit[row] = 1.0
        direction = self.noise.whiten(unit)
        direction = direction / np.linalg.norm(direction)
        along = direction @ self.whitened
        return Products.split(self._gram - np.outer(along, along), self._count, self._room)

    def residuals(self, values: Array, height: Array, coefficients: Array) -> Array:
        """(n,) whitened residuals of one curve on the grid (m,)."""
        c = self._count
        fitted = self.whitened[:, 1 : 1 + c] @ coefficients + self.whitened[:, 1 + c :] @ (values * height)
        return np.asarray(self.whitened[:, 0] - fitted)


def _over_heights(pull: Array, precision: Array, room: float) -> Array:
    """Log of the mean of exp(pull A - precision A^2 / 2) over A from 0 to ``room``."""
    best, root = pull / precision, np.sqrt(precision)
    upper, lower = (room - best) * root, -best * root
    # Both ends in the lower tail, where log_ndtr is exact.
    flip = lower > 0
    upper, lower = np.where(flip, -lower, upper), np.where(flip, -upper, lower)
    log_upper, log_lower = log_ndtr(upper), log_ndtr(lower)
    mass = log_upper + np.log1p(-np.exp(np.minimum(log_lower - log_upper, -1e-12)))
    evidence = pull**2 / (2 * precision) + 0.5 * np.log(2 * np.pi / precision) + mass - np.log(room)
    return np.where(precision > 1e-11, evidence, -np.inf)
