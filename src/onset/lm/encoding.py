"""A tokenizer as scoring needs it: ids, the text each token covers, and how a prompt begins.

Where a prompt ends and its continuation begins is decided here, once, for every kind of tokenizer: see ``pairs``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from onset.lm.tokenizer import Tokenizer

Ids = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Pair:
    """A prompt and its continuation as one row of tokens."""

    ids: Ids
    """Tokens of prompt and continuation, the token that begins a prompt included."""
    border: int
    """Index of the continuation's first token."""

    @property
    def tokens(self) -> int:
        """Tokens of the continuation."""
        return len(self.ids) - self.border


class Encoder:
    """Text to ids and back, without special tokens; ``start`` begins every prompt where the tokenizer does so.

    ``blank`` stands for an empty prompt (the beginning of text, or its end where a model has no beginning), as in
    lm-evaluation-harness. ``backend`` is a ``tokenizers.Tokenizer``; a tokenizer written in Python is given as
    ``slow`` instead.
    """

    def __init__(
        self,
        backend: Any | None,
        *,
        start: int | None,
        blank: int | None,
        eos: int | None,
        slow: Any | None = None,
    ) -> None:
        assert (backend is None) != (slow is None), "one of backend and slow"
        self._backend = backend
        self._slow = slow
        self.start = start
        self.blank = blank
        self.eos = eos
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
            backend.encode_special_tokens = True  # a special token's name inside a text is text
            body = backend.to_str()
        else:
            body = json.dumps([type(slow).__name__, slow.get_vocab()], sort_keys=True)  # type: ignore[union-attr]
        self.digest = hashlib.sha256(f"{body}{start},{blank},{eos}".encode()).hexdigest()
        """Equal for tokenizers that encode equally: what tokenised requests are kept under."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Encoder:
        """A tokenizer of ``onset.lm.tokenizer``: texts begin after the separator, as in training."""
        backend = Backend.from_str(tokenizer.dumps())
        return cls(backend, start=tokenizer.eos, blank=tokenizer.eos, eos=tokenizer.eos)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        if self._backend is None:
            return [list(self._slow(text, add_special_tokens=False)["input_ids"]) for text in texts]  # type: ignore[misc]
        return [found.ids for found in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def ends(self, text: str) -> list[int] | None:
        """Where each token's characters end in the text; None where the tokenizer cannot say."""
        if self._backend is None:
            return None
        return [end for _, end in self._backend.encode(text, add_special_tokens=False).offsets]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        if self._backend is None:
            return str(self._slow.decode(list(ids), skip_special_tokens=True))  # type: ignore[union-attr]
        return str(self._backend.decode(list(ids), skip_special_tokens=True))

    def prompts(self, texts: Sequence[str]) -> list[Ids]:
        """Rows to generate from: the start token, where there is one, and the text's tokens."""
        return [
            np.asarray(self._begin(text, ids), dtype=np.int32) for text, ids in zip(texts, self.ids(texts), strict=True)
        ]

    def pairs(self, texts: Sequence[tuple[str, str]]) -> list[Pair]:
        """Rows of (prompt, continuation).

        The field's rule (lm-evaluation-harness): white space at the prompt's end is moved to the continuation, prompt
        and continuation are encoded as one text, and the continuation's tokens are those after the prompt's own. It
        holds when the prompt's tokens begin the whole's. Where they do not, because a token lies across the border
        (Chinese in byte-level BPE, words without spaces), that token and all after it are the continuation: the whole
        text keeps its one tokenization and no character is left out or counted twice.
        """
        moved = [_move_space(prompt, continuation) for prompt, continuation in texts]
        wholes = _unique(self, [prompt + continuation for prompt, continuation in moved])
        fronts = _unique(self, [prompt for prompt, _ in moved])
        made = []
        for prompt, continuation in moved:
            whole, front = wholes[prompt + continuation], fronts[prompt]
            border = len(front)
            if whole[:border] != front:
                border = self._border(prompt, prompt + continuation, whole, front)
            row = self._begin(prompt, whole)
            made.append(Pair(np.asarray(row, dtype=np.int32), border + len(row) - len(whole)))
        return made

    def _begin(self, prompt: str, ids: list[int]) -> list[int]:
        if self.start is not None:
            return [self.start, *ids]
        if not prompt and self.blank is not None:
            return [self.blank, *ids]
        return ids

    def _border(self, prompt: str, text: str, whole: list[int], front: list[int]) -> int:
        """First token that covers any character of the continuation."""
        ends = self.ends(text)
        if ends is not None and len(ends) == len(whole):
            return next((index for index, end in enumerate(ends) if end > len(prompt)), len(whole))
        same = 0
        for one, other in zip(whole, front, strict=False):
            if one != other:
                break
            same += 1
        return same


def _move_space(prompt: str, continuation: str) -> tuple[str, str]:
    bare = prompt.rstrip()
    return bare, prompt[len(bare) :] + continuation


def _unique(encoder: Encoder, texts: Sequence[str]) -> dict[str, list[int]]:
    """Ids by text, every distinct text encoded once."""
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, encoder.ids(distinct), strict=True))
