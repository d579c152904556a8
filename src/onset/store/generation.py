"""Several files of a folder as one generation: all new or all old, wherever the process that writes them ends.

The files are written into a hidden folder first, with a manifest of their digests. One rename makes that folder whole;
only then its files are moved to their places, the manifest last. A command that finds such a folder, because the one
that made it was killed, goes on with the moves. Readers compare what they read with the manifest.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from onset import reading
from onset.errors import OnsetError
from onset.store.parts import replaceable, sweep_dead, unwritable, whole_file

MANIFEST = "results/manifest.json"
"""Which files belong together, by their SHA-256; paths are relative to the folder of the results."""
WHOLE = ".generation"
"""The hidden folder of a generation that is whole, while its files are moved to their places."""


@contextmanager
def generation(out: Path, renewed: Sequence[str] = ("",)) -> Iterator[Path]:
    """A folder to write into; at the end its files take their places below ``out``, all of them or none.

    ``renewed`` are the paths (or beginnings of them) that this generation makes anew: files of the one before that
    begin so and are not written again are removed, unless somebody changed them. An error leaves ``out`` as it was.
    Raises OnsetError where ``out`` cannot be written, before anything is computed inside.
    """
    out = Path(out)
    made = _made(out)
    settle(out)
    sweep_dead(out, *(out / name for name in ("results", "figures")))
    staged = out / f".generation.{os.getpid()}.{uuid.uuid4().hex[:8]}.part"
    try:
        staged.mkdir()
    except OSError as error:
        raise unwritable(out, error) from error
    done = False
    try:
        yield staged
        _commit(staged, out, renewed)
        done = True
    except OnsetError as error:
        if error.where is not None:  # the folder's own name tells nobody anything
            error.where = error.where.replace(str(staged), str(out))
        raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if not done:
            for folder in made:  # those that were made for it, where they are empty
                with suppress(OSError):
                    folder.rmdir()
    settle(out)


def settle(out: Path) -> None:
    """Move the files of a generation that is whole to their places, where a killed process left it before that."""
    whole = Path(out) / WHOLE
    if not whole.is_dir():
        return
    try:
        if not (whole / MANIFEST).is_file():  # it goes last, so that all is in its place
            shutil.rmtree(whole)
            return
        new, old = _digests(whole), _digests(out)
        for name in old.keys() - new.keys():
            if _digest(out / name) == old[name]:
                (out / name).unlink()
        for path in sorted(path for path in whole.rglob("*") if path.is_file()):
            if (name := path.relative_to(whole).as_posix()) != MANIFEST:
                _move(path, out / name)
        _move(whole / MANIFEST, out / MANIFEST)
        shutil.rmtree(whole)
    except OSError as error:
        raise OnsetError(
            f"the results were only partly moved to their places: {error.strerror or error}",
            where=whole,
            advice="let the folder be written and run any command on it again: it goes on from there",
        ) from error


def changed(out: Path, under: Sequence[str]) -> list[str]:
    """Files below ``out`` that are not those of its manifest; ``under`` are the paths that are looked at.

    A file that is absent is not among them, and a folder without a manifest has none.
    """
    told = {name: digest for name, digest in _digests(Path(out)).items() if name.startswith(tuple(under))}
    return [name for name, digest in sorted(told.items()) if _digest(Path(out) / name) not in (digest, None)]


def _commit(staged: Path, out: Path, renewed: Sequence[str]) -> None:
    """Write the manifest of a generation and give its folder the name by which it counts."""
    files = [path for path in staged.rglob("*") if path.is_file()]
    new = {path.relative_to(staged).as_posix(): str(_digest(path)) for path in sorted(files)}
    for name in new:
        replaceable(out / name)
    settle(out)  # of another process, meanwhile
    kept = {name: digest for name, digest in _digests(out).items() if not name.startswith(tuple(renewed))}
    with whole_file(staged / MANIFEST) as beside:
        text = json.dumps({"version": 1, "files": {**kept, **new}}, indent=1, sort_keys=True)
        beside.write_text(text + "\n", encoding="utf-8")
    try:
        os.rename(staged, out / WHOLE)
    except OSError as error:
        raise unwritable(out, error) from error


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a folder of the results may be a link to another disk
            raise
        with whole_file(target) as beside:
            shutil.copyfile(source, beside)
        source.unlink()


def _digests(folder: Path) -> dict[str, str]:
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    advice = "run 'onset analyze' again"
    files = reading.json_dict(reading.text(path), where=path, advice=advice).get("files")
    if not isinstance(files, dict) or any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
        raise OnsetError("this is no manifest of results", where=path, advice=f"remove it and {advice}")
    return {name: str(digest) for name, digest in files.items()}


def _digest(path: Path) -> str | None:
    """SHA-256 of a plain file; None where there is none."""
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise OnsetError(
            f"cannot read: {error.strerror or error}", where=path, advice="check the rights of the file"
        ) from error


def _made(folder: Path) -> list[Path]:
    """The folders that were made for ``folder`` to be there, the innermost first."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return absent
