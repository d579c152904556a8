"""The model of a shape, whatever its architecture (**add an architecture** here)."""

from __future__ import annotations

from pathlib import Path

from onset.errors import OnsetError
from onset.models.contract import CausalModel
from onset.models.files import read_weights
from onset.models.transformer import Decoder
from onset.study.spec import AnyShape, HuggingFaceShape, Run


def build(shape: AnyShape, vocab: int) -> CausalModel:
    """A model of that shape over so many tokens, its weights unset, on torch's default device."""
    if isinstance(shape, HuggingFaceShape):
        from onset.models.huggingface import HuggingFaceModel  # transformers takes seconds to load

        return HuggingFaceModel(shape, vocab)
    return Decoder(shape, vocab, seed=None)


def first_model(run: Run, vocab: int, start: Path | None = None) -> CausalModel:
    """The model that a run begins with: drawn, or the checkpoint of the folder ``start``.

    Raises OnsetError where that is of another model.
    """
    model = build(run.shape, vocab).initialise(run.seed, run.initialisation)
    if start is not None:
        try:
            model.take(read_weights(start))
        except (KeyError, ValueError, RuntimeError) as error:
            raise OnsetError(f"the checkpoint that the run starts from is of another model: {error}",
                             where=start) from error  # fmt: skip
    return model
