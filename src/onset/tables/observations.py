"""Observations: scores joined to losses, ours or anyone's, checked before anything is computed from them.

An observation is one (checkpoint, task, metric, loss) with its score. ``read`` takes a table (CSV, CSV.gz, Parquet)
or the folder of a study; ``check`` gives any frame the canonical columns. A table that contradicts itself is
refused, its rows named, or the rows are set aside on request; nothing is averaged away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.metrics import info as metrics
from onset.tables import distinct, files, losses, schema, units, validation
from onset.tables.copies import without_copies
from onset.tables.schema import COLUMNS, COUNTS, LEAST, NEEDED, UNNAMED

__all__ = ["COLUMNS", "LEAST", "NEEDED", "check", "of_task", "read", "select", "sift"]

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


def sift(source: Any, loss: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sound observations, checked, and the rows that contradict themselves or the table.

    ``source`` is as for ``read``, or a frame. The second frame has the faulty rows as given, behind the columns
    ``row`` (``line N`` of a CSV file, else ``row N`` from 1) and ``reason``.
    """
    from_file = isinstance(source, str | Path)
    frame = _given(Path(source), loss) if isinstance(source, str | Path) else source
    where = source if from_file else None
    checked = _checked(frame, where)
    kept = checked.typed.drop(index=checked.reasons.index, errors="ignore")
    notes = checked.notes
    if len(checked.reasons):
        notes = [*notes, f"set aside: {_naming(checked.reasons, checked.rows)}"]
    reasons = validation.merged([checked.reasons, checked.missing])
    rejected = checked.given.loc[reasons.index]
    rejected.insert(0, "row", [checked.rows[int(row)] for row in reasons.index])
    rejected.insert(1, "reason", reasons)
    if kept.empty:
        raise OnsetError(
            f"no row of the table is left: {_naming(checked.reasons, checked.rows)}",
            where=where,
            advice="correct the rows",
        )
    return _finished(kept, notes), rejected.reset_index(drop=True)


def check(frame: Any, *, where: object = None, needed: Sequence[str] = NEEDED) -> pd.DataFrame:
    """The frame with canonical columns and types, or an OnsetError that names its faulty rows.

    ``frame`` is a frame of any library, a dict of columns or a list of rows. Scores in percent become fractions; rows
    without a score or with a missing value, rows that repeat another in everything and runs that repeat another run
    are left out and counted in ``.attrs["notes"]``, which also asks about params and tokens that can hardly be counts.
    Columns that are not canonical are kept. Columns that are not ``needed`` may be absent: one run,
    task and metric then, and counts that are NaN.
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


def select(obs: Any, needed: Sequence[str] = NEEDED, **wanted: str | None) -> pd.DataFrame:
    """The checked rows whose columns have the wanted values; None wants all.

    Raises OnsetError, with the nearest names, for a value that the table does not have.
    """
    given = schema.as_frame(obs)
    rows = check(given, needed=needed)
    for column, value in wanted.items():
        if column not in needed and column not in given:
            continue  # without the column all rows are of one value, and may be called so
        known = list(rows[column].unique())
        if value is not None and value not in known:
            raise OnsetError(f"the table has no {column} '{value}'", advice=did_you_mean(value, known))
        rows = rows if value is None else rows[rows[column] == value]
    return rows.reset_index(drop=True)


def of_task(obs: Any, task: str | None = None, metric: str | None = None, loss: str | None = None) -> pd.DataFrame:
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
    rows: schema.RowNames
    reasons: validation.Reasons
    """What contradicts itself or the table."""
    missing: validation.Reasons
    """What lacks a needed value."""
    notes: list[str]


def _given(path: Path, loss: str | None) -> pd.DataFrame:
    """The raw frame of a table, or the observations of a study's folder."""
    if path.is_dir():
        from onset.tables.study import from_study

        return from_study(path, loss)
    frame = files.read_compact(path)
    schema.need_columns(frame, path)
    return frame if loss is None else losses.choose(frame, loss, path)


def _checked(given: Any, where: object, needed: Sequence[str] = NEEDED) -> _Checked:
    given = schema.as_frame(given, where)
    schema.need_columns(given, where, needed)
    rows, given_notes = schema.row_names(given), list(given.attrs.get("notes", []))
    given = given.reset_index(drop=True)
    optional = [column for column in NEEDED if column not in given]
    optional += [column for column in COUNTS if column in given and column not in needed and given[column].isna().all()]
    names = {column: UNNAMED[column] for column in optional if column in UNNAMED}
    if "metric" in names and "chance" in given:  # what guessing scores is known of shares of right answers
        names["metric"] = "accuracy"
    typed, found = schema.typed(given.assign(**names))
    notes = given_notes
    typed = _without_missing_scores(typed, found, notes)
    missing = schema.missing(typed, found, optional)
    typed = _without_missing(typed, missing, where, notes)
    typed = _without_untrained(typed, where, notes)
    typed, mixed, told = units.as_fractions(typed)
    found.append(mixed)
    notes += told
    typed = _without_repeats(typed, notes)
    faulty = validation.merged(found).index
    sound = typed if faulty.empty else typed.drop(faulty, errors="ignore")
    found += validation.of_losses(sound) + validation.of_scores(sound)
    return _Checked(given, typed, rows, validation.merged(found), missing, notes)


def _without_missing_scores(typed: pd.DataFrame, found: list[pd.Series], notes: list[str]) -> pd.DataFrame:
    """Rows without a score are no observations: left out and counted, never taken for zero."""
    missing = typed.index[typed.score.isna()].difference(validation.merged(found).index)
    if missing.empty:
        return typed
    notes.append(f"rows without a score, left out: {len(missing)}")
    return typed.drop(index=missing)


def _without_missing(typed: pd.DataFrame, missing: validation.Reasons, where: object, notes: list[str]) -> pd.DataFrame:
    """Rows with a missing value are left out and counted by column: what is missing contradicts nothing."""
    if missing.empty:
        return typed
    words = missing.str.replace(" is missing", "").str.split("; ").explode()
    counts = ", ".join(f"{column} {count}" for column, count in words.value_counts(sort=False).items())
    notes.append(f"rows with a missing value, left out: {len(missing)} ({counts})")
    if len(missing) == len(typed):
        raise OnsetError(
            f"no row of the table has all needed values; missing: {counts}",
            where=where,
            advice="fill in these columns, or join the losses with 'onset import'",
        )
    return typed.drop(index=missing.index)


def _without_untrained(typed: pd.DataFrame, where: object, notes: list[str]) -> pd.DataFrame:
    """Scores of models before their first step are left out and counted: tokens and compute are read in decades."""
    untrained = typed.tokens == 0
    if not untrained.any():
        return typed
    notes.append(f"scores of models that had seen no token yet, left out: {int(untrained.sum())}")
    if untrained.all() and len(typed):
        raise OnsetError(
            "no score is of a model that was trained: tokens is 0 throughout", where=where,
            advice="give the training tokens of each checkpoint",
        )  # fmt: skip
    return typed[~untrained]


def _without_repeats(typed: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Rows that repeat another in everything add nothing; rows that only seem to are for the checks."""
    alike = distinct.repeated(typed, COLUMNS)
    repeated = alike.copy()
    repeated[alike] = typed[alike].duplicated(list(COLUMNS))
    if not repeated.any():
        return typed
    notes.append(f"rows that repeat another exactly, left out: {int(repeated.sum())}")
    return typed[~repeated]


def _finished(kept: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    kept, told = without_copies(kept)
    notes = [*units.doubtful_counts(kept), *notes, *told, *units.mixed_units(kept), *validation.chance_spread(kept)]
    kept = kept.drop(columns="checkpoint").reset_index(drop=True)
    for column in COUNTS:
        kept[column] = kept[column].round().astype("float64" if kept[column].isna().any() else "int64")
    for name in sorted(kept.metric.unique()):
        told_direction = kept.direction[kept.metric == name]
        if metrics.direction(name) is None and (told_direction == "higher").all():
            notes.append(f"higher is taken to be better for metric '{name}': a column 'direction' can say otherwise")
    kept.attrs["notes"] = list(dict.fromkeys(notes))
    return kept


def _naming(reasons: pd.Series, rows: schema.RowNames) -> str:
    """One sentence on all faulty rows: the first ones named, the rest counted."""
    named = "; ".join(f"{rows[int(str(row))]}: {text}" for row, text in reasons.head(NAMED).items())
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    counted = "1 row contradicts itself" if len(reasons) == 1 else f"{len(reasons)} rows contradict themselves"
    return f"{counted} or the table: {named}{more}"
