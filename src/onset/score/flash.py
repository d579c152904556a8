"""Attention with the log-sum-exp of its scores, so that two sets of keys can be attended to apart and merged.

Torch's fused kernels return it: FlashAttention (Dao et al. 2022, arXiv 2205.14135) on processors and on CUDA, and the
memory-efficient kernel on CUDA where there is a mask or float32. Other devices take the plain formula.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, each (rows, key heads, length, size)."""
HALF = (torch.float16, torch.bfloat16)
FLASH_SIZE = 256
"""Largest size of a head that FlashAttention takes on CUDA."""
ALIGNED_SIZE, ALIGNED_COLUMNS = 8, 16
"""What the CUDA kernels want the size of a head, and the stride of a mask's rows, to be multiples of."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, *, causal: bool
) -> tuple[Tensor, Tensor]:
    """Attention (rows, heads, length, size) and the log-sum-exp of its scores in nats (rows, heads, length).

    The query's heads may be a multiple of the keys' (grouped-query attention). ``mask`` is added to the scores,
    (rows, 1, length, columns); ``causal`` is for queries and keys of one length.
    """
    if query.device.type == "cpu":
        op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, lse = op(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
        return out, lse
    if query.device.type == "cuda":
        return on_cuda(query, key, value, mask, scale, causal=causal)
    return plain(query, key, value, mask, scale, causal=causal)


def on_cuda(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, *, causal: bool
) -> tuple[Tensor, Tensor]:
    """``attend`` by CUDA's kernels: FlashAttention reads grouped heads as they are, the other wants them repeated."""
    length, size = query.shape[2], value.shape[-1]
    query, key, value = (_aligned(one) for one in (query, key, value))
    alike = query.shape[-1] == value.shape[-1] <= FLASH_SIZE
    if mask is None and query.dtype in HALF and alike:
        op = torch.ops.aten._scaled_dot_product_flash_attention
        out, lse = op(query, key, value, 0.0, causal, False, scale=scale)[:2]
    else:
        heads = query.shape[1]
        bias = None if mask is None else _padded_mask(mask).expand(-1, heads, -1, -1)
        op = torch.ops.aten._scaled_dot_product_efficient_attention
        key, value = repeated(key, heads), repeated(value, heads)
        out, lse = op(query, key, value, bias, True, 0.0, causal, scale=scale)[:2]
    return out[..., :size], lse[..., :length]  # the kernels may round both up


def plain(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, *, causal: bool
) -> tuple[Tensor, Tensor]:
    """``attend`` by its formula, in float32: for devices without a kernel that returns the log-sum-exp."""
    heads = query.shape[1]
    key, value = repeated(key, heads).float(), repeated(value, heads).float()
    scores = query.float() @ key.transpose(-1, -2) * scale
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    if mask is not None:
        scores = scores + mask
    return (scores.softmax(-1) @ value).to(query.dtype), scores.logsumexp(-1)


def merged(near: Tensor, near_lse: Tensor, far: Tensor, far_lse: Tensor) -> Tensor:
    """Attention to two sets of keys as attention to both, from the log-sum-exp of each."""
    share = torch.sigmoid(far_lse - near_lse).unsqueeze(-1).to(near.dtype)
    return torch.lerp(near, far, share)


def repeated(states: Tensor, heads: int) -> Tensor:
    """Keys or values with each head repeated for the query heads that share it."""
    times = heads // states.shape[1]
    return states if times == 1 else states.repeat_interleave(times, dim=1)


def _aligned(states: Tensor) -> Tensor:
    """States whose size is filled up with zeros, which change no score and no value."""
    return F.pad(states, (0, -states.shape[-1] % ALIGNED_SIZE))


def _padded_mask(mask: Tensor) -> Tensor:
    """The same mask, with rows that begin at aligned addresses."""
    columns = mask.shape[-1]
    return F.pad(mask, (0, -columns % ALIGNED_COLUMNS))[..., :columns]
