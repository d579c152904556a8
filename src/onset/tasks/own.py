"""Tasks of one's own, without an edit of the package: a TOML definition, JSON lines, or Python.

``my_task.toml`` names rows and how their fields make an item; ``rows.jsonl`` may carry the same definition in its first
line, as ``{"task": {...}}``; ``my_task.py:task`` is a ``Task``, a list of them, or a function that returns either.
Packages offer tasks by entry points of the group ``onset.tasks``. Reading a definition reads no rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from onset import reading
from onset.errors import OnsetError, did_you_mean
from onset.study.python_file import attribute, is_python
from onset.study.spec import OWN_FILE
from onset.tasks import answers
from onset.tasks.fields import Answer, Fields, item_of
from onset.tasks.formats import ChainOfThought, Cloze, Filled, Letters, Open
from onset.tasks.sources import HubRows, read_rows
from onset.tasks.task import Format, Judge, Row, Source, Task

FORMATS: dict[str, Any] = {
    "cloze": Cloze, "letters": Letters, "filled": Filled, "open": Open, "chain_of_thought": ChainOfThought,
}  # fmt: skip
FREE = ("open", "chain_of_thought")
GROUP = "onset.tasks"
"""Entry points of packages that offer tasks."""
HEAD = '{"task": {"name": "my_task", "format": "cloze"}}'


class Hub(BaseModel):
    """A public data set at a pinned revision."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str
    config: str | None = None
    split: str = "test"
    examples_split: str = "train"


class Definition(BaseModel):
    """A task as a TOML file or the head of a JSON-lines file defines it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """Name of the task: letters, digits, '.', '_', '+' and '-'."""
    rows: str | None = None
    """File of JSON lines, next to the definition; in the head of a JSON-lines file the lines below it."""
    examples: str | int = 0
    """File of examples for prompts, or how many of the first rows are examples and are not asked."""
    hub: Hub | None = None
    """A public data set instead of a file."""
    language: Literal["en", "zh"] = "en"
    ability: str = "of one's own"
    format: str | dict[str, Any] = "cloze"
    """Name of a format, or a table with its name and its settings."""
    shots: int = Field(default=0, ge=0)
    metric: str | None = None
    chance: float | None = None
    judge: str | None = None
    """Free answers: 'exact_match', 'number', 'first_number' or 'FILE.py:FUNCTION' of a text and an item."""
    fields: Fields = Fields()
    answer_is: Answer = "index"
    """What the field of the right answer holds: its 0-based index, 1-based 'index1', its letter, or its text."""
    licence: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> Definition:
        if self.rows is not None and self.hub is not None:
            raise ValueError("give rows or hub, not both")
        return self


@dataclass(frozen=True)
class FileRows:
    """Rows of a JSON-lines file, with or without a head, and of another file or its own first rows for examples."""

    path: Path
    examples_path: Path | None = None
    examples_first: int = 0

    def __str__(self) -> str:
        return str(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def rows(self) -> list[Row]:
        """Rows to be asked, in the order of the file; a row without an id has its number."""
        return self._all[self.examples_first :]

    def examples(self) -> list[Row]:
        """Rows for prompts; never among the others."""
        return _numbered(self.examples_path) if self.examples_path else self._all[: self.examples_first]

    def identity(self) -> dict[str, Any]:
        """Checksums of the rows; the folder does not count."""
        sums = [_rows_sum(path) for path in (self.path, self.examples_path) if path is not None]
        return {"source": "own", "rows": sums, "examples_first": self.examples_first}

    @cached_property
    def _all(self) -> list[Row]:
        return _numbered(self.path)


@dataclass(frozen=True)
class Judged:
    """A source whose digest also holds the code that judges free answers."""

    source: Source
    code: str
    """SHA-256 of the Python file."""

    def __str__(self) -> str:
        return str(self.source)

    def rows(self) -> list[Row]:
        """Rows of the source."""
        return self.source.rows()

    def examples(self) -> list[Row]:
        """Examples of the source."""
        return self.source.examples()

    def identity(self) -> dict[str, Any]:
        """The source's, and the checksum of the code."""
        return {**self.source.identity(), "judge": self.code}


def is_own(reference: str) -> bool:
    """Whether a name of a task is a file of one's own, and not a name of the catalogue."""
    return OWN_FILE.fullmatch(reference) is not None


def tasks_of(reference: str) -> list[Task]:
    """The tasks that a TOML file, a JSON-lines file or ``FILE.py:NAME`` defines.

    Raises OnsetError for a file that is missing or defines no task, naming the key or the line.
    """
    if is_python(reference):
        path, found = attribute(reference, default="task")
        return [_with_code(task, path) for task in _tasks(found, reference)]
    path = Path(reference).expanduser()
    if not path.is_file():
        raise OnsetError(
            "there is no such task file", where=path, advice="give a .toml, .jsonl or .py:NAME that exists"
        )
    return [_built(_toml(path) if path.suffix == ".toml" else _headed(path), path)]


def folder_task(name: str, folder: Path) -> Task | None:
    """The task of ``<name>.eval.jsonl[.gz]`` in a folder of local task files; None where there is no such file."""
    for ending in (".jsonl", ".jsonl.gz"):
        rows, shots = folder / f"{name}.eval{ending}", folder / f"{name}.fewshot{ending}"
        if rows.is_file():
            found = _headed(rows)
            stem = name if found.name == _stem(rows) else found.name
            examples = shots.name if shots.is_file() and found.examples == 0 else found.examples
            return _built(found.model_copy(update={"name": stem, "examples": examples}), rows)
    return None


def packaged() -> list[Task]:
    """Tasks that installed packages offer by entry points of the group ``onset.tasks``."""
    found: list[Task] = []
    for point in metadata.entry_points(group=GROUP):
        found += _tasks(point.load(), f"{GROUP} entry point '{point.name}'")
    return found


def _tasks(found: Any, where: str) -> list[Task]:
    made = found() if callable(found) and not isinstance(found, Task) else found
    listed = list(made) if isinstance(made, list | tuple) else [made]
    if not listed or not all(isinstance(task, Task) for task in listed):
        raise OnsetError("this is no task", where=where, advice="give an onset Task, a list of them, or a function")
    return listed


def _with_code(task: Task, path: Path) -> Task:
    """A task from a Python file; where it judges free answers, its code is part of the digest."""
    return task if task.judge is None else replace(task, source=Judged(task.source, _sum(path)))


def _toml(path: Path) -> Definition:
    found = reading.toml_file(path)
    definition = _validated({"name": _stem(path), **found}, path)
    if definition.rows is None and definition.hub is None:
        raise OnsetError("the task names no rows", where=path, advice='add rows = "rows.jsonl", or a table [hub]')
    return definition


def _headed(path: Path) -> Definition:
    """The definition in the first line of a file of rows; without one, what the fields of the first row are for."""
    first = read_rows(path, ())[0]
    if isinstance(head := first.get("task"), Mapping) and len(first) == 1:
        return _validated({"name": _stem(path), **head}, f"{path}, line 1").model_copy(update={"rows": path.name})
    if "choices" in first and "answer" in first:
        return Definition(name=_stem(path), rows=path.name)
    if "question" in first and "answers" in first:
        return Definition(name=_stem(path), rows=path.name, format="open")
    raise OnsetError(
        "the rows have neither choices and answer nor question and answers, and no head says what their fields are",
        where=path,
        advice=f"write a first line such as {HEAD}, or a TOML definition; see docs/tasks.md",
    )


def _validated(found: Mapping[str, Any], where: object) -> Definition:
    try:
        return Definition.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the task"
        known = Fields.model_fields if key.startswith("fields.") else Definition.model_fields
        if first["type"] == "extra_forbidden":
            advice = did_you_mean(key.rpartition(".")[2], known)
            raise OnsetError(f"unknown key '{key}'", where=where, advice=advice) from error
        raise OnsetError(f"{key}: {first['msg'].removeprefix('Value error, ')}", where=where) from error


def _built(definition: Definition, path: Path) -> Task:
    form = _format(definition.format, path)
    free = form.name in FREE
    judge, code = _judge(definition, free, path)
    source = _source(definition, path)
    return Task(
        name=definition.name,
        language=definition.language,
        ability=definition.ability,
        source=source if code is None else Judged(source, code),
        item=partial(item_of, definition.fields, definition.answer_is, free),
        format=form,
        shots=definition.shots,
        metric=definition.metric or ("exact_match" if free else "accuracy"),
        judge=judge,
        chance=definition.chance,
        licence=definition.licence,
        source_note=definition.note or f"defined in {path.name}",
    )


def _source(definition: Definition, path: Path) -> Source:
    if (hub := definition.hub) is not None:
        return HubRows(
            hub.name, hub.revision, _as_it_is, (hub.config,), split=hub.split, shots_split=hub.examples_split
        )
    rows = path.parent / (definition.rows or path.name)
    if isinstance(definition.examples, int):
        return FileRows(rows, None, definition.examples)
    return FileRows(rows, path.parent / definition.examples)


def _as_it_is(row: Row, config: str) -> dict[str, Any]:
    return dict(row)


def _format(given: str | Mapping[str, Any], path: Path) -> Format:
    settings = {"name": given} if isinstance(given, str) else dict(given)
    name = str(settings.pop("name", ""))
    if name not in FORMATS:
        raise OnsetError(f"there is no format '{name}'", where=path, advice=did_you_mean(name, FORMATS))
    known = [one.name for one in fields(FORMATS[name]) if one.name != "name"]
    for key in settings:
        if key not in known:
            raise OnsetError(f"format '{name}' has no setting '{key}'", where=path, advice=did_you_mean(key, known))
    try:
        form: Format = TypeAdapter(FORMATS[name]).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise OnsetError(f"format.{first['loc'][0]}: {first['msg']}", where=path) from error
    return form


def _judge(definition: Definition, free: bool, path: Path) -> tuple[Judge | None, str | None]:
    """Who judges free answers, and the checksum of the code where it is the user's."""
    if not free:
        if definition.judge is not None:
            raise OnsetError("a judge is for free answers, and this format scores choices", where=path)
        return None, None
    exact = answers.exact_chinese if definition.language == "zh" else answers.exact_english
    known: dict[str, Judge] = {
        "exact_match": exact, "number": answers.same_number, "first_number": answers.first_number,
    }  # fmt: skip
    name = definition.judge or "exact_match"
    if name in known:
        return known[name], None
    if not is_python(name):
        raise OnsetError(f"there is no judge '{name}'", where=path, advice=did_you_mean(name, [*known, "FILE.py:NAME"]))
    file, found = attribute(name, default="judge", base=path.parent)
    if not callable(found):
        raise OnsetError(
            "the judge is no function", where=name, advice="write def judge(text: str, item: Item) -> bool"
        )
    return found, _sum(file)


def _numbered(path: Path) -> list[Row]:
    """Rows of a file without its head; a row without an id has its number."""
    found = read_rows(path, ())
    if isinstance(found[0].get("task"), Mapping) and len(found[0]) == 1:
        found = found[1:]
    return [{"id": str(number), **row} for number, row in enumerate(found, start=1)]


def _rows_sum(path: Path) -> str:
    return hashlib.sha256(json.dumps(_numbered(path), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0]
