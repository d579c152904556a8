"""The model of a shape, whatever its architecture (**add an architecture** here)."""

from __future__ import annotations

from onset.models.contract import CausalModel
from onset.models.transformer import Decoder
from onset.study.spec import AnyShape, HuggingFaceShape, Run


def build(shape: AnyShape, vocab: int) -> CausalModel:
    """A model of that shape over so many tokens, its weights unset, on torch's default device."""
    if isinstance(shape, HuggingFaceShape):
        from onset.models.huggingface import HuggingFaceModel  # transformers takes seconds to load

        return HuggingFaceModel(shape, vocab)
    return Decoder(shape, vocab, seed=None)


def first_model(run: Run, vocab: int) -> CausalModel:
    """The model that a run begins with."""
    return build(run.shape, vocab).initialise(run.seed, run.initialisation)
