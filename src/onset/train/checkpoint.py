"""Folders that appear whole, with checksums: the checkpoints of a run and what a resume needs.

::

    steps/<step>/   model.safetensors, config.json, tokenizer.json, ..., checksums.json
    resume/<step>/  state.safetensors (weights and optimiser), state.json, checksums.json
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
from safetensors.torch import load_file, save_file
from torch import Tensor

from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models import transformer as models
from onset.models.transformer import Decoder
from onset.store.object_store import ELSEWHERE
from onset.store.rundir import STEP_DIGITS, RunDir

CHECKSUMS = "checksums.json"


def write(rundir: RunDir, step: int, model: Decoder, tokenizer: Tokenizer) -> None:
    """Write the checkpoint of a step, complete or not at all; one that is there already is left as it is."""
    if not rundir.checkpoint(step).exists():
        write_folder(rundir.checkpoint(step), lambda folder: models.save(model, tokenizer, folder))


def write_state(rundir: RunDir, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int) -> None:
    """Write the resume state of a step, read it back to be sure, then drop all but the newest ``keep``."""

    def fill(folder: Path) -> None:
        save_file(dict(tensors), folder / "state.safetensors")
        (folder / "state.json").write_text(json.dumps(dict(facts), indent=2) + "\n", encoding="utf-8")

    folder = state_folder(rundir, step)
    if folder.exists():
        remove(folder)
    write_folder(folder, fill)
    if (why := fault(folder)) is not None:
        raise OnsetError(f"what was written does not read back: {why}", where=folder, advice="check the disk")
    for old in states(rundir)[:-keep]:
        remove(state_folder(rundir, old))


def read_state(rundir: RunDir, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a resume state that ``fault`` found whole."""
    folder = state_folder(rundir, step)
    facts: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return load_file(folder / "state.safetensors"), facts


def states(rundir: RunDir) -> list[int]:
    """Steps that have a resume state, ascending."""
    folder = rundir.path / "resume"
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()) if folder.is_dir() else []


def remove(folder: Path) -> None:
    """Remove a folder so that a kill on the way leaves nothing that looks like it."""
    gone = _beside(folder)
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
    beside = _beside(folder)
    try:
        beside.mkdir(parents=True)
        fill(beside)
        sums = {entry.name: _checksum(entry) for entry in sorted(beside.iterdir())}
        (beside / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
        for entry in (*beside.iterdir(), beside):
            _flush(entry)
        os.rename(beside, folder)
        _flush(folder.parent)
    except (OSError, SafetensorError) as error:
        raise OnsetError(
            f"cannot write: {getattr(error, 'strerror', None) or error}",
            where=folder,
            advice="free some space or choose another folder with --out, then run the same command again: it resumes",
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def fault(folder: Path) -> str | None:
    """What is wrong with a folder that ``write_folder`` made (cut short, edited, a file missing), or None.

    Of one that stands in a store elsewhere nothing is known to be wrong.
    """
    if (folder / ELSEWHERE).exists():
        return None
    try:
        sums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        if not isinstance(sums, dict):
            return f"{CHECKSUMS} was edited"
        for name, expected in sums.items():
            if _checksum(folder / name) != expected:
                return f"{name} is not what was written"
        added = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")} - {*sums, CHECKSUMS}
        if added:
            return f"{min(added)} was put there by someone else"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    return None


def sweep(rundir: RunDir) -> None:
    """Remove half-written folders that a killed process left; only for who holds the run's lock."""
    for parent in (rundir.path / "steps", rundir.path / "resume"):
        if parent.is_dir():
            for entry in parent.iterdir():
                if entry.name.startswith(".") and entry.name.endswith(".part"):
                    shutil.rmtree(entry, ignore_errors=True)


def _beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")


def _checksum(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
