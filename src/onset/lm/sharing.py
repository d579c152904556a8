"""Attention that shares a prefix: its keys and values are computed once and read by every row that continues it.

A row of a batch is a question followed by its answers side by side; a mask keeps the answers from seeing each other.
The rows' queries meet the prefix's keys in one unmasked product, without copying the prefix, and the two partial
softmaxes are merged by their log-sum-exp (the identity behind FlashAttention, Dao et al. 2022, arXiv 2205.14135).
It plugs into models of the transformers library through its attention interface, under the name ``NAME``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from onset.lm.model import Block, Decoder, normed, rotated

NAME = "onset_shared"
REFUSED = ("softcap", "s_aux", "position_bias")
"""Arguments of attention that change what it computes and that this one does not know."""
QUESTION, PADDING = 0, -1
"""Branches of a row's columns: the question, which all answers see, and padding; answers are numbered from 1."""

KeysValues = tuple[Tensor, Tensor]


class CannotShare(RuntimeError):
    """The model's attention is of a kind that this one does not compute."""


@dataclass
class Plan:
    """What one forward pass attends to, beside itself."""

    prefix: dict[int, KeysValues] | None = None
    """By layer: keys and values (1, heads, length, size) of the prefix of all rows."""
    mask: Tensor | None = None
    """Added to the scores of a row with itself, (rows, 1, length, length); None for causal attention."""
    keep: bool = False
    """Whether to keep this pass's keys and values in ``kept``."""
    kept: dict[int, KeysValues] = field(default_factory=dict)
    memory: Memory | None = None
    """Generation: keys and values of each row so far."""
    window: int | None = None
    """Smallest sliding window that a layer asked for during the pass; rows within it are not touched by it."""


@dataclass
class Memory:
    """Keys and values of rows that grow by one token a pass, row by row at its own length."""

    layers: dict[int, KeysValues]
    """By layer: (rows, heads, capacity, size)."""
    lengths: Tensor
    """Tokens that each row holds, (rows,); the pass's own token is written there."""
    mask: Tensor | None = None
    """Added to the scores (rows, 1, 1, columns in use)."""

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeysValues:
        """Write one token a row, and give all that the rows may hold up to the longest."""
        assert self.mask is not None, "call step() before a pass"
        keys, values = self.layers[layer]
        rows = torch.arange(len(self.lengths), device=key.device)
        keys[rows, :, self.lengths] = key[:, :, 0]
        values[rows, :, self.lengths] = value[:, :, 0]
        used = self.mask.shape[-1]
        return keys[:, :, :used], values[:, :, :used]

    def step(self, dtype: torch.dtype) -> None:
        """Make the mask of the coming pass."""
        used = int(self.lengths.max()) + 1
        columns = torch.arange(used, device=self.lengths.device)
        beyond = columns[None, :] > self.lengths[:, None]
        mask = torch.zeros(beyond.shape, dtype=dtype, device=beyond.device).masked_fill_(beyond, float("-inf"))
        self.mask = mask[:, None, None, :]

    def select(self, rows: Tensor) -> None:
        """Keep some rows only."""
        self.layers = {layer: (keys[rows], values[rows]) for layer, (keys, values) in self.layers.items()}
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
    mask = plan.mask
    if plan.memory is not None:
        key, value = plan.memory.append(layer, key, value)
        mask = plan.memory.mask
    if plan.prefix is None:
        return _attend(query, key, value, mask, scale)[0]
    if query.device.type == "cpu":
        return _merged(query, (key, value), plan.prefix[layer], mask, scale)
    return _joined(query, (key, value), plan.prefix[layer], mask, scale)


def decoder_states(decoder: Decoder, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
    """``decoder.hidden`` with this attention, and with tokens at the given positions (rows, length)."""
    stream = F.embedding(tokens, decoder.embedding)
    places = slice(tokens.shape[1]) if positions is None else positions
    cosine, sine = decoder.cosine[places].to(stream.dtype), decoder.sine[places].to(stream.dtype)
    for layer, block in enumerate(decoder.blocks):
        assert isinstance(block, Block)
        mixed = F.linear(normed(stream, block.attention_gain), block.qkv)
        mixed = mixed.view(*tokens.shape, -1, block.head_dim)
        turned = rotated(mixed[:, :, : block.heads + block.kv_heads], cosine, sine).transpose(1, 2)
        query, key = turned.split((block.heads, block.kv_heads), dim=1)
        value = mixed[:, :, block.heads + block.kv_heads :].transpose(1, 2)
        read = attended(layer, query, key, value, block.head_dim**-0.5)
        stream = stream + F.linear(read.transpose(1, 2).flatten(2), block.out)
        gate, up = F.linear(normed(stream, block.feed_gain), block.gate_up).chunk(2, dim=-1)
        stream = stream + F.linear(F.silu(gate) * up, block.down)
    return normed(stream, decoder.gain)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, causal: bool | None = None
) -> tuple[Tensor, Tensor | None]:
    """Attention and, on a CPU, the log-sum-exp of its scores (rows, heads, length)."""
    causal = mask is None if causal is None else causal
    if query.device.type == "cpu":
        op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, lse = op(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
        return out, lse
    key, value = _repeat(key, query.shape[1]), _repeat(value, query.shape[1])
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, 0.0, causal, scale=scale), None


def _merged(query: Tensor, own: KeysValues, prefix: KeysValues, mask: Tensor | None, scale: float) -> Tensor:
    """Own and prefix attention apart, merged by their log-sum-exp."""
    rows, heads, length, size = query.shape
    near, near_lse = _attend(query, *own, mask, scale)
    folded = query.transpose(0, 1).reshape(1, heads, rows * length, size)
    far, far_lse = _attend(folded, *prefix, None, scale, causal=False)
    assert near_lse is not None
    assert far_lse is not None
    far = far.view(heads, rows, length, -1).transpose(0, 1)
    far_lse = far_lse.reshape(heads, rows, length).transpose(0, 1)
    share = torch.sigmoid(far_lse - near_lse).unsqueeze(-1).to(near.dtype)
    return torch.lerp(near, far, share)


def _joined(query: Tensor, own: KeysValues, prefix: KeysValues, mask: Tensor | None, scale: float) -> Tensor:
    """The prefix put before each row's own keys: for devices whose attention gives no log-sum-exp."""
    rows, _, length, _ = query.shape
    key = torch.cat([prefix[0].expand(rows, -1, -1, -1), own[0]], dim=2)
    value = torch.cat([prefix[1].expand(rows, -1, -1, -1), own[1]], dim=2)
    if mask is None:
        mask = torch.full((length, length), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
        mask = mask.expand(rows, 1, length, length)
    mask = torch.nn.functional.pad(mask, (prefix[0].shape[2], 0))
    return _attend(query, key, value, mask, scale)[0]


def _repeat(states: Tensor, heads: int) -> Tensor:
    """Keys or values with each head repeated for the query heads that share it."""
    times = heads // states.shape[1]
    return states if times == 1 else states.repeat_interleave(times, dim=1)
