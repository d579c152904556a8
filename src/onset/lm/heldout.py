"""Loss of a causal model on validation texts: nats per token, bits per byte, unigram-normalised.

Every document is read from its start, after the token that begins texts; a long one in windows, each token counted
once. Sums are kept by document, so that a figure does not depend on how documents are packed.

- ``nats_per_token`` counts the token that ends a document where the model's texts begin and end with the same
  separator, as ours do: it is then the training loss, and comparable to the world's floor. Elsewhere the text's own
  tokens only.
- ``bits_per_byte`` is -log2 of the text's own tokens over its UTF-8 bytes, never counting the separator, as in
  lm-evaluation-harness.
- ``unigram_normalised`` is the mean of log p_unigram(token) - log p_model(token) (Roh et al. 2020): 0 for a model
  that knows only how frequent tokens are, and lower for a better one.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onset.errors import OnsetError
from onset.lm.causal import CausalLM
from onset.lm.encoding import Encoder
from onset.lm.packing import Engine, batch_size
from onset.lm.prefixes import Group, Row

MOST_CHANGED = 0.01
"""Share of a text's bytes that a tokenizer may drop or change before bits per byte stop meaning anything."""
KEPT = 8
"""Sets of texts that are kept tokenised."""


@dataclass(frozen=True, eq=False)
class Unigram:
    """How frequent tokens are in a reference text, one added to every count so that none is impossible."""

    log_probs: NDArray[np.float64]
    """Nats, by token id."""

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> Unigram:
        """From counts by token id."""
        return cls(np.log((counts + 1) / (counts.sum() + len(counts))))

    @classmethod
    def of_ids(cls, parts: Iterable[NDArray[Any]], vocab: int) -> Unigram:
        """From token ids, such as those of a mix's shards (``shard.ids``)."""
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
    ids: list[NDArray[np.int32]]
    """Own tokens, for unigrams."""
    closed: bool
    """Whether the token that ends a document is counted."""
    changed: int
    """Bytes that the tokenizer dropped or changed."""


def losses(
    lm: CausalLM,
    texts: Mapping[str, Sequence[str]],
    *,
    unigram: Unigram | None = None,
    stride: int | None = None,
    batch_tokens: int | None = None,
) -> list[dict[str, Any]]:
    """Loss by language and for ``all`` documents pooled: rows of the losses table, less run, step and text.

    ``stride`` is how many tokens a window after the first adds; by default the whole context, as in
    lm-evaluation-harness. Raises OnsetError for no text at all, for a loss that is zero or not a number, and when
    the tokenizer changes more than a hundredth of the bytes.
    """
    made: list[dict[str, Any]] = []
    parts = []
    for language, documents in texts.items():
        found = by_document(lm, documents, stride=stride, batch_tokens=batch_tokens, where=language)
        parts.append((found, _unigram_sum(found[0], unigram, lm)))
        made.append({"language": language, **_figures([parts[-1]], lm.name)})
    if not parts:
        raise OnsetError("there is no held-out text", advice="give at least one document")
    if "all" not in texts:
        made.append({"language": "all", **_figures(parts, lm.name)})
    return made


def by_document(
    lm: CausalLM,
    documents: Sequence[str],
    *,
    stride: int | None = None,
    batch_tokens: int | None = None,
    where: object = None,
) -> tuple[Documents, NDArray[np.float64]]:
    """Tokenised documents and their nats (documents, 2): of the own tokens, and of the token that ends each."""
    stride = stride or lm.context
    if not 0 < stride <= lm.context:
        raise OnsetError(f"a stride of {stride} tokens", advice=f"between 1 and the context, {lm.context}")
    prepared = _prepared(lm.encoder, tuple(documents), lm.context, stride)
    if not prepared.bytes.sum():
        raise OnsetError("the held-out text is empty", where=where, advice="give at least one document")
    share = prepared.changed / max(int(prepared.bytes.sum()), 1)
    if share > MOST_CHANGED:
        raise OnsetError(
            f"the tokenizer drops or changes {share:.1%} of the text's bytes: its loss would mean nothing",
            where=f"{lm.name}, {where}",
            advice="take a text that the model's tokenizer can hold, or a byte-level tokenizer",
        )
    sums = np.zeros(2 * len(documents))
    within = lm.context <= lm.reach
    Engine(lm, batch_tokens or batch_size(lm)).run([Group(np.zeros(0, np.int32), prepared.rows)], sums, within)
    return prepared, -sums.reshape(-1, 2)


def _figures(parts: Sequence[tuple[tuple[Documents, NDArray[np.float64]], float | None]], name: str) -> dict[str, Any]:
    """The figures of one or several sets of documents, pooled by tokens."""
    text = sum(float(nats[:, 0].sum()) for (_, nats), _ in parts)
    total = sum(float(nats.sum()) for (_, nats), _ in parts)
    size = sum(int(documents.bytes.sum()) for (documents, _), _ in parts)
    tokens = sum(int(documents.tokens.sum()) + documents.closed * len(documents.tokens) for (documents, _), _ in parts)
    if not math.isfinite(total) or total <= 0:
        raise OnsetError(f"the held-out loss is {total}", where=name, advice="its weights are broken: train it again")
    unigrams = [found for _, found in parts if found is not None]
    return {
        "nats_per_token": total / tokens,
        "bits_per_byte": text / math.log(2) / size,
        "unigram_normalised": (total + sum(unigrams)) / tokens if len(unigrams) == len(parts) else None,
        "tokens": tokens,
        "bytes": size,
    }


def _unigram_sum(documents: Documents, unigram: Unigram | None, lm: CausalLM) -> float | None:
    """Sum of log p_unigram over the counted tokens; None without a reference."""
    if unigram is None:
        return None
    found = sum(float(unigram.log_probs[ids].sum()) for ids in documents.ids)
    if documents.closed:
        found += float(unigram.log_probs[lm.encoder.eos]) * len(documents.ids)
    return found


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
