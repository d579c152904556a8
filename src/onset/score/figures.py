"""Figures of a validation text from its documents' sums, with standard errors. No torch is needed here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onset.errors import OnsetError


@dataclass(frozen=True)
class Measured:
    """Losses of one model on one text: by language, and by document."""

    rows: list[dict[str, Any]]
    """Rows of the losses table, less run, step and text."""
    documents: list[dict[str, Any]]
    """Rows of the documents table, less run, step and text: what standard errors and comparisons rest on."""


def figures(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The figures of a set of documents, pooled by tokens, with their standard errors."""
    nats, end, tokens, size, characters = (
        np.array([row[column] for row in rows], dtype=float)
        for column in ("nats", "nats_end", "tokens", "bytes", "characters")
    )
    whole = nats + end
    total = float(whole.sum())
    if not math.isfinite(total) or total <= 0:
        raise OnsetError(f"the held-out loss is {total}", where=name, advice="its weights are broken: train it again")
    gain = None
    if all(row["nats_unigram"] is not None for row in rows):
        gain = whole - np.array([row["nats_unigram"] for row in rows], dtype=float)
    bits = nats / math.log(2)
    return {
        "nats_per_token": total / float(tokens.sum()),
        "bits_per_byte": float(bits.sum() / size.sum()),
        "bits_per_character": float(bits.sum() / characters.sum()),
        "unigram_normalised": None if gain is None else float(gain.sum() / tokens.sum()),
        "nats_per_token_stderr": ratio_stderr(whole, tokens),
        "bits_per_byte_stderr": ratio_stderr(bits, size),
        "unigram_normalised_stderr": None if gain is None else ratio_stderr(gain, tokens),
        "documents": len(rows),
        "tokens": int(tokens.sum()),
        "bytes": int(size.sum()),
        "characters": int(characters.sum()),
    }


def ratio_stderr(over: NDArray[np.float64], under: NDArray[np.float64]) -> float | None:
    """Standard error of a ratio of two sums over documents (Cochran 1977, 2.46); None with one document.

    Values of the two by document. A document without bytes counts for nothing.
    """
    known = under > 0
    over, under, count = over[known], under[known], int(known.sum())
    if count < 2:
        return None
    left = over - over.sum() / under.sum() * under
    return float(np.sqrt(count / (count - 1) * np.sum(left**2)) / under.sum())
