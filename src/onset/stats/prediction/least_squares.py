"""A logistic curve by least squares with a residual band: what is commonly done, and a link between two metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Vector = NDArray[np.float64]


def logistic(
    at: Vector, score: Vector, target: Vector, floor: float | None, rising: bool, level: float
) -> tuple[Vector, Vector, Vector]:
    """A logistic curve by least squares, and its residual band: predicted, low, high.

    ``floor`` is the chance level, or the least score seen where it is not known; the other end is free.
    """
    start = floor if floor is not None else (float(score.min()) if rising else float(score.max()))
    middle, width = float(at.mean()), float(np.ptp(at)) or 1.0

    def shape(steep: Vector | float, shift: Vector | float, place: Vector) -> Vector:
        value: Vector = special.expit((place - middle) / width * np.exp(steep) - shift)
        return value

    # For each steepness and shift the height is linear: the best of a grid is then polished.
    steeps, shifts = (grid.ravel()[:, None] for grid in np.meshgrid(np.linspace(-1, 5, 13), np.linspace(-6, 10, 17)))
    shapes = shape(steeps, shifts, at[None, :])
    heights = shapes @ (score - start) / np.maximum(np.sum(shapes**2, axis=1), 1e-12)
    misses = np.sum((score - start - heights[:, None] * shapes) ** 2, axis=1)
    first = int(misses.argmin())

    def miss(theta: Vector) -> Vector:
        off: Vector = start + theta[0] * shape(theta[1], theta[2], at) - score
        return off

    begin = [float(np.clip(heights[first], -9.9, 9.9)), float(steeps[first, 0]), float(shifts[first, 0])]
    found = optimize.least_squares(miss, begin, bounds=([-10.0, -4.0, -60.0], [10.0, 7.0, 60.0]), max_nfev=60)
    band = special.ndtri(0.5 + level / 2) * np.sqrt(2.0 * float(found.cost) / max(len(at) - 3, 1))
    predicted = start + found.x[0] * shape(found.x[1], found.x[2], target)
    return predicted, predicted - band, predicted + band
