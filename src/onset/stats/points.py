"""One (task, metric, loss) as arrays: ability against loss, run by run, with the noise that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.errors import OnsetError

Array = NDArray[np.float64]
Direction = Literal["higher", "lower"]

LOWER_IS_BETTER = ("brier", "log_loss", "bits_per_byte", "perplexity", "ppl", "_ce", "cross_entropy", "nll")
"""Parts of metric names that say that lower is better, for tables without a ``direction`` column."""

MOST_POINTS = 480
"""Larger tables are averaged over neighbouring checkpoints of a run down to about this many points."""


@dataclass(frozen=True)
class Points:
    """Ability against loss: sorted by run, then by order of training. All arrays are of length n."""

    loss: Array
    ability: Array
    """Distance from chance, positive where better; the score itself (signed) where chance is unknown."""
    run: NDArray[np.int64]
    """0, 1, 2, ... in the order of ``names``."""
    names: tuple[str, ...]
    count: Array
    """Examples behind a score (NaN unknown)."""
    stderr: Array
    """Given standard error of a score (NaN unknown)."""
    weight: Array
    """Observations that a point is the mean of (1 unless the table was large)."""
    chance: float | None
    direction: Direction
    bounded: bool
    """Whether scores are shares between 0 and 1."""
    rows: NDArray[np.int64]
    """Row of the table of each point (position), -1 for averaged points."""

    @property
    def sign(self) -> float:
        """+1 where higher scores are better, -1 where lower ones are."""
        return 1.0 if self.direction == "higher" else -1.0

    @property
    def starts(self) -> NDArray[np.int64]:
        """First point of each run."""
        return np.flatnonzero(np.r_[True, np.diff(self.run) > 0])

    @property
    def room(self) -> float:
        """The most ability there can be, or a generous guess where scores have no bounds."""
        if self.bounded and self.chance is not None:
            return max(1 - self.chance if self.direction == "higher" else self.chance, 1e-6)
        spread = float(np.ptp(self.ability))
        return max(1.5 * (float(np.max(self.ability)) if self.chance is not None else spread), 1e-9)

    def to_score(self, ability: Array) -> Array:
        """Ability back in the units of the score."""
        return np.asarray((self.chance or 0.0) + self.sign * ability)


def direction_of(obs: pd.DataFrame) -> Direction:
    """Whether higher or lower is better: the ``direction`` column, or else the metric's name."""
    if "direction" in obs and obs["direction"].notna().any():
        found = str(obs["direction"].dropna().iloc[0])
        if found not in ("higher", "lower"):
            raise OnsetError(f"The direction '{found}' is unknown.", where="direction", advice="use higher or lower")
        return "higher" if found == "higher" else "lower"
    metric = str(obs["metric"].iloc[0]).lower() if "metric" in obs else ""
    return "lower" if any(part in metric for part in LOWER_IS_BETTER) else "higher"


def points(obs: pd.DataFrame, *, most: int = MOST_POINTS) -> Points:
    """The rows of one (task, metric, loss) as points; rows without a loss or a score are left out.

    Raises OnsetError where a needed column is missing or the rows are of more than one task,
    metric or loss.
    """
    _one_curve(obs)
    here = obs.reset_index(drop=True)
    # A missing score is missing, never zero: such a row says nothing about the curve.
    usable = np.isfinite(_numbers(here, "loss")) & np.isfinite(_numbers(here, "score"))
    here = here.loc[usable]
    if here.empty:
        raise OnsetError("No row has both a loss and a score.", where="loss, score", advice="check the join to losses")
    order = "tokens" if "tokens" in here and here["tokens"].notna().all() else "loss"
    progress = _numbers(here, order) * (1.0 if order == "tokens" else -1.0)
    labels, names = pd.factorize(here["run"].astype(str), sort=True)
    place = np.lexsort((progress, labels))
    here, labels = here.iloc[place], labels[place]
    chance, direction = _chance(here), direction_of(here)
    score = _numbers(here, "score")
    sign = 1.0 if direction == "higher" else -1.0
    made = Points(
        loss=_numbers(here, "loss"),
        ability=sign * (score - (chance or 0.0)),
        run=labels.astype(np.int64),
        names=tuple(map(str, names)),
        count=_numbers(here, "n_examples"),
        stderr=_numbers(here, "stderr"),
        weight=np.ones(len(here)),
        chance=chance,
        direction=direction,
        bounded=bool(score.min() >= 0 and score.max() <= 1),
        rows=here.index.to_numpy().astype(np.int64),
    )
    return made if len(made.loss) <= most else _averaged(made, most)


def _one_curve(obs: pd.DataFrame) -> None:
    missing = [name for name in ("run", "loss", "score") if name not in obs]
    if missing:
        raise OnsetError(f"The table has no column {', '.join(missing)}.", advice="see the columns of observations")
    for column in ("task", "metric", "loss_name"):
        if column in obs and obs[column].nunique() > 1:
            raise OnsetError(
                f"A threshold is of one {column}; the rows have {obs[column].nunique()}.",
                where=column,
                advice="select the rows of one task, metric and loss first",
            )


def _numbers(frame: pd.DataFrame, column: str) -> Array:
    if column not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float))


def _chance(here: pd.DataFrame) -> float | None:
    known = _numbers(here, "chance")
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    if np.ptp(known) > 1e-6:
        raise OnsetError(
            "The rows of one task and metric have different chance levels.",
            where=f"chance from {known.min():g} to {known.max():g}",
            advice="give the runs the same items, or name the tasks apart",
        )
    return float(known.mean())


def _averaged(full: Points, most: int) -> Points:
    """Neighbouring checkpoints of a run averaged, so that each run keeps its share of ``most`` points.

    Averages stay inside a run and span little loss each, so that a turn is blurred by no more than
    the distance between the points that are left.
    """
    group = np.empty(len(full.loss), dtype=np.int64)
    used = 0
    runs = len(full.names)
    for run in range(runs):
        here = np.flatnonzero(full.run == run)
        keep = min(len(here), max(1, most // runs))
        group[here] = used + (np.arange(len(here)) * keep) // len(here)
        used += keep
    size = np.bincount(group)
    first = np.searchsorted(group, np.arange(used))

    def mean(values: Array) -> Array:
        return np.asarray(np.bincount(group, values) / size)

    return Points(
        loss=mean(full.loss), ability=mean(full.ability), run=full.run[first], names=full.names,
        count=np.bincount(group, full.count).astype(float), stderr=np.sqrt(np.bincount(group, full.stderr**2)) / size,
        weight=size.astype(float), chance=full.chance, direction=full.direction, bounded=full.bounded,
        rows=np.full(used, -1, dtype=np.int64),
    )  # fmt: skip
