"""The texts of a study: the embedded world, sources and mixes, tokenizers and held-out texts."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from onset.study.base import Spec, unique, without_defaults

Language = Literal["en", "zh"]


def slug(text: str) -> str:
    """The text where it can be the name of a folder; raises ValueError else."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", text):
        raise ValueError("use letters, digits, '.', '_', '+' and '-' only, starting with a letter or digit")
    return text


Slug = Annotated[str, AfterValidator(slug)]


class WorldSpec(Spec):
    """The embedded bilingual world: everything that its text and questions depend on."""

    seed: int = Field(default=1, ge=0, lt=2**63)
    documents: int = Field(default=200_000, gt=0)
    """Training documents, over both languages."""
    valid_documents: int = Field(default=1_000, gt=0)
    """Held-out documents, over both languages."""
    places: int = Field(default=48, ge=8)
    """Places with closed-book facts, from the most to the least spoken of."""
    exam_places: int = Field(default=16, ge=1)
    """The first so many places are asked about in exams."""
    items: int = Field(default=200, gt=0)
    """Questions per task."""


class Source(Spec):
    """One source of text in a mix: files of a language, or the embedded world's; documents or conversations."""

    name: Slug
    path: str
    """A file, a folder, or 'world' for the embedded world. Not part of the digest: ``sha256`` is."""
    language: Language
    weight: float = Field(default=1.0, gt=0)
    """Relative share of the mix's tokens."""
    kind: Literal["text", "chat"] = "text"
    """Documents; or conversations, one JSON object a line, of which only the answers are learnt."""
    column: str = "text"
    """Text column of JSON lines and Parquet; of a chat the list of messages, 'messages' where nothing is stated."""
    template: Literal["tokenizer", "roles", "bare"] = "tokenizer"
    """How a conversation is told: as the tokenizer's own template says, 'User: ...' and 'Assistant: ...' on lines of
    their own, or the messages as they stand, one after another."""
    sha256: str | None = None
    """Digest of the files' names and contents; filled in when the study is loaded."""

    @model_validator(mode="before")
    @classmethod
    def _messages(cls, given: Any) -> Any:
        chat = isinstance(given, dict) and given.get("kind") == "chat"
        return {"column": "messages", **given} if chat else given

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.kind == "text" and self.template != "tokenizer":
            raise ValueError("a template is for conversations: state kind = 'chat', or leave it out")
        return self

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(handler(self), {"kind": "text", "template": "tokenizer"})


class Mix(Spec):
    """Weighted sources that a run is trained on."""

    sources: tuple[Source, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        unique("source", [source.name for source in self.sources])
        return self


class TokenizerSpec(Spec):
    """A byte-level BPE to be trained on a mix, or a given tokenizer's folder or file."""

    vocab: int | None = Field(default=None, ge=260)
    """Entries of a trained tokenizer, the 256 bytes and the special token included."""
    mix: str = "main"
    """The mix that it is trained on."""
    split_digits: bool = True
    """Whether each digit is a token of its own."""
    sample_bytes: int = Field(default=50_000_000, gt=0)
    """Bytes of the mix that training reads, shared out by weight."""
    path: str | None = None
    """A given tokenizer: a folder with tokenizer.json, or that file."""
    sha256: str | None = None
    """Digest of the given tokenizer; filled in when the study is loaded."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.vocab is None) == (self.path is None):
            raise ValueError("give either vocab (to train one) or path (to use one), not both")
        return self


class Validation(Spec):
    """A held-out text on which losses are measured."""

    name: Slug
    sources: tuple[Source, ...] = Field(min_length=1)
    """Held-out files, one or more per language; 'world' is the world's own held-out documents."""
