"""reading.c, compiled once for this machine, and the same by torch where it cannot be.

It is what lies between the matrix products of a model that only reads: norms, gates, rotation, attention of rows that
lie end to end, sums over the vocabulary. It serves models in float32 on a processor; what it computes is what torch
computes, but for rounding. It knows no gradients.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from onset.cpu import build as kernels

_SIGNATURES = {
    # p: pointer, i: int64, f: float
    "norm": "ppppiif",
    "gated": "ppii",
    "turn": "pppiiiiii",
    "attend": "piipiipiipiipiiipipiiiiifp",
    "attend_scratch": "iiii",
    "laid": "piipiiiiiipp",
    "step": "piipiipiippippipipiiiiiiifp",
    "step_scratch": "iiii",
    "vector_size": "",
    "total": "piipp",
}
_KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}

SHARED = 1 << 12
"""Keys that the rows of a step read, from which on threads share the heads: fewer take no longer alone."""

KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Layout:
    """Rows that lie end to end in a pass: each a question, and answers that do not see each other."""

    rows: Tensor
    """For each row its first token, its number of segments, and their lengths, the question's first."""
    count: int
    longest: int

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.int32]]) -> Layout:
        """The layout of rows, given by the branches of their columns (0 for the question, then 1, 2, ...)."""
        told: list[int] = []
        first = 0
        for branches in rows:
            lengths = np.bincount(branches).tolist()
            told += [first, len(lengths), *lengths]
            first += len(branches)
        return cls(torch.tensor(told), len(rows), max(map(len, rows)))


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, built on first use and kept in the user's cache; None where they cannot be built."""
    if kernels.compiler() is None:
        return None
    source = resources.files("onset.cpu").joinpath("reading.c").read_text(encoding="utf-8")
    return kernels.loaded(f"reading-{kernels.identity_of(source)}.so", source, (), _loaded)


def _loaded(file: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(file))
    for name, kinds in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes = [_KINDS[kind] for kind in kinds]
        function.restype = ctypes.c_int64 if name.endswith(("_scratch", "_size")) else None
    return loaded


def serves(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the compiled functions are for models on this device in this dtype, and are at hand."""
    return device.type == "cpu" and dtype == torch.float32 and library() is not None


def normed(stream: Tensor, change: Tensor | None, gain: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The stream with a change added (in place), and its RMSNorm, the mean square in float32."""
    if serves(stream.device, stream.dtype) and stream.is_contiguous():
        out, width = torch.empty_like(stream), stream.shape[-1]
        added = None if change is None else change.contiguous()
        _call("norm", stream, added, gain.contiguous(), out, stream.numel() // width, width, epsilon)
        return stream, out
    stream = stream if change is None else stream + change
    wide = stream.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return stream, (wide * scale).to(stream.dtype) * gain


def gated(both: Tensor) -> Tensor:
    """silu(gate) * up of gates and ups side by side, (..., 2 hidden)."""
    hidden = both.shape[-1] // 2
    if serves(both.device, both.dtype) and both.is_contiguous():
        out = both.new_empty((*both.shape[:-1], hidden))
        _call("gated", both, out, both.numel() // (2 * hidden), hidden)
        return out
    gate, up = both.chunk(2, dim=-1)
    return F.silu(gate) * up


def turned(mixed: Tensor, heads: int, cosine: Tensor, sine: Tensor, *, pairs: bool) -> Tensor:
    """The first ``heads`` of all heads (rows, length, all, size) rotated, in place where that can be.

    ``cosine`` and ``sine`` are (rows or 1, length, 1, half): entry i is turned with entry i + half, or with
    ``pairs`` entry 2i with 2i + 1, and entries from 2 half on are left as they are.
    """
    rows, length, every, size = mixed.shape
    half = cosine.shape[-1]
    if serves(mixed.device, mixed.dtype) and mixed.is_contiguous():
        wide = (rows, length, 1, half)
        angles = cosine.expand(wide).contiguous(), sine.expand(wide).contiguous()
        _call("turn", mixed, *angles, rows * length, every * size, heads, size, half, int(pairs))
        return mixed
    turning, rest = mixed[:, :, :heads, : 2 * half], mixed[:, :, :heads, 2 * half :]
    first, second = (turning[..., 0::2], turning[..., 1::2]) if pairs else turning.chunk(2, dim=-1)
    both = first * cosine - second * sine, second * cosine + first * sine
    done = torch.stack(both, dim=-1).flatten(-2) if pairs else torch.cat(both, dim=-1)
    return torch.cat((torch.cat((done, rest), dim=-1), mixed[:, :, heads:]), dim=2)


def attend(
    layout: Layout, query: Tensor, key: Tensor, value: Tensor, prefix: KeysValues | None, scale: float
) -> Tensor:
    """Attention of rows that lie end to end: (1, heads, tokens, size) in and out.

    ``prefix`` is keys and values (1, kv heads, length, size) that all tokens see.
    """
    loaded = library()
    assert loaded is not None, "a layout is made only where the library serves"
    query, key, value = (one if one.stride(-1) == 1 else one.contiguous() for one in (query, key, value))
    _, heads, tokens, size = query.shape
    far_key, far_value = (key[:, :, :0], value[:, :, :0]) if prefix is None else prefix
    far_key, far_value = (one if one.stride(-1) == 1 else one.contiguous() for one in (far_key, far_value))
    before, value_size = far_key.shape[2], value.shape[-1]
    scratch = torch.empty(loaded.attend_scratch(before, layout.longest, size, value_size))
    out = torch.empty(tokens, heads, value_size)
    strided = [part for one in (query, key, value, far_key, far_value) for part in (one, one.stride(1), one.stride(2))]
    _call("attend", *strided, before, layout.rows, layout.count, out, heads, key.shape[1], size, value_size,
          layout.longest, scale, scratch)  # fmt: skip
    return out.transpose(0, 1).unsqueeze(0)


@dataclass(frozen=True)
class Far:
    """Keys and values of a prefix, laid out for ``step``."""

    keys: Tensor
    values: Tensor
    length: int

    @classmethod
    def of(cls, prefix: KeysValues) -> Far:
        """The prefix's keys and values are (1, heads, length, size)."""
        key, value = (one if one.stride(-1) == 1 else one.contiguous() for one in prefix)
        _, heads, length, size = key.shape
        vector = _vector()
        room, wide = _whole(length, vector) + vector, _whole(value.shape[-1], vector)
        keys, values = torch.empty(heads, size, room), torch.empty(heads, length, wide)
        _call("laid", key, key.stride(1), key.stride(2), value, value.stride(1), value.stride(2), length, heads, size,
              value.shape[-1], keys, values)  # fmt: skip
        return cls(keys, values, length)


def step(
    query: Tensor, new: KeysValues, far: Far | None, held: KeysValues, lengths: Tensor, longest: int, scale: float
) -> Tensor:
    """Attention of one new token a row, (rows, heads, 1, size) in and out.

    Its key and value ``new`` are written into ``held`` (rows, kv heads, capacity, size) at ``lengths`` (rows,), of
    which ``longest`` is the greatest; it sees ``far``, which all rows see, and its own row. Heads are shared among
    torch's threads where there is work enough.
    """
    loaded = library()
    assert loaded is not None, "asked only where the library serves"
    query, key, value = (one if one.stride(-1) == 1 else one.contiguous() for one in (query, *new))
    rows, heads, _, size = query.shape
    kv_heads, value_size = key.shape[1], value.shape[-1]
    prefix = (None, None, 0) if far is None else (far.keys, far.values, far.length)
    parts = 1 if rows * (longest + prefix[2]) < SHARED else min(torch.get_num_threads(), kv_heads)
    out = torch.empty(rows, heads, value_size)
    scratch = torch.empty(parts, loaded.step_scratch(prefix[2], longest + 1, size, value_size))
    strided = [part for one in (query, key, value) for part in (one, one.stride(0), one.stride(1))]

    def act(part: int) -> None:
        _call("step", *strided, *prefix, *held, held[0].shape[2], lengths, rows, out, heads, kv_heads,
              kv_heads * part // parts, kv_heads * (part + 1) // parts, size, value_size, longest + 1, scale,
              scratch[part])  # fmt: skip

    running = [_pool().submit(act, part) for part in range(1, parts)]
    act(0)
    for one in running:
        one.result()
    return out.unsqueeze(2)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="step")


@functools.cache
def _vector() -> int:
    loaded = library()
    assert loaded is not None, "asked only where the library serves"
    return int(loaded.vector_size())


def _whole(count: int, vector: int) -> int:
    return -(-count // vector) * vector


def total(logits: Tensor, top: Tensor, sums: Tensor) -> None:
    """Take a block of logits (rows, words) up into the rows' greatest and sums of e^(logit - greatest), in place.

    Begin with ``top`` (rows,) at minus infinity and ``sums`` (rows,) at zero (the online softmax: Milakov and
    Gimelshein 2018, arXiv 1805.02867). The logits may be overwritten.
    """
    if serves(logits.device, logits.dtype):
        _call("total", logits.contiguous(), *logits.shape, top, sums)
        return
    higher = torch.maximum(top, logits.amax(-1))
    sums.mul_((top - higher).exp_()).add_(logits.sub_(higher[:, None]).exp_().sum(-1))
    top.copy_(higher)


def _call(name: str, *arguments: Tensor | float | None) -> None:
    getattr(library(), name)(*[one.data_ptr() if isinstance(one, Tensor) else one for one in arguments])
