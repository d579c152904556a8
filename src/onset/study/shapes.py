"""Shapes: what a model is built from, beside the vocabulary, which comes with the tokenizer."""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from onset.study.base import Spec, without_defaults

OWN_CLASS = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
"""A class in a file of one's own."""


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


class HuggingFaceShape(Spec):
    """Any causal architecture of transformers: its ``model_type`` and the keys of its configuration.

    In TOML the keys stand beside the others: ``{ kind = "huggingface", model_type = "mamba2", context = 128,
    hidden_size = 64 }``. Which keys there are is the architecture's own affair, and is checked by
    ``onset.study.architectures`` before anything runs.
    """

    kind: Literal["huggingface"]
    model_type: str = Field(min_length=1)
    """Name of the architecture in transformers, such as 'mamba2', 'olmoe', 'falcon_h1', or one's own, FILE.py:CLASS."""
    context: int = Field(gt=1)
    """Tokens that a training sequence holds, and the longest prompt."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The configuration's keys; what is not stated has the architecture's own default."""
    sha256: str | None = None
    """Digest of the file of an architecture of one's own; filled in when the study is loaded."""

    @property
    def own_file(self) -> tuple[str, str] | None:
        """The file of an architecture of one's own and the class in it; None for one of transformers."""
        found = OWN_CLASS.fullmatch(self.model_type)
        return None if found is None else (found["file"], found["name"])

    @property
    def architecture(self) -> str:
        """The architecture's name, as tables and pages tell it."""
        return self.model_type if self.own_file is None else self.own_file[1]

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """All keys but our own are the configuration's."""
        if not isinstance(given, dict) or "settings" in given:
            return given
        own = {name: value for name, value in given.items() if name in cls.model_fields}
        return own | {"settings": {name: value for name, value in given.items() if name not in own}}

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        settings: dict[str, Any] = found.pop("settings")
        return without_defaults({**found, **settings}, {"sha256": None})

    @model_validator(mode="after")
    def _free(self) -> Self:
        if self.model_type.partition(":")[0].endswith(".py") and self.own_file is None:
            raise ValueError("the model_type of an architecture of one's own is FILE.py:CLASS")
        taken = sorted(set(self.settings) & set(SET_BY_ONSET))
        if taken:
            raise ValueError(f"'{taken[0]}' is not to be stated: {SET_BY_ONSET[taken[0]]}")
        return self

    def key(self) -> str:
        """The shape as one text, equal for equal shapes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    def content(self) -> dict[str, Any]:
        """The shape as JSON, free of paths: what digests are of."""
        found = self.model_dump(mode="json")
        if self.own_file is not None:
            file, name = self.own_file
            found["model_type"] = f"{PurePath(file).name}:{name}"
        return found


SET_BY_ONSET = {
    "vocab_size": "it comes with the tokenizer",
    "bos_token_id": "it comes with the tokenizer",
    "eos_token_id": "it comes with the tokenizer",
    "pad_token_id": "it comes with the tokenizer",
    "max_position_embeddings": "it is the shape's context",
    "output_router_logits": "a balancing loss is trained with wherever its coefficient is above zero",
    "architectures": "model_type says it",
    "dtype": "the study's precision says it",
    "torch_dtype": "the study's precision says it",
}
"""Keys of a configuration that other parts of a study decide."""


def _kind(given: Any) -> str:
    kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)
    return "huggingface" if kind is not None else "decoder"


AnyShape = Annotated[
    Annotated[Shape, Tag("decoder")] | Annotated[HuggingFaceShape, Tag("huggingface")], Discriminator(_kind)
]
"""A shape that a study may name: the paper's decoder, or an architecture of transformers."""
