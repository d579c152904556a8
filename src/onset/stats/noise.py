"""The noise of a curve: one covariance for threshold, size effect and forecast, linear in the number of rows.

Two scores of one run have the covariance

    items      variance of the items at hand, times ``items`` squared, on the diagonal
    loss       (slope * error of a measured loss) squared, on the diagonal
    drift      s_i s_j memory^|i - j|: first-order autocorrelation, AR(1), between checkpoints i and j of the run
    run        t_i t_j: what the run scores more or less than others at equal loss
    shift      slope_i slope_j shift^2: the run's curve lies at higher or lower losses (to first order)

where s and t grow with the ability that is there (``presence``), because runs that guess differ less than runs that
know. Scores of different runs are independent given the mean. What couples runs (a family's offset, the error of items
that all models share) are columns with coefficients of unit variance: ``family_columns``, ``shared_item_columns``.

With the AR(1) operator B the part that is not of low rank is tridiagonal, B V B', so that a banded Cholesky factor
whitens it; run and shift are a correction of rank two in each run. Losses are taken relative to the lowest loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky_banded, lapack

from onset.stats.data import Array, CurveData

PRIOR_SCALES = {"run": 0.006, "shift": 0.002, "drift": 0.007, "loss": 0.001}
"""Scales of half-normal priors: of ``run`` and ``drift`` in ability (fractions of the metric's range), of ``shift`` and
``loss`` as shares of the lowest loss. Weakly informative: a table of three runs says little of how runs differ."""

ITEMS_PRIOR = 0.4
"""Standard deviation of the logarithm of ``items`` where the item variance is known; 1.5 where it is guessed."""

LEAST_PRESENCE = 0.1
"""What runs that guess differ in, as a share of what runs with the ability do."""

_TINY = 1e-12


@dataclass(frozen=True)
class Components:
    """Standard deviations of the parts of the noise, in the units of ``PRIOR_SCALES``."""

    items: float = 1.0
    """Factor on the standard deviation that the items explain: below 1, all models err on the same items."""
    run: float = 0.0
    shift: float = 0.0
    drift: float = 0.0
    memory: float = 0.7
    """Correlation of the drift of neighbouring checkpoints, 0 to 1."""
    loss: float = 0.0

    def log_prior(self, known_items: bool = True) -> float:
        """Log density of the half-normal priors (log-normal for ``items``), up to a constant."""
        total = -0.5 * (np.log(self.items) / (ITEMS_PRIOR if known_items else 1.5)) ** 2
        total -= 0.5 * sum((getattr(self, name) / scale) ** 2 for name, scale in PRIOR_SCALES.items())
        return float(total)


def item_variance(data: CurveData, ability: Array | None = None) -> tuple[Array, bool]:
    """(n,) variance of ability by the items, and whether the table tells it.

    Where it does not, the variance comes from how far each row lies from its neighbours in loss.
    """
    known = data.item_variance(ability)
    told = np.isfinite(known)
    if told.all():
        return known, True
    return np.where(told, known, difference_variance(data)), False


def difference_variance(data: CurveData) -> float:
    """Noise variance of ability from how far each row lies off the line through its neighbours in loss (robust)."""
    sort = np.argsort(data.loss, kind="stable")
    loss, score = data.loss[sort], data.ability[sort]
    if len(loss) < 3:
        return 1e-4
    share = (loss[1:-1] - loss[:-2]) / np.maximum(loss[2:] - loss[:-2], _TINY)
    off = score[1:-1] - (score[:-2] + share * (score[2:] - score[:-2]))
    off /= np.sqrt(1.0 + share**2 + (1.0 - share) ** 2)
    return max(float((1.4826 * np.median(np.abs(off))) ** 2), 1e-8)


@dataclass(frozen=True, eq=False)
class Banded:
    """Independent and AR(1) noise of all runs: ``whiten(columns)`` makes it independent with variance one."""

    ratio: Array
    """(n,) coefficient of the checkpoint before; 0 at the first of a run."""
    factor: Array
    """(2, n) banded lower Cholesky factor of B V B'."""
    log_det: float
    """Of V."""

    @classmethod
    def of(cls, own: Array, drift: Array, memory: float, first: NDArray[np.bool_]) -> Banded:
        """From the independent variance, the standard deviation of the drift at each row, and its correlation."""
        spread = drift + 1e-9
        ratio, earlier = np.zeros_like(own), np.zeros_like(own)
        np.divide(memory * spread[1:], spread[:-1], out=ratio[1:], where=~first[1:])
        earlier[1:] = own[:-1]
        fresh = spread**2 * np.where(first, 1.0, 1.0 - memory**2)
        band = np.zeros((2, len(own)))
        band[0] = own + ratio**2 * earlier + fresh + _TINY
        band[1, :-1] = (-ratio * earlier)[1:]
        factor = cholesky_banded(band, lower=True, overwrite_ab=True, check_finite=False)
        return cls(ratio, factor, 2.0 * float(np.log(factor[0]).sum()))

    def whiten(self, columns: Array) -> Array:
        """(n,) or (n, k) columns with the noise made independent with variance one."""
        flat = columns.reshape(len(columns), -1)
        moved = flat.copy()
        moved[1:] -= self.ratio[1:, None] * flat[:-1]
        solved, info = lapack.dtbtrs(self.factor, np.asfortranarray(moved), uplo="L")
        assert info == 0, "the factor has a positive diagonal"
        return np.asarray(solved).reshape(columns.shape)


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of the rows of a curve, run by run; ``whiten`` mixes rows of one run only."""

    banded: Banded
    starts: NDArray[np.int64]
    run: NDArray[np.int64]
    low_rank: Array
    """(n, 2) whitened columns of run and shift, with their standard deviations."""
    eigen: tuple[Array, Array]
    """Eigenvalues (runs, 2) and vectors (runs, 2, 2) of their products within each run."""
    variance: Array
    """(n,) marginal variance of each row, all parts counted."""

    @property
    def log_det(self) -> float:
        """Log determinant of the covariance."""
        return self.banded.log_det + float(np.log1p(self.eigen[0]).sum())

    @property
    def log_dets(self) -> Array:
        """(runs,) the same run by run."""
        diagonal = 2.0 * np.log(self.banded.factor[0])
        return np.asarray(np.add.reduceat(diagonal, self.starts) + np.log1p(self.eigen[0]).sum(axis=1))

    def whiten(self, columns: Array) -> Array:
        """(n,) or (n, k) columns with the noise made independent with variance one."""
        flat = self.banded.whiten(columns).reshape(len(columns), -1)
        values, vectors = self.eigen
        factor = (1.0 / np.sqrt(1.0 + values) - 1.0) / np.maximum(values, _TINY)
        mixed = np.matmul(vectors * factor[:, None, :], np.swapaxes(vectors, 1, 2))
        inner = np.stack([np.add.reduceat(self.low_rank[:, [part]] * flat, self.starts) for part in (0, 1)], axis=1)
        moved = np.matmul(mixed, inner)[self.run]
        flat = flat + self.low_rank[:, :1] * moved[:, 0] + self.low_rank[:, 1:] * moved[:, 1]
        return np.asarray(flat.reshape(columns.shape))


def presence(ability: Array) -> Array:
    """(n,) how much of the ability is there, ``LEAST_PRESENCE`` to 1: what the noise beyond items grows with."""
    top = float(np.max(ability))
    share = np.sqrt(np.clip(ability / top, 0.0, 1.0)) if top > 0 else np.zeros_like(ability)
    return np.maximum(share, LEAST_PRESENCE)


def noise_of(data: CurveData, parts: Components, there: Array, slope: Array, items: Array) -> Noise:
    """The noise with these components.

    ``there`` is ``presence`` (n,), ``slope`` the ability per unit of loss at each row (n,), ``items`` the item
    variance of ability (n,).
    """
    steep = np.abs(slope) * float(data.loss.min())
    own = parts.items**2 * items + (parts.loss * steep) ** 2
    banded = Banded.of(own, parts.drift * there, parts.memory, data.first)
    columns = np.column_stack([parts.run * there, parts.shift * steep])
    white = banded.whiten(columns)
    starts = data.starts
    product = np.add.reduceat(white[:, :, None] * white[:, None, :], starts)
    values, vectors = np.linalg.eigh(product)
    variance = own + (parts.drift * there) ** 2 + (columns**2).sum(axis=1)
    return Noise(banded, starts, data.run, white, (np.maximum(values, 0.0), vectors), variance)


def family_columns(data: CurveData, scale: float = 1.0) -> Array:
    """(n, families) one column a family, for offsets of standard deviation ``scale``; none with one family."""
    families = len(data.families)
    if families < 2:
        return np.zeros((len(data), 0))
    return np.asarray(scale * (data.family[:, None] == np.arange(families)[None, :]))


def shared_item_columns(data: CurveData, items: Array, own_share: float, reach: float, waves: int = 3) -> Array:
    """(n, 1 + waves) columns, coefficients of unit variance, of the error that all models share with the items.

    Items are drawn once and asked of every checkpoint: models near in loss err on the same ones. The error is a
    process along the loss with exponential covariance, as an offset and its first cosine waves; ``own_share`` is the
    part of the item variance that is each checkpoint's own, ``reach`` the loss over which its correlation falls to
    1/e, times the range over which the waves are laid.
    """
    size = float(np.sqrt(np.median(items)))
    constant = np.full((len(data), 1), size)
    if own_share >= 1 or not np.isfinite(reach):
        return constant
    rate, number = 1.0 / 2.0, np.pi * np.arange(1, waves + 1)
    spread = size * np.sqrt((1 - own_share) * 4 * rate / (rate**2 + number**2))
    place = np.clip((data.loss - data.loss.min()) / max(reach / 2.0, _TINY), 0.0, 1.0)
    return np.hstack([constant, spread * np.cos(number * place[:, None])])
