"""What a table of observations is: its columns, their types and defaults, and the frames that are taken for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.metrics import info as metrics
from onset.tables import distinct, files
from onset.tables.units import NATS
from onset.tables.validation import Reasons, merged, short

NEEDED = ("run", "params", "tokens", "loss", "task", "metric", "score")
LEAST = ("loss", "score")
"""What one curve needs, in Python: a single run, task and metric need no name, and sizes may be unknown."""
COUNTS = ("params", "tokens")
NUMBERS = (*COUNTS, "loss", "score", "step", "flops", "chance", "n_examples", "stderr")
TEXTS = ("family", "run", "task", "metric", "direction", "loss_name", "loss_unit", "language", "extra")
COLUMNS = (
    "family", "run", "params", "tokens", "step", "flops", "loss_name", "loss", "loss_unit", "language",
    "task", "metric", "direction", "score", "stderr", "chance", "n_examples", "extra",
)  # fmt: skip
"""The canonical columns, always all there; an optional one that was not given is empty. Others are kept behind them."""
NAMES = ("run", "task", "metric")
UNNAMED = {"run": "run", "task": "task", "metric": "score"}
"""What a single run, task and metric are called where the frame has no column for them."""


def as_frame(given: Any, where: object = None) -> pd.DataFrame:
    """A pandas frame of any table: pandas, Polars, Arrow and others by narwhals; a dict of columns; a list of rows."""
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, Mapping) or (isinstance(given, Sequence) and not isinstance(given, str | bytes)):
        try:
            return pd.DataFrame(given)
        except (ValueError, TypeError) as error:
            raise OnsetError(f"this is no table: {error}", where=where, advice="give columns of one length") from error
    try:
        eager = nw.from_native(given)
    except TypeError as error:
        raise OnsetError(
            f"a {type(given).__name__} is no table of observations",
            where=where,
            advice="give a frame (pandas, Polars, Arrow), a dict of columns, or a list of rows",
        ) from error
    frame: pd.DataFrame = (eager.collect() if isinstance(eager, nw.LazyFrame) else eager).to_pandas()
    return frame


def need_columns(frame: pd.DataFrame, where: object, needed: Sequence[str] = NEEDED) -> None:
    """Raises OnsetError where a needed column is absent or there twice, or the frame has no rows."""
    twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if twice:
        raise OnsetError(
            f"the table has several columns called {', '.join(twice)}", where=where, advice="keep one of each name"
        )
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise OnsetError(
            f"the table lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            where=where,
            advice=_advice(frame, missing),
        )
    if frame.empty:
        raise OnsetError("the table has no observations", where=where, advice="give a table with at least one row")


def _advice(frame: pd.DataFrame, missing: Sequence[str]) -> str:
    indexed = [str(name) for name in frame.index.names if name in missing]
    if indexed:
        verb = "is" if len(indexed) == 1 else "are"
        return f"{' and '.join(indexed)} {verb} in the index, not a column: use frame.reset_index()"
    hints = [(column, did_you_mean(column, map(str, frame.columns))) for column in missing]
    near = "; ".join(f"for '{column}' {hint}" for column, hint in hints if hint.startswith("did you mean"))
    advice = "name the columns as observations do, or map them with 'onset import table'"
    return advice + (f" ({near})" if near else f"; it has {', '.join(map(str, frame.columns))}")


def row_names(frame: pd.DataFrame) -> RowNames:
    """Line numbers where the frame came from a text file, else positions from 1, as they are named in errors."""
    if frame.index.name == files.LINE:
        return RowNames("line", frame.index.to_numpy())
    return RowNames("row", np.arange(1, len(frame) + 1))


class RowNames:
    """The name of each row, by its position: written when it is asked for, since few of them ever are."""

    def __init__(self, word: str, numbers: np.ndarray) -> None:
        self._word, self._numbers = word, numbers

    def __getitem__(self, row: int) -> str:
        return f"{self._word} {self._numbers[row]}"


def typed(given: pd.DataFrame) -> tuple[pd.DataFrame, list[Reasons]]:
    """Canonical columns and types, and the cells that could not be read; an absent column is missing everywhere."""
    found: list[Reasons] = []
    made = pd.DataFrame(index=given.index)
    for column in COLUMNS:
        if column in NUMBERS:
            made[column], faults = _number(given, column)
            found.append(faults)
        else:
            given_text = distinct.texts(given[column], _text) if column in given else distinct.constant("", given)
            made[column] = distinct.filled(given_text, "")
    made = _with_defaults(made)
    others = given[[column for column in given.columns if column not in made]]
    return pd.concat([made, others], axis=1), found


def missing(made: pd.DataFrame, found: Sequence[Reasons], optional: Sequence[str]) -> Reasons:
    """Rows with a score that lack a run, task, metric, size, tokens or loss, and what they lack.

    ``optional`` columns may be missing. Rows at fault are not named again.
    """
    faulty = merged(found).index
    reasons = []
    for column in (*NAMES, *COUNTS, "loss"):
        if column not in optional:
            empty = made[column] == "" if column in NAMES else made[column].isna()
            rows = made.index[empty].difference(faulty)
            reasons.append(pd.Series(f"{column} is missing", rows, dtype=str))
    return merged(reasons)


def _number(given: pd.DataFrame, column: str) -> tuple[pd.Series, Reasons]:
    if column not in given:
        return pd.Series(np.nan, given.index), pd.Series(dtype=str)
    cells = given[column]
    if cells.dtype.kind in "mMbc":  # of a Parquet table or a frame: pandas would count nanoseconds
        kind = {"m": "a duration", "M": "a date", "b": "true or false", "c": "a complex number"}[cells.dtype.kind]
        reason = f"{column} {short(cells.iloc[0])} is {kind}, not a number"
        return pd.Series(np.nan, given.index), pd.Series(reason, given.index[cells.notna()], dtype=str)
    values = distinct.numbers(cells)
    if cells.dtype.kind in "fiu":  # a frame has no other word than NaN for missing
        return values, pd.Series(dtype=str)
    bad = values.isna() & cells.notna()
    words = cells[bad].astype("str").str.strip()
    bad[bad] = words != ""
    if column != "loss":  # a loss that is 'nan' is a run that failed; elsewhere the word means missing
        bad[bad] = words[words != ""].str.lower() != "nan"
    reasons = {row: f"{column} {short(str(cells[row]))} is not a number" for row in given.index[bad]}
    return values, pd.Series(reasons, dtype=str)


def _text(cell: str) -> str:
    """A cell's text; nothing, and what a frame has for it, is empty."""
    return "" if cell == "nan" or not cell.strip() else cell


def _with_defaults(made: pd.DataFrame) -> pd.DataFrame:
    made["loss_name"] = distinct.texts(made.loss_name, lambda name: name or "loss")
    made["loss_unit"] = distinct.texts(made.loss_unit, lambda unit: unit or NATS)
    pairs = made[["loss_name", "loss_unit"]].drop_duplicates().astype(object)
    if (several := made.loss_name.isin(pairs.loss_name[pairs.loss_name.duplicated()])).any():
        names, kinds = (made[name].astype(object) for name in ("loss_name", "loss_unit"))
        made["loss_name"] = distinct.replaced(made.loss_name, several, names + ":" + kinds)
    untold = made.direction == ""
    if untold.all():
        made["direction"] = distinct.texts(made.metric, lambda name: metrics.direction(name) or "higher")
    else:
        ways = {name: metrics.direction(name) or "higher" for name in made.metric.unique()}
        made["direction"] = distinct.replaced(made.direction, untold, made.metric.map(ways).astype(object))
    made["checkpoint"] = made.step.fillna(made.tokens)
    return made
