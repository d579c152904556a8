"""Weighted normal distributions: what is known of coefficients once a scale is integrated over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    """Normal distributions of a vector, weighted: the posterior of coefficients over between-run scales."""

    weights: Vector
    means: Matrix
    """(scales, k)"""
    covariances: NDArray[np.float64]
    """(scales, k, k)"""

    @property
    def mean(self) -> Vector:
        """Posterior mean, (k,)."""
        mean: Vector = self.weights @ self.means
        return mean

    def deviation(self, contrast: Vector) -> float:
        """Posterior standard deviation of one linear combination."""
        values = self.means @ contrast
        spread = np.einsum("i,sij,j->s", contrast, self.covariances, contrast)
        centre = float(self.weights @ values)
        return float(np.sqrt(self.weights @ (spread + (values - centre) ** 2)))

    def interval(self, contrast: Vector, level: float) -> tuple[float, float]:
        """Central interval of one linear combination."""
        values = self.means @ contrast
        spread = np.sqrt(np.maximum(np.einsum("i,sij,j->s", contrast, self.covariances, contrast), 1e-18))
        tail = (1.0 - level) / 2.0
        return quantile(self.weights, values, spread, tail), quantile(self.weights, values, spread, 1.0 - tail)

    def joint_p(self) -> float:
        """Chance of coefficients as far from zero, were they all zero (a Wald test, averaged over scales)."""
        total = 0.0
        for weight, mean, covariance in zip(self.weights, self.means, self.covariances, strict=True):
            distance = float(mean @ linalg.solve(covariance, mean, assume_a="sym"))
            total += weight * float(special.chdtrc(len(mean), distance))
        return total


def quantile(weights: Vector, means: Vector, deviations: Vector, probability: float) -> float:
    """Quantile of a mixture of normals."""
    low = float(np.min(means + deviations * special.ndtri(probability)))
    high = float(np.max(means + deviations * special.ndtri(probability)))
    if high - low < 1e-12:
        return low

    def excess(value: float) -> float:
        return float(weights @ special.ndtr((value - means) / deviations)) - probability

    return float(optimize.brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-6))
