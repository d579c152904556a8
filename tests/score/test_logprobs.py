"""Log-probabilities without all logits at once are those of the plain softmax."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from onset.cpu import products
from onset.errors import OnsetError
from onset.score import logprobs
from onset.score.causal import CausalLM


def model(vocab: int, *, matrix: bool, packed: bool = True) -> tuple[CausalLM, torch.Tensor, torch.Tensor]:
    """What ``picked`` needs of a model, with states and their plain log-probabilities."""
    draw = torch.Generator().manual_seed(0)
    weight, states = torch.randn(vocab, 16, generator=draw), 3 * torch.randn(50, 16, generator=draw)
    lm: Any = SimpleNamespace(
        output=products.Words(weight, packed=packed) if matrix else None, device=torch.device("cpu"), vocab=vocab,
        name="toy", logits=lambda rows: rows @ weight.t(),
    )  # fmt: skip
    return cast(CausalLM, lm), states, torch.log_softmax((states @ weight.t()).double(), -1)


@pytest.mark.parametrize("matrix", [True, False])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("vocab", [5, 511, 512, 513, 2000])
def test_blocks_give_the_plain_softmax(vocab: int, matrix: bool, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: every score, by a word at the edge of a block."""
    monkeypatch.setattr(products, "WORDS", 512)
    monkeypatch.setitem(logprobs.LOGITS, "cpu", 1)
    lm, states, plain = model(vocab, matrix=matrix, packed=packed)
    draw = np.random.default_rng(0)
    asked, targets = draw.integers(0, len(states), 300), draw.integers(0, vocab, 300).astype(np.int32)
    targets[:2] = 0, vocab - 1
    found = logprobs.picked(lm, states, asked, targets)
    assert found == pytest.approx(plain[asked, targets].numpy(), abs=2e-5)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_an_error(broken: float, packed: bool) -> None:
    """Lost otherwise: a broken checkpoint with a score."""
    lm, states, _ = model(600, matrix=True, packed=packed)
    states[3] = broken
    with pytest.raises(OnsetError, match="not finite"):
        logprobs.picked(lm, states, np.array([2, 3]), np.array([0, 0], dtype=np.int32))
