"""The compiled functions of reading are torch's, for any shape, and on processors without wide vectors too."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from onset.cpu import build as kernels
from onset.cpu import reading
from onset.cpu.reading import Layout

needs_compiler = pytest.mark.skipif(kernels.compiler() is None, reason="no C compiler")


@pytest.fixture(params=["native", "avx2", "plain"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The functions for this processor, and for older ones."""
    if kernels.compiler() is None:
        pytest.skip("no C compiler")
    if request.param != "native":
        wide = ("-mavx2", "-mfma") if request.param == "avx2" else ()
        if wide and (platform.machine() != "x86_64" or not {"avx2", "fma"} <= set(kernels._processor().split())):
            pytest.skip("this processor has no AVX2")
        monkeypatch.setattr(kernels, "WIDE", wide)
        monkeypatch.setattr(kernels, "_caches", lambda: [tmp_path])
    _forget()
    yield
    _forget()


def _forget() -> None:
    reading.library.cache_clear()
    reading._vector.cache_clear()


@pytest.fixture(params=["compiled", "torch"])
def built(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions as they are made here, and by torch where they cannot be."""
    if request.param == "torch":
        monkeypatch.setattr(reading, "library", lambda: None)


def drawn(*shape: int) -> Tensor:
    """Numbers of the size that states have."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def branches(*lengths: int) -> NDArray[np.int32]:
    """A row of a question and answers of these lengths."""
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


def by_torch(rows: list[NDArray[np.int32]], query: Tensor, key: Tensor, value: Tensor, far: int) -> Tensor:
    """Attention with one mask over everything; the first ``far`` keys are seen by all."""
    mark, number = np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    place = np.arange(len(mark))
    seen = (number[:, None] == number) & (place[:, None] >= place) & ((mark == 0) | (mark[:, None] == mark))
    mask = torch.from_numpy(np.concatenate([np.ones((len(mark), far), bool), seen], axis=1))
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    return F.scaled_dot_product_attention(query, key, value, mask, scale=0.3)


@pytest.mark.parametrize("far", [0, 1, 70])
@pytest.mark.parametrize(("heads", "kv_heads", "size", "value_size"), [(2, 2, 32, 32), (6, 2, 24, 24), (3, 1, 5, 7)])
def test_attention_is_that_of_a_mask(
    heads: int, kv_heads: int, size: int, value_size: int, far: int, compiled: None
) -> None:
    """Lost otherwise: every score, by a question that sees another's answer."""
    rows = [branches(150), branches(3, 1, 2), branches(0, 5, 4), branches(70, 66, 1, 0, 130), branches(1)]
    tokens = sum(map(len, rows))
    mixed = drawn(1, tokens, heads * size + kv_heads * (size + value_size))
    query, key, value = mixed.split((heads * size, kv_heads * size, kv_heads * value_size), dim=-1)
    query, key, value = (
        one.unflatten(-1, (count, -1)).transpose(1, 2)
        for one, count in ((query, heads), (key, kv_heads), (value, kv_heads))
    )
    prefix = drawn(1, kv_heads, far, size), drawn(1, kv_heads, far, value_size)
    expected = by_torch(rows, query, torch.cat([prefix[0], key], 2), torch.cat([prefix[1], value], 2), far)
    found = reading.attend(Layout.of(rows), query, key, value, prefix if far else None, 0.3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("far", [0, 1, 70])
@pytest.mark.parametrize("shared", [1, 1 << 12])
@pytest.mark.parametrize(("heads", "kv_heads", "size", "value_size"), [(2, 2, 32, 32), (6, 2, 24, 24), (3, 1, 5, 7)])
def test_a_step_reads_the_prefix_and_its_row(
    heads: int, kv_heads: int, size: int, value_size: int, shared: int, far: int, compiled: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Lost otherwise: every free answer, after its first token."""
    monkeypatch.setattr(reading, "SHARED", shared)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    rows, capacity, lengths = 40, 30, torch.arange(40) % 29
    query, key = drawn(rows, 1, heads, size).transpose(1, 2), drawn(rows, 1, kv_heads, size).transpose(1, 2)
    value = drawn(rows, 1, kv_heads, value_size).transpose(1, 2)
    keys, values = drawn(rows, kv_heads, capacity, size), drawn(rows, kv_heads, capacity, value_size)
    prefix = drawn(1, kv_heads, far, size), drawn(1, kv_heads, far, value_size)
    expected_keys, expected_values = keys.clone(), values.clone()
    expected_keys[torch.arange(rows), :, lengths] = key[:, :, 0]
    expected_values[torch.arange(rows), :, lengths] = value[:, :, 0]
    seen = torch.arange(capacity) <= lengths[:, None]
    mask = torch.cat([torch.ones(rows, far, dtype=torch.bool), seen], 1)[:, None, None]
    group = heads // kv_heads
    every = [
        torch.cat([one.expand(rows, -1, -1, -1), other], 2).repeat_interleave(group, 1)
        for one, other in zip(prefix, (expected_keys, expected_values), strict=True)
    ]
    expected = F.scaled_dot_product_attention(query, *every, mask, scale=0.3)
    laid = reading.Far.of(prefix) if far else None
    found = reading.step(query, (key, value), laid, (keys, values), lengths, int(lengths.max()), 0.3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(keys, expected_keys)
    assert torch.equal(values, expected_values)


@pytest.mark.parametrize("width", [1, 15, 64, 100])
def test_norm_adds_and_normalises(width: int, built: None) -> None:
    """Lost otherwise: every score."""
    stream, change, gain = drawn(2, 3, width), drawn(2, 4, width)[:, :3], drawn(width)
    whole = stream + change
    expected = whole * torch.rsqrt(whole.square().mean(-1, keepdim=True) + 1e-5) * gain
    added, found = reading.normed(stream.clone(), change, gain, 1e-5)
    torch.testing.assert_close(added, whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_gate_is_silu(built: None) -> None:
    """Also far out, where an exponential would overflow."""
    both = torch.cat([drawn(5, 33) * 40, drawn(5, 33)], dim=-1)
    torch.testing.assert_close(
        reading.gated(both), F.silu(both[:, :33]) * both[:, 33:], rtol=1e-5, atol=1e-6
    )  # fmt: skip


@pytest.mark.parametrize("pairs", [True, False])
def test_heads_turn_and_the_rest_stays(pairs: bool, built: None) -> None:
    """Lost otherwise: positions, or values that were turned as if they were keys."""
    mixed, angles = drawn(2, 7, 5, 12), drawn(1, 7, 1, 4)
    first, second = (mixed[..., :8:2], mixed[..., 1:8:2]) if pairs else (mixed[..., :4], mixed[..., 4:8])
    turned = [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()]
    whole = torch.stack(turned, -1).flatten(-2) if pairs else torch.cat(turned, -1)
    expected = torch.cat([torch.cat([whole, mixed[..., 8:]], -1)[:, :, :3], mixed[:, :, 3:]], 2)
    found = reading.turned(mixed.clone(), 3, angles.cos(), angles.sin(), pairs=pairs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_sums_over_the_vocabulary_are_carried_from_block_to_block(built: None) -> None:
    """Lost otherwise: every log-probability."""
    logits = drawn(6, 50) * 30
    top, sums = torch.full((6,), -torch.inf), torch.zeros(6)
    for block in logits.split(17, dim=-1):
        reading.total(block.clone(), top, sums)
    torch.testing.assert_close(top + sums.log(), torch.logsumexp(logits, -1), rtol=1e-6, atol=1e-5)


@needs_compiler
def test_only_float32_on_a_processor_is_served() -> None:
    """A model in bfloat16 is for torch; its bytes read as float32 would be noise."""
    cpu = torch.device("cpu")
    assert reading.serves(cpu, torch.float32)
    assert not reading.serves(cpu, torch.bfloat16)
    assert not reading.serves(torch.device("meta"), torch.float32)
