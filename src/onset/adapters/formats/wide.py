"""Tables by column: a history of Weights & Biases, and any other table of scores or losses.

Two shapes are read. Long: a row a score (``run, step or tokens, task, metric, score``) or a row a loss (``run, step or
tokens, loss``). Wide: a row a step and a column a metric, as ``run.history()`` gives it; what each column is, its name
says (``adapters.columns``). Empty cells are no results.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd

from onset.adapters import names, source, table
from onset.adapters.columns import LossColumn, ScoreColumn, classify, unread
from onset.adapters.source import Format, NothingReadError, Reading, Results
from onset.errors import OnsetError
from onset.tables import distinct, files, units
from onset.tables.schema import NUMBERS
from onset.tables.validation import short

ALIASES: dict[str, tuple[str, ...]] = {
    "run": ("run", "model", "model_name", "name", "run_name", "checkpoint"),
    "step": ("step", "_step", "global_step", "train/global_step", "trainer/global_step", "iteration", "steps",
             "revision"),
    "tokens": (
        "tokens", "throughput/total_tokens", "train/num_input_tokens_seen", "num_input_tokens_seen", "tokens_seen",
        "train/tokens", "total_tokens", "n_tokens", "num_tokens", "tokens_trained", "consumed_tokens",
        "throughput/tokens_seen", "n_tokens_seen", "num_token",
    ),
    "params": ("params", "n_params", "num_params", "parameters", "model_size", "size", "params_total"),
    "loss": ("loss", "val_loss", "valid_loss", "validation_loss", "eval_loss", "test_loss", "ppl", "perplexity"),
}  # fmt: skip
"""Columns of others by the column of ours, the first that is there; without regard to case."""
KEPT = ("family", "loss_name", "loss_unit", "language", "chance", "n_examples", "stderr", "direction", "flops", "extra")


def looks_like_history(path: Path) -> bool:
    """A CSV file with ``_step``, or with a step and columns of the form ``group/metric``."""
    columns = [column.lower() for column in source.header(path)]
    stepped = any(column in ALIASES["step"] for column in columns)
    return "_step" in columns or (stepped and any("/" in column for column in columns) and "score" not in columns)


def looks_like_table(path: Path) -> bool:
    """Any table by its ending, but lighteval's details, which belong to its results."""
    if path.name.startswith("details_"):
        return False
    return path.is_file() and path.name.lower().endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq"))


def read(path: Path, reading: Reading) -> Results:
    """The scores and losses of a table, long or wide. Raises OnsetError where it has neither."""
    return read_frame(files.read_compact(path), path, reading)


def read_frame(frame: pd.DataFrame, path: Path, reading: Reading) -> Results:
    """The same of a table that is read already; ``path`` names it in errors."""
    if reading.columns is not None:
        frame = table.apply(frame, table.column_map(reading.columns), path)
    _numeric(frame, path)
    base, notes = _base(frame, path, reading)
    lower = {str(column).lower(): str(column) for column in frame.columns}
    if {"task", "score"} <= lower.keys():
        rows = base.assign(task=frame[lower["task"]], score=frame[lower["score"]])
        rows["metric"] = frame[lower["metric"]] if "metric" in lower else reading.metric or "score"
        rows["loss"] = frame[lower["loss"]] if "loss" in lower else np.nan
        return Results(scores=_with_others(rows, frame), notes=tuple(notes))
    results = _melted(frame, base, reading, path)
    return Results(results.scores, results.losses, notes=(*notes, *results.notes))


def _numeric(frame: pd.DataFrame, path: Path) -> None:
    """Raises OnsetError for a column of numbers that a file holds as truth values, dates or durations."""
    for column in frame.columns:
        if str(column).lower() in NUMBERS and frame[column].dtype.kind in "mMb":
            kind = {"m": "durations", "M": "dates", "b": "true and false"}[frame[column].dtype.kind]
            raise OnsetError(
                f"column '{column}' holds {kind}, not numbers",
                where=path,
                advice="write it as numbers, or leave it out",
            )


def _base(frame: pd.DataFrame, path: Path, reading: Reading) -> tuple[pd.DataFrame, list[str]]:
    """``run, step, tokens, params`` of each row, from columns, from the file's name, or empty."""
    fields = source.run_of(path, reading)
    base = pd.DataFrame(index=frame.index)
    column = _column(frame, "run")
    base["run"] = distinct.texts(frame[column], str.strip) if column else fields["run"]
    for name in ("step", "tokens", "params"):
        column = _column(frame, name)
        if column is not None:
            base[name] = _numbers(frame, column, name, path)
        else:
            base[name] = names.count(fields[name]) if name in fields else np.nan
    for name, value in fields.items():
        if name not in base:
            base[name] = value
    notes = _logarithms(base, frame, path)
    return _split_runs(base, notes), notes


def _column(frame: pd.DataFrame, name: str) -> str | None:
    lower = {str(column).lower(): str(column) for column in reversed(list(frame.columns))}
    return next((lower[alias] for alias in ALIASES[name] if alias in lower), None)


def _numbers(frame: pd.DataFrame, column: str, name: str, path: Path) -> pd.Series:
    """The cells as numbers: counts may be written '125m', steps 'step1000'. Names the row of one that is neither."""
    cells = frame[column]
    values = distinct.each(cells, names.step_of if name == "step" else names.count).astype(float)
    bad = frame.index[values.isna() & cells.notna()]
    if len(bad):
        where = "line" if frame.index.name == files.LINE else "row"
        told = f"{where} {bad[0]}: {name} {short(str(cells[bad[0]]))} is not a number"
        raise OnsetError(told, where=path, advice="correct the cell, or leave the row out")
    return values


def _logarithms(base: pd.DataFrame, frame: pd.DataFrame, path: Path) -> list[str]:
    """Tokens that were written as their decimal logarithm are taken back; none below a thousand is a count."""
    tokens = base.tokens.dropna()
    if len(tokens) and tokens.max() < 16 and tokens.min() > 5 and (tokens % 1 != 0).any():
        base["tokens"] = (10**base.tokens).round()
        return [f"{path.name}: tokens are read as decimal logarithms"]
    return []


def _split_runs(base: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Checkpoints named in the run's column give the step; one name for several sizes is several runs."""
    steps = distinct.each(base.run, lambda run: names.place(run).step).astype(float)
    if base.step.isna().all() and steps.notna().any():
        base["step"] = steps
        tokens = distinct.each(base.run, lambda run: names.place(run).tokens).astype(float)
        base["tokens"] = base.tokens.fillna(tokens)
        base["run"] = distinct.texts(base.run, lambda run: names.place(run).run)
    elif steps.notna().any() and (steps.dropna() == base.step[steps.notna()]).all():
        base["run"] = distinct.texts(base.run, lambda run: names.place(run).run)
    several = base.groupby("run").params.transform("nunique") > 1
    if several.any():
        notes.append("one name for models of several sizes: " + ", ".join(sorted(base.run[several].unique())[:3]))
        sized = base.run.astype(object) + "-" + base.params.map(_short, na_action="ignore")
        base["run"] = distinct.replaced(base.run, several, sized)
    return base


def _short(number: float) -> str:
    """A size as people write it: 125M, 1.3B, 6.7B."""
    unit, letter = next((u, s) for u, s in ((1e9, "B"), (1e6, "M"), (1e3, "K"), (1.0, "")) if number >= u or u == 1)
    return f"{number / unit:.4g}{letter}"


def _with_others(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with the table's further columns, which may be factors."""
    taken = {alias for aliases in ALIASES.values() for alias in aliases} | set(rows.columns)
    others = frame[[column for column in frame.columns if str(column).lower() not in taken]]
    return pd.concat([rows, others.rename(columns=str)], axis=1)


def _melted(frame: pd.DataFrame, base: pd.DataFrame, reading: Reading, path: Path) -> Results:
    """One row a cell that is a loss or a score."""
    columns = [str(c) for c in frame.columns if str(c).lower() not in _place_columns()]
    own = _column(frame, "loss")
    if own is not None and any(fnmatchcase(own, pattern) for pattern in reading.score):
        own = None
    kinds = {column: classify(column, reading) for column in columns if column != own and column not in KEPT}
    losses, scores = [], []
    if own is not None and not (own.lower() == "loss" and any(isinstance(k, LossColumn) for k in kinds.values())):
        losses.append(_own_loss(frame, base, own))
    for column, kind in kinds.items():
        rows = base.assign(value=distinct.numbers(frame[column])).dropna(subset=["value"])
        if isinstance(kind, LossColumn):
            losses.append(made_losses(rows, kind))
        elif isinstance(kind, ScoreColumn) and not kind.stderr:
            error = next((c for c, k in kinds.items() if k == ScoreColumn(kind.task, kind.metric, True)), None)
            made = made_scores(rows, kind)
            scores.append(made if error is None else made.assign(stderr=distinct.numbers(frame[error])))
    if not losses and not scores:
        raise NothingReadError(
            f"the table has no column that is a loss or a score by its name: {', '.join(columns[:8])}",
            where=path,
            advice="name them: --score 'PATTERN', --loss-columns 'PATTERN', and --metric NAME",
        )
    odd = unread([column for column in kinds if kinds[column] is None], reading)
    return Results(_all(scores), _all(losses), notes=tuple(odd))


def _place_columns() -> set[str]:
    return {alias for name in ("run", "step", "tokens", "params") for alias in ALIASES[name]}


def _own_loss(frame: pd.DataFrame, base: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table's own column of losses, with its name and unit where they stand beside it."""
    perplexity = column.lower() in ("ppl", "perplexity")
    rows = base.assign(value=distinct.numbers(frame[column])).dropna(subset=["value"])
    made = made_losses(rows, LossColumn("loss", perplexity=perplexity))
    for name in KEPT:
        if name in frame:
            made[name] = frame[name]
    if "loss_name" in frame:
        made["loss_name"] = distinct.filled(frame.loss_name, "loss")
    if "loss_unit" in frame:
        made["loss_unit"] = distinct.filled(frame.loss_unit, units.NATS)
    return _with_others(made, frame[[c for c in frame.columns if c != column and not re.search("[/ ]", str(c))]])


def made_losses(rows: pd.DataFrame, kind: LossColumn) -> pd.DataFrame:
    """Rows of losses from ``value``: perplexities become losses, values that are no losses are dropped."""
    values = np.log(rows.value.where(rows.value > 0)) if kind.perplexity else rows.value
    made = rows.drop(columns="value").assign(loss_name=kind.name, loss_unit=kind.unit, loss=values)
    made["training"], made["derived"] = kind.training, kind.perplexity
    sound: pd.DataFrame = made[np.isfinite(made.loss) & (made.loss > 0)]
    return sound


def made_scores(rows: pd.DataFrame, kind: ScoreColumn) -> pd.DataFrame:
    """Rows of scores from ``value``."""
    return rows.drop(columns="value").assign(task=kind.task, metric=kind.metric, score=rows.value)


def _all(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


HISTORY = Format("wandb", "Weights & Biases, history of a run (CSV)", looks_like_history, read)
FORMAT = Format("table", "table of scores or losses (CSV, TSV, Parquet)", looks_like_table, read)
