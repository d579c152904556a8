"""Loss to loss: how the loss on one axis maps to the loss on another, so that a threshold can be carried over.

    target = E_target + scale * (source - E_source) ** power        (Brandfonbrener et al. 2024, a shifted power law)

For a grid of ``E_source`` and ``power`` the other two are linear; the fit is robust (Huber weights), and for every
draw of run weights the whole grid is fitted again. Checkpoints of one run are not independent: intervals come from
random weights on whole runs (the Bayesian bootstrap, Rubin 1981), stretched by Student's t, since few runs say little
of how runs differ. With one run there is no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from onset.errors import OnsetError
from onset.metrics import info as scales
from onset.results import Analysis, ConvertedThreshold, Drawable, Interval

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

DRAWS = 300
"""Random weightings of the runs behind each interval."""
FEWEST = 4
"""Checkpoints that a map needs: it has four parameters."""
BENDS: Vector = np.array([0.5, 0.6, 0.7, 0.78, 0.85, 0.9, 0.95, 1.0, 1.06, 1.12, 1.2, 1.3, 1.45, 1.65, 2.0])
"""Powers that are tried."""
SHIFTS: Vector = np.array([-0.5, 0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.78, 0.85, 0.9, 0.94, 0.97])
"""Irreducible losses of the source that are tried, as shares of its lowest loss."""
TUNE = 1.5
"""Robust standard deviations beyond which a checkpoint counts linearly."""
WIDER = 1.15
"""Intervals are stretched by this: on planted maps they covered 89 to 94 % of the time at 95 % without it."""


@dataclass(frozen=True)
class LossMap(Drawable):
    """A fitted map from one loss to another."""

    floor_source: float
    floor_target: float
    scale: float
    power: float
    seen: tuple[float, float]
    """Lowest and highest loss of the source; beyond them nothing is carried."""
    n_points: int
    n_runs: int
    residual: float
    """Robust standard deviation of a checkpoint about the map, in the target's unit."""
    level: float
    draws: Matrix = field(repr=False)
    """(draws, 4): the parameters in the order above under random weights on the runs; empty with one run."""

    def curve(self, loss: ArrayLike) -> Vector:
        """The target's loss at losses of the source; NaN outside those seen."""
        given = np.asarray(loss, dtype=float)
        found = _law(given, self.floor_source, self.floor_target, self.scale, self.power)
        return np.where((given >= self.seen[0]) & (given <= self.seen[1]), found, np.nan)

    def predict(self, loss: ArrayLike) -> pd.DataFrame:
        """``loss, target, low, high`` with the interval of the map itself; NaN outside the losses seen."""
        given = np.atleast_1d(np.asarray(loss, dtype=float))
        middle = self.curve(given)
        below, above = self._reach(self._moves(given, middle))
        return pd.DataFrame({"loss": given, "target": middle, "low": middle + below, "high": middle + above})

    def carry(self, threshold: Interval) -> Interval | None:
        """A loss with its interval on the target's axis; None where it lies outside the losses seen, or with one run.

        The two uncertainties, of the threshold and of the map, are taken to be independent and normal on either side.
        """
        if not self.seen[0] <= threshold.value <= self.seen[1] or not len(self.draws):
            return None
        at = np.clip([threshold.value, threshold.low, threshold.high], *self.seen)
        middle, first, last = self.curve(at)
        low, high = self._reach(self._moves(at[:1], np.array([middle])))
        below, above = min(first, last) - middle, max(first, last) - middle
        return Interval(
            float(middle), float(middle - np.hypot(below, low[0])), float(middle + np.hypot(above, high[0]))
        )

    def summary(self) -> pd.DataFrame:
        """One row: the parameters and what they rest on. Single parameters are ill determined; the curve is not."""
        names = ("floor_source", "floor_target", "scale", "power", "n_points", "n_runs", "residual")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])

    def _moves(self, given: Vector, middle: Vector) -> Matrix:
        return np.asarray(_law(given[None, :], *self.draws.T[:, :, None]) - middle)

    def _reach(self, moves: Matrix) -> tuple[Vector, Vector]:
        """How far the interval reaches below and above, from what the draws move."""
        if not len(moves):
            nothing = np.full(moves.shape[1], np.nan)
            return nothing, nothing
        tail = (1 - self.level) / 2
        few = self.n_runs - 1
        # Even weights on n runs vary by n / (n - 1) too little, and few runs have heavy tails.
        wide = WIDER * np.sqrt(self.n_runs / few) * stats.t.ppf(1 - tail, few) / stats.norm.ppf(1 - tail)
        low, high = wide * np.quantile(moves, [tail, 1 - tail], axis=0)
        return np.minimum(low, 0.0), np.maximum(high, 0.0)


def fit(source: ArrayLike, target: ArrayLike, run: ArrayLike, *, level: float = 0.95, seed: int = 0) -> LossMap:
    """The map from losses on one axis to losses on another, checkpoint by checkpoint.

    Raises OnsetError with fewer than four checkpoints, without a spread of losses, and where the losses do not rise
    together.
    """
    x, y = np.asarray(source, dtype=float), np.asarray(target, dtype=float)
    codes, names = pd.factorize(pd.Series(run).astype(str), sort=True)
    known = np.isfinite(x) & np.isfinite(y)
    x, y, codes = x[known], y[known], codes[known]
    names = names[np.unique(codes)]
    codes = np.unique(codes, return_inverse=True)[1]
    if len(x) < FEWEST or np.ptp(x) <= 0:
        raise OnsetError(
            f"{len(x)} checkpoints have both losses, and a map has four parameters",
            advice=f"give {FEWEST} or more, at different losses",
        )
    if not stats.spearmanr(x, y).statistic > 0:
        raise OnsetError("the two losses do not rise together", advice="a map needs losses of the same models")
    grid = _grid(x)
    weights = np.ones(len(x))
    for _ in range(8):
        best, fitted = _best(grid, x, y, weights[None, :])
        residual = y - fitted[0]
        spread = 1.4826 * float(np.median(np.abs(residual))) + 1e-12
        weights = np.minimum(1.0, TUNE * spread / np.maximum(np.abs(residual), 1e-15))
    draws = np.empty((0, 4))
    if len(names) > 1:
        share = np.random.default_rng(seed).dirichlet(np.ones(len(names)), DRAWS)
        draws = _best(grid, x, y, share[:, codes] * weights)[0]
    floor_source, floor_target, scale, power = map(float, best[0])
    return LossMap(
        floor_source, floor_target, scale, power, seen=(float(x.min()), float(x.max())), n_points=len(x),
        n_runs=len(names), residual=spread, level=level, draws=draws,
    )  # fmt: skip


def _grid(x: Vector) -> Matrix:
    """(k, 2): floors of the source and powers. A straight line is one entry: its floor is not determined."""
    low = float(x.min())
    shifts = SHIFTS * abs(low) if low > 0 else low - np.ptp(x) * np.array([0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0])
    bent = BENDS[BENDS != 1.0]
    pairs = np.stack([axis.ravel() for axis in np.meshgrid(shifts, bent, indexing="ij")], axis=1)
    return np.vstack([[shifts[0], 1.0], pairs])


def _best(grid: Matrix, x: Vector, y: Vector, weights: Matrix) -> tuple[Matrix, Matrix]:
    """The best parameters for each row of weights, (d, 4), and what they fit, (d, n)."""
    shape = (x[None, :] - grid[:, :1]) ** grid[:, 1:]  # (k, n)
    middle = shape.mean(axis=1, keepdims=True)
    shape = (shape - middle) / shape.std(axis=1, keepdims=True)
    total = weights.sum(axis=1)[:, None]
    over = weights @ shape.T / total
    height = (weights @ y)[:, None] / total
    square = weights @ (shape**2).T / total - over**2
    cross = weights @ (shape * y).T / total - over * height
    slope = np.maximum(cross, 0.0) / np.maximum(square, 1e-15)
    left = ((weights @ y**2)[:, None] / total - height**2) - slope * cross
    at = left.argmin(axis=1)
    rows = np.arange(len(weights))
    fitted = height[rows, 0][:, None] + slope[rows, at][:, None] * (shape[at] - over[rows, at][:, None])
    raw = (x[None, :] - grid[:, :1]) ** grid[:, 1:]
    unit = raw.std(axis=1)
    scale = slope[rows, at] / unit[at]
    floor = height[rows, 0] - slope[rows, at] * over[rows, at] - scale * middle[at, 0]
    return np.stack([grid[at, 0], floor, scale, grid[at, 1]], axis=1), fitted


def _law(loss: Any, floor_source: Any, floor_target: Any, scale: Any, power: Any) -> Any:
    return floor_target + scale * np.maximum(loss - floor_source, 0.0) ** power


def between(
    held_out: pd.DataFrame, source: tuple[str, str], target: tuple[str, str], *, level: float = 0.95, seed: int = 0
) -> LossMap:
    """The map between two axes of a table of losses (``run, step or tokens, loss_name, loss_unit, loss``).

    Give the rows of one family: another tokenizer or corpus has a map of its own.
    """
    key = "step" if "step" in held_out and held_out["step"].notna().all() else "tokens"
    sides = []
    for name, unit in (source, target):
        rows = held_out[(held_out["loss_name"] == name) & (held_out["loss_unit"] == unit)]
        if rows.empty:
            raise OnsetError(f"there is no loss '{name}' in {unit}", advice="see loss_name and loss_unit of the table")
        sides.append(rows.drop_duplicates(["run", key])[["run", key, "loss"]])
    both = sides[0].merge(sides[1], on=["run", key], suffixes=("", "_target"))
    return fit(both["loss"], both["loss_target"], both["run"], level=level, seed=seed)


def converted(analysis: Analysis, held_out: pd.DataFrame) -> tuple[ConvertedThreshold, ...]:
    """Every threshold of an analysis on every other loss measure, family by family.

    Only where the threshold lies among the losses that the family has seen under both and the family has two runs.
    """
    found = [finding for finding in analysis.findings if finding.threshold is not None]
    obs = analysis.observations
    if not found or obs.empty:
        return ()
    here = (str(obs.loss_name.iloc[0]), str(obs.loss_unit.iloc[0]))
    axes = [
        (str(name), str(unit))
        for name, unit in held_out[["loss_name", "loss_unit"]].drop_duplicates().itertuples(index=False)
        if (name, unit) != here
    ]
    told: list[ConvertedThreshold] = []
    for family, runs in obs.groupby("family")["run"].unique().items():
        of_family = held_out[held_out["run"].isin(list(runs))]
        for axis in axes:
            try:
                made = between(of_family, here, axis, level=analysis.level)
            except OnsetError:  # this family has no such loss, or too few of them
                continue
            for finding in found:
                if finding.threshold is None or (there := made.carry(finding.threshold.interval)) is None:
                    continue
                told.append(
                    ConvertedThreshold(
                        task=finding.task, metric=finding.metric, family=str(family), loss_name=axis[0],
                        loss_unit=axis[1], loss=there.value, low=there.low, high=there.high, n_runs=made.n_runs,
                    )
                )  # fmt: skip
    return tuple(told)


def sentences(
    told: Sequence[ConvertedThreshold], here: tuple[str, str], wanted: Sequence[tuple[str, str]]
) -> list[str]:
    """Thresholds converted from the measure ``here`` in words, one a task, to the first of the wanted that has them."""
    there = {(entry.loss_name, entry.loss_unit) for entry in told}
    axis = next((one for one in wanted if one in there), None)
    if axis is None:
        return []
    of_tasks: dict[str, list[ConvertedThreshold]] = {}
    for entry in told:
        if (entry.loss_name, entry.loss_unit) == axis:
            of_tasks.setdefault(entry.task, []).append(entry)
    made = []
    for task in sorted(of_tasks):
        metric = scales.headline({entry.metric for entry in of_tasks[task]})
        parts = [
            f"{entry.family or 'all runs'} {entry.loss:.3f} [{entry.low:.3f}, {entry.high:.3f}]"
            for entry in of_tasks[task]
            if entry.metric == metric
        ]
        made.append(
            f"The threshold of {task} ({metric}), converted from {here[0]} ({here[1]}) to {axis[0]} ({axis[1]}): "
            + "; ".join(parts) + "."
        )  # fmt: skip
    return made
