"""Without these a user's text would be cut in other places by onset than by the tools that load its folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onset.data import tokenizer as tokenizers
from onset.data.tokenizer import END, Tokenizer, sample
from onset.errors import OnsetError
from onset.study.spec import TokenizerSpec

TEXTS = ["The cat sat on 12 mats, 345 times.", "太阳从东方升起，月亮落下。", f"a separator {END} spelt out"] * 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenizers.train(TEXTS, TokenizerSpec(vocab=300))


def test_text_comes_back_whole(tokenizer: Tokenizer) -> None:
    for text in [*TEXTS, "emoji 🙂 and \t tabs", ""]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_batch(TEXTS) == [tokenizer.encode(text) for text in TEXTS]


def test_the_separator_is_id_0_and_never_comes_from_a_text(tokenizer: Tokenizer) -> None:
    """Otherwise a document that spells it out would be cut in two."""
    assert tokenizer.eos == 0
    assert all(0 not in ids for ids in tokenizer.encode_batch(TEXTS))


def test_digits_are_split_when_asked(tokenizer: Tokenizer) -> None:
    assert [tokenizer.decode([i]) for i in tokenizer.encode("345")] == ["3", "4", "5"]
    whole = tokenizers.train(["year 2024 " * 50], TokenizerSpec(vocab=264, split_digits=False))
    assert len(whole.encode(" 2024")) == 1


def test_the_folder_loads_with_autotokenizer_and_gives_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS[:3]:
        assert other(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
    assert other.eos_token_id == other.pad_token_id == other.bos_token_id == 0
    assert len(other) == tokenizer.vocab


def test_a_saved_tokenizer_loads_from_folder_and_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert Tokenizer.load(path).encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


def test_a_given_tokenizer_says_what_ends_a_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "!"}}), encoding="utf-8")
    assert Tokenizer.load(tmp_path).decode([Tokenizer.load(tmp_path).eos]) == "!"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<nowhere>"}), encoding="utf-8")
    with pytest.raises(OnsetError, match="no token '<nowhere>'"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"model": {"type": "odd"}}'])
def test_a_file_that_is_no_tokenizer_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(OnsetError, match="not a tokenizer"):
        Tokenizer.load(tmp_path)


def test_a_missing_tokenizer_is_said(tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="no tokenizer here"):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_larger_than_the_text_supports_is_said() -> None:
    with pytest.raises(OnsetError, match="larger than the text supports") as caught:
        tokenizers.train(["a b c"] * 5, TokenizerSpec(vocab=5000))
    assert "at most" in str(caught.value)


def test_no_text_is_said() -> None:
    with pytest.raises(OnsetError, match="no text"):
        tokenizers.train([], TokenizerSpec(vocab=300))


def test_training_reads_no_more_than_its_sample() -> None:
    """A corpus of any size must not be read whole for a vocabulary."""
    read = []

    def endless() -> object:
        while True:
            read.append(1)
            yield f"some words and more words {len(read)} "

    tokenizers.train(endless(), TokenizerSpec(vocab=265, sample_bytes=5000))  # type: ignore[arg-type]
    assert len(read) < 400


def test_a_sample_is_shared_out_by_weight() -> None:
    texts = list(sample([(["a" * 100] * 500, 4.0), (["b" * 100] * 500, 1.0)], 10_000))
    assert abs(sum(text[0] == "a" for text in texts) - 80) <= 1
    assert abs(len(texts) - 100) <= 2


def test_bytes_per_token_is_bytes_over_tokens(tokenizer: Tokenizer) -> None:
    texts = TEXTS[:2]
    expected = sum(len(t.encode()) for t in texts) / sum(len(tokenizer.encode(t)) for t in texts)
    assert tokenizer.bytes_per_token(texts) == pytest.approx(expected)
    with pytest.raises(OnsetError):
        tokenizer.bytes_per_token([])
