"""Observations: scores joined to losses, ours or anyone's, checked before anything is computed from them.

An observation is one (checkpoint, task, metric, loss) with its score. ``read`` takes a table (CSV, CSV.gz, Parquet)
or the folder of a study; ``check`` gives any frame the canonical columns. A table that contradicts itself is
refused, its rows named, or the rows are set aside on request; nothing is averaged away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.metrics import info as scales
from onset.tables import files, losses
from onset.tables import validation as contradictions

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

UNNAMED = {"run": "run", "task": "task", "metric": "score"}
"""What a single run, task and metric are called where the frame has no column for them."""

NAMED = 8
"""So many faulty rows are named in an error; the rest are counted."""


def read(path: str | Path, loss: str | None = None, *, set_aside: bool = False) -> pd.DataFrame:
    """Observations of a table or of a study's folder, checked.

    ``loss`` picks the loss axis, ``NAME[:UNIT]``: from the table itself, from ``<name>.losses.csv.gz`` beside it
    (joined by run and step, or by run and tokens where there is no step), or from the study's losses
    (``NAME[@LANGUAGE][:UNIT]``). A table may also take each family's own loss, ``FAMILY=NAME,FAMILY=NAME``.
    Without it a table keeps the losses it has, and a study takes its first validation text.

    Rows that contradict themselves or each other are one OnsetError that names them; with ``set_aside`` they are
    left out (``sift`` returns them). ``.attrs["notes"]`` of the frame says what was left out and why.
    """
    if set_aside:
        return sift(path, loss)[0]
    return check(_given(Path(path), loss), where=path)


def sift(source: str | Path | pd.DataFrame, loss: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sound observations, checked, and the rows that contradict themselves or the table.

    ``source`` is as for ``read``, or a frame. The second frame has the faulty rows as given, behind the columns
    ``row`` (``line N`` of a CSV file, else ``row N`` from 1) and ``reason``.
    """
    frame = source if isinstance(source, pd.DataFrame) else _given(Path(source), loss)
    where = None if isinstance(source, pd.DataFrame) else source
    checked = _checked(frame, where)
    kept = checked.typed.drop(index=checked.reasons.index, errors="ignore")
    notes = checked.notes
    if len(checked.reasons):
        notes = [*notes, f"set aside: {_naming(checked.reasons, checked.rows)}"]
    rejected = checked.given.loc[checked.reasons.index]
    rejected.insert(0, "row", checked.rows[checked.reasons.index])
    rejected.insert(1, "reason", checked.reasons)
    if kept.empty:
        raise OnsetError(
            f"no row of the table is left: {_naming(checked.reasons, checked.rows)}",
            where=where,
            advice="correct the rows",
        )
    return _finished(kept, notes), rejected.reset_index(drop=True)


def check(frame: pd.DataFrame, *, where: object = None, needed: Sequence[str] = NEEDED) -> pd.DataFrame:
    """The frame with canonical columns and types, or an OnsetError that names its faulty rows.

    Scores in percent become fractions; rows without a score, and rows that repeat another in everything, are left
    out and counted in ``.attrs["notes"]``. Columns that are not canonical are kept. Columns that are not ``needed``
    may be absent: one run, task and metric then, and counts that are NaN.
    """
    checked = _checked(frame, where, needed)
    if len(checked.reasons):
        raise OnsetError(
            _naming(checked.reasons, checked.rows),
            where=where,
            advice="correct the rows, or have them set aside: --set-aside, in Python onset.read(path, set_aside=True)",
        )
    if checked.typed.empty:
        raise OnsetError("no row of the table has a score", where=where, advice="see the column 'score'")
    return _finished(checked.typed, checked.notes)


def select(obs: pd.DataFrame, needed: Sequence[str] = NEEDED, **wanted: str | None) -> pd.DataFrame:
    """The checked rows whose columns have the wanted values; None wants all.

    Raises OnsetError, with the nearest names, for a value that the table does not have.
    """
    rows = check(obs, needed=needed)
    for column, value in wanted.items():
        if column not in needed and column not in obs:
            continue  # without the column all rows are of one value, and may be called so
        known = list(rows[column].unique())
        if value is not None and value not in known:
            raise OnsetError(f"the table has no {column} '{value}'", advice=did_you_mean(value, known))
        rows = rows if value is None else rows[rows[column] == value]
    return rows.reset_index(drop=True)


def of_task(
    obs: pd.DataFrame, task: str | None = None, metric: str | None = None, loss: str | None = None
) -> pd.DataFrame:
    """The checked rows of one task, metric and loss; each may be left out where there is only one.

    A frame typed by hand needs the columns ``loss`` and ``score`` only.
    """
    rows = select(obs, LEAST, task=task, metric=metric, loss_name=loss)
    for column in ("task", "metric", "loss_name"):
        known = sorted(rows[column].unique())
        if len(known) > 1:
            what = "the table" if column == "task" else f"task '{rows.task.iloc[0]}'"
            some = ", ".join(known[:NAMED]) + (", ..." if len(known) > NAMED else "")
            raise OnsetError(f"{what} has several values of {column}", advice=f"choose one: {some}")
    return rows


@dataclass(frozen=True)
class _Checked:
    """A table after the checks: its canonical form, and what is wrong with which rows."""

    given: pd.DataFrame
    typed: pd.DataFrame
    rows: np.ndarray
    reasons: pd.Series
    notes: list[str]


def _given(path: Path, loss: str | None) -> pd.DataFrame:
    """The raw frame of a table, or the observations of a study's folder."""
    if path.is_dir():
        from onset.tables.study import from_study

        return from_study(path, loss)
    frame = files.read_table(path)
    _need_columns(frame, path)
    return frame if loss is None else losses.choose(frame, loss, path)


def _checked(frame: pd.DataFrame, where: object, needed: Sequence[str] = NEEDED) -> _Checked:
    _need_columns(frame, where, needed)
    given = frame.reset_index(drop=True)
    absent = [column for column in NEEDED if column not in given]
    names = {column: UNNAMED[column] for column in absent if column in UNNAMED}
    if "metric" in names and "chance" in given:  # what guessing scores is known of shares of right answers
        names["metric"] = "accuracy"
    typed, found = _typed(given.assign(**names), absent)
    notes = list(frame.attrs.get("notes", []))
    typed = _without_missing_scores(typed, found, notes)
    typed = _without_untrained(typed, where, notes)
    typed = _as_fractions(typed, found, notes)
    typed = _without_repeats(typed, notes)
    sound = typed.drop(contradictions.merged(found).index, errors="ignore")
    found += contradictions.of_losses(sound) + contradictions.of_scores(sound)
    return _Checked(given, typed, _row_names(frame), contradictions.merged(found), notes)


def _need_columns(frame: pd.DataFrame, where: object, needed: Sequence[str] = NEEDED) -> None:
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        hints = [(column, did_you_mean(column, map(str, frame.columns))) for column in missing]
        near = "; ".join(f"for '{column}' {hint}" for column, hint in hints if hint.startswith("did you mean"))
        raise OnsetError(
            f"the table lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            where=where,
            advice="name the columns as observations do, or map them with 'onset import table'"
            + (f" ({near})" if near else f"; it has {', '.join(map(str, frame.columns))}"),
        )
    if frame.empty:
        raise OnsetError("the table has no observations", where=where, advice="give a table with at least one row")


def _row_names(frame: pd.DataFrame) -> np.ndarray:
    """Line numbers where the frame came from a text file, else positions from 1, as they are named in errors."""
    if frame.index.name == files.LINE:
        return np.array([f"line {line}" for line in frame.index], dtype=object)
    return np.array([f"row {row}" for row in range(1, len(frame) + 1)], dtype=object)


def _typed(given: pd.DataFrame, absent: Sequence[str]) -> tuple[pd.DataFrame, list[pd.Series]]:
    """Canonical columns and types, and the cells that could not be read or are missing; ``absent`` may be."""
    found: list[pd.Series] = []
    typed = pd.DataFrame(index=given.index)
    for column in COLUMNS:
        if column in NUMBERS:
            typed[column], faults = _number(given, column)
            found.append(faults)
        else:
            typed[column] = given[column].astype("str") if column in given else pd.Series("", given.index, dtype="str")
            typed[column] = typed[column].where(typed[column].notna() & (typed[column] != "nan"), "")
    for column in given.columns:
        if column not in COLUMNS:
            typed[column] = given[column]
    for column in ("run", "task", "metric"):
        empty = typed.index[typed[column] == ""]
        found.append(pd.Series(f"{column} is missing", empty, dtype=str))
    for column in (name for name in (*COUNTS, "loss") if name not in absent):
        empty = typed.index[typed[column].isna()].difference(contradictions.merged(found).index)
        found.append(pd.Series(f"{column} is missing", empty, dtype=str))
    return _with_defaults(typed), found


def _number(given: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    if column not in given:
        return pd.Series(np.nan, given.index), pd.Series(dtype=str)
    cells = given[column]
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    if cells.dtype.kind in "fiu":  # a frame has no other word than NaN for missing
        return values, pd.Series(dtype=str)
    words = cells.astype("str").str.strip()
    bad = values.isna() & cells.notna() & (words != "")
    if column != "loss":  # a loss that is 'nan' is a run that failed; elsewhere the word means missing
        bad &= words.str.lower() != "nan"
    reasons = {row: f"{column} '{cells[row]}' is not a number" for row in given.index[bad]}
    return values, pd.Series(reasons, dtype=str)


def _with_defaults(typed: pd.DataFrame) -> pd.DataFrame:
    typed["loss_name"] = typed.loss_name.where(typed.loss_name != "", "loss")
    typed["loss_unit"] = typed.loss_unit.where(typed.loss_unit != "", losses.NATS)
    units = typed.groupby("loss_name").loss_unit.transform("nunique")
    typed["loss_name"] = typed.loss_name.where(units == 1, typed.loss_name + ":" + typed.loss_unit)
    ways = {name: scales.direction(name) or "higher" for name in typed.metric.unique()}
    typed["direction"] = typed.direction.where(typed.direction != "", typed.metric.map(ways).astype("str"))
    typed["checkpoint"] = typed.step.fillna(typed.tokens)
    return typed


def _without_missing_scores(typed: pd.DataFrame, found: list[pd.Series], notes: list[str]) -> pd.DataFrame:
    """Rows without a score are no observations: left out and counted, never taken for zero."""
    missing = typed.index[typed.score.isna()].difference(contradictions.merged(found).index)
    if len(missing):
        notes.append(f"rows without a score, left out: {len(missing)}")
    return typed.drop(index=missing)


def _without_untrained(typed: pd.DataFrame, where: object, notes: list[str]) -> pd.DataFrame:
    """Scores of models before their first step are left out and counted: tokens and compute are read in decades."""
    untrained = typed.tokens == 0
    if untrained.any():
        notes.append(f"scores of models that had seen no token yet, left out: {int(untrained.sum())}")
    if untrained.all() and len(typed):
        raise OnsetError(
            "no score is of a model that was trained: tokens is 0 throughout", where=where,
            advice="give the training tokens of each checkpoint",
        )  # fmt: skip
    return typed[~untrained]


def _as_fractions(typed: pd.DataFrame, found: list[pd.Series], notes: list[str]) -> pd.DataFrame:
    percent, mixed = contradictions.percentages(typed)
    found.append(mixed)
    if percent.any():
        names = ", ".join(f"'{name}'" for name in sorted(typed.metric[percent].unique()))
        notes.append(f"scores of {names} were given in percent and are read as fractions")
        whole = typed.chance[percent].max() > 1
        columns = ["score", "stderr", "chance"] if whole else ["score", "stderr"]
        typed.loc[percent, columns] = typed.loc[percent, columns] / 100
    return typed


def _without_repeats(typed: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Rows that repeat another in everything add nothing; rows that only seem to are for the checks."""
    repeated = typed.duplicated(list(COLUMNS))
    if repeated.any():
        notes.append(f"rows that repeat another exactly, left out: {int(repeated.sum())}")
    return typed[~repeated]


def _finished(kept: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    kept = kept.drop(columns="checkpoint").reset_index(drop=True)
    for column in COUNTS:
        kept[column] = kept[column].round().astype("float64" if kept[column].isna().any() else "int64")
    for name in sorted(kept.metric.unique()):
        told = kept.direction[kept.metric == name]
        if scales.direction(name) is None and (told == "higher").all():
            notes = [
                *notes,
                f"higher is taken to be better for metric '{name}': a column 'direction' can say otherwise",
            ]
    kept.attrs["notes"] = list(dict.fromkeys(notes))
    return kept


def _naming(reasons: pd.Series, rows: np.ndarray) -> str:
    """One sentence on all faulty rows: the first ones named, the rest counted."""
    named = "; ".join(f"{rows[int(str(row))]}: {text}" for row, text in reasons.head(NAMED).items())
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    counted = "1 row contradicts itself" if len(reasons) == 1 else f"{len(reasons)} rows contradict themselves"
    return f"{counted} or the table: {named}{more}"
