"""The forward pass of a decoder for scoring: norm, rotation, attention as planned, gated feed-forward.

Our own ``Decoder`` and Llama differ here in how heads are rotated and in nothing else. The matrices are laid out once.
It knows no gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onset.cpu.products import Matrix
from onset.score.attention import attended


class Weights(Protocol):
    """What is read of a model: blocks hold gains, ``qkv``, ``out``, ``gate_up`` and ``down``, and numbers of heads."""

    embedding: nn.Parameter
    blocks: nn.ModuleList
    gain: nn.Parameter
    cosine: Tensor
    sine: Tensor


@dataclass(frozen=True)
class Layer:
    """One block."""

    attention_gain: Tensor
    qkv: Matrix
    out: Matrix
    feed_gain: Tensor
    gate_up: Matrix
    down: Matrix
    heads: int
    kv_heads: int
    head_dim: int

    @classmethod
    def of(cls, block: Any, *, packed: bool) -> Layer:
        """The layer of a block's weights."""
        matrices = {
            name: Matrix(getattr(block, name), packed=packed) for name in ("qkv", "out", "gate_up", "down")
        }  # fmt: skip
        return cls(
            attention_gain=block.attention_gain.detach(), feed_gain=block.feed_gain.detach(), heads=block.heads,
            kv_heads=block.kv_heads, head_dim=block.head_dim, **matrices,
        )  # fmt: skip


class Stack:
    """Tokens to last states. ``pairs`` is how heads are rotated: see ``rotated``."""

    def __init__(self, weights: Weights, *, epsilon: float, pairs: bool, packed: bool) -> None:
        self.layers = [Layer.of(block, packed=packed) for block in weights.blocks]
        self.epsilon, self.pairs = epsilon, pairs
        self._embedding, self._gain = weights.embedding.detach(), weights.gain.detach()
        self._cosine, self._sine = weights.cosine, weights.sine

    def states(self, tokens: Tensor, positions: Tensor | None = None, wanted: Tensor | None = None) -> Tensor:
        """Last states (rows, length, width) of tokens (rows, length) at positions (rows, length).

        ``wanted`` are places in the flattened tokens: only their states are made, (1, wanted, width), and the last
        layer's feed-forward is spent on no others.
        """
        stream = F.embedding(tokens, self._embedding)
        places = slice(tokens.shape[1]) if positions is None else positions
        cosine, sine = self._cosine[places].to(stream.dtype), self._sine[places].to(stream.dtype)
        change = None
        for number, layer in enumerate(self.layers):
            stream, inputs = normed(stream, change, layer.attention_gain, self.epsilon)
            read = self._read(number, layer, inputs, cosine, sine)
            if wanted is not None and number == len(self.layers) - 1:
                stream, read = stream.flatten(0, 1)[None, wanted], read.flatten(0, 1)[None, wanted]
            stream, inputs = normed(stream, layer.out(read), layer.feed_gain, self.epsilon)
            change = layer.down(gated(layer.gate_up(inputs)))
        return normed(stream, change, self._gain, self.epsilon)[1]

    def _read(self, number: int, layer: Layer, inputs: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """What a layer's attention reads (rows, length, heads * size)."""
        mixed = layer.qkv(inputs).view(*inputs.shape[:2], -1, layer.head_dim)
        mixed = rotated(mixed, layer.heads + layer.kv_heads, cosine, sine, pairs=self.pairs).transpose(1, 2)
        query, key, value = mixed.split((layer.heads, layer.kv_heads, layer.kv_heads), dim=1)
        return attended(number, query, key, value, layer.head_dim**-0.5).transpose(1, 2).flatten(2)


def normed(stream: Tensor, change: Tensor | None, gain: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The stream with a change added (in place), and its root-mean-square norm, computed in float32, times a gain."""
    stream = stream if change is None else stream.add_(change)
    wide = stream.float()
    square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
    return stream, (wide * square.div_(stream.shape[-1]).add_(epsilon).rsqrt_()).to(stream.dtype).mul_(gain)


def gated(both: Tensor) -> Tensor:
    """silu(gate) * up of gates and ups side by side, (..., 2 hidden)."""
    gate, up = both.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def rotated(mixed: Tensor, heads: int, cosine: Tensor, sine: Tensor, *, pairs: bool) -> Tensor:
    """The first ``heads`` of all heads (rows, length, all, size) rotated, in place.

    ``cosine`` and ``sine`` are (rows or 1, length, 1, half): entry i is rotated with entry i + half, or with
    ``pairs`` entry 2i with 2i + 1, and entries from 2 half on are left as they are.
    """
    turning = mixed[:, :, :heads, : 2 * cosine.shape[-1]]
    first, second = (turning[..., 0::2], turning[..., 1::2]) if pairs else turning.chunk(2, dim=-1)
    left = torch.addcmul(first * cosine, second, sine, value=-1)
    right = torch.addcmul(second * cosine, first, sine)
    first.copy_(left)
    second.copy_(right)
    return mixed
