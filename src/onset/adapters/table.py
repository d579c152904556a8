"""A table of another shape: columns renamed, constants added, one column a task melted.

The map is a TOML file, or pairs ``new=old``::

    [columns]          # observation = column of the table
    run = "model"
    params = "n_params"

    [constants]        # the same in every row
    family = "open_lm"
    metric = "acc"

    [tasks]            # for a table with one column a task
    mmlu = {column = "MMLU (5-shot)", chance = 0.25, n_examples = 14042}
    piqa = "PIQA"

A value with a unit or a sign that is no number is named by its line; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from onset import reading
from onset.errors import OnsetError, did_you_mean
from onset.tables import files, losses
from onset.tables.observations import COLUMNS

SECTIONS = ("columns", "constants", "tasks")


@dataclass(frozen=True)
class ColumnMap:
    """How another's columns become those of observations."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Observation column to the table's column."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Task to its column and its own constants."""


def read(
    path: str | Path, *, columns: str | Path | Sequence[str] | None = None, loss: str | None = None
) -> pd.DataFrame:
    """A table (CSV, CSV.gz, TSV, Parquet) with its columns mapped; columns that have no new name are kept.

    ``columns`` is the path of a TOML map, or pairs ``new=old``. ``loss`` picks a loss axis as in ``onset.read``.
    Raises OnsetError for a map that names a column that the table lacks.
    """
    path = Path(path)
    frame = files.read_table(path)
    mapped = apply(frame, column_map(columns), path)
    return mapped if loss is None else losses.choose(mapped, loss, path)


def column_map(columns: str | Path | Sequence[str] | None) -> ColumnMap:
    """The map of a TOML file, or of pairs ``new=old`` (one text may hold several, with commas)."""
    if columns is None:
        return ColumnMap()
    if isinstance(columns, str | Path) and str(columns).endswith(".toml"):
        return _from_toml(Path(columns))
    texts = [str(columns)] if isinstance(columns, str | Path) else list(columns)
    found: dict[str, str] = {}
    for pair in ",".join(texts).split(","):
        new, equals, old = (word.strip() for word in pair.partition("="))
        if not (new and equals and old):
            raise OnsetError(f"'{pair}' is no pair new=old", advice="write for instance: run=model,params=n_params")
        found[new] = old
    _known_columns(found, "--column")
    return ColumnMap(columns=found)


def apply(frame: pd.DataFrame, by: ColumnMap, where: object = None) -> pd.DataFrame:
    """The frame with its columns renamed, one column a task melted, and the constants added."""
    wanted = {**by.columns, **{f"tasks.{task}": spec["column"] for task, spec in by.tasks.items()}}
    for new, old in wanted.items():
        if old not in frame:
            raise OnsetError(
                f"the table has no column '{old}' (for {new})", where=where, advice=did_you_mean(old, map(str, frame))
            )
    made = frame.copy()
    for new, old in by.columns.items():  # one old column may serve several new ones
        made[new] = frame[old]
    made = made.drop(columns=[old for old in set(by.columns.values()) if old not in by.columns])
    if by.tasks:
        made = _melted(made, frame, by.tasks)
    for name, value in by.constants.items():
        made[name] = value
    made.attrs = dict(frame.attrs)
    return made


def _from_toml(path: Path) -> ColumnMap:
    found = reading.toml_file(path)
    for section, values in found.items():
        if section not in SECTIONS or not isinstance(values, dict):
            raise OnsetError(f"unknown part '{section}'", where=path, advice=did_you_mean(section, SECTIONS))
    columns, constants = found.get("columns", {}), found.get("constants", {})
    _known_columns(columns, path)
    _known_columns(constants, path)
    tasks = {
        name: {"column": spec} if isinstance(spec, str) else dict(spec) for name, spec in found.get("tasks", {}).items()
    }
    for name, spec in tasks.items():
        if "column" not in spec:
            raise OnsetError(f"task '{name}' does not say its column", where=path, advice=f'{name} = "its column"')
        _known_columns({key: value for key, value in spec.items() if key != "column"}, path)
    return ColumnMap({new: str(old) for new, old in columns.items()}, constants, tasks)


def _known_columns(names: Mapping[str, Any], where: object) -> None:
    for name in names:
        if name not in COLUMNS:
            raise OnsetError(
                f"observations have no column '{name}'",
                where=where,
                advice=f"{did_you_mean(name, COLUMNS)} Other columns are kept under the names that they have.",
            )


def _melted(made: pd.DataFrame, frame: pd.DataFrame, tasks: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row a task from a table with one column a task; row numbers stay those of the table."""
    shared = made.drop(columns=[spec["column"] for spec in tasks.values() if spec["column"] in made])
    parts = []
    for task, spec in tasks.items():
        own = {name: value for name, value in spec.items() if name != "column"}
        parts.append(shared.assign(task=task, score=frame[spec["column"]], **own))
    return pd.concat(parts)
