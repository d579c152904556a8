"""Factors: all that varies in a table beside loss and score, and whether it breaks the link between the two.

Beside size, tokens, place in the run and family, the values in ``extra`` (a JSON object a row) are factors: width,
schedule, optimiser, corpus. ``factor_effects`` asks each of them, or says why it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from onset import reading
from onset.errors import OnsetError, did_you_mean
from onset.metrics.info import info
from onset.results import FactorSummary, Finding


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


def parse_groups(text: str) -> tuple[str, dict[str, list[str]]]:
    """Groups of a factor's levels as the command line has them: ``COLUMN=GROUP:LEVEL,LEVEL;GROUP:LEVEL``.

    ``corpus=web:c4,refinedweb`` puts two corpora into one level called ``web``; levels that are not named stay.
    """
    column, _, rest = text.partition("=")
    groups = {}
    for part in rest.split(";") if rest else []:
        name, separator, levels = part.partition(":")
        if not separator or not name.strip() or not levels.strip():
            raise OnsetError(
                f"'{part}' is no group of levels", where=text, advice="write --factor COLUMN=GROUP:LEVEL,LEVEL"
            )
        groups[name.strip()] = [level.strip() for level in levels.split(",")]
    if not column.strip():
        raise OnsetError("no column is named", where=text, advice="write --factor COLUMN=GROUP:LEVEL,LEVEL")
    return column.strip(), groups


def grouped(obs: pd.DataFrame, text: str) -> pd.DataFrame:
    """The table with levels of one column put together, as ``parse_groups`` reads them.

    Raises OnsetError, with the nearest names, for a column or a level that the table does not have.
    """
    column, groups = parse_groups(text)
    if column not in obs:
        raise OnsetError(
            f"the table has no column '{column}'", advice=did_you_mean(column, list(map(str, obs.columns)))
        )
    values = obs[column].astype(object).where(obs[column].notna(), None)
    known = {str(value) for value in values.dropna().unique()}
    renamed: dict[str, str] = {}
    for name, levels in groups.items():
        for level in levels:
            if level not in known:
                raise OnsetError(f"column '{column}' has no level '{level}'", advice=did_you_mean(level, sorted(known)))
            renamed[level] = name
    made = values.map(lambda value: None if value is None else renamed.get(str(value), value))
    return obs.assign(**{column: made})


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
        values = reading.json_text(text, where="extra")
    except OnsetError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {key: value for key, value in values.items() if isinstance(value, str | int | float)}


def _numeric(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values if value is not None)
