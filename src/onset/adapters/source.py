"""What a source of results is: the contract of a format, and the frames that it returns.

A format is one module with a ``FORMAT``. Its ``read`` gives the scores and the losses that a file or folder holds;
most hold only one of the two, and ``onset.adapters.join`` brings them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from onset import reading as whole
from onset.adapters.names import Pattern
from onset.errors import OnsetError

SCORES = ("run", "step", "tokens", "params", "task", "metric", "score", "stderr", "chance", "n_examples", "direction")
"""Columns of scores; ``run, task, metric, score`` are always there, others where the source has them."""
LOSSES = ("run", "step", "tokens", "params", "loss_name", "loss_unit", "loss", "training", "derived")
"""Columns of losses; ``training`` marks losses of single training batches, ``derived`` logarithms of perplexities."""


class NothingReadError(OnsetError):
    """A file holds neither scores nor losses; in a folder of others it is passed over."""


@dataclass(frozen=True)
class Reading:
    """How sources are read: what their names and columns do not say."""

    metric: str | None = None
    """Metric of scores whose name gives none."""
    score: tuple[str, ...] = ()
    """Patterns of columns that are scores."""
    loss: tuple[str, ...] = ()
    """Patterns of columns that are losses."""
    runs: Pattern | None = None
    """Takes file names apart."""
    seq_length: int | None = None
    """Tokens a sample, for logs that count samples."""
    columns: str | Path | Sequence[str] | None = None
    """Map of columns for tables (see ``adapters.table``)."""
    items: bool = False
    """Whether item rows are wanted for themselves, not only to measure what the source does not publish."""


@dataclass(frozen=True)
class Results:
    """What one source holds."""

    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    losses: pd.DataFrame = field(default_factory=pd.DataFrame)
    items: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Item rows (``store.parts.ITEMS``), where the source has single questions."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """A format by name: how it is told from others, and how it is read."""

    name: str
    title: str
    looks_like: Callable[[Path], bool]
    """Whether a file (or a folder as a whole) is of the format, told without reading all of it."""
    read: Callable[[Path, Reading], Results]
    folder: bool = False
    """Whether a folder as a whole is of the format, and no single file."""


def run_of(path: Path, reading: Reading) -> dict[str, Any]:
    """The columns that a file's name gives: ``run``, and the fields of the pattern.

    The run is the file's stem, or the pattern's ``{run}`` where that is its only field beside those of checkpoints.
    Where it has others (``{params}``), several files share a ``{run}``: it is their family.
    """
    stem = path.name.partition(".csv")[0] if ".csv" in path.name else path.stem
    if reading.runs is None:
        return {"run": stem}
    fields = reading.runs.match(path.as_posix())
    if fields is None:
        raise OnsetError(f"the file's name does not fit the pattern '{reading.runs.text}'", where=path)
    shared = fields.keys() - {"run", "step", "tokens", "restart"}
    if "run" in fields and shared:
        return {**fields, "run": stem, "family": fields["run"]}
    return {"run": stem, **fields}


def head(path: Path, size: int = 4096) -> str:
    """The beginning of a text file; empty for a folder or a file that is not UTF-8 text."""
    if not path.is_file():
        return ""
    with open(path, "rb") as handle:
        start = handle.read(size)
    return "" if b"\0" in start else start.decode("utf-8-sig", errors="ignore")


def header(path: Path) -> list[str]:
    """The names of the columns of a CSV file, unquoted; empty for anything else."""
    import csv

    if not path.name.lower().endswith(".csv"):
        return []
    first = next(iter(head(path, 1 << 20).splitlines()), "")
    return [cell.strip() for cell in next(csv.reader([first]), [])]


def load_json(path: Path) -> Any:
    """The content of a JSON file, ``NaN`` allowed as trainers write it. Raises OnsetError for one cut short."""
    return whole.json_file(path)


def json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON Lines file. Raises OnsetError, naming the line, for one that is cut short."""
    for _, line in whole.json_lines(path):
        yield line
