"""Overlap with training data: what was planted is found, what was not is not, however a shard is cut."""

from __future__ import annotations

import numpy as np
import pytest

from onset.data import contamination as module
from onset.data.contamination import hashes, overlap


def test_hashes_of_equal_ngrams_are_equal_and_of_others_are_not() -> None:
    """Lost otherwise: overlap that is chance."""
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 3, 5_000).astype(np.uint16)
    found = hashes(ids, 9)
    grams = [tuple(ids[at : at + 9]) for at in range(len(ids) - 8)]
    assert len(found) == len(grams)
    assert len(set(found.tolist())) == len(set(grams))
    assert (hashes(ids[1000:1100], 9) == found[1000:1092]).all()
    assert len(hashes(ids[:8], 9)) == 0


def test_planted_documents_are_found_across_the_borders_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: a validation text that the model was trained on, taken for held out."""
    monkeypatch.setattr(module, "CHUNK", 100)
    draw = np.random.default_rng(1)
    documents = [draw.integers(0, 500, 80) for _ in range(10)]
    shard = np.concatenate([draw.integers(0, 500, 333), documents[3], draw.integers(0, 500, 50), documents[7][:20]])
    sizes = [4 * len(ids) for ids in documents]
    found = overlap(documents, sizes, [shard[:350].astype(np.uint16), shard[330:].astype(np.uint16)])
    assert found is not None
    assert found.n == 13
    assert found.documents == pytest.approx(0.1)
    assert found.ngrams == pytest.approx((68 + 8) / (10 * 68), abs=0.02)
    clean = overlap(documents, sizes, [draw.integers(0, 500, 10_000)])
    assert clean is not None
    assert clean.ngrams == clean.documents == 0
    assert overlap([[1, 2]], [8], [shard]) is None, "too short to tell"
