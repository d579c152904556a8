"""The curve of ability on loss as a mixed model: spline, family deviations, and effects asked at equal loss.

    ability = f(loss) + visible * (family offset + family deviation(loss) + effects) + run + shift + AR(1) + items

f is a penalised spline (``spline``), the deviation of a family a smaller one with a variance of its own (a factor
smooth). ``visible`` is how much of an effect can show: none where everybody guesses, all of it from
``FULL_EFFECT`` above chance. Size effect, factors and forecast share this model; ``noise`` and ``mixed_model`` say how
the noise is built and estimated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from onset.stats.data import Array, Bools, CurveData
from onset.stats.mixed.mixed_model import Block, MixedModel, Rows, fit
from onset.stats.mixed.run_effects import BetweenRuns, RunEstimate, estimate
from onset.stats.mixed.spline import Spline
from onset.stats.noise import item_variance, presence

FULL_EFFECT = 0.02
"""Ability, as a fraction of the metric's range, from which on an effect shows in full."""

CURVE_PRIOR = 0.2
"""Middle of the log-normal prior of how far the curve bends, in ability."""

FAMILY_PRIOR = 0.02
"""Scale of the half-normal prior of how far a family's curve deviates, beside its offset, in ability."""

NARROW = 0.8
"""Where the steepest secant over the shift of runs is less than this part of the steepest slope, secants are used."""

FAMILY_KNOTS = 6
MOST_ROWS = 1500
"""Variance components are estimated on at most about this many rows (whole stretches of runs); effects on all."""


@dataclass(frozen=True, eq=False)
class SmoothCurve:
    """A fitted curve; ``at`` gives it at any loss, ``ask`` the effect of columns at equal loss."""

    data: CurveData
    spline: Spline
    model: MixedModel = field(repr=False)
    visible: Array = field(repr=False)
    """(n,) how much of an effect can show at each row, 0 to 1."""
    slope: Array = field(repr=False)
    """(n,) ability per unit of loss."""
    fitted: Array = field(repr=False)
    """(n,) ability of the curve, the family's deviation included."""
    effects: int = 0
    """Number of effect columns, the first fixed ones."""
    by_family: bool = False

    @property
    def effect(self) -> RunEstimate:
        """Coefficients of the effect columns, in ability per unit of the column."""
        return self._estimate(self.model.fixed[:, : self.effects], self.model.fixed[:, self.effects :])

    def ask(self, columns: Array) -> RunEstimate:
        """Coefficients of other columns (n, k), in ability per unit, beside those that were fitted."""
        return self._estimate(columns * self.visible[:, None], self.model.fixed)

    def ask_levels(self, columns: Array) -> RunEstimate:
        """The same in place of the effect columns; how much runs differ is held as it is beside these."""
        shown = columns * self.visible[:, None]
        return self._estimate(shown, self.model.fixed[:, self.effects :], self.effect.between)

    def ask_along_loss(self, columns: Array) -> RunEstimate:
        """Coefficients of columns that move the curve along the loss, in loss per unit (up is higher loss)."""
        slope, beside = np.abs(self.slope), self.model.spread[0] * self.visible
        counted = slope * self._shown
        design = self._design(columns)
        return estimate(self.model, columns * slope[:, None], counted, beside, fixed=self.model.fixed, design=design)

    def _estimate(self, asked: Array, fixed: Array, between: BetweenRuns | None = None) -> RunEstimate:
        shift = self.model.spread[1] * float(self.data.loss.min()) * np.abs(self.slope)
        # A run's own effect has the form of the effect that is asked, so that the two are compared as like with like.
        counted = self.visible * self._shown
        shown = np.maximum(self.visible, 1e-3)[:, None]
        design = self._design(asked / shown)
        return estimate(self.model, asked, counted, shift, fixed=fixed, design=design, between=between)

    def _design(self, columns: Array) -> Array:
        """(runs, d) ones, families and the columns at the end of each run: what is said of runs as wholes."""
        last = np.r_[self.data.starts[1:], len(self.data)] - 1
        families = np.arange(len(self.data.families) if self.by_family else 1)
        member = self.data.family[last][:, None] == families[None, :] if self.by_family else np.ones((len(last), 1))
        return np.hstack([member.astype(float), columns[last]])

    @property
    def _shown(self) -> Bools:
        """(n,) whether the run of a row has a row in which most of an effect can show."""
        most = np.maximum.reduceat(self.visible, self.data.starts)
        return np.asarray(most[self.data.run] > 0.5)

    def at(self, loss: Array, beside: Array | None = None) -> tuple[Array, Array]:
        """Mean and standard deviation of the common curve (of the mean family), each (grid, m).

        ``beside`` (k,) are values of the columns that ``fit_curve`` was given under that name; zeros by default.
        """
        columns = self._columns(loss, derivative=False)
        if beside is not None:
            columns[:, -len(beside) :] = beside
        return self.model.predict(columns)

    def slope_at(self, loss: Array) -> Array:
        """(m,) slope of the common curve along the loss."""
        return np.asarray(self._columns(loss, derivative=True) @ self.model.coefficients.mean)

    def mean_at(self, loss: Array, beside: Array | None = None) -> tuple[Array, Array]:
        """The common curve and its standard deviation, both (m,), the grid averaged."""
        means, deviations = self.at(loss, beside)
        weights = self.model.coefficients.weights
        mean = weights @ means
        return mean, np.sqrt(weights @ (deviations**2 + (means - mean) ** 2))

    def _columns(self, loss: Array, derivative: bool) -> Array:
        straight = self.spline.slopes(loss) if derivative else self.spline.fixed(loss)
        families = len(self.data.families) - 1 if self.by_family else 0
        # The mean family: each has its share of the offsets; their deviations are centred on the curve.
        offset = np.zeros((len(loss), families))
        if not derivative:
            sort = np.argsort(self.data.loss, kind="stable")
            offset += np.interp(loss, self.data.loss[sort], self.visible[sort])[:, None] / (families + 1)
        total = len(self.model.coefficients.mean)
        made = np.zeros((len(loss), total))
        random = self.spline.random(loss, derivative)
        first = self.effects
        fixed = np.hstack([straight, offset])
        made[:, first : first + fixed.shape[1]] = fixed
        start = self.model.fixed.shape[1]
        made[:, start : start + random.shape[1]] = random
        return made


@dataclass(frozen=True, eq=False)
class _Design:
    """What stands in the model, before it is known where the ability is there."""

    data: CurveData
    spline: Spline
    effects: Array
    by_family: bool
    beside: Array
    wide: bool = False

    def columns(self, visible: Array) -> tuple[Array, list[Block]]:
        """Fixed columns (effects, straight part, family offsets) and random blocks (curve, families, others)."""
        data, spline = self.data, self.spline
        blocks = [Block("curve", spline.random(data.loss), CURVE_PRIOR, wide=True)]
        fixed = [self.effects * visible[:, None], spline.fixed(data.loss)]
        if self.by_family:
            member = (data.family[:, None] == np.arange(len(data.families))[None, :]) * visible[:, None]
            fixed.append(member[:, 1:])
            small = Spline.over(data.loss, data.ability, FAMILY_KNOTS)
            shape = np.column_stack([small.fixed(data.loss)[:, 1] - 0.5, small.random(data.loss)])
            shape /= np.sqrt(np.mean(np.sum(shape**2, axis=1)))
            deviations = np.hstack([shape * member[:, [family]] for family in range(member.shape[1])])
            blocks.append(Block("family", deviations, FAMILY_PRIOR))
        if self.beside.shape[1]:
            blocks.append(Block("beside", self.beside, FAMILY_PRIOR, wide=self.wide))
        return np.hstack(fixed), blocks


def fit_curve(
    data: CurveData,
    effects: Array | None = None,
    *,
    within_family: bool = True,
    beside: Array | None = None,
    wide: bool = False,
    even: bool = False,
    steps: int = 40,
) -> SmoothCurve:
    """Fit the curve, with effect columns (n, k) beside it; needs 4 rows at two losses or more.

    ``within_family`` gives families offsets and deviations of their own, so that an effect is one within families.
    ``beside`` are further random columns (n, m) with a variance of their own, with ``wide`` of any size; ``even`` lays
    the knots for prediction beyond the losses seen (``Spline.over``).
    """
    asked = np.zeros((len(data), 0)) if effects is None else effects
    columns = asked - asked.mean(axis=0) if asked.size else asked
    design = _Design(
        data, Spline.over(data.loss, data.ability, even=even), columns, within_family and len(data.families) > 1,
        np.zeros((len(data), 0)) if beside is None else beside, wide,
    )  # fmt: skip
    pilot = _fit(replace(design, effects=columns[:, :0]), None, steps=min(steps, 12))
    curve = _fit(design, pilot, steps)
    reach = curve.model.spread[1] * float(data.loss.min())
    secant = _secant(curve, reach)
    if np.abs(secant).max() > NARROW * np.abs(curve.slope).max():
        return curve
    # The curve jumps within less loss than runs are shifted by: a slope at one point does not say what a shift does.
    return _fit(design, replace(curve, slope=secant), steps)


def progress_columns(data: CurveData, most: int = 24) -> Array | None:
    """(n, k) steps along the progress of a run, for scores that go by progress; None where it is not known.

    Cumulative steps with a common variance are a random walk. Steps lie between all shares of a run that the table
    has, where these are few enough, so that a phase that begins at one of them is met exactly.
    """
    counts = np.bincount(data.run)
    if not np.isfinite(data.progress).all() or counts.max() < 4 or np.ptp(data.progress) <= 0:
        return None
    shares = np.unique(np.round(data.progress, 3))
    steps = (shares[1:] + shares[:-1]) / 2 if len(shares) <= most + 1 else np.arange(1, 20) / 20
    return np.asarray((data.progress[:, None] > steps[None, :]).astype(float))


def _secant(curve: SmoothCurve, reach: float) -> Array:
    """(n,) slope of the curve between ``reach`` above and below the loss of each row."""
    low, high = curve.spline.span
    ahead, behind = np.clip(curve.data.loss - reach, low, high), np.clip(curve.data.loss + reach, low, high)
    drop = curve.mean_at(behind)[0] - curve.mean_at(ahead)[0]
    return np.asarray(drop / np.maximum(behind - ahead, 1e-9))


def visible_part(data: CurveData, ability: Array) -> Array:
    """(n,) how much of an effect can show where the curve has this ability: 0 at chance, 1 where chance is unknown.

    Of each family's curve the least ability at any lower loss counts, so that a spline that overshoots before a jump
    does not pass for an ability.
    """
    if data.chance.value is None:
        return np.ones(len(ability))
    least = np.empty(len(ability))
    for family in range(len(data.families)):
        here = np.flatnonzero(data.family == family)
        here = here[np.argsort(data.loss[here], kind="stable")]
        least[here] = np.minimum.accumulate(ability[here])
    return np.asarray(np.clip(least / FULL_EFFECT, 0.0, 1.0))


def _fit(design: _Design, pilot: SmoothCurve | None, steps: int) -> SmoothCurve:
    data = design.data
    if pilot is None:
        rows, visible = _first_rows(data), np.ones(len(data))
    else:
        rows, visible = _rows(data, pilot), visible_part(data, pilot.fitted)
    fixed, blocks = design.columns(visible)
    start = None if pilot is None else pilot.model
    part = _stretches(data)
    if part.all():
        model = fit(rows, fixed, blocks, start, steps)
    else:
        held = fit(_taken(rows, part), fixed[part], [_of(block, part) for block in blocks], start, steps)
        model = fit(rows, fixed, blocks, held, steps=0)
    k = design.effects.shape[1]
    made = SmoothCurve(data, design.spline, model, visible, np.zeros(0), np.zeros(0), k, design.by_family)
    coefficients = model.coefficients.mean
    stacked = np.hstack([fixed, *(block.columns for block in blocks)])
    fitted = stacked[:, k:] @ coefficients[k:]
    slope = made.slope_at(data.loss)
    return replace(made, fitted=fitted, slope=slope)


def _first_rows(data: CurveData) -> Rows:
    items, known = item_variance(data)
    return Rows(data, _floored(items), known, np.ones(len(data)), np.zeros(len(data)))


def _rows(data: CurveData, pilot: SmoothCurve) -> Rows:
    items, known = item_variance(data, pilot.fitted)
    there = presence(pilot.fitted) if data.chance.value is not None else np.ones(len(data))
    return Rows(data, _floored(items), known, there, pilot.slope)


def _floored(items: Array) -> Array:
    """Item variance of at least half its median: at a ceiling nothing can differ, and such rows must not decide."""
    return np.maximum(items, 0.5 * float(np.median(items)))


def _stretches(data: CurveData) -> Bools:
    """Rows for the variance components: all, or whole stretches of neighbouring checkpoints spread over each run."""
    if len(data) <= MOST_ROWS:
        return np.ones(len(data), dtype=bool)
    stretch = 8
    every = int(np.ceil(len(data) / MOST_ROWS))
    return np.asarray((data.position // stretch + data.run) % every == 0)


def _taken(rows: Rows, part: Bools) -> Rows:
    return Rows(rows.data.subset(part), rows.items[part], rows.items_known, rows.there[part], rows.slope[part])


def _of(block: Block, part: Bools) -> Block:
    return replace(block, columns=block.columns[part])
