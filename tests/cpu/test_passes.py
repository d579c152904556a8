"""Without these a fast training would be a wrong one: its gradients are held to autograd's, shape by shape."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch
from torch import Tensor

from onset.cpu import build as kernels
from onset.cpu import train as worker
from onset.cpu.flat import Flat
from onset.cpu.passes import KernelPasses
from onset.errors import OnsetError
from onset.models.transformer import Decoder
from onset.study.spec import Shape
from onset.train import passes as passes_module
from onset.train.passes import TorchPasses

needs_compiler = pytest.mark.skipif(kernels.kernels(bfloat16=False) is None, reason="no C compiler on this machine")

SHAPES = {
    "grouped": Shape(layers=2, width=64, heads=4, kv_heads=2, hidden=100, context=64),
    "tied, odd sizes": Shape(layers=3, width=36, heads=3, kv_heads=3, hidden=50, context=33, tied=True),
    "even lengths, wide heads": Shape(layers=2, width=96, heads=3, kv_heads=1, hidden=64, context=96),
    "one key head, wide heads": Shape(layers=1, width=160, heads=2, kv_heads=1, hidden=64, context=40),
}
VOCAB = 301


def stirred(shape: Shape) -> tuple[Decoder, Flat]:
    """A model with weights large enough that every path matters, and gains that are not one."""
    model = Decoder(shape, VOCAB, seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            parameter.add_(noise, alpha=0.2 if parameter.dim() == 1 else 0.05)
    return model, Flat(model)


def batch(shape: Shape, rows: int = 5) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, VOCAB, (rows, shape.context + 1), generator=torch.Generator().manual_seed(3))
    return ids[:, :-1], ids[:, 1:]


def apart(one: Tensor, two: Tensor) -> float:
    return float((one - two).norm() / two.norm())


def expected(shape: Shape) -> tuple[float, dict[str, Tensor]]:
    model, flat = stirred(shape)
    loss = TorchPasses(model, flat, bfloat16=False, compiled=False).run(*batch(shape))[0]
    return loss, flat.views(flat.gradients)


@needs_compiler
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_kernels_give_autograds_loss_and_gradients(name: str, threads: int) -> None:
    shape = SHAPES[name]
    loss, gradients = expected(shape)
    model, flat = stirred(shape)
    built = kernels.kernels(bfloat16=False)
    assert built is not None
    passes = KernelPasses(model, flat, built, bfloat16=False, threads=threads, batch=5)
    for _ in range(2):  # the second time on used buffers
        assert passes.run(*batch(shape))[0] == pytest.approx(loss, abs=1e-5)
        for name, gradient in flat.views(flat.gradients).items():
            assert apart(gradient, gradients[name]) < 1e-5, name


@needs_compiler
@pytest.mark.parametrize(("tokens", "logits"), [(64, 1 << 22), (4096, 10 * VOCAB), (200, 77 * VOCAB)])
def test_pieces_and_chunks_of_logits_change_nothing(monkeypatch: pytest.MonkeyPatch, tokens: int, logits: int) -> None:
    """Memory is bounded by cutting a batch up; the sum must be that of the whole."""
    monkeypatch.setattr(worker, "PIECE_TOKENS", tokens)
    monkeypatch.setattr(worker, "LOGITS", logits)
    for shape in (SHAPES["grouped"], SHAPES["tied, odd sizes"]):
        loss, gradients = expected(shape)
        model, flat = stirred(shape)
        built = kernels.kernels(bfloat16=False)
        assert built is not None
        assert KernelPasses(model, flat, built, bfloat16=False, threads=1, batch=5).run(*batch(shape))[
            0
        ] == pytest.approx(loss, abs=1e-5)
        assert all(apart(found, gradients[name]) < 1e-5 for name, found in flat.views(flat.gradients).items())


@needs_compiler
@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_kernels_are_no_further_off_than_torch_in_bfloat16(name: str) -> None:
    shape = SHAPES[name]
    loss, gradients = expected(shape)
    errors = []
    for own in (True, False):
        model, flat = stirred(shape)
        built = kernels.kernels(bfloat16=True)
        assert built is not None
        passes = (
            KernelPasses(model, flat, built, bfloat16=True, threads=1, batch=5)
            if own
            else TorchPasses(model, flat, bfloat16=True, compiled=False)
        )
        assert passes.run(*batch(shape))[0] == pytest.approx(loss, abs=0.02)
        errors.append(max(apart(found, gradients[name]) for name, found in flat.views(flat.gradients).items()))
    assert errors[0] < 1.2 * errors[1] < 0.1, errors


@needs_compiler
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_a_number_shows_in_the_loss(bfloat16: bool, bad: float) -> None:
    """Otherwise a broken run would go on, with numbers that look whole."""
    shape = SHAPES["grouped"]
    model, flat = stirred(shape)
    built = kernels.kernels(bfloat16=bfloat16)
    assert built is not None
    passes = KernelPasses(model, flat, built, bfloat16=bfloat16, threads=1, batch=5)
    block = model.blocks[0]
    for parameter in (block.qkv, block.feed_gain, block.down, model.head):
        assert isinstance(parameter, Tensor)
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[0] = bad
        loss = passes.run(*batch(shape))[0]
        norm = float(torch.linalg.vector_norm(flat.gradients))
        assert not (torch.isfinite(torch.tensor(loss)) and torch.isfinite(torch.tensor(norm)))
        with torch.no_grad():
            parameter.copy_(kept)


@needs_compiler
@pytest.mark.parametrize("bad", [VOCAB, -1])
def test_ids_outside_the_vocabulary_are_said(bad: int) -> None:
    """The kernels would write to memory that is not theirs."""
    model, flat = stirred(SHAPES["grouped"])
    built = kernels.kernels(bfloat16=False)
    assert built is not None
    passes = KernelPasses(model, flat, built, bfloat16=False, threads=1, batch=5)
    for place in (0, 1) if bad >= 0 else (0,):  # a target below 0 is one that does not count
        ids = [tensor.clone() for tensor in batch(SHAPES["grouped"])]
        ids[place][2, 3] = bad
        with pytest.raises(OnsetError, match="model knows"):
            passes.run(*ids)


def test_autograd_in_pieces_gives_the_whole_batchs_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SHAPES["grouped"]
    loss, gradients = expected(shape)
    monkeypatch.setattr(passes_module, "TORCH_PIECE_TOKENS", 2 * shape.context)
    model, flat = stirred(shape)
    assert TorchPasses(model, flat, bfloat16=False, compiled=False).run(*batch(shape))[0] == pytest.approx(
        loss, abs=1e-5
    )
    assert all(apart(found, gradients[name]) < 1e-5 for name, found in flat.views(flat.gradients).items())


@needs_compiler
def test_equal_input_gives_equal_bits() -> None:
    shape = SHAPES["grouped"]
    found = []
    for _ in range(2):
        model, flat = stirred(shape)
        built = kernels.kernels(bfloat16=True)
        assert built is not None
        loss = KernelPasses(model, flat, built, bfloat16=True, threads=2, batch=5).run(*batch(shape))[0]
        found.append((loss, flat.gradients.clone()))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


@needs_compiler
@pytest.mark.parametrize("wide", [(), ("-mavx2", "-mfma")])
def test_kernels_for_other_processors_are_right_too(
    wide: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Vectors of four and eight, as machines without AVX-512 have them."""
    if wide and (platform.machine() != "x86_64" or not {"avx2", "fma"} <= set(kernels._processor().split())):
        pytest.skip("this processor has no AVX2")
    monkeypatch.setattr(kernels, "TUNING", wide)
    assert kernels._build(tmp_path / "k.so", kernels._source(), ())
    built = kernels.Kernels(tmp_path / "k.so")
    for shape in SHAPES.values():
        loss, gradients = expected(shape)
        model, flat = stirred(shape)
        passes = KernelPasses(model, flat, built, bfloat16=False, threads=1, batch=5)
        assert passes.run(*batch(shape))[0] == pytest.approx(loss, abs=1e-5)
        assert all(apart(found, gradients[name]) < 1e-5 for name, found in flat.views(flat.gradients).items())
