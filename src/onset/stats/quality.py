"""How good a task is for telling models apart: signal to noise, monotonicity, agreement of continuous proxies.

After FineTasks (Kydlíček et al. 2024) and Signal and Noise (Heineman et al. 2025, arXiv 2508.13144).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from onset.errors import OnsetError
from onset.metrics.info import info
from onset.results import Finding, TaskQuality
from onset.stats.data import Array, CurveData, curve_data
from onset.stats.noise import difference_variance

FEWEST = 6
"""Rows without which nothing is said."""


def with_quality(findings: Sequence[Finding], parts: Sequence[pd.DataFrame]) -> tuple[Finding, ...]:
    """The findings with their ``quality``, from the rows of each (task, metric, loss measure) that they are about."""
    curves = {tuple(part[name].iloc[0] for name in ("task", "metric", "loss_name")): _curve(part) for part in parts}
    made = []
    for finding in findings:
        data = curves.get(finding.key)
        proxies = {
            str(metric): other
            for (task, metric, loss), other in curves.items()
            if (task, loss) == (finding.task, finding.loss_name) and info(str(metric)).continuous and other is not None
        }
        made.append(finding if data is None else finding.model_copy(update={"quality": quality(data, proxies)}))
    return tuple(made)


def _curve(rows: pd.DataFrame) -> CurveData | None:
    try:
        return curve_data(rows)
    except OnsetError:
        return None


def quality(data: CurveData, proxies: dict[str, CurveData]) -> TaskQuality | None:
    """Quality of one task under one metric; ``proxies`` are its continuous metrics on the same checkpoints."""
    if len(data) < FEWEST or np.ptp(data.score) == 0:
        return None
    order = np.argsort(data.loss, kind="stable")
    tenth = max(3, len(data) // 10)
    signal = float(data.ability[order[:tenth]].mean() - data.ability[order[-tenth:]].mean())
    noise = float(np.sqrt(difference_variance(data)))
    continuous = info(data.metric).continuous is not False
    told = {} if continuous else {name: _agreement(data, other) for name, other in proxies.items()}
    known = {name: value for name, value in told.items() if value is not None}
    best = max(known, key=lambda name: known[name]) if known else None
    return TaskQuality(
        signal_to_noise=signal / noise, noise_pp=data.points_per_unit * noise, monotonicity=_monotonicity(data),
        proxy=best, proxy_agreement=known[best] if best else None,
    )  # fmt: skip


def _monotonicity(data: CurveData) -> float | None:
    """Rank correlation of ability with the order of checkpoints, a mean over runs of three checkpoints or more."""
    found = []
    for run in range(len(data.runs)):
        ability = data.ability[data.run == run]
        if len(ability) >= 3 and np.ptp(ability) > 0:
            found.append(_spearman(ability, np.arange(len(ability), dtype=float)))
    return float(np.mean(found)) if found else None


def _agreement(data: CurveData, other: CurveData) -> float | None:
    """Rank correlation of two metrics over the checkpoints that have both."""
    rows, others = (
        pd.Series(one.ability, index=pd.MultiIndex.from_arrays([np.array(one.runs)[one.run], one.loss]))
        for one in (data, other)
    )
    joined = pd.concat([rows.groupby(level=[0, 1]).first(), others.groupby(level=[0, 1]).first()], axis=1).dropna()
    first, second = joined[0].to_numpy(float), joined[1].to_numpy(float)
    if len(joined) < FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return _spearman(first, second)


def _spearman(first: Array, second: Array) -> float:
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
