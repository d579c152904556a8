"""A tokenizer as scoring needs it: ids, the text each token covers, and how a prompt begins.

Where a prompt ends and its continuation begins is decided here, once, for every kind of tokenizer: see ``pairs``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from onset.data.tokenizer import Tokenizer

Ids = NDArray[np.int32]


PART = 512
"""Texts that are encoded at once."""
REACH, MARGIN = 1000, 48
"""Where a front is cut, in characters from its end: at most, and at least."""
LONG = 200
"""Characters of a question whose tokens are worth sharing among its answers."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt in two parts, and its continuation. Asks with one ``front`` (header and shots) share its tokens."""

    front: tuple[str, ...]
    question: str
    continuation: str

    @property
    def prompt(self) -> str:
        """The whole prompt."""
        return "".join(self.front) + self.question


class Head(NamedTuple):
    """Tokens that a front begins with whatever follows it, and where in its text they end."""

    ids: Ids
    cut: int


_NO_HEAD = Head(np.zeros(0, dtype=np.int32), 0)


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
        """A tokenizer of ``onset.data.tokenizer``: texts begin after the separator, as in training."""
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

    def prompts(self, asks: Sequence[Ask]) -> list[Ids]:
        """Rows to generate from: the token that begins a prompt, where there is one, and the prompt's tokens."""
        return [pair.ids for pair in self._in_parts(asks, self._prompts)]

    def pairs(self, asks: Sequence[Ask]) -> list[Pair]:
        """Rows of prompts and continuations.

        The field's rule (lm-evaluation-harness): white space at the prompt's end is moved to the continuation, prompt
        and continuation are encoded as one text, and the continuation's tokens are those after the prompt's own. It
        holds when the prompt's tokens begin the whole's. Where they do not, because a token lies across the border
        (Chinese in byte-level BPE, words without spaces), that token and all after it are the continuation: the whole
        text keeps its one tokenization and no character is left out or counted twice.
        """
        return self._in_parts(asks, self._pairs)

    def _in_parts(self, asks: Sequence[Ask], encode: Callable[[Sequence[Ask]], list[Pair]]) -> list[Pair]:
        """Encode a bounded number of texts at a time, the tokens of shared shots and of shared questions once."""

        def by_question(part: Sequence[Ask]) -> list[Pair]:
            long = [len(ask.question) >= LONG for ask in part]
            whole = [
                Ask((ask.prompt,), "", ask.continuation) if is_long else ask
                for ask, is_long in zip(part, long, strict=True)
            ]
            return self._by_front(whole, 1, lambda few: self._bounded(few, encode))

        return self._by_front(asks, 2, by_question)

    def _by_front(self, asks: Sequence[Ask], samples: int, encode: Callable[[Sequence[Ask]], list[Pair]]) -> list[Pair]:
        """Cut what each front begins with off its texts, encode what is left together, and put it back."""
        where: dict[tuple[str, ...], list[int]] = {}
        for index, ask in enumerate(asks):
            where.setdefault(ask.front, []).append(index)
        heads = [_NO_HEAD] * len(asks)
        left = list(asks)
        for front, indices in where.items():
            if len(indices) <= 2:
                continue
            text = "".join(front)
            head = self._head(text, [asks[index] for index in {indices[0]: 0, indices[-1]: 0}][:samples])
            for index in indices if len(head.ids) else ():
                heads[index], left[index] = head, replace(asks[index], front=(text[head.cut :],))
        pairs = encode(left)
        return [self._headed(head, pair) if len(head.ids) else pair for head, pair in zip(heads, pairs, strict=True)]

    def _bounded(self, asks: Sequence[Ask], encode: Callable[[Sequence[Ask]], list[Pair]]) -> list[Pair]:
        made: list[Pair] = []
        for start in range(0, len(asks), PART):
            made += encode(asks[start : start + PART])
        return made

    def _headed(self, head: Head, pair: Pair) -> Pair:
        begun = self.start is not None
        ids = np.concatenate([pair.ids[:begun], head.ids, pair.ids[begun:]])
        return Pair(ids, pair.border + len(head.ids))

    def _head(self, front: str, samples: Sequence[Ask]) -> Head:
        """Tokens of a front that are the same whatever follows, so that only the rest is encoded text by text.

        The cut is made before white space, well inside the front: no tokenizer's words reach across both. That it
        gives the tokens of the whole is verified on samples; a front where it does not is encoded whole every time.
        """
        places = [at for at in range(max(len(front) - REACH, 1), len(front) - MARGIN) if _begins_space(front, at)]
        if not places:
            return _NO_HEAD
        texts = [front + sample.question + sample.continuation for sample in samples]
        wholes = self.ids(texts)
        for cut in (places[-1], places[-1] + 1):  # SentencePiece puts a space before a text by itself
            heads = []
            for whole, tail in zip(wholes, self.ids([text[cut:] for text in texts]), strict=True):
                length = len(whole) - len(tail)
                if length <= 0 or whole[length:] != tail:
                    break
                heads.append(whole[:length])
            if len(heads) == len(texts) and all(head == heads[0] for head in heads):
                return Head(np.asarray(heads[0], dtype=np.int32), cut)
        return _NO_HEAD

    def _prompts(self, asks: Sequence[Ask]) -> list[Pair]:
        prompts = [ask.prompt for ask in asks]
        rows = [self._begin(prompt, ids) for prompt, ids in zip(prompts, self.ids(prompts), strict=True)]
        return [Pair(np.asarray(row, dtype=np.int32), len(row)) for row in rows]

    def _pairs(self, asks: Sequence[Ask]) -> list[Pair]:
        moved = [_move_space(ask.prompt, ask.continuation) for ask in asks]
        wholes = self._unique([prompt + continuation for prompt, continuation in moved])
        fronts = self._unique([prompt for prompt, _ in moved])
        made = []
        for prompt, continuation in moved:
            whole, front = wholes[prompt + continuation], fronts[prompt]
            border = len(front)
            if whole[:border] != front:
                border = self._border(prompt, prompt + continuation, whole, front)
            row = self._begin(prompt, whole)
            made.append(Pair(np.asarray(row, dtype=np.int32), border + len(row) - len(whole)))
        return made

    def _unique(self, texts: Sequence[str]) -> dict[str, list[int]]:
        """Ids by text, every distinct text encoded once."""
        distinct = list(dict.fromkeys(texts))
        return dict(zip(distinct, self.ids(distinct), strict=True))

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


def _begins_space(text: str, at: int) -> bool:
    """Whether white space begins at a place in a text."""
    return text[at].isspace() and not text[at - 1].isspace() and not text[at + 1].isspace()


def _move_space(prompt: str, continuation: str) -> tuple[str, str]:
    bare = prompt.rstrip()
    return bare, prompt[len(bare) :] + continuation
