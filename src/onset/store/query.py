"""SQL over a study's folder: views ``items``, ``answers``, ``losses``, ``asked`` and ``observations``, read only.

The statement sees these views and nothing else: no file, no network, no setting can be reached from it.
"""

from __future__ import annotations

import importlib
import re
import threading
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from onset.errors import OnsetError
from onset.store.coverage import COLUMNS as ASKED
from onset.store.coverage import asked
from onset.store.parts import SCHEMAS, read_part
from onset.store.rundir import run_dirs

ANSWERS = """
SELECT run, step, task, digest, item,
    CASE WHEN count(correct) > 0 THEN bool_or(correct)
         WHEN count(logprob) = count(*) THEN max(logprob) FILTER (gold) > max(logprob) FILTER (NOT gold) END AS correct,
    CASE WHEN count(logprob) = count(*) THEN max(logprob) FILTER (gold) - max(logprob) FILTER (NOT gold) END AS margin,
    any_value(text) AS text
FROM items GROUP BY ALL
"""
"""One row a question: whether it is right, and by how many nats the right choice is likelier than any other."""

PARTS = {"items": "items/[0-9]*/*.parquet", "losses": "loss/[0-9]*.parquet"}


SECONDS = 60.0
"""How long a query may take where nothing else is said."""
MEMORY = "2GB"
"""What a query may hold; it has no disk to spill to."""


def query(folder: str | Path, sql: str, timeout: float | None = SECONDS) -> pd.DataFrame:
    """The rows that one SELECT statement gives over a study's views.

    ``items`` has a row a choice, ``answers`` a row a question, ``losses`` a row a text. ``observations`` (scores joined
    to the study's first loss, see ``onset.read``) and ``asked`` (what could not be asked or was cut, by checkpoint
    and task) are computed when the statement names them. A study without parts has empty views. ``timeout`` is in
    seconds, None for no limit. Raises OnsetError for a query that takes longer, for SQL that is wrong or that is no
    single SELECT, for a folder that does not exist, and for a part cut short.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OnsetError("there is no such folder", where=folder, advice="give the folder of a study")
    with duckdb.connect(config={"enable_external_access": "false", "memory_limit": MEMORY}) as database:
        _only_select(database, sql)
        for view, pattern in PARTS.items():
            database.register(view, _parts(folder, view, pattern))
        database.execute(f"CREATE VIEW answers AS {ANSWERS}")
        if re.search(r"\bobservations\b", sql, re.IGNORECASE):
            database.register("observations", _observations(folder))
        if re.search(r"\basked\b", sql, re.IGNORECASE):
            database.register(
                "asked", asked([part for run in run_dirs(folder) for part in run.path.glob(PARTS["items"])])
            )
        database.execute("SET python_enable_replacements = false")
        database.execute("SET lock_configuration = true")
        return _within(database, sql, timeout, folder)


def _within(database: duckdb.DuckDBPyConnection, sql: str, timeout: float | None, folder: Path) -> pd.DataFrame:
    """The rows of a statement, which is stopped after ``timeout`` seconds, and by Ctrl-C.

    It runs in a thread of its own: the interpreter hears Ctrl-C only between the steps of its own thread.
    """
    found: list[pd.DataFrame] = []
    faults: list[BaseException] = []
    ended = threading.Event()

    def execute() -> None:
        try:
            found.append(database.execute(sql).df())
        except (duckdb.Error, ValueError, OverflowError, MemoryError, RuntimeError) as error:
            faults.append(error)
        finally:
            ended.set()

    threading.Thread(target=execute, daemon=True).start()
    try:
        late = not ended.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
    finally:
        while not ended.is_set():
            database.interrupt()
            ended.wait(0.1)
    if late and not found:
        raise OnsetError(
            f"the query took longer than {timeout:g} seconds and was stopped", where=sql[:200],
            advice="give it longer with --timeout SECONDS, or ask for less; a recursive query needs an end",
        )  # fmt: skip
    if faults:
        raise _explained(faults[0], folder) from faults[0]
    return found[0]


def _only_select(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse what is not one statement that reads."""
    advice = 'write one SELECT, such as "SELECT task, count(*) FROM items GROUP BY task"'
    try:
        statements = database.extract_statements(sql)
    except duckdb.Error as error:
        raise OnsetError(f"the SQL cannot be understood: {error}", advice=advice) from error
    if len(statements) != 1 or statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise OnsetError("a query is one statement that reads", advice=advice)


def _parts(folder: Path, view: str, pattern: str) -> pa.Table | ds.Dataset:
    """All parts of a kind as one table that is read when it is asked for; empty where there are none."""
    parts = [str(part) for run in run_dirs(folder) for part in sorted(run.path.glob(pattern))]
    if not parts:
        return SCHEMAS[view].empty_table()
    return ds.dataset(parts, schema=SCHEMAS[view], format="parquet")


def _observations(folder: Path) -> pd.DataFrame:
    """The study's observations, or an empty frame where nothing has been scored.

    Measuring lives on a higher floor; it is looked up by name, as a result's drawing is.
    """
    module, schema = (importlib.import_module(f"onset.tables.{name}") for name in ("observations", "schema"))
    if not any(part for run in run_dirs(folder) for part in run.path.glob(PARTS["items"])):
        return pd.DataFrame({name: pd.Series(dtype=_dtype(name, schema.NUMBERS)) for name in schema.COLUMNS})
    frame: pd.DataFrame = module.read(folder)
    return frame


def _dtype(column: str, numbers: tuple[str, ...]) -> str:
    return "float64" if column in numbers else "str"


def _explained(error: BaseException, folder: Path) -> OnsetError:
    """A broken part is named; anything else is the statement's fault, told in the database's words."""
    for run in run_dirs(folder):
        for pattern in PARTS.values():
            for part in sorted(run.path.glob(pattern)):
                if str(part) in str(error):
                    read_part(part)  # raises the OnsetError that names it
    columns = "; ".join(f"{view}: {', '.join(SCHEMAS[view].names)}" for view in PARTS)
    return OnsetError(
        f"the SQL does not work: {str(error).strip()}",
        advice=f"the views are {columns}; answers: run, step, task, digest, item, correct, margin, text; "
        f"asked: {', '.join(ASKED)}; observations: as 'SELECT * FROM observations LIMIT 1' shows",
    )
