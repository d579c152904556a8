"""Parquet parts of a study: their schemas, writing one whole, and a DuckDB view over all of them.

A part is written beside its place, flushed to disk and renamed, so that a file that exists is complete.
Work owed is the set of parts that are absent. ``items`` keeps one row a choice: every metric is computed
from these rows, and none needs the model again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from onset import reading
from onset.errors import OnsetError

ITEMS = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("choice", pa.int32(), nullable=False),
        pa.field("gold", pa.bool_(), nullable=False),  # whether this choice is the right one
        pa.field("logprob", pa.float64()),  # nats, of the continuation given the prompt
        pa.field("logprob_uncond", pa.float64()),  # nats, given the bare prompt; null where not asked
        pa.field("tokens", pa.int32()),  # of the continuation
        pa.field("bytes", pa.int32()),  # of the continuation in UTF-8
        pa.field("text", pa.string()),  # free answers: what was generated
        pa.field("correct", pa.bool_()),  # free answers: whether it is right
        pa.field("cut_shots", pa.int32()),  # examples left out of the prompt to fit the model's context
        pa.field("missing", pa.string()),  # why a number is absent: 'too long', 'empty', 'no room'; null where none is
        pa.field("cluster", pa.string()),  # passage or subject that items share; null where an item stands alone
        pa.field("samples", pa.list_(pa.string())),  # free answers: texts that were sampled; null where none were
        pa.field("samples_correct", pa.list_(pa.bool_())),  # whether each of them is right
    ]
)
"""One row a choice; a free answer has one row, choice 0, whose logprob is that of the reference answer."""

LOSSES = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # name of the validation text
        pa.field("language", pa.string(), nullable=False),  # en, zh, or 'all' for a text of several as a whole
        pa.field("nats_per_token", pa.float64(), nullable=False),
        pa.field("bits_per_byte", pa.float64(), nullable=False),
        pa.field("unigram_normalised", pa.float64()),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("bits_per_character", pa.float64()),
        pa.field("nats_per_token_stderr", pa.float64()),  # standard errors from documents
        pa.field("bits_per_byte_stderr", pa.float64()),
        pa.field("unigram_normalised_stderr", pa.float64()),
        pa.field("documents", pa.int64()),
        pa.field("characters", pa.int64()),
        pa.field("changed", pa.int64()),  # bytes that the tokenizer drops or changes
        pa.field("overlap_ngrams", pa.float64()),  # share of the text's n-grams that are in the training data
        pa.field("overlap_documents", pa.float64()),  # share of its documents that are, by most of their n-grams
    ]
)
"""One row a (validation text, language), and one with language 'all' for a text of several: see ``with_whole``."""

DOCUMENTS = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("document", pa.int32(), nullable=False),  # its place in the text of that language
        pa.field("nats", pa.float64(), nullable=False),  # of its own tokens
        pa.field("nats_end", pa.float64(), nullable=False),  # of the token that ends it; zero where none is counted
        pa.field("nats_unigram", pa.float64()),  # of all these tokens under the unigram
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("characters", pa.int64(), nullable=False),
    ]
)
"""One row a document of a validation text: what standard errors and comparisons of models rest on."""

ABOUT = b"onset"
"""Key of what a part says of itself, in its file's metadata."""

SCHEMAS: Mapping[str, pa.Schema] = {"items": ITEMS, "losses": LOSSES}


def write_part(
    path: Path,
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame | pa.Table,
    schema: pa.Schema,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write rows as one Parquet part, complete or not at all; columns that may be empty may be absent.

    ``about`` is kept in the file beside its rows, as JSON: see ``read_about``. Raises OnsetError when a row does not
    fit the schema or the file cannot be written.
    """
    try:
        if isinstance(rows, pd.DataFrame):
            empty = {field.name: None for field in schema if field.nullable and _is_empty(rows, field)}
            table = pa.Table.from_pandas(rows.assign(**empty), schema=schema, preserve_index=False)
        elif isinstance(rows, pa.Table):
            for field in schema:  # rows of before a column was there
                if field.nullable and field.name not in rows.schema.names:
                    rows = rows.append_column(field, pa.nulls(len(rows), field.type))
            table = rows.select(schema.names).cast(schema)
        else:
            table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        for field in schema:
            if not field.nullable and table.column(field.name).null_count:
                raise OnsetError(f"column '{field.name}' has an empty value", where=path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError) as error:
        raise OnsetError(f"rows do not fit the table: {error}", where=path) from error
    if about:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), ABOUT: json.dumps(about).encode()})
    with whole_file(path) as beside:
        pq.write_table(table, beside, compression="zstd")


def _is_empty(rows: pd.DataFrame, field: pa.Field) -> bool:
    """Whether rows lack a column, or have nothing in one of lists (which numbers that are not there cannot become)."""
    return field.name not in rows.columns or (pa.types.is_list(field.type) and bool(rows[field.name].isna().all()))


def read_about(path: Path) -> dict[str, Any]:
    """What a part says of itself beside its rows; empty for one that says nothing."""
    try:
        said = (pq.read_schema(reading.plain_file(path)).metadata or {}).get(ABOUT)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return {} if said is None else reading.json_dict(said, where=path, advice="delete this file and run again")


_BESIDE = re.compile(r"\..+\.(\d{1,10})\.[0-9a-f]{8}\.part")
"""Names of what is being written, with the number of the process that writes it."""


class whole_file:
    """A file that appears complete or not at all: written beside its place, flushed, renamed.

    ``with whole_file(path) as beside: ...`` writes to ``beside``. An error leaves nothing behind, and a
    full disk or a read-only folder becomes one OnsetError.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")

    def __enter__(self) -> Path:
        replaceable(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error
        return self.beside

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                with open(self.beside, "rb") as handle:
                    os.fsync(handle.fileno())
                os.replace(self.beside, self.path)
            except OSError as failed:
                self.beside.unlink(missing_ok=True)
                raise unwritable(self.path, failed) from failed
            return
        with contextlib.suppress(OSError):  # a read-only folder cannot hold a leftover either
            self.beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(self.path, error) from error


def replaceable(path: Path) -> None:
    """Raise OnsetError for a path where a rename would put a file in the place of something else."""
    try:
        if path.is_symlink() and not path.exists():
            raise OnsetError(
                f"'{path.name}' is a link that leads nowhere", where=path, advice="name a file, or remove it"
            )
        if path.exists() and not path.is_file():  # a device, a pipe, a folder
            raise OnsetError(
                f"'{path.name}' is not a file, and would be replaced by one", where=path,
                advice="name a file that may be written",
            )  # fmt: skip
    except OSError as error:
        raise unwritable(path, error) from error


def sweep_dead(*folders: Path) -> None:
    """Remove files and folders that processes of this machine were writing when they ended, right in these folders."""
    for folder in folders:
        for path in folder.glob(".*.part"):
            found = _BESIDE.fullmatch(path.name)
            if found and not _alive(int(found[1])):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def sweep(folder: Path) -> None:
    """Remove the half-written parts that a killed process left in a study's folder.

    For the process that holds the study. Those of checkpoints are for the process that holds the run.
    """
    for pattern in (".*.part", "text/.*.part", "runs/*/.*.part", "runs/*/*/.*.part", "runs/*/items/*/.*.part"):
        _remove_files(folder.glob(pattern))
    _remove_files(folder.glob("runs/*/items/*/*.chunks/.*.part"))


def _remove_files(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, complete or not at all."""
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def read_part(path: Path) -> pd.DataFrame:
    """Read one part. A file that is cut short is one OnsetError that names it."""
    try:
        table = pq.ParquetFile(reading.plain_file(path)).read()
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return frame


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one part as values, what is missing None: to be written again as they are."""
    try:
        return list(pq.ParquetFile(reading.plain_file(path)).read().to_pylist())
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def with_whole(losses: pd.DataFrame) -> pd.DataFrame:
    """Rows of the losses table with one of language 'all' for every text: that of a text of one language is it."""
    whole = losses["language"] == "all"
    has = whole.groupby([losses[name] for name in ("run", "step", "text")]).transform("any")
    return pd.concat([losses, losses[~has].assign(language="all")], ignore_index=True)


def _unreadable(path: Path, error: Exception) -> OnsetError:
    return OnsetError(
        f"cannot read the part: {error}", where=path, advice="delete this file and run again: it is made anew"
    )


def unwritable(path: Path, error: OSError) -> OnsetError:
    reason = error.strerror or str(error)
    return OnsetError(
        f"cannot write: {reason}",
        where=path,
        advice="free some space or choose another folder with --out, then run the same command again: it resumes",
    )
