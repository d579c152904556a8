"""Text files as a stream of documents: plain text, JSON lines (gzip too) and Parquet.

Nothing is held but the document in hand (Parquet: one batch of rows), so memory does not grow with the corpus.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from onset import reading
from onset.errors import OnsetError, did_you_mean

PLAIN = (".txt", ".md")
"""One document a file."""
LINES = (".jsonl", ".jsonl.gz", ".json.gz")
"""One JSON object a line, the document in a column of it."""
SUFFIXES = (*PLAIN, *LINES, ".parquet")
"""Endings of the files that are read; others in a folder are passed over."""

ROWS = 256
"""Rows of a Parquet file that are held at once."""


def files(path: Path | str) -> list[Path]:
    """The text files that a path stands for: itself, or those anywhere under a folder, sorted by path.

    Raises OnsetError when there is nothing there or nothing of a known kind.
    """
    path = Path(path)
    if not reading.there(path):
        raise OnsetError("no such file or folder of text", where=path, advice="check the source's path")
    if not path.is_dir():
        reading.plain_file(path)
        if not path.name.endswith(SUFFIXES):
            raise _unknown(path, "this file is of no known kind of text")
        return [path]
    found = sorted(
        entry
        for entry in path.rglob("*")
        if entry.name.endswith(SUFFIXES)
        and entry.is_file()
        and not any(part.startswith(".") for part in entry.relative_to(path).parts)
    )
    if not found:
        raise _unknown(path, "this folder holds no text files")
    return found


def documents(path: Path | str, column: str = "text") -> Iterator[str]:
    """The documents of a file or folder, in the order of ``files``; empty ones are left out.

    ``column`` names the text in JSON lines and Parquet. Raises OnsetError, at the place of the fault, for text
    that is not UTF-8, a truncated file, a missing column, and for a corpus without one document.
    """
    empty = True
    for file in files(path):
        for text in _documents_of(file, column):
            if text.strip():
                empty = False
                yield text
    if empty:
        raise OnsetError("the corpus is empty: it has no document with any text", where=path, advice="add some text")


def rows(path: Path | str, column: str) -> Iterator[tuple[str, Any]]:
    """What a column of JSON lines holds, whatever it is, each with the file and line that it stands in.

    Raises OnsetError as ``documents`` does, and for files that are no JSON lines.
    """
    empty = True
    for file in files(path):
        if not file.name.endswith(LINES):
            raise OnsetError("conversations are read from JSON lines", where=file, advice="these: " + ", ".join(LINES))
        for value, where in _lines(file, column):
            empty = False
            yield where, value
    if empty:
        raise OnsetError("there is no conversation here", where=path, advice="write one JSON object a line")


def _documents_of(file: Path, column: str) -> Iterator[str]:
    if file.name.endswith(PLAIN):
        yield _plain(file)
    elif file.name.endswith(LINES):
        yield from (_text(value, column, where) for value, where in _lines(file, column))
    else:
        yield from _parquet(file, column)


def _plain(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(file, error) from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _lines(file: Path, column: str) -> Iterator[tuple[Any, str]]:
    """What a column holds, line by line, and where."""
    number = 0
    try:
        with gzip.open(file, "rb") if file.name.endswith(".gz") else open(file, "rb") as stream:
            for raw in stream:
                number += 1
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if line.strip():
                    where = f"{file}, line {number}"
                    yield _field(_value(line, where), column, where), where
    except UnicodeDecodeError as error:
        raise _not_utf8(f"{file}, line {number}", error) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise OnsetError(
            f"the gzip file is truncated or damaged: {error}",
            where=f"{file}, after line {number}",
            advice="fetch or compress it again",
        ) from error
    except OSError as error:
        raise _unreadable(file, error) from error


def _value(line: str, where: str) -> object:
    return reading.json_text(line, where=where, advice="write one JSON object a line; the file may be cut short")


def _field(row: object, column: str, where: str) -> Any:
    if not isinstance(row, dict):
        raise OnsetError("this line is no JSON object", where=where, advice="write one object a line")
    if column not in row:
        raise _no_column(column, [str(key) for key in row], where)
    return row[column]


def _parquet(file: Path, column: str) -> Iterator[str]:
    row = 0
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            if column not in names:
                raise _no_column(column, names, str(file))
            for batch in parquet.iter_batches(batch_size=ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    row += 1
                    yield _text(value, column, f"{file}, row {row}")
    except UnicodeDecodeError as error:
        raise _not_utf8(f"{file}, near row {row + 1}", error) from error
    except (pa.ArrowException, OSError) as error:
        raise OnsetError(
            f"the Parquet file is truncated or damaged: {error}", where=file, advice="fetch or write it again"
        ) from error


def _text(value: object, column: str, where: str) -> str:
    """A text value; null counts as an empty document."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise OnsetError(
            f"column '{column}' holds {type(value).__name__}, not text", where=where, advice="name a column of text"
        )
    return value


def _no_column(column: str, columns: list[str], where: str) -> OnsetError:
    return OnsetError(f"no column '{column}'", where=where, advice=did_you_mean(column, columns))


def _not_utf8(where: object, error: UnicodeDecodeError) -> OnsetError:
    return OnsetError(
        f"not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}",
        where=where,
        advice="convert it first, for example with iconv -t UTF-8",
    )


def _unreadable(file: Path, error: OSError) -> OnsetError:
    return OnsetError(f"cannot read: {error.strerror or error}", where=file, advice="check the file and its rights")


def _unknown(path: Path, what: str) -> OnsetError:
    return OnsetError(what, where=path, advice="these are read: " + ", ".join(SUFFIXES))
