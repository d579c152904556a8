"""What is believed of a family before it is trained: the loss by size and tokens, the curve of each task, the noise.

Either from a table of smaller runs, fitted as any table is, or from numbers: a published law of the loss and a curve
that rises from a threshold, or smoothly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import expit

from onset.errors import OnsetError
from onset.stats import loss_law
from onset.stats.data import Array, CurveData, curve_data
from onset.stats.mixed.smooth_curve import fit_curve
from onset.stats.noise import Components
from onset.stats.prediction.predicted_score import learn
from onset.stats.threshold import threshold

ANNEALING = 0.03
"""How far a run at its peak rate lies above a finished one, in log loss (the middle of what ``loss_fit`` allows)."""

USUAL_NOISE = Components(items=1.0, run=0.006, shift=0.002, drift=0.005, memory=0.6, loss=0.0005)
"""The noise where no table tells it: about the scales of its priors."""

FEWEST_ROWS = 12


@dataclass(frozen=True)
class BelievedLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta, and by how much runs scatter about it (standard deviation of log L)."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    spread: float = 2e-3

    def loss(self, params: float, tokens: Array) -> Array:
        """Losses in nats a token; tokens (n,)."""
        return np.asarray(self.E + self.A * params**-self.alpha + self.B * tokens**-self.beta)


LAWS = {
    "hoffmann2022": BelievedLaw(1.69, 406.4, 410.7, 0.34, 0.28),
    "besiroglu2024": BelievedLaw(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
}
"""Published laws: Hoffmann et al. 2022 (arXiv 2203.15556, approach 3), and the same data fitted again by Besiroglu et
al. 2024 (arXiv 2404.10102)."""


@dataclass(frozen=True, eq=False)
class BelievedCurve:
    """Ability (score less chance, as a share of one) by loss; above ``threshold``, where there is one, it is zero."""

    task: str
    metric: str
    chance: float
    loss: Array = field(repr=False)
    """(n,) rising; below the first the curve stays as it is."""
    ability: Array = field(repr=False)
    threshold: float | None
    """The loss below which the ability is there; None for a smooth curve."""
    noise: Components = USUAL_NOISE
    items: float | None = None
    """Questions that the table had."""

    def at(self, loss: Array) -> Array:
        """(m,) ability at losses."""
        value = np.interp(loss, self.loss, self.ability)
        return np.asarray(value if self.threshold is None else np.where(loss < self.threshold, value, 0.0))

    def slope(self, loss: Array, step: float = 1e-3) -> Array:
        """(m,) how fast it falls as the loss rises."""
        reach = step * loss
        return np.asarray((self.at(loss - reach) - self.at(loss + reach)) / (2 * reach))

    def onset(self, delta: float) -> float | None:
        """Highest loss at which the ability is ``delta``; None where it never is."""
        grid = np.linspace(self.loss[0], self.loss[-1], 4001)
        there = grid[self.at(grid) >= delta]
        return float(there.max()) if len(there) else None


@dataclass(frozen=True)
class Belief:
    """All that a simulated table is drawn from."""

    law: BelievedLaw
    curves: tuple[BelievedCurve, ...]
    notes: tuple[str, ...] = ()


def stated(
    law: BelievedLaw, where: float, *, kind: str = "emergent", chance: float = 0.25, top: float = 0.8,
    pace: float = 0.3,
) -> Belief:  # fmt: skip
    """A curve by its numbers: from chance at the loss ``where`` (or about it, ``smooth``) to at most ``top``.

    ``emergent``: chance + (top - chance) (1 - exp(-(where - L) / pace)) below ``where``, chance above. ``smooth``: a
    logistic with its middle there and the width ``pace`` / 2. ``pace`` in nats. Raises OnsetError for another kind.
    """
    if kind not in ("emergent", "smooth"):
        raise OnsetError(f"no curve is called '{kind}'", where="--curve", advice="emergent or smooth")
    if not (0 <= chance < top <= 1 and pace > 0 and where > law.E):
        raise OnsetError(
            f"a curve rises from chance ({chance:g}) to a higher score of at most 1 ({top:g}) at a loss above the "
            f"entropy ({law.E:g}; given: {where:g}), within some nats ({pace:g})",
            where="--threshold, --chance, --top, --pace",
        )
    loss = np.linspace(0.5 * law.E, where + 6.0 * pace, 4000)
    room = top - chance
    ability = (
        room * -np.expm1(-np.maximum(where - loss, 0.0) / pace)
        if kind == "emergent"
        else room * expit((where - loss) / (pace / 2))
    )
    edge = where if kind == "emergent" else None
    return Belief(law, (BelievedCurve("believed", "accuracy", chance, loss, ability, edge),))


def of_table(obs: pd.DataFrame, law: BelievedLaw | None = None, seed: int = 0, most: int | None = None) -> Belief:
    """The loss law, curves and noise of a table of smaller runs, of one loss measure.

    Tasks at chance or with too few rows are left out and named in ``notes``; at most ``most`` are taken, those whose
    scores lie farthest above chance. Raises OnsetError where no task is left, or no law can be learnt.
    """
    law = law or _law(obs)
    found, notes = [], []
    for key, rows in obs.groupby(["task", "metric"], sort=True):
        made = _curve(rows.reset_index(drop=True), seed)
        if isinstance(made, str):
            notes.append(f"{key[0]} ({key[1]}) is left out: {made}")
        else:
            found.append(made)
    if not found:
        raise OnsetError("no task of the table tells a curve", where="; ".join(notes[:3]), advice="see --threshold")
    if most is not None and len(found) > most:
        found.sort(key=lambda curve: -float(curve.ability.max()))
        left = ", ".join(sorted(curve.task for curve in found[most:]))
        notes.append(f"of {len(found)} tasks {most} are simulated, those farthest above chance; not: {left} (--task)")
        found = found[:most]
    return Belief(law, tuple(found), tuple(notes))


def _law(obs: pd.DataFrame) -> BelievedLaw:
    try:
        fitted = loss_law.fit(obs, resamples=10)
    except OnsetError as error:
        raise OnsetError(
            f"the table tells no loss law: {error.what}", where=error.where,
            advice="name a published one: --law " + " or ".join(LAWS),
        ) from error  # fmt: skip
    return BelievedLaw(fitted.E, fitted.A, fitted.B, fitted.alpha, fitted.beta, fitted.spread)


def _curve(rows: pd.DataFrame, seed: int) -> BelievedCurve | str:
    """The curve of one task and metric, or why there is none."""
    data = curve_data(rows)
    chance = data.chance.value
    if not (data.binomial and data.scale == 1.0 and data.direction == "higher" and chance is not None):
        return "only shares of right answers with a known chance are simulated"
    if len(data) < FEWEST_ROWS:
        return f"{len(data)} rows; {FEWEST_ROWS} are needed"
    told = threshold(rows, seed=seed)
    if told.curve is None or told.onset is None:
        return told.why
    bayes = told.log_bayes_factor.threshold if told.log_bayes_factor else None
    emergent = told.verdict == "emergent" or (told.verdict == "inconclusive" and (bayes or 0.0) > 0)
    edge = (told.threshold or told.onset).loss if emergent else None
    loss, ability = _beyond(data, told.curve, chance)
    counts = data.n_examples[np.isfinite(data.n_examples)]
    made = BelievedCurve(
        data.task, data.metric, chance, loss, np.maximum(ability, 0.0), edge, fit_curve(data).model.parts,
        float(np.median(counts)) if len(counts) else None,
    )  # fmt: skip
    return replace(made, noise=replace(made.noise, items=1.0))


def _beyond(data: CurveData, drawn: pd.DataFrame, chance: float) -> tuple[Array, Array]:
    """The curve of the table, and below its losses how the forecast goes on from there: losses and abilities."""
    loss, ability = drawn["loss"].to_numpy(float), drawn["score"].to_numpy(float) - chance
    (learnt,) = learn([data])
    if isinstance(learnt, str):
        return loss, ability
    lowest = float(loss[0])
    below = np.linspace(0.6 * lowest, lowest, 60)
    rng = np.random.default_rng(0)
    median = np.array([
        np.median(learnt.draw(np.full(400, one), float(np.nanmax(data.log_params)), np.inf, rng)) for one in below
    ])  # fmt: skip
    # A curve does not fall again where it is only drawn on.
    ahead = ability[0] + np.maximum.accumulate((median - median[-1])[::-1])[::-1]
    return np.r_[below[:-1], loss], np.r_[np.clip(ahead, 0.0, 1.0 - chance)[:-1], ability]
