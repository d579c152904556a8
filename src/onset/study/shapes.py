"""Shapes: what a model is built from, beside the vocabulary, which comes with the tokenizer."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from onset.study.base import Spec


class Shape(Spec):
    """The shape of a decoder (the vocabulary comes with the tokenizer)."""

    layers: int = Field(gt=0)
    """Number of blocks."""
    width: int = Field(gt=0)
    """Size of the residual stream."""
    heads: int = Field(gt=0)
    """Query heads; width is split among them."""
    kv_heads: int = Field(gt=0)
    """Key and value heads, each shared by heads/kv_heads query heads."""
    hidden: int = Field(gt=0)
    """Inner size of the SwiGLU feed-forward."""
    context: int = Field(gt=1)
    """Tokens that a training sequence holds, and the longest prompt."""
    tied: bool = False
    """Whether the output matrix is the token embedding."""
    rotary_base: float = Field(default=10_000.0, gt=0)
    """Base of the rotary frequencies."""

    @property
    def head_dim(self) -> int:
        """Dimensions of one head."""
        return self.width // self.heads

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.head_dim % 4:
            raise ValueError(
                f"head size width/heads is {self.head_dim}; it must be a multiple of 4, "
                "because half of its dimensions are rotated in pairs"
            )
        return self
