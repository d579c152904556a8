"""Without these a run could see some text twice and some never, or other text after a resume."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onset.data import tokenizer as tokenizers
from onset.data import writing
from onset.data.mixture import Mixture
from onset.data.shards import Shard
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.study.spec import TokenizerSpec


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenizers.train(["some words of a small corpus"] * 10, TokenizerSpec(vocab=262))


def made(tokens: int, start: int = 1) -> Shard:
    """A shard in memory whose ids are all different."""
    ids = np.arange(start, start + tokens, dtype=np.uint32)
    return Shard(Path("nowhere"), tokens, 1, tokens, 0, ids)


def test_documents_come_back_apart_by_the_separator(tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = [f"document {number} of words" for number in range(3000)]
    shard = writing.write(iter(texts), tokenizer, tmp_path / "shard")
    ids = shard.ids.tolist()
    assert ids.count(tokenizer.eos) == shard.documents == 3000
    ends = [place for place, token in enumerate(ids) if token == tokenizer.eos]
    begins = [0, *(end + 1 for end in ends[:-1])]
    assert [tokenizer.decode(ids[a:b]) for a, b in zip(begins, ends, strict=True)] == texts
    assert shard.bytes == sum(len(text.encode()) for text in texts)
    assert isinstance(shard.ids, np.memmap)
    assert shard.ids.dtype == np.uint16


def test_a_shard_that_is_there_is_opened_without_reading_text_again(tokenizer: Tokenizer, tmp_path: Path) -> None:
    first = writing.write(iter(["a", "b"]), tokenizer, tmp_path / "shard")
    again = writing.write(iter([]), tokenizer, tmp_path / "shard")
    assert again.tokens == first.tokens


def test_memory_does_not_grow_with_the_corpus(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Documents are taken as they are needed: never more ahead than are tokenized together."""
    taken = 0
    written: list[int] = []

    class Watched(Tokenizer):
        def encode_batch(self, texts: list[str]) -> list[list[int]]:  # type: ignore[override]
            written.append(taken)
            return super().encode_batch(texts)

    def stream() -> object:
        nonlocal taken
        for _ in range(5000):
            taken += 1
            yield "word " * 3

    writing.write(stream(), Watched(tokenizer._backend), tmp_path / "shard")  # type: ignore[arg-type]
    assert all(
        after - before <= writing.TOGETHER_DOCUMENTS for before, after in zip([0, *written], written, strict=False)
    )


def test_an_empty_corpus_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="empty"):
        writing.write(iter([]), tokenizer, tmp_path / "shard")
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_fails_midway_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    def broken() -> object:
        yield "x"
        raise OnsetError("not UTF-8")

    with pytest.raises(OnsetError, match="UTF-8"):
        writing.write(broken(), tokenizer, tmp_path / "shard")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_shard_cut_short_is_said(tokenizer: Tokenizer, tmp_path: Path) -> None:
    writing.write(iter(["some words"] * 9), tokenizer, tmp_path / "shard")
    file = tmp_path / "shard" / "tokens-00000.bin"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(OnsetError, match="damaged"):
        Shard.open(tmp_path / "shard")
    (tmp_path / "shard" / "shard.json").write_text("{", encoding="utf-8")
    with pytest.raises(OnsetError, match="damaged"):
        Shard.open(tmp_path / "shard")


def test_files_and_processes_do_not_change_the_tokens(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: batches that are a function of seed and step, on a machine with more cores."""
    texts = [f"document {number} of some words " * (1 + number % 7) for number in range(600)]
    whole = writing.write(iter(texts), tokenizer, tmp_path / "whole")
    for name, value in {"TOGETHER_DOCUMENTS": 20, "ALONE_CHARACTERS": 2000, "FILE_BYTES": 4000}.items():
        monkeypatch.setattr(writing, name, value)
    monkeypatch.setattr(writing.os, "sched_getaffinity", lambda process: {0, 1})
    parts = writing.write(iter(texts), tokenizer, tmp_path / "parts")
    assert len(list((tmp_path / "parts").glob("tokens-*"))) > 3, "or nothing was cut"
    assert (parts.ids[:] == whole.ids[:]).all()
    assert (parts.documents, parts.bytes, parts.eos) == (whole.documents, whole.bytes, whole.eos)
    assert (parts.counts(tokenizer.vocab) == np.bincount(whole.ids[:], minlength=tokenizer.vocab)).all()
    assert sorted(entry.suffix for entry in (tmp_path / "whole").iterdir()) == [".bin", ".json", ".npy"]
    one, other = (Mixture([shard], [1.0], 64, 5, seed=3) for shard in (whole, parts))
    assert all((one.batch(step) == other.batch(step)).all() for step in range(20))


def test_what_a_killed_process_finished_is_kept(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: days of tokenising, to one kill at the end of them."""
    texts = [f"document {number} of some words" for number in range(300)]
    whole = writing.write(iter(texts), tokenizer, tmp_path / "whole")
    monkeypatch.setattr(writing, "TOGETHER_DOCUMENTS", 10)
    monkeypatch.setattr(writing, "FILE_BYTES", 1000)
    encoded: list[str] = []

    class Counted(Tokenizer):
        def encode_batch(self, texts: list[str]) -> list[list[int]]:  # type: ignore[override]
            encoded.extend(texts)
            return super().encode_batch(texts)

    def killed() -> object:
        yield from texts[:170]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writing.write(killed(), tokenizer, tmp_path / "shard")  # type: ignore[arg-type]
    assert not (tmp_path / "shard").exists()
    shard = writing.write(iter(texts), Counted(tokenizer._backend), tmp_path / "shard")
    assert 130 <= len(encoded) < 170, "the files that were finished are not made again"
    assert (shard.ids[:] == whole.ids[:]).all()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["shard", "whole"]


MAKE = """
import sys
from pathlib import Path
from onset.data import writing
from onset.data.tokenizer import Tokenizer
texts = (f"text {number}" for number in range(2000))
writing.write(texts, Tokenizer.load(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_two_processes_at_once_make_one_whole_shard(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    command = [sys.executable, "-c", MAKE, str(tmp_path / "tokenizer"), str(tmp_path / "shard")]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert Shard.open(tmp_path / "shard").documents == 2000
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["shard", "tokenizer"]


@settings(deadline=None, max_examples=60)
@given(tokens=st.integers(2, 700), context=st.integers(2, 40), batch=st.integers(1, 7), seed=st.integers(0, 2**40))
def test_an_epoch_has_every_token_once(tokens: int, context: int, batch: int, seed: int) -> None:
    """As a target, each token but the first of the shard; the last chunk is filled up with separators."""
    mixture = Mixture([made(tokens)], [1.0], context, batch, seed)
    chunks = mixture.chunks[0]
    rows = np.concatenate([mixture.batch(step) for step in range(-(-3 * chunks // batch))])
    for epoch in range(3):
        part = rows[epoch * chunks : (epoch + 1) * chunks]
        targets = part[:, 1:].ravel()
        assert sorted(targets[targets > 0].tolist()) == list(range(2, tokens + 1))
        assert all(b == a + 1 or b == 0 for a, b in zip(part[:, :-1].ravel(), targets, strict=True))


def test_epochs_differ_in_order_and_so_do_seeds() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        mixture = Mixture([made(6401)], [1.0], 64, 100, seed)
        return mixture.batch(epoch)[:, 0].tolist()

    orders = [order(0, 0), order(0, 1), order(1, 0)]
    assert len({tuple(found) for found in orders}) == 3
    assert all(sorted(found) == sorted(orders[0]) for found in orders)
    # A shuffle, not a shift: neighbours are far from each other.
    assert np.abs(np.diff(orders[0])).mean() > 1000


@settings(deadline=None, max_examples=40)
@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=5), batch=st.integers(1, 40))
def test_sources_are_dealt_by_weight_at_every_moment(weights: list[float], batch: int) -> None:
    mixture = Mixture([made(1000, 1 + 1000 * i) for i in range(len(weights))], weights, 10, batch, 3)
    seen: Counter[int] = Counter()
    for step in range(30):
        assert mixture.epochs(step) == [seen[i] / mixture.chunks[i] for i in range(len(weights))]
        seen.update(source for source, _ in mixture.dealt(step))
    total = 30 * batch
    for source, weight in enumerate(weights):
        assert abs(seen[source] - total * weight / sum(weights)) < len(weights) + 1


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    """Golden values: a change here would make every study that is under way go on with other text."""
    one, two = (Mixture([made(500), made(300, 501)], [4, 1], 8, 6, 7) for _ in range(2))
    for step in (5, 0, 1000, 5):
        assert (one.batch(step) == two.batch(step)).all()
    assert one.batch(0)[:, 0].tolist() == [653, 225, 321, 241, 441, 685]
    assert one.batch(3).dtype == np.int64
    assert one.batch(3).shape == (6, 9)


def test_processes_cut_the_rows_of_the_same_batch() -> None:
    """Each process of a training reads its own rows: together they must be the batch of one process."""
    mixture = Mixture([made(500), made(300)], [2.0, 1.0], 16, 6, 3)
    whole = mixture.batch(5)
    parts = [mixture.batch(5, rows) for rows in (range(2), range(2, 5), range(5, 6))]
    assert np.array_equal(np.concatenate(parts), whole)
