"""Attention that shares a prefix: its keys and values are computed once and read by every row that continues it.

A row is a question followed by its answers side by side; a mask keeps the answers from seeing each other. Rows lie
end to end in one pass, so that no product is spent on padding; only a row's attention to itself is computed on padded
blocks of rows of like length. All queries meet the prefix's keys in one unmasked product, without copying the prefix,
and the two partial softmaxes are merged by their log-sum-exp. It plugs into models of the transformers library
through its attention interface, as ``NAME``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onset.score.flash import KeysValues, attend, merged

NAME = "onset_shared"
REFUSED = ("softcap", "s_aux", "position_bias")
"""Arguments of attention that change what it computes and that this one does not know."""
LIKE = 0.7
"""Rows are of like length down to this share of the longest."""
QUESTION, PADDING = 0, -1
"""Branches of a row's columns: the question, which all answers see, and padding; answers are numbered from 1."""


class CannotShare(RuntimeError):
    """The model's attention is of a kind that this one does not compute."""


@dataclass
class Plan:
    """What one forward pass attends to, beside itself."""

    prefix: dict[int, KeysValues] | None = None
    """By layer: keys and values (1, heads, length, size) of the prefix of all rows."""
    parts: Sequence[Part] = ()
    """Rows that lie end to end in a pass of one long row; without them each row of the pass is a row, causal."""
    keep: bool = False
    """Whether to keep this pass's keys and values in ``kept``."""
    kept: dict[int, KeysValues] = field(default_factory=dict)
    memory: Memory | None = None
    """Generation: keys and values of each row so far."""
    window: int | None = None
    """Smallest sliding window that a layer asked for during the pass; rows within it are not touched by it."""
    elsewhere: dict[torch.device, list[Part]] = field(default_factory=dict)
    """The parts on other devices, for a model whose layers lie on several."""

    def parts_on(self, device: torch.device) -> Sequence[Part]:
        """The parts, on a layer's device."""
        if self.parts[0].index.device == device:
            return self.parts
        if device not in self.elsewhere:
            self.elsewhere[device] = [part.to(device) for part in self.parts]
        return self.elsewhere[device]


@dataclass(frozen=True)
class Part:
    """Neighbouring rows of like length, and how they are laid out as a padded block for attention to themselves."""

    place: slice
    """The rows' tokens in the pass."""
    index: Tensor
    """For each cell of the block (rows, length): its token in the pass."""
    cells: Tensor
    """For each token of the rows: its cell in the flattened block."""
    mask: Tensor | None
    """Added to the scores of the block with itself, (rows, 1, length, length); None for causal attention."""

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.int32]], start: int, device: torch.device, dtype: torch.dtype) -> Part:
        """The part of rows, given by the branches of their columns, whose first token is ``start``."""
        sizes = np.array([len(row) for row in rows])
        columns = np.arange(sizes.max())
        inside = columns < sizes[:, None]
        begins = start + np.concatenate([[0], np.cumsum(sizes)[:-1]])
        index = torch.from_numpy(np.where(inside, begins[:, None] + columns, start)).to(device)
        mask = None
        if any(row[-1] != QUESTION for row in rows):
            branches = np.full(inside.shape, PADDING)
            branches[inside] = np.concatenate(rows)
            mask = branch_mask(torch.from_numpy(branches).to(device), dtype)
        cells = torch.from_numpy(np.flatnonzero(inside)).to(device)
        return cls(slice(start, start + int(sizes.sum())), index, cells, mask)

    def to(self, device: torch.device) -> Part:
        """The same on another device."""
        mask = None if self.mask is None else self.mask.to(device)
        return Part(self.place, self.index.to(device), self.cells.to(device), mask)

    def block(self, states: Tensor) -> Tensor:
        """The rows' states (rows, heads, length, size) of a pass's (1, heads, tokens, size)."""
        flat = states[0].transpose(0, 1).index_select(0, self.index.view(-1))
        return flat.view(*self.index.shape, *flat.shape[1:]).transpose(1, 2)

    def flat(self, states: Tensor) -> Tensor:
        """The rows' tokens (tokens, heads, ...) of a block's states (rows, heads, length, ...)."""
        return states.transpose(1, 2).flatten(0, 1).index_select(0, self.cells)


def plan_of(
    rows: Sequence[NDArray[np.int32]], prefix: dict[int, KeysValues] | None, device: torch.device, dtype: torch.dtype
) -> Plan:
    """How rows that lie end to end after a prefix attend; rows are given by the branches of their columns.

    Rows are best given longest first: neighbours of like length are attended to together.
    """
    parts, start, first = [], 0, 0
    for index in range(1, len(rows) + 1):
        if index == len(rows) or len(rows[index]) < LIKE * len(rows[first]):
            parts.append(Part.of(rows[first:index], start, device, dtype))
            start, first = parts[-1].place.stop, index
    return Plan(prefix=prefix, parts=parts)


@dataclass
class Memory:
    """Keys and values of rows that grow by one token a pass, row by row at its own length."""

    layers: dict[int, KeysValues]
    """By layer: (rows, heads, capacity, size)."""
    lengths: Tensor
    """Tokens that each row holds, (rows,); the pass's own token is written there."""
    longest: int
    """Tokens that the longest row still growing holds, known without asking the device."""
    mask: Tensor | None = None
    """Added to the scores (rows, 1, 1, columns in use)."""

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeysValues:
        """Write one token a row, and give all that the rows may hold up to the longest."""
        assert self.mask is not None, "call step() before a pass"
        keys, values = self.layers[layer]
        rows, at = torch.arange(len(self.lengths), device=key.device), self.lengths.to(key.device)
        keys[rows, :, at] = key[:, :, 0]
        values[rows, :, at] = value[:, :, 0]
        used = self.mask.shape[-1]
        return keys[:, :, :used], values[:, :, :used]

    def step(self, dtype: torch.dtype) -> None:
        """Make ready for the coming pass."""
        columns = torch.arange(self.longest + 1, device=self.lengths.device)
        beyond = columns[None, :] > self.lengths[:, None]
        mask = torch.zeros(beyond.shape, dtype=dtype, device=beyond.device).masked_fill_(beyond, float("-inf"))
        self.mask = mask[:, None, None, :]

    def select(self, rows: Tensor) -> None:
        """Keep some rows only."""
        self.layers = {
            layer: (keys[rows.to(keys.device)], values[rows.to(values.device)])
            for layer, (keys, values) in self.layers.items()
        }
        self.lengths = self.lengths[rows]


_CAUSAL = Plan()
_current: ContextVar[Plan | None] = ContextVar("plan", default=None)


@contextmanager
def use(plan: Plan) -> Iterator[None]:
    """Attention within follows the plan."""
    token = _current.set(plan)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def switched(model: Any, needed: bool) -> Iterator[None]:
    """This attention for one pass of a model that otherwise keeps its own."""
    if not needed:
        yield
        return
    own = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def branch_mask(branches: Tensor, dtype: torch.dtype) -> Tensor:
    """Mask (rows, 1, length, length) of rows whose columns belong to ``branches`` (rows, length).

    A column sees the columns before it that are of the question or of its own branch.
    """
    length = branches.shape[1]
    seen = (branches[:, None, :] == QUESTION) | (branches[:, None, :] == branches[:, :, None])
    hidden = ~seen.tril_()
    mask = torch.zeros((len(branches), length, length), dtype=dtype, device=branches.device)
    return mask.masked_fill_(hidden, float("-inf")).unsqueeze(1)


def install(model: Any) -> None:
    """Make a transformers model use this attention (causal where no plan is in use)."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **extra: Any,
) -> tuple[Tensor, None]:
    """Attention of the transformers interface: (rows, heads, length, size) in, (rows, length, heads, size) out."""
    if attention_mask is not None or dropout or any(extra.get(name) is not None for name in REFUSED):
        raise CannotShare("unknown kind of attention")
    window, plan = extra.get("sliding_window"), _current.get()
    if window is not None and plan is not None:
        plan.window = min(window, plan.window or window)
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    return attended(module.layer_idx, query, key, value, scale).transpose(1, 2).contiguous(), None


def attended(layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attention of one layer as the plan in use has it: (rows, heads, length, size) in and out."""
    plan = _current.get() or _CAUSAL
    if plan.keep:
        plan.kept[layer] = (key, value)
    prefix = None if plan.prefix is None else plan.prefix[layer]
    if plan.parts:
        return _in_parts(plan.parts_on(query.device), query, (key, value), prefix, scale)
    mask = None
    if plan.memory is not None:
        key, value = plan.memory.append(layer, key, value)
        mask = None if plan.memory.mask is None else plan.memory.mask.to(query.device)
    near, near_lse = attend(query, key, value, mask, scale, causal=mask is None)
    if prefix is None:
        return near
    rows, heads, length, size = query.shape
    queries = query.transpose(0, 1).reshape(1, heads, -1, size)
    far, far_lse = attend(queries, *prefix, None, scale, causal=False)
    far = far.view(heads, rows, length, -1).transpose(0, 1)
    return merged(near, near_lse, far, far_lse.reshape(heads, rows, length).transpose(0, 1))


def _in_parts(parts: Sequence[Part], query: Tensor, own: KeysValues, prefix: KeysValues | None, scale: float) -> Tensor:
    """Attention of rows that lie end to end: each part's to itself on its block, all tokens' to the prefix at once."""
    near, near_lse = [], []
    for part in parts:
        block = part.block(query), part.block(own[0]), part.block(own[1])
        found, lse = attend(*block, part.mask, scale, causal=part.mask is None)
        near.append(part.flat(found))
        near_lse.append(part.flat(lse) if prefix is not None else lse)
    joined = torch.cat(near).transpose(0, 1).unsqueeze(0)
    if prefix is None:
        return joined
    far, far_lse = attend(query, *prefix, None, scale, causal=False)
    return merged(joined, torch.cat(near_lse).transpose(0, 1).unsqueeze(0), far, far_lse)
