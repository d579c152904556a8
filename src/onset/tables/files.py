"""Tables on disk: CSV, CSV.gz and Parquet, read so that every fault can be named by its line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from pathlib import Path
from typing import TextIO, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import union_categoricals

from onset.errors import OnsetError
from onset.reading import plain_file
from onset.store.parts import sweep_dead, whole_file
from onset.tables import distinct
from onset.tables.distinct import plain

LINE = "line"
"""Name of the index of a frame that came from a text file: its line numbers, the header being line 1."""

CHUNK = 100_000
"""Rows of a text file that are read at once."""
MOST_ROWS = 5_000_000
"""Rows of the largest table: 3 million take 1 GB to import and 2 GB to analyse."""
WIDEST = 10_000
"""Columns above are no table of observations."""
LONGEST = 1_000_000
"""Characters of the longest cell."""
HEADER = 2**22
"""Characters of the longest header."""

MISSING = ["", "NA", "N/A", "<NA>", "null", "NULL", "None"]
"""Cells that hold nothing. 'nan' is not among them: it is a number that went wrong."""


def read_table(path: Path) -> pd.DataFrame:
    """A table as given: text cells of a CSV stay text, so that the checks can name what is not a number."""
    return plain(read_compact(path))


def read_compact(path: Path) -> pd.DataFrame:
    """The same, where a text file of many rows has its columns as categories (``distinct.LARGE``)."""
    path = Path(path)
    plain_file(path, what="table")
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        return _with_short_cells(_read_text(path, "\t" if ".tsv" in name else ","), path)
    if name.endswith((".parquet", ".pq")):
        return _with_short_cells(_read_parquet(path), path)
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
        frame = _in_chunks(path, separator)
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
    frame.columns = frame.columns.str.strip().str.lstrip("\ufeff")
    frame.index = pd.RangeIndex(2, len(frame) + 2, name=LINE)
    blank = frame.isna().all(axis=1)
    return frame[~blank] if blank.any() else frame


def _in_chunks(path: Path, separator: str) -> pd.DataFrame:
    """All rows, read a part at a time; of many, into categories, so that each text is held once."""
    parts: list[pd.DataFrame] = []
    rows = 0
    with pd.read_csv(
        path, sep=separator, dtype="str", keep_default_na=False, na_values=MISSING, encoding="utf-8-sig",
        skip_blank_lines=False, compression="gzip" if path.name.endswith(".gz") else None, chunksize=CHUNK,
    ) as chunks:  # fmt: skip
        for chunk in chunks:
            if not isinstance(chunk.index, pd.RangeIndex):  # pandas takes what is too much for an index
                raise OnsetError(
                    "rows have more cells than the header",
                    where=f"{path}, line {_longer(path, separator)}",
                    advice="every row needs as many cells as the header",
                )
            rows += len(chunk)
            if rows > MOST_ROWS:
                raise _too_many(path)
            parts.append(chunk)
            if rows > distinct.LARGE:
                parts = [part.astype("category") for part in parts]
    if rows <= distinct.LARGE:
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    columns = {}
    for name in parts[0].columns:
        columns[name] = pd.Series(union_categoricals([part.pop(name) for part in parts], sort_categories=True))
    del parts
    pa.default_memory_pool().release_unused()
    return pd.DataFrame(columns, copy=False)


def _longer(path: Path, separator: str) -> int:
    """The line of the first row that has more cells than the header."""
    with _opened(path) as handle:
        rows = csv.reader(handle, delimiter=separator)
        header = len(next(rows, []))
        return next((rows.line_num for row in rows if len(row) > header), 2)


def _opened(path: Path) -> TextIO:
    opened = gzip.open if path.name.endswith(".gz") else open
    return cast(TextIO, opened(path, "rt", encoding="utf-8-sig", newline=""))


def _distinct(path: Path, separator: str) -> None:
    """Refuse a header that names a column twice: pandas would call the second ``score.1`` and leave it aside."""
    with _opened(path) as handle:
        header = [name.strip() for name in next(csv.reader([handle.readline(HEADER)], delimiter=separator), [])]
    _not_too_wide(path, len(header))
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise OnsetError(
            f"the table has several columns called {', '.join(twice)}", where=path, advice="keep one of each name"
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    """The columns of a Parquet table. What its writer noted for pandas (an index, types) counts for nothing."""
    try:
        table = _rows_of(path)
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
        for name in {field.name for field in table.schema if pa.types.is_nested(field.type)}:
            frame[name] = frame[name].map(str)  # a list is no number, and is told as it stands there
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OnsetError(f"cannot read the table: {error}", where=path, advice="fetch or make the file anew") from error
    return frame.drop(columns=[name for name in frame if str(name).startswith("__index_level_")])


def _rows_of(path: Path) -> pa.Table:
    """The rows of a Parquet table; the texts of many are read as each one once."""
    file = pq.ParquetFile(path)
    if file.metadata.num_rows > MOST_ROWS:
        raise _too_many(path)
    _not_too_wide(path, file.metadata.num_columns)
    if file.metadata.num_rows <= distinct.LARGE:
        return file.read()
    texts = [
        field.name
        for field in file.schema_arrow
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    return pq.ParquetFile(path, read_dictionary=texts).read()


def _not_too_wide(path: Path, columns: int) -> None:
    if columns > WIDEST:
        raise OnsetError(
            f"the table has {columns:,} columns, more than {WIDEST:,}", where=path, advice="keep those that are needed"
        )


def _with_short_cells(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The frame, or an OnsetError where a cell holds more text than any name."""
    for name in frame:
        cells = frame[name]
        if distinct.is_compact(cells):
            cells = pd.Series(cells.cat.categories)
        if isinstance(cells.dtype, pd.StringDtype) and cells.str.len().max() > LONGEST:
            raise OnsetError(
                f"a cell of column '{str(name)[:60]}' has more than {LONGEST:,} characters", where=path,
                advice="leave such columns out",
            )  # fmt: skip
    return frame


def _too_many(path: Path) -> OnsetError:
    return OnsetError(
        f"the table has more than {MOST_ROWS:,} rows",
        where=path,
        advice="keep fewer checkpoints of each run, or fewer metrics: a row is one checkpoint, task and metric",
    )
