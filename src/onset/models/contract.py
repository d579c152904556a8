"""What the trainer, the scorer and the cost model see of a model; any architecture that fulfils it can be trained.

An architecture is one file that fulfils ``CausalModel`` and one line in ``onset.models.build``; one in the form of
transformers is a file of the user's own (examples/own_architecture.py). Nothing outside this
room names a class of model, but for the hand-written code of ``onset.cpu``, which knows the paper's decoder alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from onset.models.initialisation import drawn
from onset.study.spec import AnyShape
from onset.study.training import Role as Role


class CausalModel(nn.Module, ABC):
    """A causal language model over ``vocab`` tokens, its weights float32 and unset until ``initialise`` or ``take``.

    It can be made on the meta device. Parameters have the names of ``named_parameters``; a training's state is kept
    under them.
    """

    shape: AnyShape
    vocab: int

    @abstractmethod
    def read(self, tokens: Tensor, *, recompute: int = 0) -> tuple[Tensor, Tensor | None]:
        """States (batch, length, width) that ``output_matrix`` turns into logits, for token ids (batch, length).

        The second value is what the training minimises beside the cross-entropy (a mixture of experts' balancing
        loss, weighted already), or None. Of the first ``recompute`` layers autograd holds the input alone and computes
        the layer again on the way back.
        """

    @property
    @abstractmethod
    def output_matrix(self) -> Tensor:
        """The (vocab, width) matrix of the logits."""

    @abstractmethod
    def layers(self) -> Sequence[nn.Module]:
        """The modules, in order, that are sharded, compiled and computed again one at a time."""

    @abstractmethod
    def role(self, name: str) -> Role:
        """A parameter's part in the model."""

    @abstractmethod
    def deviation(self, name: str) -> float:
        """Standard deviation that a parameter is drawn with; those that are no vectors."""

    @abstractmethod
    def config(self, eos: int) -> dict[str, Any]:
        """config.json of the model in the transformers library; ``eos`` is the token that ends a text."""

    def code(self) -> dict[str, str]:
        """Files of code, text by name, without which a checkpoint cannot be loaded by transformers."""
        return {}

    @abstractmethod
    def export(self) -> dict[str, Tensor]:
        """The weights under the names of that model, on the CPU, in memory of their own."""

    @abstractmethod
    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights in: the inverse of ``export``. Raises KeyError or ValueError where they do not fit."""

    @abstractmethod
    def blank(self) -> Self:
        """Another model of this shape, its weights unset, on the device that is torch's default at the moment."""

    def matrices(self, name: str, stored: Tensor) -> tuple[Tensor, ...]:
        """The matrices that a parameter holds one above the other, as views of ``stored``, which has its shape."""
        return (stored,)

    def reset_buffers(self, device: torch.device | str) -> None:
        """Make all tensors that are no parameters anew on a device, after a model was made on the meta device."""

    def draw(self, name: str, seed: int, factor: float = 1.0, rows: range | None = None) -> Tensor:
        """First values of some rows of a parameter (all for None), float32 on the CPU, from (seed, name) alone.

        Vectors are 1; the rest is drawn with ``factor`` times its ``deviation``.
        """
        size = self.get_parameter(name).shape
        if self.role(name) == "vector":
            return torch.ones(size if rows is None else (len(rows), *size[1:]))
        return drawn(name, size, seed, factor * self.deviation(name), rows)

    @torch.no_grad()
    def initialise(self, seed: int, factor: float = 1.0) -> Self:
        """Draw every parameter; returns the model."""
        for name, parameter in self.named_parameters():
            parameter.copy_(self.draw(name, seed, factor))
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch, length, vocab) for token ids (batch, length)."""
        return nn.functional.linear(self.read(tokens)[0], self.output_matrix)

    def count(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
