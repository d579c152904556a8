"""The model of a shape, whatever its architecture (**add an architecture** here)."""

from __future__ import annotations

from onset.models.contract import CausalModel
from onset.models.transformer import Decoder
from onset.study.spec import Run, Shape


def build(shape: Shape, vocab: int) -> CausalModel:
    """A model of that shape over so many tokens, its weights unset, on torch's default device."""
    return Decoder(shape, vocab, seed=None)


def first_model(run: Run, vocab: int) -> CausalModel:
    """The model that a run begins with."""
    return build(run.shape, vocab).initialise(run.seed, run.initialisation)
