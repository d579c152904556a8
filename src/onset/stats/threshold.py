"""Threshold: at what loss an ability sets in, with an interval, and whether it sets in at all.

`threshold` weighs laws with a turn against smooth laws and against chance on one (task, metric,
loss), and says one of four things: ``emergent``, ``smooth``, ``at_chance``, ``unresolved``.
`settle` looks over all fits of one table and takes back claims that so many looks would produce
by luck. The rules were calibrated on planted curves; docs/statistics.md has the table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from onset.errors import OnsetError
from onset.results import Drawable, Interval
from onset.stats.below_chance import Crossing, Worse, crossing, lifted
from onset.stats.curve_priors import Family, span
from onset.stats.marginal_likelihood import Sample, Weighed, weigh
from onset.stats.point_noise import Noise
from onset.stats.points import Direction, Points, direction_of, points
from onset.stats.robustness import complaint

Array = NDArray[np.float64]

Verdict = Literal["emergent", "smooth", "at_chance", "unresolved"]

LEAVES = 2.0
"""Log evidence from which a score is said to leave chance."""
HINTS = 1.0
"""Log evidence from which there may be an ability: ``unresolved``."""
TURNS = -0.35
"""Log evidence for a turn from which a turn is claimed; found on planted curves.

It is against the best of nine smooth laws, itself chosen to look best, and so is not above zero.
"""
LEANS = -0.5
"""Log evidence for a turn from which the data lean to one without telling: ``unresolved``."""
LATE = 0.15
"""Part of the range of losses, at its low end, in which a turn and a steep smooth rise are not told apart."""
WIDENED = 1.5
"""What intervals are widened by, for curves that follow none of the laws; found on planted curves."""
FEWEST = 5
"""Observations without which nothing is said."""
CURVE = 200
"""Points of the curve for drawing, and laws drawn for its band."""


@dataclass(frozen=True)
class Drawn:
    """Laws drawn from what the points leave open, as shapes and heights: for predictions with a band."""

    parts: tuple[tuple[Family, Array, Array, Array | float], ...]
    """Family, (d, draws) parameters, a height for each, and the level where chance is unknown."""
    low: float
    worse: Worse | None = None
    """What was systematically worse than chance, to be drawn as well."""
    still: bool = False
    """Whether the law is chance itself, and the draws only say what it could hide."""

    def ability(self, loss: Array) -> Array:
        """(n, draws) ability at losses."""
        found = np.concatenate(
            [family.values(values, loss, self.low) * height + level for family, values, height, level in self.parts],
            axis=1,
        )
        return found if self.worse is None else found + self.worse.at(loss)[:, None]

    def middle(self, loss: Array) -> Array:
        """(n,) ability of the law to be drawn."""
        found = self.ability(loss).mean(axis=1)
        if not self.still:
            return np.asarray(found)
        return np.zeros(len(found)) if self.worse is None else self.worse.at(loss)


@dataclass(frozen=True)
class ThresholdFit(Drawable):
    """What one (task, metric, loss) says of a threshold."""

    verdict: Verdict
    why: str
    """One sentence."""
    threshold: Interval | None
    """The loss at which the ability sets in, with its interval; None unless emergent."""
    p_value: float | None
    """How often a curve without a turn would speak as loudly for one; None where no turn was tested."""
    chance: float | None
    direction: Direction
    level: float
    curve: pd.DataFrame | None = field(repr=False)
    """The law for drawing: ``loss, score, low, high``, over the losses seen only."""
    residuals: pd.DataFrame | None = field(repr=False)
    """Observed minus fitted: ``run, params, loss, residual``, in units of the score."""
    leaves_chance: float | None = None
    """Log evidence (natural) for any ability against chance."""
    turns: float | None = None
    """Log evidence (natural) for a turn against the smooth law that does best."""
    noise: Noise | None = field(default=None, repr=False)
    n_points: int = 0
    n_runs: int = 0
    laws: Drawn | None = field(default=None, repr=False, compare=False)

    def predict(self, loss: ArrayLike) -> pd.DataFrame:
        """The law at losses: ``loss, score, low, high``; missing outside of the losses seen.

        The band is that of the law, not of a new score: `onset.forecast` gives prediction intervals.
        """
        if self.laws is None or self.curve is None:
            raise OnsetError("Nothing was fitted, so nothing can be predicted.", where=self.verdict, advice=self.why)
        values = np.atleast_1d(np.asarray(loss, dtype=float))
        found = _banded(self.laws, values, self.chance, self.direction, self.level)
        seen = self.curve["loss"]
        outside = (values < seen.min() - 1e-9) | (values > seen.max() + 1e-9)
        found.loc[outside, ["score", "low", "high"]] = math.nan
        return found

    def summary(self) -> pd.DataFrame:
        """One row: verdict, threshold with interval, p-value, evidence, counts, why."""
        where = self.threshold
        row = {
            "verdict": self.verdict,
            "threshold": where.value if where else math.nan,
            "low": where.low if where else math.nan,
            "high": where.high if where else math.nan,
            "p_value": self.p_value,
            "leaves_chance": self.leaves_chance,
            "turns": self.turns,
            "n_points": self.n_points,
            "n_runs": self.n_runs,
            "why": self.why,
        }
        return pd.DataFrame([row])


def threshold(obs: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> ThresholdFit:
    """The threshold of one (task, metric, loss): verdict, why, and the loss with its interval.

    ``obs`` has one row a checkpoint: ``run, loss, score`` and, where known, ``chance, n_examples,
    stderr, direction, params, tokens``. ``level`` is that of the interval and of the curve's band.
    The same rows and seed give the same answer. Raises OnsetError for rows of several tasks,
    metrics or losses, and for missing columns.
    """
    if not 0.5 <= level < 1:
        raise OnsetError(f"A level of {level} is no level of confidence.", where="level", advice="use 0.9 or 0.95")
    seen = points(obs)
    few = _too_few(seen)
    if few:
        return ThresholdFit(
            "unresolved", few, None, None, seen.chance, direction_of(obs), level, None, None,
            n_points=len(obs), n_runs=len(seen.names),
        )  # fmt: skip
    rng = np.random.default_rng(seed)
    fair, worse = lifted(seen)
    weighed = weigh(fair, rng)
    where = eta_interval(weighed, level)
    verdict, why = _judge(weighed, where, "turn" if worse is None else crossing(seen, where.value, span(seen)))
    sides = {"emergent": [True], "smooth": [False]}.get(verdict, [True, False])
    drawn = replace(
        _draw([sample for turn in sides for sample in weighed.side(turn)], weighed, rng),
        worse=worse,
        still=verdict == "at_chance",
    )
    grid = np.linspace(seen.loss.min(), seen.loss.max(), CURVE)
    return ThresholdFit(
        verdict=verdict, why=why, threshold=where if verdict == "emergent" else None,
        p_value=p_value(weighed), chance=seen.chance, direction=seen.direction, level=level,
        curve=_banded(drawn, grid, seen.chance, seen.direction, level),
        residuals=_residuals(obs, drawn, seen), leaves_chance=weighed.leaves_chance, turns=weighed.turns,
        noise=weighed.solver.noise, n_points=int(seen.weight.sum()), n_runs=len(seen.names), laws=drawn,
    )  # fmt: skip


def _too_few(seen: Points) -> str | None:
    if seen.weight.sum() < FEWEST:
        return f"There are only {seen.weight.sum():.0f} scores with a loss; {FEWEST} or more would tell."
    if np.ptp(seen.loss) < 1e-6:
        return "All scores are at one loss; checkpoints at other losses would tell."
    return None


def eta_interval(weighed: Weighed, level: float) -> Interval:
    """The threshold, given that there is one: median and equal-tailed interval over all laws with a turn."""
    samples = weighed.side(True)
    eta = np.concatenate([sample.parameters[0] for sample in samples])
    weight = np.concatenate([sample.posterior for sample in samples])
    weight = np.exp(weight - logsumexp(weight))
    order = np.argsort(eta)
    eta, weight = eta[order], weight[order]
    tail = (1 - level) / 2
    low, middle, high = np.interp([tail, 0.5, 1 - tail], np.cumsum(weight) - weight / 2, eta)
    return Interval(float(middle), float(middle - WIDENED * (middle - low)), float(middle + WIDENED * (high - middle)))


def p_value(weighed: Weighed) -> float | None:
    """How often a curve that leaves chance without a turn speaks as loudly for one; None where none left chance.

    Calibrated on planted smooth curves: an exponential tail laid over the shares seen.
    """
    if weighed.leaves_chance < LEAVES:
        return None
    return min(1.0, 0.02 * math.exp(min(50.0, -1.2 * weighed.turns)))


def _judge(weighed: Weighed, where: Interval, course: Crossing) -> tuple[Verdict, str]:
    seen = weighed.solver.points
    unknown = seen.chance is None
    if weighed.leaves_chance < LEAVES:
        if unknown:
            return "unresolved", "The score does not change with loss, and its chance level is unknown."
        if weighed.leaves_chance > HINTS:
            return "unresolved", "Some scores are above chance, but too few to tell; more items or lower losses would."
        return "at_chance", f"No score is shown to leave chance ({seen.chance:.3g}) at the losses seen."
    turn = weighed.turns
    if turn < LEANS:
        if unknown:
            return "smooth", "The score improves without a turn; whether it was ever at chance is unknown."
        if _reach(weighed) < LATE * span(seen):
            return "unresolved", (
                "The score leaves chance only at the lowest losses seen, where a turn and a steep smooth rise look "
                "alike; checkpoints at lower losses would tell."
            )
        if _from_the_start(weighed):
            return "smooth", "The score is better than chance from the highest losses seen on, and improves steadily."
        return "smooth", "The score leaves chance, and a curve without a turn explains it as well as one with a turn."
    spot = f"{where.value:.3f} [{where.low:.3f}, {where.high:.3f}]"
    if course == "before":
        return "unresolved", (
            f"The score stands still worse than chance and turns before it passes chance near {where.value:.3f}; "
            "a metric whose chance level it keeps, such as accuracy, would tell where the ability sets in."
        )
    if course == "straight":
        return (
            "smooth",
            f"Worse than chance at high losses; it passes chance near {where.value:.3f} without a turn there.",
        )
    if turn < TURNS:
        return "unresolved", (
            f"The data lean to a turn near a loss of {where.value:.3f} but do not exclude a smooth curve; "
            "more items, or checkpoints around it, would tell."
        )
    if unknown:
        return (
            "unresolved",
            f"There is a turn at a loss of {spot}, but without a chance level no ability is shown absent above it.",
        )
    trouble = complaint(weighed, where.value, where.low)
    if trouble:
        return "unresolved", f"A turn near a loss of {where.value:.3f} is not counted as found: {trouble}."
    single = " This rests on one run only: how runs differ is not in the interval." if len(seen.names) == 1 else ""
    return "emergent", (
        f"At chance above a loss of {spot} and better than chance below it; "
        f"a law with a turn is supported over smooth ones (p = {p_value(weighed) or 0:.2g}).{single}"
    )


def _reach(weighed: Weighed) -> float:
    """Over how much loss the fitted smooth law holds more than a tenth of the most ability it comes to."""
    sample = max(weighed.side(False), key=lambda one: float(one.posterior.max()))
    values = sample.values[:, int(np.argmax(sample.posterior))]
    loss = weighed.solver.points.loss
    return float(loss[values >= 0.1 * values.max()].max() - loss.min())


def _from_the_start(weighed: Weighed) -> bool:
    """Whether the fitted smooth law is clear of chance already at the highest losses."""
    sample = max(weighed.side(False), key=lambda one: float(one.posterior.max()))
    best = int(np.argmax(sample.posterior))
    first = float(sample.height[best] * sample.values[:, best].min())
    return first > 2 * weighed.solver.offset if np.isfinite(weighed.solver.offset) else False


def _draw(samples: list[Sample], weighed: Weighed, rng: np.random.Generator) -> Drawn:
    """Laws in proportion to their weight, each with a height drawn from its own Gaussian."""
    weight = np.concatenate([sample.posterior for sample in samples])
    weight = np.exp(weight - logsumexp(weight))
    owner = np.concatenate([np.full(len(sample.weight), index) for index, sample in enumerate(samples)])
    inner = np.concatenate([np.arange(len(sample.weight)) for sample in samples])
    picks = rng.choice(len(weight), size=CURVE, p=weight / weight.sum())
    drawn: list[tuple[Family, Array, Array, Array | float]] = []
    for index, sample in enumerate(samples):
        chosen = inner[picks[owner[picks] == index]]
        if len(chosen):
            height = sample.height[chosen] + rng.standard_normal(len(chosen)) * weighed.solver.height_error(
                sample.values[:, chosen]
            )
            level = (
                0.0
                if weighed.solver.points.chance is not None
                else weighed.solver.basis[0, 0] * sample.common[0, chosen]
            )
            height = np.clip(height, 0.0, weighed.solver.points.room)
            drawn.append((sample.family, sample.parameters[:, chosen], height, level))
    return Drawn(tuple(drawn), float(weighed.solver.points.loss.min()))


def _banded(drawn: Drawn, loss: Array, chance: float | None, direction: Direction, level: float) -> pd.DataFrame:
    ability = drawn.ability(loss)
    tail = (1 - level) / 2
    sign, base = (1.0 if direction == "higher" else -1.0), chance or 0.0
    low, high = np.quantile(ability, [tail, 1 - tail], axis=1)
    # Where only a few of the laws drawn have left chance, their mean lies outside the quantiles.
    middle = drawn.middle(loss)
    low, high = np.minimum(low, middle), np.maximum(high, middle)
    ends = np.sort(np.stack([base + sign * low, base + sign * high]), axis=0)
    return pd.DataFrame({"loss": loss, "score": base + sign * middle, "low": ends[0], "high": ends[1]})


def _residuals(obs: pd.DataFrame, drawn: Drawn, seen: Points) -> pd.DataFrame:
    usable = obs.loc[obs["loss"].notna() & obs["score"].notna()]
    loss = usable["loss"].to_numpy(dtype=float)
    fitted = seen.to_score(drawn.middle(loss))
    return pd.DataFrame(
        {
            "run": usable["run"].to_numpy(),
            "params": usable["params"].to_numpy() if "params" in usable else np.nan,
            "loss": loss,
            "residual": usable["score"].to_numpy(dtype=float) - fitted,
        }
    )


def settle(fits: Sequence[ThresholdFit], q: float = 0.05) -> list[ThresholdFit]:
    """The fits of one table with false discoveries controlled: at most a share ``q`` of claimed turns is luck.

    Benjamini & Hochberg (1995) over all fits in which a turn was tested; a claim that does not
    pass becomes ``unresolved`` with its reason.
    """
    tested = sorted(fit.p_value for fit in fits if fit.p_value is not None)
    passed = [p for rank, p in enumerate(tested, 1) if p <= q * rank / len(tested)]
    limit = max(passed, default=-1.0)
    settled = []
    for fit in fits:
        if fit.verdict == "emergent" and fit.p_value is not None and fit.p_value > limit:
            where = fit.threshold.value if fit.threshold else math.nan
            why = (
                f"A turn near a loss of {where:.3f} is likely by itself (p = {fit.p_value:.2g}) but not among "
                f"{len(tested)} tested together; more items or runs would tell."
            )
            fit = replace(fit, verdict="unresolved", why=why, threshold=None)
        settled.append(fit)
    return settled
