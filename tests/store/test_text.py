"""Without these a user would train on text that is not theirs, or learn of a bad file only from a bad model."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onset.errors import OnsetError
from onset.store.text import documents, files

TEXTS = ["The sun rises.", "太阳升起。", "two\nlines"]


def write_lines(path: Path, rows: list[object]) -> Path:
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json.gz"])
def test_json_lines_give_their_text_column(tmp_path: Path, name: str) -> None:
    path = write_lines(tmp_path / name, [{"text": text, "source": "x"} for text in TEXTS])
    assert list(documents(path)) == TEXTS


def test_parquet_gives_its_text_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": TEXTS, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    assert list(documents(tmp_path / "a.parquet", "body")) == TEXTS


def test_a_folder_is_read_in_order_and_whole(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("b", encoding="utf-8")
    (tmp_path / "a.md").write_text("﻿a", encoding="utf-8")
    write_lines(tmp_path / "sub" / "c.jsonl", [{"text": "c"}])
    (tmp_path / "notes.pdf").write_bytes(b"\xff")
    (tmp_path / ".hidden.txt").write_text("no", encoding="utf-8")
    assert [file.name for file in files(tmp_path)] == ["a.md", "b.txt", "c.jsonl"]
    assert list(documents(tmp_path)) == ["a", "b", "c"]


def test_empty_documents_are_left_out(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": ""}, {"text": None}, {"text": " \n"}, {"text": "x"}])
    assert list(documents(path)) == ["x"]


def fails(path: Path, column: str = "text") -> OnsetError:
    with pytest.raises(OnsetError) as caught:
        list(documents(path, column))
    assert caught.value.where is not None
    assert caught.value.advice
    return caught.value


def test_a_missing_path_is_said(tmp_path: Path) -> None:
    assert "no such" in fails(tmp_path / "none").what


@pytest.mark.parametrize("content", ["", " \n "])
def test_an_empty_corpus_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    assert "empty" in fails(tmp_path).what


def test_a_folder_without_text_and_an_unknown_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x")
    assert ".parquet" in str(fails(tmp_path))
    assert ".jsonl" in str(fails(tmp_path / "a.pdf"))


def test_text_that_is_not_utf8_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("gr\xfcn".encode("latin-1"))
    assert "0xfc at position 2" in fails(tmp_path / "a.txt").what
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "x"}\n{"text": "\xff"}\n')
    assert "line 2" in str(fails(tmp_path / "b.jsonl"))


def test_a_truncated_gzip_is_said_and_what_came_before_is_not_taken_for_all(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl.gz", [{"text": os.urandom(40).hex()} for _ in range(500)])
    path.write_bytes(path.read_bytes()[:-2000])
    assert "truncated" in fails(path).what
    path.write_bytes(b"no gzip at all")
    assert "damaged" in fails(path).what


def test_a_truncated_parquet_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [str(i) for i in range(1000)]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "truncated" in fails(path).what


def test_a_missing_column_is_said_with_the_near_ones(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"texts": "x"}])
    assert "did you mean 'texts'" in str(fails(tmp_path / "a.jsonl"))
    pq.write_table(pa.table({"content": ["x"]}), tmp_path / "b.parquet")
    assert "content" in str(fails(tmp_path / "b.parquet"))


@pytest.mark.parametrize("line", ['{"text": 3}', '["text"]', '{"text": "x'])
def test_a_line_of_another_kind_is_said_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n' + line + "\n", encoding="utf-8")
    assert "line 2" in str(fails(tmp_path / "a.jsonl"))


def test_a_parquet_column_that_is_not_text_is_said(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    assert "int" in fails(tmp_path / "a.parquet").what


def test_real_text_is_read_to_its_end() -> None:
    """A user's first own corpus is of this kind: gzip JSON lines in two languages."""
    shared = os.environ.get("ONSET_SHARED")
    if shared is None:
        pytest.skip("ONSET_SHARED is not set")
    folder = Path(shared) / "data" / "text"
    assert sum(1 for _ in documents(folder / "zh.valid.jsonl.gz")) > 10
    assert all(text.strip() for text in documents(folder / "en.valid.jsonl.gz"))
