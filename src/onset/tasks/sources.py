"""Sources: rows from local files, from a pinned revision of a public data set, or made on the spot.

Local files are gzip JSON lines, ``<task>.eval.jsonl.gz`` (questions) and ``<task>.fewshot.jsonl.gz`` (examples for
prompts); a plain ``.jsonl`` is read too. Where the folder holds a ``SHA256SUMS``, its files must agree with it. Rows
of a public data set are turned into the same fields by one function, so that a task does not know where they came from.
Nothing is read before ``rows`` or ``examples`` is called.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from onset import reading
from onset.errors import OnsetError, install
from onset.tasks.task import Item, Row

ENDINGS = (".jsonl.gz", ".jsonl")
SUMS = "SHA256SUMS"
ROW_FORMAT = "one JSON object a line: id, question and/or context, then choices and answer (0-based), or answers"


class _Kept:
    """Rows are read once and kept with the source, and are not sent along to another process."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


@dataclass(frozen=True)
class LocalRows(_Kept):
    """Rows of ``<folder>/<name>.eval.jsonl.gz`` and ``<name>.fewshot.jsonl.gz``."""

    folder: Path
    name: str
    fields: tuple[str, ...] = ("id",)
    """Fields that every row must have."""
    shots_from: str | None = None
    """Name of the files whose few-shot rows are used; by default its own."""

    def __str__(self) -> str:
        return str(self.folder / f"{self.name}.eval.jsonl.gz")

    def rows(self) -> list[Row]:
        """Rows to be asked, in the order of the file."""
        return self._eval

    def examples(self) -> list[Row]:
        """Rows for prompts, in the order of the file."""
        return self._fewshot

    def identity(self) -> dict[str, Any]:
        """Names and checksums of the contents; the folder does not count."""
        shots = self.shots_from or self.name
        sums = {"eval": self._digest("eval", self.name)}
        if self._found("fewshot", shots):
            sums["fewshot"] = self._digest("fewshot", shots)
        return {"source": "local", "name": self.name, **sums}

    @cached_property
    def _eval(self) -> list[Row]:
        return read_rows(self._path("eval", self.name), self.fields)

    @cached_property
    def _fewshot(self) -> list[Row]:
        return read_rows(self._path("fewshot", self.shots_from or self.name), self.fields)

    def _found(self, part: str, name: str) -> Path | None:
        paths = (self.folder / f"{name}.{part}{ending}" for ending in ENDINGS)
        return next((path for path in paths if path.is_file()), None)

    def _path(self, part: str, name: str) -> Path:
        if path := self._found(part, name):
            return path
        raise OnsetError(
            f"task '{self.name}' has no file of {'questions' if part == 'eval' else 'examples'}",
            where=self.folder / f"{name}.{part}.jsonl.gz",
            advice=f"put the file there ({ROW_FORMAT}), or name the folder that has it with --data",
        )

    def _digest(self, part: str, name: str) -> str:
        return hashlib.sha256(_opened(self._path(part, name))).hexdigest()


@dataclass(frozen=True)
class HubRows(_Kept):
    """Rows of a public data set at one revision, read with ``datasets`` when first asked for."""

    hub: str
    """Identifier on the hub, ``owner/name``."""
    revision: str
    """Commit of the data set, forty hexadecimal digits."""
    adapt: Callable[[Row, str], dict[str, Any]]
    """Row and its configuration to the fields of a local row; the id is made of split, configuration and place."""
    configs: tuple[str | None, ...] = (None,)
    """Configurations, read one after another (the subjects of an exam)."""
    split: str = "test"
    shots_split: str = "train"
    pool: int = 100
    """Examples kept from each configuration of the few-shot split."""
    sha256: str | None = None
    """Checksum of the adapted rows (``rows_digest``); checked when given."""

    def __str__(self) -> str:
        return f"{self.hub}@{self.revision}"

    def rows(self) -> list[Row]:
        """Rows to be asked, configuration by configuration."""
        return self._eval

    def examples(self) -> list[Row]:
        """The first ``pool`` rows of each configuration of the few-shot split."""
        return self._fewshot

    def identity(self) -> dict[str, Any]:
        """Data set, revision, configurations and splits."""
        return {
            "source": "hub", "hub": self.hub, "revision": self.revision, "configs": list(self.configs),
            "split": self.split, "shots": [self.shots_split, self.pool],
        }  # fmt: skip

    @cached_property
    def _eval(self) -> list[Row]:
        rows = self._load(self.split)
        if self.sha256 is not None and (found := rows_digest(rows)) != self.sha256:
            raise OnsetError(
                "the rows of the data set are not the ones that this task was made for",
                where=f"{self}, split '{self.split}': sha256 {found}",
                advice="clear the cache of the data set and load it again",
            )
        return rows

    @cached_property
    def _fewshot(self) -> list[Row]:
        return self._load(f"{self.shots_split}[:{self.pool}]")

    def _load(self, split: str) -> list[Row]:
        loaded: list[Row] = []
        for config in self.configs:
            for place, row in enumerate(_hub_split(self.hub, config, split, self.revision)):
                name = "-".join(part for part in (split.partition("[")[0], config or "", str(place)) if part)
                loaded.append({"id": name, **self.adapt(row, config or "")})
        if not loaded:
            raise OnsetError("the data set has no rows", where=f"{self}, split '{split}'")
        return loaded


@dataclass(frozen=True)
class NowhereRows:
    """A data set that is on no hub: asking for its rows says where to get it and in which format."""

    name: str
    where: str
    """Who gives the data, in words."""

    def __str__(self) -> str:
        return self.where

    def rows(self) -> list[Row]:
        """Raises OnsetError."""
        raise OnsetError(
            f"task '{self.name}' needs local files: its data set is on no hub at a revision that could be pinned",
            where=self.where,
            advice=f"get the data there, write {self.name}.eval.jsonl.gz and {self.name}.fewshot.jsonl.gz "
            f"({ROW_FORMAT}; see docs/tasks.md), and name their folder with --data",
        )

    def examples(self) -> list[Row]:
        """Raises OnsetError."""
        return self.rows()

    def identity(self) -> dict[str, Any]:
        """The name alone: there are no rows to tell apart."""
        return {"source": "nowhere", "name": self.name}


@dataclass(frozen=True)
class MadeRows(_Kept):
    """Rows made by a function of a seed: no data needed."""

    name: str
    make: Callable[[int, int], list[Row]]
    """Number of rows and seed to rows; the first ``pool`` are the examples."""
    count: int
    seed: int = 0
    pool: int = 20

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"

    def rows(self) -> list[Row]:
        """Rows to be asked."""
        return self._made[self.pool :]

    def examples(self) -> list[Row]:
        """Rows for prompts; never among the others."""
        return self._made[: self.pool]

    def identity(self) -> dict[str, Any]:
        """Name, number and seed; the rows themselves are in the requests."""
        return {"source": "made", "name": self.name, "count": self.count, "seed": self.seed, "pool": self.pool}

    @cached_property
    def _made(self) -> list[Row]:
        return self.make(self.count + self.pool, self.seed)


def read_rows(path: Path, fields: Sequence[str] = ("id",)) -> list[Row]:
    """Rows of a JSON-lines file, ``.gz`` or not.

    Raises OnsetError for a file that is missing, cut short, not UTF-8, without rows or at odds with ``SHA256SUMS``
    beside it, and for a line that is no JSON object or lacks one of ``fields``.
    """
    data = _opened(path)
    _check_sum(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OnsetError(
            f"the file is not UTF-8: {error.reason} at byte {error.start}", where=path, advice="save it as UTF-8"
        ) from error
    rows = [_row(line, path, number, fields) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not rows:
        raise OnsetError("the file has no rows", where=path, advice=ROW_FORMAT)
    return rows


def rows_digest(rows: Iterable[Row]) -> str:
    """SHA-256 of rows as JSON lines with sorted keys."""
    made = hashlib.sha256()
    for row in rows:
        made.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return made.hexdigest()


def choice_item(row: Row) -> Item:
    """The item of a row with choices: ``question`` and/or ``context``, ``choices``, ``answer``, ``subject`` if any."""
    return Item(
        id=str(row["id"]),
        question=str(row.get("question", "")).strip(),
        choices=_texts(row, "choices"),
        gold=whole(row["answer"]),
        context=str(row.get("context", "")).strip(),
        subject=str(row.get("subject", "")),
    )


def open_item(row: Row) -> Item:
    """The item of a row with free answers: ``question``, ``answers`` (the reference first), ``rationale`` if any."""
    return Item(
        id=str(row["id"]),
        question=str(row["question"]).strip(),
        answers=_texts(row, "answers"),
        context=str(row.get("context", "")).strip(),
        rationale=str(row.get("rationale", "")).strip(),
        subject=str(row.get("subject", "")),
    )


def same_subject(item: Item, pool: Sequence[Item], shots: int) -> list[Item]:
    """The first examples of the item's own subject, the item itself left out."""
    fitting = (example for example in pool if example.subject == item.subject and example.id != item.id)
    return list(islice(fitting, shots))


def whole(value: object) -> int | None:
    """An index as a row gives it, or None when it is not a whole number (the item is then counted as faulty)."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def _texts(row: Row, name: str) -> tuple[str, ...]:
    values = row[name]
    if not isinstance(values, list | tuple):
        raise OnsetError(f"the field '{name}' is not a list", where=f"row '{row.get('id', '?')}'", advice=ROW_FORMAT)
    return tuple(str(value).strip() for value in values)


def _row(line: str, path: Path, number: int, fields: Sequence[str]) -> Row:
    where = f"{path}, line {number}"
    row = reading.json_text(line, where=where, advice="mend or remove the line")
    if not isinstance(row, dict):
        raise OnsetError("the line is not a JSON object", where=where, advice=ROW_FORMAT)
    for name in fields:
        if name not in row:
            raise OnsetError(f"the row has no field '{name}'", where=where, advice=f"fields: {', '.join(fields)}")
    return row


def _opened(path: Path) -> bytes:
    """The contents of a file, unpacked. A gzip that is cut short is one error that names it."""
    try:
        data = reading.plain_file(path).read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise OnsetError(
            f"the gzip file is damaged or cut short: {error}", where=path, advice="fetch or write it again"
        ) from error
    except OSError as error:
        raise OnsetError(f"cannot read the file: {error.strerror or error}", where=path) from error


def _check_sum(path: Path) -> None:
    """Hold a file against ``SHA256SUMS`` of its folder (the form of ``sha256sum``), where it is listed."""
    sums = path.parent / SUMS
    if not sums.is_file():
        return
    for line in reading.text(sums).splitlines():
        expected, _, name = line.partition(" ")
        if name.lstrip(" *") == path.name:
            if not re.fullmatch(r"[0-9a-fA-F]{64}", expected):
                raise OnsetError(f"the checksum of {path.name} is none of SHA-256", where=sums, advice="make it anew")
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != expected.lower():
                raise OnsetError(
                    f"the file is not the one that {SUMS} names: sha256 {found}",
                    where=path,
                    advice=f"fetch it again, or mend {sums}",
                )


def _hub_split(hub: str, config: str | None, split: str, revision: str) -> Iterable[Row]:
    try:
        import datasets
    except ImportError as error:
        raise OnsetError(
            "reading public data sets needs the package 'datasets'",
            where=hub,
            advice=f"{install('lm')}, or give local files with --data",
        ) from error
    try:
        loaded: Iterable[Row] = datasets.load_dataset(hub, config, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()
        raise OnsetError(
            f"cannot load the data set: {reason[0] if reason else type(error).__name__}",
            where=f"{hub}@{revision}, configuration '{config}', split '{split}'",
            advice=f"check the network and the hub's access terms, or give local files with --data ({ROW_FORMAT})",
        ) from error
    return loaded
