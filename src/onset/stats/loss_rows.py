"""Which checkpoints a law of loss in size and tokens is learnt from: a checkpoint in the middle of a schedule is not
the end of a shorter run.

While the learning rate is high the loss lies above what a finished run of the same tokens reaches (Hoffmann et al.
2022, section 3; Tissue et al. 2024, arXiv 2408.11029). So the ends of runs are taken where they suffice; under a
constant rate all checkpoints are alike; else all are taken with a term in the rate, which for an unknown schedule is
supposed to be a cosine and stays uncertain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from onset.errors import OnsetError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

Basis = Literal["ends", "constant", "rate_known", "rate_unknown"]

WARM_UP = 0.05
"""Share of a run that is left out at its beginning, where the loss follows no power law."""
APART = 1.2
"""Token counts that differ by less than this factor count as one."""
FEWEST_ENDS = 8
_ROWS = 200

SCHEDULES = ("constant", "cosine", "linear", "wsd")
_CONSTANT = ("constant", "constant_with_warmup")
STABLE = 0.8
"""Share of a warm-up-stable-decay run whose rate is at its peak, where the table gives no rates."""


@dataclass(frozen=True, eq=False)
class LossRows:
    """Rows for a loss law, arrays of one length."""

    run: NDArray[np.int64]
    params: Vector
    tokens: Vector
    loss: Vector
    rate: Vector
    """Learning rate as a share of its peak, 0 where a run has ended or all rows are alike."""
    family: NDArray[np.int64]
    families: tuple[str, ...] = field(repr=False)
    basis: Basis = "ends"
    possible_rates: Matrix = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    """(schedules, rows) what the rates may have been, where the schedule is unknown."""

    @property
    def note(self) -> str:
        """What the law was learnt from, and what to distrust."""
        count = len(self.loss)
        return {
            "ends": f"the loss law is learnt from the last checkpoints of {count} runs",
            "constant": f"the loss law is learnt from {count} checkpoints under a constant rate",
            "rate_known": f"the loss law is learnt from {count} checkpoints, with a term in the learning rate",
            "rate_unknown": (
                f"the runs' ends do not suffice for a loss law and the schedule is unknown: it is learnt from {count} "
                "checkpoints as if their rate fell by a cosine, and losses of finished runs may be lower; name the "
                "schedule (column schedule or learning_rate, or --schedule)"
            ),
        }[self.basis]


def checkpoints(obs: pd.DataFrame) -> pd.DataFrame:
    """The distinct checkpoints of a table: ``run, params, tokens, loss`` and what is known of family and schedule."""
    for name in ("run", "params", "tokens", "loss"):
        if name not in obs:
            raise OnsetError(f"the table has no column '{name}'", advice="loss from size and tokens needs it")
    wanted = ["run", "params", "tokens", "loss"]
    rows = obs[wanted + [name for name in ("family", "schedule", "learning_rate") if name in obs]]
    rows = rows.dropna(subset=wanted).drop_duplicates(wanted)
    return rows[(rows["params"] > 0) & (rows["tokens"] > 0) & (rows["loss"] > 0)]


def choose(obs: pd.DataFrame, schedule: str | None = None) -> LossRows:
    """The rows that a loss law is learnt from, and on what ground.

    ``schedule`` (``constant, cosine, linear, wsd``) is that of all runs; without it the columns ``learning_rate`` and
    ``schedule`` say. Raises OnsetError for another schedule, and with fewer than three sizes or eight checkpoints.
    """
    if schedule is not None and schedule not in SCHEDULES:
        raise OnsetError(f"the schedule '{schedule}' is unknown", where="schedule", advice=", ".join(SCHEDULES))
    rows = checkpoints(obs).sort_values(["run", "tokens"], kind="stable").reset_index(drop=True)
    _enough(rows)
    said = pd.Series(schedule, index=rows.index) if schedule else rows.get("schedule")
    past_warm_up = rows["tokens"] > WARM_UP * rows.groupby("run")["tokens"].transform("max")
    if said is not None and said.isin(_CONSTANT).all():
        return _made(_thinned(rows[past_warm_up]), "constant")
    ends = rows.groupby("run", sort=False).tail(1)
    if _suffice(ends):
        return _made(ends, "ends")
    rate, basis = _rates(rows, said)
    rows["progress"] = rows["tokens"] / rows.groupby("run")["tokens"].transform("max")
    return _made(_thinned(rows.assign(rate=rate)[past_warm_up]), basis)


def _rates(rows: pd.DataFrame, said: pd.Series | None) -> tuple[Vector, Basis]:
    """Rate of each row as a share of its run's peak: given, by its schedule, or as if by a cosine."""
    if "learning_rate" in rows and rows["learning_rate"].notna().all():
        peak = rows.groupby("run")["learning_rate"].transform("max")
        return (rows["learning_rate"] / peak).to_numpy(float), "rate_known"
    shapes = rate_shapes((rows["tokens"] / rows.groupby("run")["tokens"].transform("max")).to_numpy(float))
    if said is None:
        return shapes["cosine"], "rate_unknown"
    known = said.isin(list(shapes)).all()
    rate = np.select([(said == name).to_numpy(bool) for name in shapes], list(shapes.values()), shapes["cosine"])
    return rate, "rate_known" if known else "rate_unknown"


def rate_shapes(progress: Vector) -> dict[str, Vector]:
    """The rate as a share of its peak by the share of a run that is done, under each schedule."""
    return {
        "cosine": 0.5 * (1.0 + np.cos(np.pi * progress)),
        "linear": 1.0 - progress,
        "wsd": np.clip((1.0 - progress) / (1.0 - STABLE), 0.0, 1.0),
        **dict.fromkeys(_CONSTANT, np.zeros(len(progress))),
    }


def _suffice(ends: pd.DataFrame) -> bool:
    """Whether ends alone tell size from tokens."""
    return (
        len(ends) >= FEWEST_ENDS
        and len(_levels(ends["params"])) >= 3
        and len(_levels(ends["tokens"])) >= 3
        and abs(float(np.corrcoef(np.log(ends["params"]), np.log(ends["tokens"]))[0, 1])) < 0.98
    )


def _levels(values: pd.Series) -> Vector:
    known = np.sort(values.to_numpy(float))
    return np.asarray(known[np.r_[True, np.diff(np.log(known)) > np.log(APART)]])


def _made(rows: pd.DataFrame, basis: Basis) -> LossRows:
    family, families = pd.factorize(rows.get("family", pd.Series("", index=rows.index)).fillna("").astype(str))
    rate = rows["rate"].to_numpy(float) if "rate" in rows else np.zeros(len(rows))
    arrays = {name: rows[name].to_numpy(float) for name in ("params", "tokens", "loss")}
    if basis == "rate_unknown":
        shapes = rate_shapes(rows["progress"].to_numpy(float))
        arrays["possible_rates"] = np.array([shapes[name] for name in SCHEDULES])
    return LossRows(
        pd.factorize(rows["run"])[0], rate=rate, family=family, families=tuple(map(str, families)), basis=basis,
        **arrays,
    )  # fmt: skip


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """At most about ``_ROWS`` checkpoints, evenly taken from each run: neighbours tell the law nothing new."""
    each = max(_ROWS // rows["run"].nunique(), 3)
    if len(rows) <= _ROWS:
        return rows
    rank = rows.groupby("run").cumcount(ascending=False).to_numpy()
    count = rows.groupby("run")["loss"].transform("size").to_numpy()
    bucket = rank * each // np.maximum(count, each)
    last: pd.Series[bool] = ~pd.Series(bucket, index=rows.index).groupby(rows["run"]).diff(-1).eq(0)
    return rows[last]


def sizes_of(rows: pd.DataFrame) -> str:
    """How much a table has, in words for an error."""
    return f"{rows['params'].nunique()} sizes, {rows['run'].nunique()} runs, {len(rows)} checkpoints"


def _enough(rows: pd.DataFrame) -> None:
    if rows["params"].nunique() < 3 or rows["tokens"].nunique() < 3 or len(rows) < FEWEST_ENDS:
        raise OnsetError(
            "loss from size and tokens needs three sizes, three token counts and eight checkpoints or more",
            where=sizes_of(rows),
            advice="give the targets by loss instead of by params and tokens",
        )
