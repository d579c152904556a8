"""Files of weights, checked before they are believed: whole, of one make, and all of them used by the model.

A tensor that the configuration does not use (four layers where it names two) or whose type is not what was written
would give a model that loads and computes something else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from onset import reading
from onset.errors import OnsetError
from onset.models.files import INDEX, named_files

AGAIN = "save or fetch it again"
HEADER = 100_000_000
"""Bytes of the longest header, as in safetensors."""
BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "U16": 2,
    "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
"""Bytes of a number by the types of safetensors."""
SPARE = re.compile(r"(rotary_emb\.inv_freq|\.attn\.bias|\.attention\.bias|masked_bias|position_ids)$")
"""Tensors that older versions of transformers wrote and that no model reads: masks and angles."""
MOST_NATS = 100.0
"""Nats per token, over a text, that no language model has: guessing among all tokens costs about 12."""

FAULTS = (
    OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError, AttributeError, IndexError, AssertionError,
    ArithmeticError, MemoryError, SafetensorError,
)  # fmt: skip
"""What libraries raise for a configuration, weights or a tokenizer that are garbage."""


class Stored(NamedTuple):
    """A tensor as a file's header tells it."""

    dtype: str
    shape: tuple[int, ...]


def files_of(folder: Path) -> list[Path]:
    """The safetensors files of a folder: those of its index, else all."""
    index = folder / INDEX
    return (
        [folder / name for name in sorted(named_files(index))]
        if index.is_file()
        else sorted(folder.glob("*.safetensors"))
    )


def check_folder(folder: Path, allow_bin: bool) -> bool:
    """Whether the weights are pickled; raises when they are missing, not whole, or pickled and not allowed."""
    files = files_of(folder)
    if not files:
        if not any(folder.glob("*.bin")):
            raise OnsetError("the folder has no weights", where=folder, advice="it should hold model.safetensors")
        if not allow_bin:
            raise OnsetError(
                "the weights are pickled (.bin) and there is no safetensors file",
                where=folder,
                advice="convert them to safetensors, or allow .bin: then weights only are read from it",
            )
        return True
    stored: dict[str, Stored] = {}
    for file in files:
        header = header_of(file)
        if twice := stored.keys() & header.keys():
            raise OnsetError(f"the tensor '{min(twice)}' is in two files", where=file, advice=AGAIN)
        stored |= header
    kinds = {one.dtype for one in stored.values()}
    if {"F16", "BF16"} <= kinds:
        odd = min(("F16", "BF16"), key=lambda kind: sum(one.dtype == kind for one in stored.values()))
        name = next(name for name, one in stored.items() if one.dtype == odd)
        raise OnsetError(f"the weights mix float16 and bfloat16: '{name}' is {odd}", where=folder, advice=AGAIN)
    return False


def header_of(file: Path) -> dict[str, Stored]:
    """Tensors of a file by name, when it is whole: 8 bytes of length, the header, the tensors side by side."""
    if not file.is_file():
        raise OnsetError("a part of the weights is missing", where=file, advice="fetch the folder again")
    size = file.stat().st_size
    with open(file, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if length > HEADER:
            raise OnsetError("not a whole safetensors file", where=file, advice=AGAIN)
        told = handle.read(min(length, size)).decode("utf-8", "replace")
    try:
        header = reading.json_dict(told, where=file, advice=AGAIN)
    except OnsetError as error:
        raise OnsetError(f"not a whole safetensors file: {error.what}", where=file, advice=AGAIN) from error
    try:
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        ends = [int(entry["data_offsets"][1]) for entry in entries.values()]
        found = {name: Stored(str(entry["dtype"]), tuple(map(int, entry["shape"]))) for name, entry in entries.items()}
        sizes = {name: entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise OnsetError("not a whole safetensors file", where=file, advice=AGAIN) from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise OnsetError(f"the weights are cut short: {size} of {expected} bytes", where=file, advice=AGAIN)
    for name, one in found.items():
        if one.dtype in BYTES and math.prod(one.shape) * BYTES[one.dtype] != sizes[name]:
            raise OnsetError(f"the tensor '{name}' is not of the size that it states", where=file, advice=AGAIN)
    return found


def check_used(names: Collection[str], folder: Path) -> None:
    """Refuse tensors that the model does not read; masks and angles that older versions wrote are passed over."""
    if unused := sorted(name for name in names if not SPARE.search(name)):
        raise OnsetError(
            f"{len(unused)} tensors are not used by the model that config.json describes, such as '{unused[0]}'",
            where=folder,
            advice="put the config.json beside the weights that belongs to them",
        )


def check_shapes(weights: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Refuse tensors that are not there, not of the shape that the configuration asks for, or no real numbers."""
    for name, shape in expected.items():
        if name not in weights:
            raise OnsetError(f"weights are missing, such as '{name}'", where=folder, advice=AGAIN)
        tensor = weights[name]
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise OnsetError(
                f"the tensor '{name}' is {tuple(tensor.shape)} {tensor.dtype}; config.json asks for {shape}",
                where=folder, advice="put the config.json beside the weights that belongs to them",
            )  # fmt: skip


def check_nats(nats: NDArray[np.float64], tokens: int, name: str) -> None:
    """Refuse a loss over a text that no model can have: its weights are not what they are taken for."""
    mean = float(nats.sum()) / max(tokens, 1)
    if not 0 <= mean <= MOST_NATS:
        raise OnsetError(
            f"a loss of {mean:.3g} nats per token, which no language model has", where=name,
            advice="the weights are damaged, or not of the type that they state: fetch them again",
        )  # fmt: skip
