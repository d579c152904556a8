"""SQL over a study's folder: views ``items``, ``answers``, ``losses``, ``asked`` and ``observations``, read only.

The statement sees these views and nothing else: no file, no network, no setting can be reached from it.
"""

from __future__ import annotations

import importlib
import re
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


def query(folder: str | Path, sql: str) -> pd.DataFrame:
    """The rows that one SELECT statement gives over a study's views.

    ``items`` has a row a choice, ``answers`` a row a question, ``losses`` a row a text. ``observations`` (scores joined
    to the study's first loss, see ``onset.read``) and ``asked`` (what could not be asked or was cut, by checkpoint
    and task) are computed when the statement names them. A study without parts has empty views. Raises OnsetError for
    SQL that is wrong or that is no single SELECT, for a folder that does not exist, and for a part cut short.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OnsetError("there is no such folder", where=folder, advice="give the folder of a study")
    with duckdb.connect(config={"enable_external_access": "false"}) as database:
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
        try:
            frame: pd.DataFrame = database.sql(sql).df()
        except duckdb.Error as error:
            raise _explained(error, folder) from error
    return frame


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


def _explained(error: duckdb.Error, folder: Path) -> OnsetError:
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
