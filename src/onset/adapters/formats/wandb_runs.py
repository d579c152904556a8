"""Weights & Biases: the table of runs exported from the web page, one row a run with its configuration and last values.

It has no histories: each run is one point, its last one. Values of runs that did not finish are of different steps
(the last loss may be hundreds of steps after the last evaluation), so these runs are left out and counted. Names are
not unique in Weights & Biases: runs that share one are told apart by their ID, or by their order.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from onset.adapters import source
from onset.adapters.formats import wide
from onset.adapters.source import Format, NothingReadError, Reading, Results
from onset.tables import files

OF_RUNS = {"Runtime", "Created", "User", "Sweep", "Tags", "Notes", "ID", "End Time", "Hostname"}
"""Columns that stand beside ``Name`` and ``State`` in every such table."""


def looks_like(path: Path) -> bool:
    """A CSV file with ``Name``, ``State`` and another column of runs."""
    columns = set(source.header(path))
    return {"Name", "State"} <= columns and bool(columns & OF_RUNS)


def read(path: Path, reading: Reading) -> Results:
    """The last scores and losses of the runs that finished."""
    frame = files.read_table(path)
    states = frame["State"].fillna("unknown").str.strip().str.lower()
    ended = frame[states == "finished"]
    others = states[states != "finished"].value_counts()
    notes = [f"{path.name}: runs that did not finish, left out: {', '.join(f'{n} {s}' for s, n in others.items())}"]
    if ended.empty:
        raise NothingReadError("no run of the table has finished", where=path)
    named = ended.assign(Name=_names(ended)).drop(columns=["State", *(OF_RUNS & set(ended.columns))])
    results = wide.read_frame(named, path, reading)
    return Results(results.scores, results.losses, notes=(*(notes if len(others) else []), *results.notes))


def _names(frame: pd.DataFrame) -> pd.Series:
    """The runs' names; those that several runs have with the ID of each, or its number."""
    names = frame["Name"].fillna("run").str.strip()
    tail = frame["ID"].astype("str") if "ID" in frame else (names.groupby(names).cumcount() + 1).astype("str")
    return names.where(~names.duplicated(keep=False), names + "-" + tail)


FORMAT = Format("wandb-runs", "Weights & Biases, table of runs (CSV)", looks_like, read)
