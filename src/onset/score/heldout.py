"""Loss of a causal model on validation texts: nats per token, bits per byte and character, unigram-normalised.

Every document is read from its start, after the token that begins texts; a long one in windows, each token counted
once. Sums are kept by document, so that a figure does not depend on how documents are packed.

- ``nats_per_token`` counts the token that ends a document where the model's texts begin and end with the same
  separator, as ours do: it is then the training loss, and comparable to the world's floor. Elsewhere the text's own
  tokens only.
- ``bits_per_byte`` is -log2 of the text's own tokens over its UTF-8 bytes, never counting the separator, as in
  lm-evaluation-harness.
- ``bits_per_character`` is the same over the text's characters (Unicode code points).
- ``unigram_normalised`` is the mean of log p_unigram(token) - log p_model(token) (Roh et al. 2020): 0 for a model
  that knows only how frequent tokens are, and lower for a better one.

Standard errors take documents for the sample (a ratio of sums over documents); see ``docs/loss.md``.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onset.errors import OnsetError
from onset.score.batches import Engine, batch_size
from onset.score.causal import CausalLM
from onset.score.encoding import Encoder
from onset.score.figures import Measured, figures
from onset.score.requests import Group, Row
from onset.score.weights import check_nats

MOST_CHANGED = 0.01
"""Share of a text's bytes that a tokenizer may drop or change before bits per byte stop meaning anything."""
KEPT = 8
"""Sets of texts that are kept tokenised."""


@dataclass(frozen=True, eq=False)
class Unigram:
    """How frequent tokens are in a reference text, one added to every count so that none is impossible (Laplace)."""

    log_probs: NDArray[np.float64]
    """Nats, by token id."""

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> Unigram:
        """From counts by token id."""
        return cls(np.log((counts + 1) / (counts.sum() + len(counts))))

    @classmethod
    def of_ids(cls, parts: Iterable[NDArray[Any]], vocab: int) -> Unigram:
        """From token ids by document."""
        counts = np.zeros(vocab, dtype=np.int64)
        for ids in parts:
            for start in range(0, len(ids), 1 << 24):
                counts += np.bincount(ids[start : start + (1 << 24)], minlength=vocab)
        return cls.of_counts(counts)

    @classmethod
    def of_texts(cls, texts: Sequence[str], encoder: Encoder, vocab: int) -> Unigram:
        """From documents of a reference text, the separator counted once a document where texts end with one."""
        end = [] if encoder.start is None or encoder.start != encoder.eos else [encoder.eos]
        return cls.of_ids((np.asarray([*ids, *end], dtype=np.int64) for ids in encoder.ids(texts)), vocab)


@dataclass(frozen=True, eq=False)
class Documents:
    """Tokenised documents as windows: document d's own tokens go into sum 2d, the token that ends it into 2d + 1."""

    rows: list[Row]
    tokens: NDArray[np.int64]
    """Own tokens of each document."""
    bytes: NDArray[np.int64]
    """UTF-8 bytes of each document."""
    characters: NDArray[np.int64]
    """Code points of each document."""
    ids: list[NDArray[np.int32]]
    """Own tokens, for unigrams."""
    closed: bool
    """Whether the token that ends a document is counted."""
    changed: int
    """Bytes that the tokenizer dropped or changed."""


def losses(lm: CausalLM, texts: Mapping[str, Sequence[str]], **settings: Any) -> list[dict[str, Any]]:
    """The rows of ``measure``."""
    return measure(lm, texts, **settings).rows


def measure(
    lm: CausalLM,
    texts: Mapping[str, Sequence[str]],
    *,
    unigram: Unigram | None = None,
    stride: int | None = None,
    batch_tokens: int | None = None,
    most_changed: float = MOST_CHANGED,
) -> Measured:
    """Loss by language and, where there are several, for ``all`` documents pooled.

    ``stride`` is how many tokens a window after the first adds; by default the whole context, as in
    lm-evaluation-harness. Raises OnsetError for no text at all, for a loss that is zero or not a number, and when
    the tokenizer changes more than the share ``most_changed`` of the bytes.
    """
    made: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for language, documents in texts.items():
        prepared, nats = by_document(
            lm, documents, stride=stride, batch_tokens=batch_tokens, where=language, most_changed=most_changed
        )
        here = _document_rows(prepared, nats, unigram, lm, language)
        made.append({"language": language, **figures(here, lm.name), "changed": prepared.changed})
        found += here
    if not made:
        raise OnsetError("there is no held-out text", advice="give at least one document")
    if len(texts) > 1:
        made.append({"language": "all", **figures(found, lm.name), "changed": sum(row["changed"] for row in made)})
    return Measured(made, found)


def by_document(
    lm: CausalLM,
    documents: Sequence[str],
    *,
    stride: int | None = None,
    batch_tokens: int | None = None,
    where: object = None,
    most_changed: float = MOST_CHANGED,
) -> tuple[Documents, NDArray[np.float64]]:
    """Tokenised documents and their nats (documents, 2): of the own tokens, and of the token that ends each."""
    stride = stride or lm.context
    if not 0 < stride <= lm.context:
        raise OnsetError(f"a stride of {stride} tokens", advice=f"between 1 and the context, {lm.context}")
    prepared = _prepared(lm.encoder, tuple(documents), lm.context, stride)
    if not prepared.bytes.sum():
        raise OnsetError("the held-out text is empty", where=where, advice="give at least one document")
    share = prepared.changed / max(int(prepared.bytes.sum()), 1)
    if share > most_changed:
        raise OnsetError(
            f"the tokenizer drops or changes {share:.1%} of the text's bytes, more than {most_changed:.1%}: "
            "its loss would mean nothing",
            where=f"{lm.name}, {where}",
            advice="take a text that the model's tokenizer can hold, or a byte-level tokenizer",
        )
    sums = np.zeros(2 * len(documents))
    within = lm.context <= lm.reach
    Engine(lm, batch_tokens or batch_size(lm)).run([Group(np.zeros(0, np.int32), prepared.rows)], sums, within)
    check_nats(-sums, int(prepared.tokens.sum()) + prepared.closed * len(documents), lm.name)
    return prepared, -sums.reshape(-1, 2)


def _document_rows(
    documents: Documents, nats: NDArray[np.float64], unigram: Unigram | None, lm: CausalLM, language: str
) -> list[dict[str, Any]]:
    """One row a document: nats of its own tokens, of the token that ends it, and of all of them under the unigram."""
    rows = []
    for index, ids in enumerate(documents.ids):
        known = None
        if unigram is not None:
            known = -float(unigram.log_probs[ids].sum())
            known -= float(unigram.log_probs[lm.encoder.eos]) if documents.closed else 0.0
        rows.append(
            {
                "language": language, "document": index, "nats": float(nats[index, 0]),
                "nats_end": float(nats[index, 1]), "nats_unigram": known,
                "tokens": int(documents.tokens[index]) + documents.closed, "bytes": int(documents.bytes[index]),
                "characters": int(documents.characters[index]),
            }
        )  # fmt: skip
    return rows


_kept: OrderedDict[tuple[str, tuple[str, ...], int, int], Documents] = OrderedDict()


def _prepared(encoder: Encoder, documents: tuple[str, ...], context: int, stride: int) -> Documents:
    """Documents tokenised and cut into windows; the last sets are kept for the next checkpoint."""
    key = (encoder.digest, documents, context, stride)
    found = _kept.get(key)
    if found is None:
        found = _kept[key] = _tokenised(encoder, documents, context, stride)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return found


def _tokenised(encoder: Encoder, documents: tuple[str, ...], context: int, stride: int) -> Documents:
    first = encoder.start if encoder.start is not None else encoder.blank
    if first is None:
        raise OnsetError(
            "the tokenizer has no token that begins or ends a text, so a text's first token has no probability",
            advice="name one in its tokenizer_config.json",
        )
    closed = encoder.start is not None and encoder.start == encoder.eos
    own = [np.asarray(ids, dtype=np.int32) for ids in encoder.ids(documents)]
    rows: list[Row] = []
    for index, ids in enumerate(own):
        whole = np.concatenate([[first], ids, [encoder.eos] if closed else []]).astype(np.int32)
        slots = np.full(len(whole), 2 * index)
        if closed:
            slots[-1] += 1
        rows.extend(_windows(whole, slots, context, stride))
    return Documents(
        rows=rows,
        tokens=np.array([len(ids) for ids in own], dtype=np.int64),
        bytes=np.array([len(text.encode()) for text in documents], dtype=np.int64),
        characters=np.array([len(text) for text in documents], dtype=np.int64),
        ids=own,
        closed=closed,
        changed=sum(_changed(text, encoder.decode(ids.tolist())) for text, ids in zip(documents, own, strict=True)),
    )


def _windows(whole: NDArray[np.int32], slots: NDArray[np.int64], context: int, stride: int) -> list[Row]:
    """Windows of at most ``context`` tokens that predict each token after the first once."""
    rows = []
    start, size = 1, context
    while start < len(whole):
        end = min(start + size, len(whole))
        low = max(end - 1 - context, 0)
        tokens = whole[low : end - 1]
        columns = np.arange(start - 1 - low, end - 1 - low, dtype=np.int32)
        rows.append(
            Row(
                tokens=tokens,
                places=np.arange(len(tokens), dtype=np.int32),
                branches=np.zeros(len(tokens), dtype=np.int32),
                columns=columns,
                asked=np.arange(len(columns), dtype=np.int32),
                targets=whole[start:end],
                slots=slots[start:end],
            )
        )
        start, size = end, stride
    return rows


def _changed(text: str, back: str) -> int:
    """Bytes of the characters that a text lost on its way through the tokenizer, spaces at its ends aside."""
    if text == back or text.strip() == back.strip():
        return 0
    return sum(len(character.encode()) * times for character, times in (Counter(text) - Counter(back)).items())
