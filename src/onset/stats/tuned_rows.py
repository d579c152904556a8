"""Which rows a forecast is learnt from where some checkpoints are tuned: the base's, or the tuned ones too, moved.

After tuning an ability may set in at higher loss, and so foretell the base's (Snell et al. 2024, arXiv 2411.16035).
Tuned rows are put where the base would do as well: each stage's rows of a task are moved along the loss by its shift,
told from pairs of the sizes at hand. Whether that helps is tried on the largest size, held out: its base scores are
predicted from the smaller sizes with and without moved rows. They are used where the mean absolute error falls over
tasks with an interval above 0 (Student's t, tasks as the unit); else they are left out, and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from onset.errors import OnsetError
from onset.stats.forecast import forecast
from onset.stats.stage_effects import FEWEST_TASKS, STAGE, is_base
from onset.stats.stage_pairs import paired_shift

KEYS = ("task", "metric", "loss_name", "loss_unit")

FEWEST_SIZES = 3
"""Sizes without which no size can be held out."""


@dataclass(frozen=True)
class Chosen:
    """The rows to learn from, and what was decided of the tuned ones, as a sentence; empty where none are tuned."""

    rows: pd.DataFrame
    note: str = ""


def choose(obs: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> Chosen:
    """The base's rows, with tuned ones moved to where the base does as well if that helps on held-out sizes."""
    base = is_base(obs)
    if base.all():
        return Chosen(obs)
    plain = obs[base].reset_index(drop=True)
    sizes = np.sort(plain["params"].dropna().unique()) if "params" in plain else np.zeros(0)
    if len(sizes) < FEWEST_SIZES:
        return Chosen(plain, f"Tuned rows are left out of the forecast: {len(sizes)} sizes cannot show whether they "
                             f"help, {FEWEST_SIZES} or more would.")  # fmt: skip
    few = plain["task"].nunique() < FEWEST_TASKS
    gains = pd.Series(0.0, plain["task"].unique()) if few else _gains(obs, float(sizes[-1]), seed)
    if len(gains) < FEWEST_TASKS:
        return Chosen(plain, f"Tuned rows are left out of the forecast: {len(gains)} tasks cannot show whether they "
                             f"help, {FEWEST_TASKS} or more would.")  # fmt: skip
    mean, count = float(gains.mean()), len(gains)
    reach = float(stdtrit(count - 1, 0.5 + level / 2)) * float(gains.std(ddof=1)) / count**0.5
    helps = mean - reach > 0
    told = "are used in the forecast" if helps else "are left out of the forecast"
    note = (
        f"Tuned rows {told}: with them the error on the largest size, held out, falls by {mean:+.2f} pp "
        f"[{mean - reach:+.2f}, {mean + reach:+.2f}] over {count} tasks."
    )
    return Chosen(with_moved(obs) if helps else plain, note)


def with_moved(obs: pd.DataFrame) -> pd.DataFrame:
    """The base's rows and those of other stages, moved along the loss by the shift of their task.

    A stage whose shift is not told from pairs adds nothing.
    """
    base = is_base(obs)
    parts = [obs[base]]
    names = [name for name in KEYS if name in obs]
    plain = dict(list(obs[base].groupby(names, dropna=False)))
    for key, rows in obs[~base].groupby([*names, STAGE], dropna=False):
        beside = plain.get(key[:-1])
        if beside is None:
            continue
        both = pd.concat([beside, rows], ignore_index=True)
        found = paired_shift(both, is_base(both), 0.95)
        if found is not None:
            parts.append(rows.assign(loss=rows["loss"] - found.nats))
    return pd.concat(parts, ignore_index=True)


def _gains(obs: pd.DataFrame, largest: float, seed: int) -> pd.Series[float]:
    """By task, what moved rows of the smaller sizes take from the mean error on the largest size, in points."""
    smaller, unseen = obs[obs["params"] < largest], obs[is_base(obs) & (obs["params"] == largest)]
    names = [name for name in ("run", "family", "n_examples", *KEYS, "params", "loss") if name in unseen]
    targets = unseen[names].assign(seen=unseen["score"]).reset_index(drop=True)
    errors = []
    for learnt in (smaller[is_base(smaller)], with_moved(smaller)):
        try:
            told = forecast(learnt.reset_index(drop=True), targets, thresholds={}, seed=seed).scores
        except OnsetError:
            return pd.Series(dtype=float)
        told = told[told["verdict"] == "predicted"]
        errors.append((told["score"] - told["seen"]).abs().groupby([told["task"], told["metric"]]).mean())
    by_metric = 100.0 * (errors[0] - errors[1]).dropna()
    return by_metric.groupby(level="task").mean()
