"""A study from a TOML file or a preset's name, and back to TOML.

Loading is the only place that looks outside a specification: ``$VARIABLES`` in paths are expanded, relative
paths are taken from the file's folder, and every source gets the digest of its contents. After that a study
is a value.
"""

from __future__ import annotations

import hashlib
import os
import types
import typing
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from onset import reading
from onset.errors import OnsetError, did_you_mean
from onset.study.fingerprints import sha256
from onset.study.spec import HARNESS, OWN_FILE, HuggingFaceShape, Run, Source, Study, TaskUse

WORLD = "world"
"""The path of a source that is the embedded world."""

SHAPES = ("decoder", "huggingface")
"""Kinds of shapes, as errors of validation call them."""


def load(study: str | Path | Study) -> Study:
    """Load a study from a TOML file, a preset's name, or a Study as it is.

    Paths are resolved and every source gets its ``sha256``. Raises OnsetError for a missing file, a wrong or
    unknown key, or a value that does not fit.
    """
    return _resolved(*_found(study))


def outline(study: str | Path | Study) -> tuple[Study, list[str]]:
    """The study as it is written, for planning where its texts are not, and what is missing, a sentence each.

    A folder of task files that is not here is None.

    Raises OnsetError as ``load`` does, but not for texts and task files that are absent. A given tokenizer has to
    be there, since the size of its vocabulary is part of every cost.
    """
    found, base = _found(study)
    named = [(source.path, f"source '{source.name}'") for source in found.sources() if source.path != WORLD]
    if found.data is not None:
        named.append((found.data, "data"))
    absent: dict[str, str] = {}
    for text, who in named:
        try:
            _expanded(text, base, who)
        except OnsetError:
            absent.setdefault(text, f"{who} is not here: {text}")
    tokenizers = {
        name: spec
        if spec.path is None
        else spec.model_copy(update={"path": str(_expanded(spec.path, base, f"tokenizer '{name}'"))})
        for name, spec in found.tokenizers.items()
    }
    here = None if found.data is None or found.data in absent else str(_expanded(found.data, base, "data"))
    runs = tuple(_with_own_shape(run, base) for run in found.runs)
    changed = {"tokenizers": tokenizers, "tasks": _task_files(found, base), "data": here, "runs": runs}
    return found.model_copy(update=changed), list(absent.values())


def _found(study: str | Path | Study) -> tuple[Study, Path]:
    """The study as written, and the folder that its relative paths are taken from."""
    if isinstance(study, Study):
        return study, Path.cwd()
    path = Path(study)
    if path.suffix != ".toml" and not path.is_file():  # a folder may well bear a preset's name
        from onset.study.presets import PRESETS, preset

        if path.parent == Path(".") and str(study) in PRESETS:
            return preset(str(study)), Path.cwd()
        raise OnsetError(
            f"no study file and no preset named '{study}'", advice=did_you_mean(str(study), [*PRESETS, "STUDY.toml"])
        )
    return parse(_read(path), where=path), path.parent.resolve()


def parse(text: str, *, where: object = "TOML") -> Study:
    """Read a study from TOML text, without looking at any file."""
    found = reading.toml_text(text, where=where)
    try:
        return Study.model_validate(found)
    except ValidationError as error:
        raise _explained(error, where) from error


def written(path: Path) -> Study:
    """The study of a TOML file as it is written, without looking at any other file."""
    return parse(reading.text(path), where=path)


def dump(study: Study) -> str:
    """The study as TOML; ``parse(dump(study)) == study``."""
    return tomli_w.dumps(_without_none(study.model_dump(mode="json")))


def fingerprint(path: Path) -> str:
    """SHA-256 over the names and contents of a file, or of all files below a folder, in order."""
    files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if _is_content(entry, path))
    made = hashlib.sha256()
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        made.update(name.encode() + b"\0")
        made.update(sha256(file))
    return made.hexdigest()


def _is_content(entry: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in entry.relative_to(root).parts)
    return entry.is_file() and not hidden


def _read(path: Path) -> str:
    if not path.exists():
        near = [entry.name for entry in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise OnsetError(
            "no such study file", where=path, advice=did_you_mean(path.name, near) if near else "check the path"
        )
    return reading.text(path)


def _resolved(study: Study, base: Path) -> Study:
    """The study with absolute paths and the digest of every source's contents."""
    known: dict[Path, str] = {}

    def source(old: Source) -> Source:
        if old.path == WORLD:
            return old
        path = _expanded(old.path, base, f"source '{old.name}'")
        if path not in known:
            known[path] = fingerprint(path)
        return old.model_copy(update={"path": str(path), "sha256": known[path]})

    mixes = {
        name: mix.model_copy(update={"sources": tuple(source(one) for one in mix.sources)})
        for name, mix in study.mixes.items()
    }
    validation = tuple(
        text.model_copy(update={"sources": tuple(source(one) for one in text.sources)}) for text in study.validation
    )
    tokenizers = dict(study.tokenizers)
    for name, spec in tokenizers.items():
        if spec.path is not None:
            path = _expanded(spec.path, base, f"tokenizer '{name}'")
            tokenizers[name] = spec.model_copy(update={"path": str(path), "sha256": fingerprint(path)})
    data = None if study.data is None else str(_expanded(study.data, base, "data"))
    found = {"mixes": mixes, "validation": validation, "tokenizers": tokenizers, "data": data}
    metrics = tuple(_own_file(name, base, f"metric '{name}'") for name in study.metrics)
    runs = tuple(_with_own_shape(run, base) for run in study.runs)
    return study.model_copy(update={**found, "tasks": _task_files(study, base), "metrics": metrics, "runs": runs})


def _with_own_shape(run: Run, base: Path) -> Run:
    """The run with the absolute path and the digest of the file that defines its architecture, if there is one."""
    shape = run.shape
    if not isinstance(shape, HuggingFaceShape) or shape.own_file is None:
        return run
    file, name = shape.own_file
    path = _expanded(file, base, f"the architecture of run '{run.name}'")
    found = shape.model_copy(update={"model_type": f"{path}:{name}", "sha256": fingerprint(path)})
    return run.model_copy(update={"shape": found})


def _own_file(name: str, base: Path, who: str) -> str:
    """The name of a task or metric with the absolute path of the file that defines it, if there is one."""
    own = OWN_FILE.fullmatch(name)
    return name if own is None else f"{_expanded(own['file'], base, who)}{own['name'] or ''}"


def _task_files(study: Study, base: Path) -> tuple[TaskUse, ...]:
    """The study's tasks with absolute paths of the files that define them."""

    def resolved(use: TaskUse) -> TaskUse:
        who = f"task '{use.name}'"
        items = str(_expanded(use.items, base, f"{who}: items")) if use.items else ""
        return use.model_copy(update={"name": _resolved_name(use.name, base, who), "items": items})

    return tuple(resolved(use) for use in study.tasks)


def _resolved_name(name: str, base: Path, who: str) -> str:
    """A task's name with the absolute path of the file or folder that defines it."""
    if (harness := HARNESS.fullmatch(name)) is not None and harness["folder"]:
        return f"harness:{_expanded(harness['folder'], base, who)}/{harness['name']}"
    return _own_file(name, base, who)


def _expanded(text: str, base: Path, who: str) -> Path:
    expanded = os.path.expandvars(os.path.expanduser(text))
    if "$" in expanded:
        raise OnsetError(
            f"the path of {who} names an environment variable that is not set",
            where=text,
            advice="set it, for example: export ONSET_SHARED=/path/to/shared",
        )
    path = Path(expanded)
    path = path if path.is_absolute() else base / path
    if not path.exists():
        raise OnsetError(f"the path of {who} does not exist", where=path, advice="check the path in the study")
    return path.resolve()


def _explained(error: ValidationError, where: object) -> OnsetError:
    """One OnsetError for a failed validation: the first fault by its key, with 'did you mean'."""
    # An unknown key is often a misspelled one: say so before the key that is then missing.
    # A tuple that holds a fault is itself called too short: that is an echo, not a second fault.
    found = error.errors()
    faults = [one for one in found if not any(_inside(other["loc"], one["loc"]) for other in found)]
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    path = _without_tags([str(part) for part in first["loc"]])
    key = ".".join(path) or "the study"
    more = len(faults) - 1
    also = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return OnsetError(f"unknown key '{key}'{also}", where=where, advice=did_you_mean(path[-1], _keys_at(path[:-1])))
    if first["type"] == "missing":
        return OnsetError(f"key '{key}' is missing{also}", where=where, advice="add it; see docs/studies.md")
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f", given {given!r}" if isinstance(given, str | int | float | bool) else ""
    return OnsetError(f"{key}: {message}{shown}{also}", where=where, advice="mend this value in the study")


def _without_tags(path: list[str]) -> list[str]:
    """A place in a study without the name of the kind of shape that pydantic puts into it."""
    return [part for index, part in enumerate(path) if index == 0 or path[index - 1] != "shape" or part not in SHAPES]


def _inside(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _keys_at(path: list[str]) -> list[str]:
    """Known keys of the specification at that place, found by walking the types of the fields."""
    model: type[BaseModel] = Study
    for part in path:
        field = model.model_fields.get(part)
        if field is None:
            continue  # an index or a name inside a table of the previous field
        inner = _model_in(field.annotation)
        if inner is not None:
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for part in typing.get_args(annotation):
        found = _model_in(part)
        if found is not None:
            return found
    return None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value]
    return value
