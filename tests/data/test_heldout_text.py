"""Without these the losses of a table bear a name that says nothing, or the wrong language."""

from __future__ import annotations

from pathlib import Path

import pytest

from onset.data.heldout_text import name_of, texts_of


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("wiki.jsonl.gz", "wiki"),
        ("en.valid.jsonl.gz", "valid"),
        ("valid_zh.txt", "valid"),
        ("zh.jsonl.gz", "heldout"),
        ("en.txt", "heldout"),
        ("english.txt", "english"),
        ("c4.en.parquet", "c4"),
    ],
)
def test_a_text_is_named_after_its_file(file: str, name: str) -> None:
    """Lost otherwise: "loss on jsonl" on the page."""
    assert name_of(Path("data/heldout") / file) == name


def test_two_files_of_a_folder_are_one_text_in_two_languages(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("some English words", encoding="utf-8")
    (tmp_path / "zh.txt").write_text("一些中文", encoding="utf-8")
    told: list[str] = []
    found = texts_of([f"en:{tmp_path / 'en.txt'}", f"zh:{tmp_path / 'zh.txt'}"], told.append)
    assert found == {tmp_path.name: {"en": tmp_path / "en.txt", "zh": tmp_path / "zh.txt"}}
    assert told == []
    assert texts_of([str(tmp_path / "en.txt"), str(tmp_path / "zh.txt")]) == found, "the names say the languages"
    (tmp_path / "zh.held.txt").write_text("一些中文", encoding="utf-8")
    assert texts_of([str(tmp_path / "zh.held.txt")], pytest.fail) == {"held": {"zh": tmp_path / "zh.held.txt"}}


def test_chinese_text_that_is_stored_as_english_is_told(tmp_path: Path) -> None:
    """Lost otherwise: losses of the wrong language, for a prefix that was forgotten."""
    (tmp_path / "wiki.txt").write_text("阿尔的首都是文恩。", encoding="utf-8")
    told: list[str] = []
    texts_of([str(tmp_path / "wiki.txt")], told.append)
    (line,) = told
    assert "looks like 'zh' and is stored as 'en', since no language stands before it: zh:FILE" in line
    (tmp_path / "digits.txt").write_text("1 2 3", encoding="utf-8")
    texts_of([f"zh:{tmp_path / 'digits.txt'}"], pytest.fail)
