"""Tables on disk: CSV, CSV.gz and Parquet, read so that every fault can be named by its line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from onset.errors import OnsetError
from onset.reading import plain_file
from onset.store.parts import sweep_dead, whole_file

LINE = "line"
"""Name of the index of a frame that came from a text file: its line numbers, the header being line 1."""

WIDEST = 10_000
"""Columns above are no table of observations."""
HEADER = 2**22
"""Characters of the longest header."""

MISSING = ["", "NA", "N/A", "<NA>", "null", "NULL", "None"]
"""Cells that hold nothing. 'nan' is not among them: it is a number that went wrong."""


def read_table(path: Path) -> pd.DataFrame:
    """A table as given: text cells of a CSV stay text, so that the checks can name what is not a number."""
    path = Path(path)
    plain_file(path, what="table")
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        return _read_text(path, "\t" if ".tsv" in name else ",")
    if name.endswith((".parquet", ".pq")):
        return _read_parquet(path)
    raise OnsetError(
        "this kind of table is not known",
        where=path,
        advice="give .csv, .csv.gz, .tsv, .tsv.gz or .parquet, or the folder of a study",
    )


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table by its ending (.csv, .csv.gz, .parquet), complete or not at all."""
    path = Path(path)
    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", ".parquet", ".pq")):
        raise OnsetError(
            "cannot tell how to write this table", where=path, advice="end it in .csv, .csv.gz or .parquet"
        )
    sweep_dead(path.parent)
    with whole_file(path) as beside:
        if name.endswith((".parquet", ".pq")):
            frame.to_parquet(beside, index=False)
        else:
            # Without a time stamp in the gzip header the same table gives the same bytes.
            packed = {"method": "gzip", "mtime": 0} if name.endswith(".gz") else None
            frame.to_csv(beside, index=False, compression=packed)


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    try:
        _distinct(path, separator)
        frame = pd.read_csv(
            path, sep=separator, dtype="str", keep_default_na=False, na_values=MISSING, encoding="utf-8-sig",
            skip_blank_lines=False, compression="gzip" if path.name.endswith(".gz") else None,
        )  # fmt: skip
    except UnicodeDecodeError as error:
        raise OnsetError("the table is not UTF-8", where=path, advice="save it as UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise OnsetError("the table is empty", where=path, advice="give a table with a header and rows") from error
    except (csv.Error, EOFError, zlib.error, OSError) as error:
        raise OnsetError(
            f"the table cannot be read to its end: {error}", where=path, advice="fetch or make the file anew"
        ) from error
    except pd.errors.ParserError as error:
        raise OnsetError(
            f"the table is not well formed: {error}", where=path, advice="every row needs as many cells as the header"
        ) from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for an index
        raise OnsetError(
            "rows have more cells than the header", where=path, advice="every row needs as many cells as the header"
        )
    frame.columns = frame.columns.str.strip()
    frame.index = pd.RangeIndex(2, len(frame) + 2, name=LINE)
    blank = frame.isna().all(axis=1)
    return frame[~blank] if blank.any() else frame


def _distinct(path: Path, separator: str) -> None:
    """Refuse a header that names a column twice: pandas would call the second ``score.1`` and leave it aside."""
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
        header = [name.strip() for name in next(csv.reader([handle.readline(HEADER)], delimiter=separator), [])]
    if len(header) > WIDEST:
        raise OnsetError(
            f"the table has {len(header)} columns, more than {WIDEST:,}",
            where=path,
            advice="keep those that are needed",
        )
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise OnsetError(
            f"the table has several columns called {', '.join(twice)}", where=path, advice="keep one of each name"
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    """The columns of a Parquet table. What its writer noted for pandas (an index, types) counts for nothing."""
    try:
        table = pq.ParquetFile(path).read()
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
        for name in {field.name for field in table.schema if pa.types.is_nested(field.type)}:
            frame[name] = frame[name].map(str)  # a list is no number, and is told as it stands there
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OnsetError(f"cannot read the table: {error}", where=path, advice="fetch or make the file anew") from error
    return frame.drop(columns=[name for name in frame if str(name).startswith("__index_level_")])
