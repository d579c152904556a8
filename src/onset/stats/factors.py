"""Factors: all that varies in a table beside loss and score, and whether it breaks the link between the two.

Beside size, tokens, place in the run and family, the values in ``extra`` (a JSON object a row) are factors: width,
schedule, optimiser, corpus. A factor that only restates another one is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from onset.metrics.info import info
from onset.results import FactorSummary, Finding
from onset.tables.observations import COLUMNS

LEVELS = 12
"""A factor of words with more values than this is a label, not a factor."""

SAME = 0.98
"""Two numbers whose logarithms correlate so closely cannot be told apart by any table."""

NOT_FACTORS = {"seed", "shots", "left_out", "digest", "checkpoint"}


def spread_out(obs: pd.DataFrame) -> pd.DataFrame:
    """The observations with the scalar values of ``extra`` as columns of their own, behind the canonical ones."""
    texts = obs["extra"]
    if not (texts != "").any():
        return obs
    parsed = {text: _scalars(text) for text in texts.unique()}
    names = dict.fromkeys(name for values in parsed.values() for name in values if name not in obs.columns)
    made = {name: texts.map({text: values.get(name) for text, values in parsed.items()}) for name in names}
    columns = {name: pd.to_numeric(column) if _numeric(column) else column for name, column in made.items()}
    return obs.assign(**columns)


def of_group(rows: pd.DataFrame) -> list[str]:
    """Factors that the rows of one (task, metric, loss) can be asked about, size first."""
    found = [name for name in ("params", "tokens") if rows[name].nunique() > 1]
    if rows.groupby("run").tokens.nunique().max() > 2:
        found.append("place")
    others = ["family", *(name for name in rows.columns if name not in COLUMNS and name not in NOT_FACTORS)]
    taken = [np.log(rows[name].to_numpy(float)) for name in found if name != "place" and (rows[name] > 0).all()]
    partitions: list[tuple[int, ...]] = []
    for name in others:
        values = rows[name]
        if values.isna().any() or values.nunique() < 2:
            continue
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > 4:
            if (values <= 0).any():
                continue
            logs = np.log(values.to_numpy(float))
            if any(abs(np.corrcoef(logs, other)[0, 1]) > SAME for other in taken):
                continue
            taken.append(logs)
        else:
            partition = tuple(pd.factorize(values)[0].tolist())
            levels = values.nunique()
            if levels > min(LEVELS, rows.run.nunique() // 2) or partition in partitions:
                continue
            partitions.append(partition)
        found.append(name)
    return found


def summarize(findings: Sequence[Finding]) -> tuple[FactorSummary, ...]:
    """Which factors have an effect at equal loss, over the tasks of one table: one entry a (loss measure, factor).

    Counts are of (task, metric) pairs by their verdict. A factor has an effect where more scores differ by more than
    the margin than are equivalent. Only metrics with a bounded range are counted: a margin in percentage points says
    nothing of a cross-entropy.
    """
    told = [
        {"loss_name": finding.loss_name, "factor": name, "verdict": verdict, "pp": pp}
        for finding in findings
        if math.isfinite(info(finding.metric).high)
        for name, verdict, pp in _asked(finding)
    ]
    frame = pd.DataFrame(told, columns=["loss_name", "factor", "verdict", "pp"])
    return tuple(
        _entry(str(loss_name), str(factor), rows)
        for (loss_name, factor), rows in frame.groupby(["loss_name", "factor"], sort=False)
    )


def _asked(finding: Finding) -> list[tuple[str, str, float]]:
    """Size and every other factor that was asked: name, verdict, effect in pp."""
    size = finding.size_effect
    found = [] if size is None or size.pp_per_decade is None else [("params", size.verdict, size.pp_per_decade)]
    return found + [(one.factor, one.verdict, one.pp) for one in finding.factors if one.pp is not None]


def _entry(loss_name: str, factor: str, rows: pd.DataFrame) -> FactorSummary:
    counts = rows.verdict.value_counts()
    differs, equivalent = int(counts.get("differs", 0)), int(counts.get("equivalent", 0))
    median = float(rows.pp.abs().median())
    has_effect = differs > equivalent
    why = (
        f"on '{loss_name}', {factor} {'has an effect' if has_effect else 'has no shown effect'} at equal loss: "
        f"{differs} of {len(rows)} scores differ by more than the margin, {equivalent} are equivalent "
        f"(median {median:.1f} pp)"
    )
    return FactorSummary(
        factor=factor, loss_name=loss_name, differs=differs, equivalent=equivalent,
        inconclusive=len(rows) - differs - equivalent, median_pp=median, has_effect=has_effect, why=why,
    )  # fmt: skip


def _scalars(text: str) -> Mapping[str, Any]:
    """Scalar values of a JSON object; a text that is none says nothing of factors."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {key: value for key, value in values.items() if isinstance(value, str | int | float)}


def _numeric(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values if value is not None)
