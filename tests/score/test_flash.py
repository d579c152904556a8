"""Attention with its log-sum-exp: every way gives the formula's numbers, and two halves merge into the whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from onset.score import flash


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("kind", ["causal", "mask", "all"])
def test_the_kernel_of_processors_is_the_formula(heads: int, kind: str) -> None:
    """Lost otherwise: every score of a shared prefix."""
    query, key, value = drawn(3, 4, 7, 16), drawn(3, heads, 7, 16), drawn(3, heads, 7, 16)
    mask = torch.zeros(3, 1, 7, 7).masked_fill_(torch.ones(7, 7).triu(2).bool(), float("-inf"))
    given = mask if kind == "mask" else None
    found = flash.attend(query, key, value, given, 0.3, causal=kind == "causal")
    for one, other in zip(found, flash.plain(query, key, value, given, 0.3, causal=kind == "causal"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_two_sets_of_keys_merge_into_both() -> None:
    """Lost otherwise: attention to a prefix and to a row's own tokens at once."""
    query, key, value = drawn(2, 4, 5, 8), drawn(2, 2, 12, 8), drawn(2, 2, 12, 8)
    whole, _ = flash.plain(query, key, value, None, 0.5, causal=False)
    parts = [flash.attend(query, key[:, :, cut], value[:, :, cut], None, 0.5, causal=False)
             for cut in (slice(4), slice(4, 12))]  # fmt: skip
    torch.testing.assert_close(flash.merged(*parts[0], *parts[1]), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("size", [64, 20])
@pytest.mark.parametrize("masked", [True, False])
def test_calls_on_cuda_have_the_shapes_of_the_formula(dtype: torch.dtype, size: int, masked: bool) -> None:
    """Lost otherwise: scoring on GPUs, to a kernel called wrongly. Shapes only: no number is computed without a GPU."""
    query = torch.empty(3, 8, 37, size, dtype=dtype, device="meta")
    key = torch.empty(3, 2, 37, size, dtype=dtype, device="meta")
    mask = torch.empty(3, 1, 37, 37, dtype=dtype, device="meta") if masked else None
    out, lse = flash.on_cuda(query, key, key, mask, 0.1, causal=not masked)
    assert out.shape == (3, 8, 37, size)
    assert lse.shape == (3, 8, 37)
    assert (out.dtype, lse.dtype) == (dtype, torch.float32)
