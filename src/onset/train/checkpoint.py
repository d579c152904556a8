"""Folders that appear whole, with checksums: the checkpoints of a run and what a resume needs.

::

    steps/<step>/   model.safetensors, config.json, tokenizer.json, ..., checksums.json
    resume/<step>/  what ``onset.train.states`` writes, checksums.json
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from onset import reading
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models import files as models
from onset.models.contract import CausalModel
from onset.store.object_store import ELSEWHERE
from onset.store.rundir import STEP_DIGITS, RunDir

CHECKSUMS = "checksums.json"
STATE = "state.safetensors"
SIZE = "size:"
"""Begins what stands for a checksum where only the size is known."""


def write(rundir: RunDir, step: int, model: CausalModel | None, tokenizer: Tokenizer) -> None:
    """Write the checkpoint of a step, complete or not at all; one that is there already is left as it is.

    ``model`` is None in a process that does not lead: it writes nothing.
    """
    if model is not None and not rundir.checkpoint(step).exists():
        write_folder(rundir.checkpoint(step), lambda folder: models.save(model, tokenizer, folder))


def write_state(rundir: RunDir, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int) -> None:
    """Write the resume state of a step from one process, then drop all but the newest ``keep``."""

    def fill(folder: Path) -> None:
        save_file({name: one.detach().to("cpu", copy=True) for name, one in tensors.items()}, folder / STATE)
        _tell(folder, facts)

    folder = state_folder(rundir, step)
    if folder.exists():
        remove(folder)
    write_folder(folder, fill)
    _drop_old(rundir, keep)


def settle_state(rundir: RunDir, step: int, written: Path, facts: Mapping[str, Any], keep: int) -> None:
    """Put a folder that several processes have filled in its place, then drop all but the newest ``keep``.

    Its checksums are the files' sizes: to read all shards again would take one process many minutes.
    """
    _tell(written, facts)
    sums = {entry.name: f"{SIZE}{entry.stat().st_size}" for entry in sorted(written.iterdir())}
    folder = state_folder(rundir, step)
    if folder.exists():
        remove(folder)
    _settle(written, folder, sums)
    _drop_old(rundir, keep)


def _tell(folder: Path, facts: Mapping[str, Any]) -> None:
    (folder / "state.json").write_text(json.dumps(dict(facts), indent=2) + "\n", encoding="utf-8")


def _drop_old(rundir: RunDir, keep: int) -> None:
    for old in states(rundir)[:-keep]:
        remove(state_folder(rundir, old))


def states(rundir: RunDir) -> list[int]:
    """Steps that have a resume state, ascending."""
    folder = rundir.path / "resume"
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()) if folder.is_dir() else []


def remove(folder: Path) -> None:
    """Remove a folder so that a kill on the way leaves nothing that looks like it."""
    gone = beside(folder)
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def drop_states(rundir: RunDir) -> None:
    """Remove all resume states: a run that is done needs none."""
    for step in states(rundir):
        remove(state_folder(rundir, step))


def state_folder(rundir: RunDir, step: int) -> Path:
    """Where the resume state of a step lies."""
    return rundir.path / "resume" / f"{step:0{STEP_DIGITS}d}"


def set_aside(folder: Path) -> Path:
    """Rename a damaged folder so that nothing takes it for whole; what is in it stays for a look."""
    for number in range(1, 1000):
        aside = folder.with_name(f"{folder.name}.damaged{number}")
        if not aside.exists():
            os.rename(folder, aside)
            return aside
    raise OnsetError("too many damaged copies", where=folder, advice="delete the folders named *.damaged*")


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder by ``fill``, add checksums of its files, flush, and rename it to its place."""
    part = beside(folder)
    try:
        part.mkdir(parents=True)
        fill(part)
        _settle(part, folder, {entry.name: _checksum(entry) for entry in sorted(part.iterdir())})
    except (OSError, SafetensorError) as error:
        raise OnsetError(
            f"cannot write: {getattr(error, 'strerror', None) or error}",
            where=folder,
            advice="free some space or choose another folder with --out, then run the same command again: it resumes",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _settle(part: Path, folder: Path, sums: Mapping[str, str]) -> None:
    """Flush a filled folder with its checksums and rename it to its place."""
    (part / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    for entry in (*part.iterdir(), part):
        _flush(entry)
    os.rename(part, folder)
    _flush(folder.parent)


def fault(folder: Path, *, contents: bool = True) -> str | None:
    """What is wrong with a folder that ``write_folder`` made (cut short, edited, a file missing), or None.

    Without ``contents`` files are not read: only what is missing or added is noticed. Of a folder that stands in a
    store elsewhere nothing is known to be wrong.
    """
    if (folder / ELSEWHERE).exists():
        return None
    try:
        if not (folder / CHECKSUMS).exists():
            return f"{CHECKSUMS} is missing"
        sums = reading.json_object(folder / CHECKSUMS)
        for name, expected in sums.items():
            if not _matches(folder / name, str(expected), contents=contents):
                return f"{name} is not what was written"
        added = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")} - {*sums, CHECKSUMS}
        if added:
            return f"{min(added)} was put there by someone else"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, OnsetError) as error:
        return f"it cannot be read: {error}"
    return None


def sweep(rundir: RunDir) -> None:
    """Remove half-written folders that a killed process left; only for who holds the run's lock."""
    for parent in (rundir.path / "steps", rundir.path / "resume"):
        if parent.is_dir():
            for entry in parent.iterdir():
                if entry.name.startswith(".") and entry.name.endswith(".part"):
                    shutil.rmtree(entry, ignore_errors=True)


def beside(folder: Path) -> Path:
    """A name beside a folder under which it is filled; ``sweep`` removes what a kill leaves of it."""
    return folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")


def _matches(file: Path, expected: str, *, contents: bool) -> bool:
    """Whether a file has the checksum, or the size, that it was written with. Raises FileNotFoundError without it."""
    size = file.stat().st_size
    if expected.startswith(SIZE):
        return expected == f"{SIZE}{size}"
    return not contents or _checksum(file) == expected


def _checksum(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
