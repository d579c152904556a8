"""Products of our own are held to products in float64: a wrong border or a stale copy would train a wrong model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from onset.cpu import build as kernels
from onset.cpu.flat import Flat
from onset.cpu.matrices import Matrices, Products

SHAPES = [(2, 2), (16, 16), (18, 34), (48, 30), (100, 64), (64, 100), (96, 172), (302, 36), (300, 520)]
"""Rows and columns of weights: below, at and past the panels' 16 lanes and the tiles' 32."""
ROWS = [1, 7, 8, 33, 512, 513, 1100]
"""Tokens: past a tile of 8, past a chunk of 512 whose pairs are laid out together, odd ones too."""


def built(*, bfloat16: bool = True) -> kernels.Kernels:
    found = kernels.kernels(bfloat16=bfloat16)
    if found is None:
        pytest.skip("no C compiler on this machine")
    return found


def ours() -> kernels.Kernels:
    found = built()
    if not found.matrices:
        pytest.skip("this processor does not multiply bfloat16 with AVX-512: products are torch's here")
    return found


def weights(*shapes: tuple[int, int]) -> Flat:
    draw = torch.Generator().manual_seed(4)
    module = nn.Module()
    for index, shape in enumerate(shapes):
        module.register_parameter(f"m{index}", nn.Parameter(torch.randn(shape, generator=draw)))
    return Flat(module)


def elements(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def apart(found: Tensor, wanted: Tensor) -> float:
    """Largest error, as a share of the largest number that is wanted."""
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("shape", SHAPES)
def test_products_of_every_shape_are_those_of_float64(shape: tuple[int, int]) -> None:
    flat = weights(shape)
    matrices = Matrices(flat, ours(), ["m0"], bfloat16=True)
    assert list(matrices.panels) == ["m0"]
    weight = flat.views(flat.values)["m0"].bfloat16().double()
    sums = flat.views(flat.gradients)
    products = Products(matrices, sums)
    for rows in ROWS:
        inputs, gradient = elements(rows, shape[1], seed=5), elements(rows, shape[0], seed=6)
        # What lies past the results must stay as it is.
        out, back = torch.full((rows + 1, shape[0]), 7.0).bfloat16(), torch.full((rows + 1, shape[1]), 7.0).bfloat16()
        products.forward("m0", inputs, out[:rows])
        products.back("m0", gradient, back[:rows])
        assert apart(out[:rows], inputs.double() @ weight.T) < 2**-8
        assert apart(back[:rows], gradient.double() @ weight) < 2**-8
        assert bool((out[rows] == 7).all())
        assert bool((back[rows] == 7).all())
        before = torch.randn(shape, generator=torch.Generator().manual_seed(7))
        sums["m0"].copy_(before)
        products.add("m0", gradient, inputs)
        assert apart(sums["m0"], before.double() + gradient.double().T @ inputs.double()) < 1e-5, "sums stay float32"


def test_sums_go_on_over_pieces_and_leave_their_neighbours() -> None:
    """Gradients of several pieces of a batch are one sum, in a buffer that all matrices share."""
    flat = weights((18, 30), (6, 10), (30, 18))
    products = Products(Matrices(flat, ours(), ["m0", "m1", "m2"], bfloat16=True), flat.views(flat.gradients))
    flat.gradients.fill_(0.5)
    wanted = torch.full((6, 10), 0.5).double()
    for seed in range(5):
        inputs, gradient = elements(37, 10, seed=seed), elements(37, 6, seed=seed + 50)
        products.add("m1", gradient, inputs)
        wanted += gradient.double().T @ inputs.double()
    sums = flat.views(flat.gradients)
    assert apart(sums["m1"], wanted) < 1e-5
    assert bool((sums["m0"] == 0.5).all())
    assert bool((sums["m2"] == 0.5).all())


def test_panels_follow_the_master_only_when_renewed() -> None:
    """A step that multiplied by the weights of the step before would train a little wrong, and say nothing."""
    flat = weights((32, 48))
    matrices = Matrices(flat, ours(), ["m0"], bfloat16=True)
    products = Products(matrices, flat.views(flat.gradients))
    inputs = elements(9, 48, seed=1)
    first, stale, second = (torch.zeros(9, 32, dtype=torch.bfloat16) for _ in range(3))
    products.forward("m0", inputs, first)
    flat.values.mul_(-2)
    products.forward("m0", inputs, stale)
    matrices.renew()
    products.forward("m0", inputs, second)
    assert torch.equal(first, stale)
    assert torch.equal(second, first * -2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_reaches_its_own_results_only(bad: float) -> None:
    """Lanes past the last column are zero: a broken number must not be lost in them, nor come out of them."""
    flat = weights((18, 34))
    matrices = Matrices(flat, ours(), ["m0"], bfloat16=True)
    products = Products(matrices, flat.views(flat.gradients))
    inputs, out = elements(9, 34, seed=1), torch.zeros(9, 18, dtype=torch.bfloat16)
    inputs[8, 33] = bad
    products.forward("m0", inputs, out)
    assert not torch.isfinite(out[8]).any()
    assert torch.isfinite(out[:8]).all()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_odd_matrices_and_other_processors_take_torchs_products(bfloat16: bool) -> None:
    """The same results by another way, on every machine."""
    library = built(bfloat16=bfloat16)
    flat = weights((17, 33))
    matrices = Matrices(flat, library, ["m0"], bfloat16=bfloat16)
    assert not matrices.panels
    products = Products(matrices, flat.views(flat.gradients))
    dtype = matrices.dtype
    inputs, gradient = elements(9, 33, seed=1).to(dtype), elements(9, 17, seed=2).to(dtype)
    out, back = torch.zeros(9, 17, dtype=dtype), torch.zeros(9, 33, dtype=dtype)
    weight = flat.views(flat.values)["m0"].to(dtype).double()
    products.forward("m0", inputs, out)
    products.back("m0", gradient, back)
    flat.gradients.zero_()
    products.add("m0", gradient, inputs)
    assert apart(out, inputs.double() @ weight.T) < 2**-8
    assert apart(back, gradient.double() @ weight) < 2**-8
    assert apart(flat.views(flat.gradients)["m0"], gradient.double().T @ inputs.double()) < 2**-7


BUILD = """
import torch
from onset.cpu.build import kernels
built = kernels(bfloat16=True)
ids, table = torch.tensor([1]), torch.arange(32.).view(2, 16)
out = torch.zeros(1, 16)
built.embed(ids, table, out, 1, 16)
assert torch.equal(out[0], table[1])
"""


def test_processes_that_build_at_once_all_get_whole_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start together on an empty cache: none may load what another has half written."""
    built()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    running = [subprocess.Popen([sys.executable, "-c", BUILD], stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()[-2000:]
    assert [path.suffix for path in (tmp_path / "onset").iterdir()] == [".so"], "nothing is left lying about"
