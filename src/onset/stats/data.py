"""CurveData: the rows of one (task, metric, loss measure) as arrays, with nothing averaged and no unit left in them.

Every statistic of the room starts here, so that direction, scale, chance and item counts are decided once. ``ability``
is the score's distance from chance, positive where better, as a fraction of the metric's range: an accuracy in percent,
one in fractions and a BLEU from 0 to 100 give the same numbers. Losses keep their unit; whatever depends on a scale of
losses takes it relative to the lowest loss (``noise``), so that nats per token and bits per byte say the same.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.errors import OnsetError
from onset.metrics import info as metrics

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Direction = Literal["higher", "lower"]
ChanceSource = Literal["known", "estimated", "constant_answer", "unknown"]

_CORE = {
    "family", "run", "params", "tokens", "step", "loss_name", "loss", "loss_unit", "task", "metric", "direction",
    "score", "stderr", "chance", "n_examples", "extra",
}  # fmt: skip
"""Columns that are arrays of their own, or names of the whole curve; the others are factors."""


@dataclass(frozen=True)
class Chance:
    """The score of a predictor that ignores the question, in units of the score, and where it comes from."""

    value: float | None
    source: ChanceSource
    spread: float = 0.0
    """Largest less smallest value of the rows: checkpoints that miss some items may have another chance level."""


@dataclass(frozen=True, eq=False)
class CurveData:
    """Rows of one (task, metric, loss measure), sorted by run and within a run by tokens; arrays of one length n."""

    task: str
    metric: str
    loss_name: str
    loss_unit: str
    direction: Direction
    scale: float
    """Range of the metric, in units of the score: 1 for a share, 100 for percent; that of the scores if unbounded."""
    bounded: bool
    """Whether the metric has a range of its own."""
    binomial: bool
    """Whether an item counts between 0 and 1, so that p (1 - p) / n bounds the variance of its mean."""
    chance: Chance
    loss: Array
    score: Array
    """As given."""
    n_examples: Array
    """Items behind a score; NaN where not given."""
    stderr: Array
    """Standard error of a score as given, in its unit; NaN where not given."""
    run: Ints
    """0, 1, 2, ... in the order of ``runs``."""
    runs: tuple[str, ...]
    family: Ints
    families: tuple[str, ...]
    log_params: Array
    """log10 of the parameters; NaN where not given."""
    tokens: Array
    progress: Array
    """Share of its run that a checkpoint has behind it, 0 to 1; NaN where tokens are not given."""
    factors: pd.DataFrame = field(repr=False)
    """All other columns of the table, one row a row."""
    rows: Ints = field(repr=False)
    """Position of each row in the table that was given."""

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def sign(self) -> float:
        """+1 where higher scores are better, -1 where lower ones are."""
        return 1.0 if self.direction == "higher" else -1.0

    @property
    def points_per_unit(self) -> float:
        """Percentage points in one unit of ``ability``; of an unbounded metric, hundredths of its unit."""
        return 100.0 if self.bounded else 100.0 * self.scale

    @cached_property
    def ability(self) -> Array:
        """(n,) distance from chance as a fraction of the metric's range, positive where better."""
        made = self.sign * (self.score - (self.chance.value or 0.0)) / self.scale
        made.flags.writeable = False
        return np.asarray(made)

    def to_score(self, ability: Array) -> Array:
        """Ability in the units of the score."""
        return np.asarray((self.chance.value or 0.0) + self.sign * self.scale * ability)

    @cached_property
    def first(self) -> Bools:
        """(n,) whether a row is the first of its run."""
        made = np.ones(len(self), dtype=bool)
        made[1:] = self.run[1:] > self.run[:-1]
        return made

    @cached_property
    def starts(self) -> Ints:
        """First row of each run."""
        return np.flatnonzero(self.first)

    @property
    def position(self) -> Array:
        """(n,) place of each row within its run, counted in checkpoints from 0."""
        return (np.arange(len(self)) - self.starts[self.run]).astype(float)

    def item_variance(self, ability: Array | None = None) -> Array:
        """(n,) variance of ``ability`` by the choice of items, at a supposed ability; NaN where nothing is known.

        The square of the given standard error where there is one, else p (1 - p) / n: exact for shares of right
        answers and an upper bound for other means of values between 0 and 1. A share of exactly 0 or 1 has the
        variance of one with two more items (Agresti and Coull 1998), so that no score is free of noise.
        """
        share = (self.score if ability is None else self.to_score(ability)) / self.scale
        count = self.n_examples
        smoothed = (np.clip(share, 0.0, 1.0) * count + 1.0) / (count + 2.0)
        binomial = smoothed * (1.0 - smoothed) / count if self.binomial else np.full(len(self), np.nan)
        given = (self.stderr / self.scale) ** 2
        known = np.where(np.isfinite(given) & (given > 0), given, binomial)
        positive = known[np.isfinite(known) & (known > 0)]
        floor = 0.05 * float(np.median(positive)) if positive.size else 0.0
        return np.asarray(np.maximum(known, floor))

    def subset(self, keep: Bools) -> CurveData:
        """The rows where ``keep`` is true; runs and families without rows go, codes are made anew."""
        run_codes, run = np.unique(self.run[keep], return_inverse=True)
        family_codes, family = np.unique(self.family[keep], return_inverse=True)
        arrays = {
            name: getattr(self, name)[keep]
            for name in ("loss", "score", "n_examples", "stderr", "log_params", "tokens", "progress", "rows")
        }
        return replace(
            self, run=run.astype(np.int64), runs=tuple(self.runs[code] for code in run_codes),
            family=family.astype(np.int64), families=tuple(self.families[code] for code in family_codes),
            factors=self.factors.loc[keep].reset_index(drop=True), **arrays,
        )  # fmt: skip


def curve_data(obs: pd.DataFrame, *, chance: Chance | None = None) -> CurveData:
    """The rows of one (task, metric, loss measure) as arrays; rows without a loss or a score are left out.

    ``chance`` stands in place of the table's own. Raises OnsetError where a needed column is missing, where the rows
    are of more than one task, metric or loss measure, and where no row is left.
    """
    _check_one_curve(obs)
    here = obs.reset_index(drop=True)
    # A missing score is missing, never zero: such a row says nothing about the curve.
    here = here.loc[np.isfinite(_numbers(here, "loss")) & np.isfinite(_numbers(here, "score"))]
    if here.empty:
        raise OnsetError("no row has both a loss and a score", where="loss, score", advice="check the join to losses")
    here, run, runs = _in_order(here)
    family, families = pd.factorize(_texts(here, "family"), sort=True)
    score, metric = _numbers(here, "score"), _name(here, "metric", "score")
    scale, bounded, binomial = _scale(metric, score)
    tokens = _numbers(here, "tokens")
    with np.errstate(divide="ignore", invalid="ignore"):
        log_params = np.log10(_numbers(here, "params"))
    return CurveData(
        task=_name(here, "task", "task"), metric=metric, loss_name=_name(here, "loss_name", "loss"),
        loss_unit=_name(here, "loss_unit", "nats/token"), direction=direction_of(here), scale=scale, bounded=bounded,
        binomial=binomial, chance=chance or _chance(here), loss=_numbers(here, "loss"), score=score,
        n_examples=_numbers(here, "n_examples"), stderr=_numbers(here, "stderr"), run=run, runs=runs,
        family=family.astype(np.int64), families=tuple(map(str, families)),
        log_params=np.where(np.isfinite(log_params), log_params, np.nan), tokens=tokens,
        progress=_progress(here, run, tokens),
        factors=here[[name for name in here if name not in _CORE]].reset_index(drop=True),
        rows=here.index.to_numpy().astype(np.int64),
    )  # fmt: skip


def direction_of(obs: pd.DataFrame) -> Direction:
    """Whether higher or lower is better: the ``direction`` column, or else the metric's name (unknown: higher)."""
    if "direction" in obs:
        said = obs["direction"].dropna().astype(str)
        said = said[said != ""]
        if len(said):
            if said.iloc[0] not in ("higher", "lower"):
                raise OnsetError(
                    f"the direction '{said.iloc[0]}' is unknown", where="direction", advice="use higher or lower"
                )
            return "higher" if said.iloc[0] == "higher" else "lower"
    return metrics.direction(_name(obs, "metric", "score")) or "higher"


def _check_one_curve(obs: pd.DataFrame) -> None:
    missing = [name for name in ("run", "loss", "score") if name not in obs]
    if missing:
        raise OnsetError(f"the table has no column {', '.join(missing)}", advice="see the columns of observations")
    for column in ("task", "metric", "loss_name", "loss_unit"):
        if column in obs and obs[column].nunique() > 1:
            raise OnsetError(
                f"a curve is of one {column}; the rows have {obs[column].nunique()}",
                where=column,
                advice="select the rows of one task, metric and loss measure first",
            )


def _in_order(here: pd.DataFrame) -> tuple[pd.DataFrame, Ints, tuple[str, ...]]:
    """Rows sorted by run and training; ties and missing tokens fall back on the loss, which falls in training."""
    labels, names = pd.factorize(here["run"].astype(str), sort=True)
    loss = _numbers(here, "loss")
    first = next((name for name in ("tokens", "step") if np.isfinite(_numbers(here, name)).all()), None)
    progress = -loss if first is None else _numbers(here, first)
    place = np.lexsort((_numbers(here, "score"), -loss, progress, labels))
    return here.iloc[place], labels[place].astype(np.int64), tuple(map(str, names))


def _scale(metric: str, score: Array) -> tuple[float, bool, bool]:
    """Range of the metric in units of the score, whether it has one, and whether items err as right and wrong."""
    low, high = metrics.bounds(metric)
    unnamed = metric == "score" or metrics.direction(metric) is None
    if metrics.is_share(metric) or (unnamed and 0 <= score.min() <= score.max() <= 1):
        return (1.0 if score.max() <= 1.5 else 100.0), True, bool(score.min() >= 0)
    if np.isfinite(low) and np.isfinite(high):
        return float(high - low), True, False
    return max(float(np.ptp(score)), 1e-12), False, False


def _chance(here: pd.DataFrame) -> Chance:
    value = _numbers(here, "chance")
    known = value[np.isfinite(value)]
    if not len(known):
        return Chance(None, "unknown")
    return Chance(float(known.mean()), "known", float(np.ptp(known)))


def _progress(here: pd.DataFrame, run: Ints, tokens: Array) -> Array:
    made = tokens if np.isfinite(tokens).all() else _numbers(here, "step")
    last = np.full(int(run.max()) + 1, -np.inf)
    np.maximum.at(last, run, np.where(np.isfinite(made), made, -np.inf))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = made / last[run]
    return np.where(np.isfinite(share), share, np.nan)


def _numbers(frame: pd.DataFrame, column: str) -> Array:
    if column not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float))


def _texts(frame: pd.DataFrame, column: str) -> pd.Series:
    if column not in frame:
        return pd.Series("", index=frame.index)
    return frame[column].astype(object).where(frame[column].notna(), "").astype(str)


def _name(frame: pd.DataFrame, column: Hashable, default: str) -> str:
    """The one value of a column that names the curve; ``default`` where it is missing or empty."""
    if column not in frame or not len(frame) or pd.isna(frame[column].iloc[0]):
        return default
    return str(frame[column].iloc[0]) or default
