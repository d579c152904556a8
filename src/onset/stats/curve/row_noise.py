"""The noise about a supposed curve: components that explain what the curve leaves over, with their priors.

Components are found by coordinate ascent over coarse grids: the likelihood is flat near its top, and a finer answer
would be spurious.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onset.stats.curve.likelihood import CurveLikelihood, interpolation
from onset.stats.curve.window import FitWindow
from onset.stats.data import Array
from onset.stats.noise import (
    PRIOR_SCALES,
    Components,
    Noise,
    family_columns,
    item_variance,
    noise_of,
    presence,
    shared_item_columns,
)

STEPS = (0.0, 0.3, 0.6, 1.0, 1.5, 2.2, 3.2)
FAR_STEPS = (5.0, 8.0, 13.0, 20.0)
"""Places on the grid of a component, in prior scales; the far ones for errors of the loss and shifts of runs."""
FREEDOM = 3.0
"""Degrees of freedom of their priors, Student's t: a few tables measure their losses much worse than others."""
ITEMS = (0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
MEMORIES = (0.0, 0.4, 0.7, 0.9)
SWEEPS = 3
FAMILY_SD = 0.03
"""Prior standard deviation of a family's offset where the ability is there, as a share of the metric's range."""
FLOOR_SD = 0.2
"""The same of a free level at high losses."""
DEVIATION, WAVES, WAVE_REACH = 0.1, 6, 1.5
"""No form is exact: the curve deviates from it by this share of the ability (standard deviation), in so many half waves
over so many rise spans. At the foot, where the ability vanishes, so does the deviation: it decides no threshold."""
SLOPE_REACH = 0.03
"""Rise spans on either side over which a slope is taken: the place of a corner is not known exactly."""
ERROR_REACH = 2.0
"""The same in standard errors of the loss and of the runs' shifts."""


@dataclass(frozen=True, eq=False)
class Sizes:
    """What the noise of each row scales with; (n,) each."""

    items: Array
    """Item variance of ability."""
    there: Array
    """Presence of the ability."""
    ability: Array
    """Of the curve."""
    curve: Array
    """(m,) the curve on the grid."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What stays the same whatever the noise: the window, the grid, and the weights between them."""

    window: FitWindow
    grid: Array
    weights: Array
    """(n, m)."""
    known_items: bool

    @classmethod
    def of(cls, window: FitWindow, grid: Array) -> Rows:
        """The rows of a window on a grid of losses."""
        known = item_variance(window.data)[1]
        return cls(window, grid, interpolation(window.x, grid), known)

    def likelihood(self, parts: Components, curve: Array) -> CurveLikelihood:
        """The likelihood under a noise whose size follows a curve (ability on the grid, m)."""
        sizes = self.sizes(curve)
        return CurveLikelihood(
            self.window.data.ability, self.columns(parts, sizes), self.weights, self.noise(parts, sizes),
            self.window.room,
        )  # fmt: skip

    def sizes(self, curve: Array) -> Sizes:
        """What the noise scales with, at the rows, under a curve on the grid."""
        at = self.weights @ curve
        items = item_variance(self.window.data, at + self.window.floor)[0]
        return Sizes(items, presence(at), np.maximum(at, 0.0), curve)

    def noise(self, parts: Components, sizes: Sizes) -> Noise:
        """The noise with these components."""
        error = float(np.hypot(parts.loss, parts.shift)) * float(self.window.data.loss.min()) / self.window.span
        # Where a jump is sharper than the error of the loss, the slope at the row itself would say nothing of it.
        slope = self._slope(sizes.curve, max(SLOPE_REACH, ERROR_REACH * error))
        return noise_of(self.window.data, parts, sizes.there, slope, sizes.items)

    def columns(self, parts: Components, sizes: Sizes) -> Array:
        """(n, c) columns of errors that runs share: items, families, a free floor; unit normal coefficients."""
        data, window = self.window.data, self.window
        reach = 2.0 * float(np.ptp(data.loss))
        shared = shared_item_columns(data, sizes.items, min(parts.items**2, 1.0), reach)
        waves = np.cos(np.pi * np.arange(1, WAVES + 1) * np.clip(window.x / WAVE_REACH, 0.0, 1.0)[:, None])
        deviation = DEVIATION * np.sqrt(2.0 / WAVES) * sizes.ability[:, None] * waves
        found = [shared, deviation, family_columns(data, FAMILY_SD) * sizes.there[:, None]]
        if window.free_floor:
            sd = FLOOR_SD if data.chance.value is not None else 5.0 * float(np.abs(data.ability).max() + 1e-9)
            found.append(np.full((len(data), 1), sd))
        return np.hstack(found)

    def _slope(self, curve: Array, reach: float) -> Array:
        """(n,) ability per unit of loss at each row: the secant over ``reach`` rise spans on either side."""
        x = self.window.x
        ahead, behind = np.interp(x - reach, self.grid, curve), np.interp(x + reach, self.grid, curve)
        over = np.minimum(x + reach, self.grid[-1]) - np.maximum(x - reach, self.grid[0])
        return np.asarray(np.maximum(ahead - behind, 0.0) / np.maximum(over, 1e-9) / self.window.span)

    def fitted(self, curve: Array, start: Components, left: Array) -> tuple[Components, float]:
        """The components that best explain what a curve leaves over (n,), and their log prior."""
        sizes = self.sizes(curve)
        best, score = start, self._score(start, sizes, left)
        options = {
            "items": tuple(ITEMS), "drift": _steps("drift"), "memory": MEMORIES, "run": _steps("run"),
            "shift": _steps("shift", FAR_STEPS), "loss": _steps("loss", FAR_STEPS),
        }  # fmt: skip
        for _ in range(SWEEPS):
            before = score
            for name, values in options.items():
                for value in values:
                    if value == getattr(best, name):
                        continue
                    trial = replace(best, **{name: float(value)})
                    found = self._score(trial, sizes, left)
                    if found > score:
                        best, score = trial, found
            if score - before < 0.05:
                break
        return best, self._log_prior(best)

    def _score(self, parts: Components, sizes: Sizes, left: Array) -> float:
        noise = self.noise(parts, sizes)
        white = noise.whiten(left)
        return float(-0.5 * (white @ white) - 0.5 * noise.log_det + self._log_prior(parts))

    def _log_prior(self, parts: Components) -> float:
        """Log density of the components: as for every table, but for the heavier tails of ``shift`` and ``loss``."""
        total = parts.log_prior(self.known_items)
        for name in ("shift", "loss"):
            square = (getattr(parts, name) / PRIOR_SCALES[name]) ** 2
            total += 0.5 * square - 0.5 * (FREEDOM + 1.0) * float(np.log1p(square / FREEDOM))
        return total


def _steps(name: str, far: tuple[float, ...] = ()) -> tuple[float, ...]:
    return tuple(step * PRIOR_SCALES[name] for step in (*STEPS, *far))
