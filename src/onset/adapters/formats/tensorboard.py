"""TensorBoard event files, read as plain records: neither TensorBoard nor protobuf is needed.

A file is a row of records (length, checksum, payload, checksum); a payload is an ``Event`` message. PyTorch writes
scalars as ``simple_value``, TensorFlow 2 and JAX trainers as small tensors. A restarted training writes a new file
beside the old one: what was written before a value of the same or an earlier step is taken back (by ``wall_time``).

The fields read are 1 ``wall_time``, 2 ``step``, 5 ``summary`` of Event; 1 ``value`` of Summary; 1 ``tag``,
2 ``simple_value``, 8 ``tensor`` of Value; 1 ``dtype``, 4 ``tensor_content``, 5 ``float_val``, 6 ``double_val`` of a
Tensor.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import source
from onset.adapters.columns import LossColumn, ScoreColumn, classify, unread
from onset.adapters.formats.wide import made_losses, made_scores
from onset.adapters.source import Format, Reading, Results
from onset.errors import OnsetError

PARTS = ("train", "validation", "val", "eval", "test")
"""Folders within a run's, for the same tags of training and validation (Keras)."""
Field = tuple[int, int, Any]
"""Number, wire type and value of a field of a message."""


def looks_like(path: Path) -> bool:
    """By the name that every writer gives such files."""
    return path.is_file() and "tfevents" in path.name


def read(path: Path, reading: Reading) -> Results:
    """The losses and scores of one event file; the run is its folder."""
    rows, cut = _scalars(path)
    frame = pd.DataFrame(rows, columns=["tag", "step", "wall_time", "value"])
    if frame.empty:
        raise OnsetError("the event file holds no scalars", where=path)
    frame = frame.sort_values("wall_time", kind="stable").drop_duplicates(["tag", "step"], keep="last")
    folder = path.resolve().parent
    if folder.name in PARTS:
        frame["tag"] = frame.tag.str.replace(r"^(epoch_)?loss$", f"{folder.name}/loss", regex=True)
        folder = folder.parent
    fields = source.run_of(path, reading) if reading.runs else {"run": folder.name}
    losses, scores = [], []
    for tag, part in frame.groupby("tag", sort=True):
        base = part[["step", "value", "wall_time"]].assign(**fields)
        match classify(str(tag), reading):
            case LossColumn() as kind:
                losses.append(made_losses(base, kind))
            case ScoreColumn() as kind if not kind.stderr:
                scores.append(made_scores(base, kind))
            case _:
                pass
    notes = unread(sorted(str(tag) for tag in frame.tag.unique()), reading)
    if cut:
        notes.append(f"{path.name} ends within a record, as a running or killed training leaves it: read up to there")

    def together(frames: list[pd.DataFrame]) -> pd.DataFrame:
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    return Results(together(scores), together(losses), notes=tuple(notes))


def _scalars(path: Path) -> tuple[list[tuple[str, int, float, float]], bool]:
    """(tag, step, wall time, value) of all scalars, and whether the file ends within a record."""
    rows: list[tuple[str, int, float, float]] = []
    data, at = path.read_bytes(), 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        start, end = at + 12, at + 12 + length
        if end + 4 > len(data):
            return rows, True
        rows += _event(memoryview(data)[start:end], path)
        at = end + 4
    return rows, at != len(data)


def _event(payload: memoryview, path: Path) -> list[tuple[str, int, float, float]]:
    step, wall_time, found = 0, 0.0, []
    try:
        for number, kind, value in _fields(payload):
            if (number, kind) == (1, 1):
                wall_time = struct.unpack("<d", value)[0]
            elif (number, kind) == (2, 0):
                step = int(value)
            elif (number, kind) == (5, 2):
                found += [_value(inner) for field, wire, inner in _fields(value) if (field, wire) == (1, 2)]
    except (IndexError, struct.error) as error:
        raise OnsetError(f"a record is no event of TensorBoard: {error}", where=path) from error
    return [(tag, step, wall_time, scalar) for tag, scalar in found if scalar is not None]


def _value(message: memoryview) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, kind, value in _fields(message):
        if (number, kind) == (1, 2):
            tag = bytes(value).decode("utf-8", errors="replace")
        elif (number, kind) == (2, 5):
            scalar = float(struct.unpack("<f", value)[0])
        elif (number, kind) == (8, 2):
            scalar = _tensor(value)
    return tag, scalar


def _tensor(message: memoryview) -> float | None:
    """The value of a tensor of one float (type 1) or double (type 2); None for any other tensor."""
    dtype, content = 0, None
    for number, kind, value in _fields(message):
        if (number, kind) == (1, 0):
            dtype = int(value)
        elif number in (4, 5, 6) and kind in (1, 2, 5):
            content = bytes(value)
    form = {1: "<f", 2: "<d"}.get(dtype)
    if form is None or content is None or len(content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, content)[0])


def _fields(message: memoryview) -> Iterator[Field]:
    """The fields of a protobuf message: varints as numbers, all else as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, kind, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}[kind] if kind in (1, 5) else len(message)
        yield number, kind, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


FORMAT = Format("tensorboard", "TensorBoard event file", looks_like, read)
