"""The smallest set of questions that keeps a verdict: questions taken by information, judged on other runs.

Questions are ranked on one half of the runs and the verdict is asked of the other half, so that a question that was
answered right by luck where it should be is not chosen for its luck.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from onset.results import Threshold
from onset.stats.items.learning import responses
from onset.stats.items.order import FOR_RESPONSE, TaskAnswers, of_task
from onset.stats.threshold import threshold

SIZES = (25, 50, 100, 200, 400, 800)


def smallest_set(asked: TaskAnswers, found: Threshold, places: pd.DataFrame) -> dict[str, object]:
    """``items, needed, onset, onset_needed`` of one task whose verdict is ``found``.

    ``places`` are its observations (``run, step, params, tokens``). ``needed`` is the least of ``SIZES`` with which the
    other half has the same verdict, its onset loss within a tenth of the range of losses; missing where none has.
    """
    row: dict[str, object] = {
        "task": asked.task, "metric": asked.metric, "verdict": found.verdict, "items": asked.rows["item"].nunique(),
        "needed": None, "onset": found.onset.loss if found.onset else None, "onset_needed": None,
    }  # fmt: skip
    first, second = _halves(asked.rows)
    known = responses(first)
    if found.onset is None or found.verdict not in ("emergent", "smooth") or len(known.loss) < FOR_RESPONSE:
        return row
    ranked = of_task(known, asked.chance, onset=found.onset.loss).sort_values("rank")["item"]
    reach = 0.1 * float(np.ptp(asked.rows["loss"]))
    for size in [one for one in SIZES if one < len(ranked)]:
        told = threshold(scored(second[second["item"].astype(str).isin(ranked[:size])], asked, places))
        if told.verdict == found.verdict and told.onset and abs(told.onset.loss - found.onset.loss) <= reach:
            return row | {"needed": size, "onset_needed": told.onset.loss}
    return row


def _halves(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every second run and the others; of fewer than four runs every second checkpoint."""
    runs = np.sort(rows["run"].unique())
    if len(runs) >= 4:
        even = rows["run"].isin(runs[::2])
        return rows[even], rows[~even]
    codes = rows.groupby(["run", "step"]).ngroup()
    return rows[codes % 2 == 0], rows[codes % 2 == 1]


def scored(rows: pd.DataFrame, asked: TaskAnswers, places: pd.DataFrame) -> pd.DataFrame:
    """Observations of a set of questions: their mean at each checkpoint."""
    grouped = rows.groupby(["run", "step"])
    means = grouped.agg(score=("value", "mean"), n_examples=("value", "count"), loss=("loss", "first")).reset_index()
    facts = places[["run", "step", "params", "tokens"]].drop_duplicates(["run", "step"])
    return means.merge(facts, on=["run", "step"], how="left").assign(
        task=asked.task, metric=asked.metric, chance=asked.chance, direction="higher"
    )
