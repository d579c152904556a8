"""The formats by name, and which of them a path is.

To add a format, write one module in ``formats`` with a ``FORMAT``, and name it here. A format of one's own stays where
it is: ``FILE.py:NAME:PATH`` names one, and installed packages offer theirs by entry points of the group
``onset.adapters``.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from onset import reading as whole
from onset.adapters.formats import (
    apple,
    bigscience,
    dr_wandb,
    every_eval_ever,
    hf_eval_results,
    inspect_eval,
    lighteval,
    lm_eval,
    marin,
    megatron,
    nanochat,
    olmes,
    onset_folder,
    onset_log,
    opencompass,
    tensorboard,
    trainer_state,
    wandb_chart,
    wandb_runs,
    wide,
)
from onset.adapters.source import Format, NothingReadError, Reading, Results
from onset.errors import OnsetError, did_you_mean
from onset.study.python_file import attribute, is_python

GROUP = "onset.adapters"
"""Entry points by which installed packages offer formats."""

FOLDERS: tuple[Format, ...] = (onset_folder.FORMAT, opencompass.FORMAT, dr_wandb.FORMAT)
"""Formats that are a folder as a whole."""
FILES: tuple[Format, ...] = (
    wandb_chart.FORMAT, wandb_runs.FORMAT, nanochat.FORMAT, opencompass.SUMMARY, apple.FORMAT, wide.HISTORY,
    trainer_state.FORMAT, lighteval.FORMAT, olmes.FORMAT, bigscience.FORMAT, marin.FORMAT, every_eval_ever.FORMAT,
    hf_eval_results.FORMAT, lm_eval.FORMAT, inspect_eval.FORMAT, tensorboard.FORMAT, onset_log.FORMAT,
    megatron.FORMAT, wide.FORMAT,
)  # fmt: skip
"""Formats that are a file each, the more special ones first."""
FORMATS: dict[str, Format] = {one.name: one for one in (*FOLDERS, *FILES)}
_OWN = re.compile(r"^(?P<format>.+?\.py(?::[A-Za-z_][A-Za-z0-9_.]*)?):(?P<path>.+)$")


@cache
def packaged() -> dict[str, Format]:
    """Formats that installed packages offer, by the name of their entry point; looked for after our own.

    Raises OnsetError for an entry point that is no format, or that has the name of one of ours.
    """
    found = {point.name: point for point in metadata.entry_points(group=GROUP)}
    for name in found.keys() & FORMATS.keys():
        raise OnsetError(f"a package offers a format '{name}', which is one of onset's own", where=found[name].value)
    return {name: _checked(point.load(), f"entry point '{name}' of {GROUP}") for name, point in found.items()}


def known() -> dict[str, Format]:
    """All formats that can be named, ours and those of installed packages."""
    return {**FORMATS, **packaged()}


def _checked(found: Any, where: str) -> Format:
    if not isinstance(found, Format):
        raise OnsetError("this is no format", where=where, advice="make one with onset.adapters.source.Format(...)")
    return found


def read(given: str, reading: Reading) -> Results:
    """All results of ``PATH`` or ``FORMAT:PATH``; a path may be a file, a folder, or a pattern with ``*``.

    In a folder every file is read that is of a known format; the others are passed over. Raises OnsetError for a path
    that is not there, and where nothing of a known format is found.
    """
    wanted, pattern = _named(given)
    found = [(file, file_format) for path in _expanded(pattern) for file, file_format in _formats_of(path, wanted)]
    if not found:
        raise OnsetError(
            "nothing here is of a known format" if wanted is None else f"nothing here is of the format '{wanted.name}'",
            where=pattern,
            advice="name the format, FORMAT:PATH; known: " + ", ".join(sorted(known())),
        )
    inside = not Path(pattern).is_file()
    return merged([_read(file, file_format, reading, inside=inside) for file, file_format in found])


LOOK = "look at this place of the file; docs/adapters.md says what each format holds, and 'table' takes any table"
"""What to do about a file of a known format with contents of another."""

SHAPELESS = (AttributeError, TypeError, KeyError, IndexError, ValueError, OverflowError)
"""What a format's reader meets where a file has the format's keys and values of another kind."""


def _read(file: Path, file_format: Format, reading: Reading, *, inside: bool) -> Results:
    """One file's results; scores and losses know their file, for errors that name it.

    A table without results among other files (``inside``) is passed over, and told.
    """
    if not file.is_dir():
        whole.plain_file(file)
    try:
        results = file_format.read(file, reading)
    except NothingReadError as error:
        if not inside:
            raise
        return Results(notes=(f"{file.name} was passed over: {error.what}",))
    except OnsetError as error:
        error.advice = error.advice or LOOK
        raise
    except SHAPELESS as error:
        raise OnsetError(
            f"the file is not as the format '{file_format.name}' is written: {str(error) or type(error).__name__}",
            where=file, advice=LOOK,
        ) from error  # fmt: skip
    for frame in (results.scores, results.losses):
        if len(frame):
            frame["source"] = str(file)
    return results


def detect(path: Path) -> Format | None:
    """The format of a file, or of a folder as a whole; None where it is none of them."""
    ours = FOLDERS if path.is_dir() else FILES
    options = (*ours, *(one for one in packaged().values() if one.folder == path.is_dir()))
    return next((one for one in options if _fits(one, path)), None)


def _fits(one: Format, path: Path) -> bool:
    """Whether a file looks like a format; one with the format's keys and other values does not."""
    try:
        return one.looks_like(path)
    except SHAPELESS:
        return False


def merged(parts: Sequence[Results]) -> Results:
    """Several results as one; a note that all of them have is told once."""

    def together(frames: list[pd.DataFrame]) -> pd.DataFrame:
        filled = [frame for frame in frames if len(frame)]
        if len(filled) == 1:
            return filled[0].reset_index(drop=True)
        return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()

    return Results(
        together([part.scores for part in parts]),
        together([part.losses for part in parts]),
        together([part.items for part in parts]),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _named(given: str) -> tuple[Format | None, str]:
    """The format that a source names, if it names one, and its path."""
    name, colon, rest = given.partition(":")
    if not colon or whole.there(given):
        return None, given
    if own := _OWN.match(given):
        return named(own["format"]), own["path"]
    if name in known():
        return known()[name], rest
    if "/" in name or "*" in name or "." in name:
        return None, given
    raise OnsetError(f"there is no format '{name}'", where=given, advice=did_you_mean(name, known()))


def named(name: str) -> Format | None:
    """The format of a name, or of ``FILE.py`` with ``:NAME`` where it is not ``FORMAT``; None where there is none."""
    if is_python(name):
        return _checked(attribute(name, default="FORMAT")[1], name)
    return known().get(name)


def _expanded(pattern: str) -> list[Path]:
    if whole.there(pattern):
        if not Path(pattern).is_dir():
            whole.plain_file(pattern)
        return [Path(pattern)]
    paths = sorted(glob.glob(pattern, recursive=True)) if any(sign in pattern for sign in "*?[") else []
    if not paths:
        raise OnsetError("there is no such file or folder", where=pattern, advice="check the path")
    return [Path(path) for path in paths]


def _formats_of(path: Path, wanted: Format | None) -> Iterator[tuple[Path, Format]]:
    """The files (or the folder) at a path with their formats."""
    if wanted is not None and path.is_dir() == wanted.folder:
        yield path, wanted
    elif path.is_file():
        if (found := detect(path)) is not None:
            yield path, found
    elif wanted is None and (found := detect(path)) is not None:
        yield path, found
    else:
        for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")):
            if wanted is not None:
                if wanted.looks_like(file):
                    yield file, wanted
            elif (found := detect(file)) is not None:
                yield file, found
