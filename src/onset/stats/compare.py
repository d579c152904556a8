"""Whether models differ on the same items: paired differences with intervals, tests, and control of false discoveries.

Two models that answer the same items err on many of the same ones, so their difference is judged from the difference on
each item, not from two separate scores. Items about one passage or of one subject are one cluster: the interval is
Student's with the cluster-robust variance of the mean difference (Liang and Zeger 1986; Miller 2024, "Adding error bars
to evals"). Right and wrong answers without clusters get McNemar's exact test (1947), everything else a permutation test
that exchanges the two models cluster by cluster. Both p-values are valid in finite samples, so the share of false
discoveries over the tasks of a metric is bounded by Benjamini and Hochberg (1995): exactly where tasks share no items
or depend positively on each other. Verdicts on thresholds have no valid p-value and use e-values (``curve.decision``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from onset.errors import OnsetError
from onset.metrics.info import info, rank
from onset.results.base import check_level
from onset.results.comparison import COLUMNS, FLIPS, Comparison

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DRAWS = 9_999
"""Exchanges drawn by the permutation test, beside the models as they are."""
DRAW_CELLS = 4_000_000
"""Signs that are held at once."""


def compare(
    values: pd.DataFrame, reference: str | None = None, *, level: float = 0.95, rate: float = 0.05, seed: int = 0
) -> Comparison:
    """Every other model less the reference, on the items that both answered, for each task and metric.

    ``values`` has columns ``model, task, metric, item, value`` and, where items share a passage or subject,
    ``cluster``; a missing value is not compared. ``reference`` is the first model by default, ``rate`` the share of
    false discoveries that is allowed. Raises OnsetError with fewer than two models, an item that stands twice, or no
    item in common.
    """
    check_level(level)
    frame = _checked(values)
    models = list(dict.fromkeys(frame["model"]))
    base = models[0] if reference is None else reference
    if base not in models or len(models) < 2:
        raise OnsetError(
            f"{len(models)} models are given" if base in models else f"no model is called '{base}'",
            advice=f"give two or more; known: {', '.join(models)}",
        )
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    flips: list[pd.DataFrame] = []
    wide = frame.pivot(index=["task", "metric", "item"], columns="model", values="value")
    clusters = frame.groupby(["task", "item"], sort=False)["cluster"].first()
    for (task, metric), part in wide.groupby(level=["task", "metric"], sort=False):
        of_task = clusters.loc[str(task)].reindex(part.index.get_level_values("item"))
        for model in models:
            if model == base or not (both := part[[base, model]].notna().all(axis=1).to_numpy()).any():
                continue
            shared = pd.factorize(of_task.to_numpy()[both])[0]
            # One passage or subject of all items cannot be told from none: items then count as independent.
            shared = np.arange(len(shared)) if shared.max() == 0 else shared
            one, other = (part[name].to_numpy(dtype=float)[both] for name in (base, model))
            pair = _Pair(one, other, shared, str(metric))
            key = {"task": task, "metric": metric, "model": model, "reference": base}
            rows.append({**key, **pair.row(level, rng), "left_out": int((~both).sum())})
            flips.append(pair.flips(part.index.get_level_values("item")[both]).assign(**key))
    if not rows:
        raise OnsetError("the models have no item in common", advice="score them on the same tasks: onset eval A B ...")
    table = pd.DataFrame(rows)
    table["q"] = table.groupby("metric")["p"].transform(_adjusted)
    table["differs"] = table["q"] <= rate
    table = table.iloc[_order(table)].reset_index(drop=True)[list(COLUMNS)]
    flipped = pd.concat(flips, ignore_index=True)[list(FLIPS)]
    return Comparison(reference=base, level=level, rate=rate, rows=table, flips=flipped)


@dataclass(frozen=True)
class _Pair:
    """One metric of two models on the items that both answered."""

    one: Floats
    other: Floats
    cluster: Ints
    """Cluster of each item, from 0."""
    metric: str

    @property
    def gain(self) -> Floats:
        return self.other - self.one

    @property
    def binary(self) -> bool:
        """Whether every item is right or wrong under both."""
        return bool(np.isin(np.r_[self.one, self.other], (0.0, 1.0)).all())

    def row(self, level: float, rng: np.random.Generator) -> dict[str, Any]:
        """Scores, difference, interval and p-value."""
        n, clusters = len(self.one), int(self.cluster.max()) + 1
        difference = float(self.gain.mean())
        error = self._error(difference, n, clusters)
        reach = float(stats.t.ppf(0.5 + level / 2, clusters - 1)) * error if clusters > 1 else np.nan
        exact = self.binary and clusters == n
        p = self._mcnemar() if exact else self._permuted(clusters, rng)
        span = info(self.metric).span or np.inf
        return {
            "score_reference": float(self.one.mean()), "score": float(self.other.mean()), "difference": difference,
            "low": max(difference - reach, -span), "high": min(difference + reach, span), "p": p,
            "test": "McNemar" if exact else "permutation", "n_items": n, "n_clusters": clusters,
            "gained": int((self.gain > 0).sum()) if self.binary else None,
            "lost": int((self.gain < 0).sum()) if self.binary else None,
        }  # fmt: skip

    def _error(self, difference: float, n: int, clusters: int) -> float:
        """Cluster-robust standard error of the mean difference.

        Never below the standard deviation that Jeffreys' prior leaves of a share of which 0 of n were seen: items that
        all agree are no certainty.
        """
        if clusters < 2:
            return np.nan
        sums = np.bincount(self.cluster, weights=self.gain - difference, minlength=clusters)
        error = float(np.sqrt(clusters / (clusters - 1) * (sums**2).sum()) / n)
        span = info(self.metric).span
        floor = 0.0 if span is None else span * np.sqrt(0.5 * (clusters + 0.5) / ((clusters + 1) ** 2 * (clusters + 2)))
        return max(error, float(floor))

    def _mcnemar(self) -> float:
        """The exact two-sided test: of the items on which the models differ, half are expected either way."""
        gained, lost = int((self.gain > 0).sum()), int((self.gain < 0).sum())
        return 1.0 if not gained + lost else float(stats.binomtest(gained, gained + lost, 0.5).pvalue)

    def _permuted(self, clusters: int, rng: np.random.Generator) -> float:
        """Share of exchanges of the two models, cluster by cluster, with a difference as large or larger."""
        sums = np.bincount(self.cluster, weights=self.gain, minlength=clusters)
        sums = sums[sums != 0]
        if not len(sums):
            return 1.0
        seen, large = abs(sums.sum()) * (1 - 1e-12), 0
        step = max(1, DRAW_CELLS // len(sums))
        for start in range(0, DRAWS, step):
            signs = rng.integers(0, 2, (min(step, DRAWS - start), len(sums)), dtype=np.int8) * 2 - 1
            large += int((np.abs(signs @ sums) >= seen).sum())
        return (large + 1) / (DRAWS + 1)

    def flips(self, items: pd.Index) -> pd.DataFrame:
        """Items that are right under one model and wrong under the other; none where values are no right or wrong."""
        moved = np.flatnonzero(self.gain) if self.binary else np.zeros(0, dtype=np.int64)
        change = np.where(self.gain[moved] > 0, "gained", "lost")
        return pd.DataFrame({"item": items[moved].astype(str), "change": change})


def _checked(values: pd.DataFrame) -> pd.DataFrame:
    needed = ("model", "task", "metric", "item", "value")
    if absent := [name for name in needed if name not in values]:
        raise OnsetError(f"the values have no column '{absent[0]}'", advice=f"needed: {', '.join(needed)}")
    frame = values.reset_index(drop=True)
    own = "item " + frame["task"].astype(str) + " " + frame["item"].astype(str)
    cluster = frame["cluster"].astype(object) if "cluster" in frame else pd.Series(None, frame.index, dtype=object)
    frame = frame.assign(cluster=cluster.where(cluster.notna(), own))
    if (twice := frame.duplicated(["model", "task", "metric", "item"])).any():
        row = frame[twice].iloc[0]
        raise OnsetError("an item stands twice", where=f"{row.model}, {row.task}, {row.metric}, item {row['item']}")
    return frame


def _adjusted(p: pd.Series[float]) -> Floats:
    found: Floats = stats.false_discovery_control(p.to_numpy(dtype=float), method="bh")
    return found


def _order(table: pd.DataFrame) -> list[int]:
    """Headline metrics first, then tasks and models as they came."""
    places = {name: place for place, name in enumerate(sorted(table["metric"].unique(), key=rank))}
    return sorted(range(len(table)), key=lambda row: (places[table["metric"].iloc[row]], row))
