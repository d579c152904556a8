"""Models compared by documents, public texts in the hub's formats, and what a part of losses says of itself."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.data.heldout_text import PUBLIC, texts_of
from onset.errors import OnsetError
from onset.work.jobs.losses import compare


def rows(nats: np.ndarray, size: np.ndarray) -> pd.DataFrame:
    count = len(nats)
    return pd.DataFrame({"text": "made", "language": "en", "document": range(count), "nats": nats, "bytes": size})


def test_two_models_are_compared_by_the_same_documents() -> None:
    """Lost otherwise: documents differ far more than models do, and no two models could be told apart."""
    covers, finds, apart = [], [], []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        size = draw.integers(200, 3000, 60).astype(float)
        hard = draw.normal(1.0, 0.2, 60)
        first = size * math.log(2) * hard
        second = size * math.log(2) * (hard - 0.01 + draw.normal(0, 0.02, 60))
        gap = compare({"a": rows(first, size), "b": rows(second, size)}).iloc[0]
        covers.append(gap.low <= -0.01 <= gap.high)
        finds.append(gap.high < 0)
        apart.append(abs(gap.bits_per_byte))
    assert 0.90 <= np.mean(covers) <= 0.99
    assert np.mean(finds) > 0.8, "a hundredth of a bit, told under documents that differ by a fifth"


def test_models_measured_on_other_documents_are_not_compared() -> None:
    """Lost otherwise: a difference between texts, told as one between models."""
    size = np.full(5, 100.0)
    with pytest.raises(OnsetError, match="different documents"):
        compare({"a": rows(size, size), "b": rows(size, size + 1)})


def test_public_texts_are_pinned_and_read_in_the_formats_of_the_hub(tmp_path: Path) -> None:
    """Lost otherwise: a validation text that is another one next year."""
    assert all(len(text.revision) == 40 for text in PUBLIC.values())
    lines = [" = First = \n", "", " Some words . \n", " = = Section = = \n", " More .\n", " = Second = \n", " End .\n"]
    wiki = tmp_path / "wikitext-103-raw-v1" / "test-00000-of-00001.parquet"
    wiki.parent.mkdir()
    pd.DataFrame({"text": ["", *lines]}).to_parquet(wiki)
    articles = replace(PUBLIC["wikitext103"], hub=str(tmp_path)).read()
    assert articles == [" = First = \n Some words . \n = = Section = = \n More .\n", " = Second = \n End .\n"]
    slice_of = tmp_path / "en" / "c4-validation.00000-of-00008.json.gz"
    slice_of.parent.mkdir()
    with gzip.open(slice_of, "wt", encoding="utf-8") as stream:
        for number in range(5):
            stream.write(json.dumps({"text": f"page {number}", "timestamp": "", "url": ""}) + "\n")
    c4 = replace(PUBLIC["c4_en"], hub=str(tmp_path), first=3)
    assert c4.read() == ["page 0", "page 1", "page 2"]
    wikipedia = tmp_path / "20231101.zh" / "train-00000-of-00006.parquet"
    wikipedia.parent.mkdir()
    pd.DataFrame({"id": ["1"], "url": [""], "title": [""], "text": ["数学是研究数量的学科。"]}).to_parquet(wikipedia)
    assert replace(PUBLIC["wikipedia_zh"], hub=str(tmp_path)).read() == ["数学是研究数量的学科。"]


def test_a_public_text_is_named_with_its_language_and_a_wrong_name_is_told() -> None:
    """Lost otherwise: a text under a name that nobody knows."""
    assert texts_of(["hub:c4_en"]) == {"c4_en": {"en": PUBLIC["c4_en"]}}
    with pytest.raises(OnsetError, match="no public text"):
        texts_of(["hub:c5"])
