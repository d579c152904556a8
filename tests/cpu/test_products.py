"""Matrices laid out once multiply as they are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from onset.cpu import products
from onset.cpu.products import Matrix, Words


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 64, 1500])
def test_a_matrix_is_a_linear_layer(rows: int, packed: bool) -> None:
    """Lost otherwise: every score, at some number of rows."""
    weight, bias, x = torch.randn(70, 33), torch.randn(70), torch.randn(rows, 33)
    torch.testing.assert_close(Matrix(weight, bias, packed=packed)(x), F.linear(x, weight, bias), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(Matrix(weight, packed=packed)(x[None]), F.linear(x, weight)[None], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("vocab", [1, 1023, 1024, 1025, 3000])
def test_words_make_all_logits(vocab: int) -> None:
    """Lost otherwise: the last words of a vocabulary."""
    matrix, states = torch.randn(vocab, 16), torch.randn(4, 16)
    torch.testing.assert_close(Words(matrix, packed=True)(states), states @ matrix.t(), rtol=1e-5, atol=1e-4)


def test_a_packed_model_says_the_same_and_one_layer_is_left() -> None:
    """Lost otherwise: the scores of every model of the library; an output matrix held twice."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 9), torch.nn.GELU(), torch.nn.Linear(9, 3, bias=False))
    x = torch.randn(5, 8)
    with torch.inference_mode():
        expected = model(x)
        products.pack(model, leave=model[2])
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
    assert isinstance(model[0].forward, Matrix)
    assert not isinstance(model[2].forward, Matrix)


def test_large_and_rounded_models_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that fills the memory would be held twice."""
    model = torch.nn.Linear(8, 9)
    assert products.packs(model) == torch.backends.mkldnn.is_available()
    assert not products.packs(torch.nn.Linear(8, 9).bfloat16())
    monkeypatch.setattr(products, "MOST_BYTES", 100)
    assert not products.packs(model)
