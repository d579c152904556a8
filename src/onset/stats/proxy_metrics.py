"""Which continuous metric a discontinuous one follows, judged on larger sizes than those that it was learnt from.

Of each task the hard score is a logistic curve of the soft one (Bhagia et al. 2024, the second step of their ladder),
fitted on the smaller half of the sizes and read off at what the larger ones scored on the soft metric.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from onset.errors import OnsetError
from onset.metrics.info import info
from onset.stats.data import curve_data
from onset.stats.prediction.least_squares import logistic

KEYS = ("run", "tokens", "loss")
FEWEST = 8
"""Checkpoints of the smaller sizes, and half as many of the larger, without which nothing is said."""

COLUMNS = ("task", "metric", "soft", "loss_name", "checkpoints", "rank_correlation", "error_pp")


def followers(obs: pd.DataFrame) -> pd.DataFrame:
    """One row a task, discontinuous metric and continuous metric of the same checkpoints: ``COLUMNS``, best first."""
    rows: list[dict[str, Any]] = []
    groups = ["task", "loss_name"] if "loss_name" in obs else ["task"]
    for key, part in obs.groupby(groups, sort=False):
        by_metric = {str(name): one for name, one in part.groupby("metric", sort=False)}
        hard = [name for name in by_metric if info(name).continuous is False]
        soft = [name for name in by_metric if info(name).continuous]
        named = dict(zip(groups, key, strict=True))
        rows += [
            {"task": named["task"], "metric": one, "soft": other, "loss_name": named.get("loss_name", "loss"), **told}
            for one in hard
            for other in soft
            if (told := _followed(by_metric[one], by_metric[other])) is not None
        ]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values(["task", "metric", "error_pp"], ignore_index=True)


def _followed(hard: pd.DataFrame, soft: pd.DataFrame) -> dict[str, float] | None:
    """How well one metric is read off another; None with too few checkpoints or sizes."""
    keys = [name for name in KEYS if name in hard and name in soft]
    both = hard.merge(soft[[*keys, "score"]].rename(columns={"score": "soft"}), on=keys).dropna(
        subset=["score", "soft", "params"]
    )
    edge = both["params"].median()
    known, held = both[both["params"] <= edge], both[both["params"] > edge]
    if len(known) < FEWEST or len(held) < FEWEST // 2 or known["soft"].nunique() < 4 or known["score"].nunique() < 2:
        return None
    try:
        data = curve_data(known)
    except OnsetError:
        return None
    rising = float(np.corrcoef(rankdata(known["soft"]), rankdata(known["score"]))[0, 1]) >= 0
    sign = 1.0 if rising == (data.direction == "higher") else -1.0
    at, target = (sign * frame["soft"].to_numpy(float) for frame in (known, held))
    told, _, _ = logistic(
        at, known["score"].to_numpy(float), target, data.chance.value, data.direction == "higher", 0.95
    )  # fmt: skip
    miss = np.abs(told - held["score"].to_numpy(float)) / data.scale
    rank = float(np.corrcoef(rankdata(both["soft"]), rankdata(both["score"]))[0, 1])
    return {
        "checkpoints": len(both), "rank_correlation": abs(rank),
        "error_pp": float(100.0 * np.mean(miss) * (1.0 if data.bounded else data.scale)),
    }  # fmt: skip
