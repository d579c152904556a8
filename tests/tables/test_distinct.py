"""Tables of many rows hold each text once; nothing else may come out than of the same table held plainly."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from onset.adapters import collect
from onset.errors import OnsetError
from onset.tables import distinct, files
from onset.tables.observations import read, sift

LINES = [
    "run,params,tokens,step,loss,loss_name,loss_unit,task,metric,score,chance,n_examples,note",
    "a,1e8,1e9,1,3.0,c4,nats,mmlu,acc,25,25,100,x",
    "a,1e8,2e9,2,2.9,c4,nats,mmlu,acc,26,25,100,",
    "a,1e8,2e9,2,2.9,c4,nats,mmlu,acc,26,25,100,",
    "a,1e8,3e9,3,2.8,c4,bits_per_byte,mmlu,acc,-0.0,25,100,y",
    " b ,2e8,1e9,1,2.95,,,mmlu,acc,30,25,100,y",
    "b,2e8,2e9,2,2.7,,,mmlu,bleu,0.5,nan,,y",
    "b,2e8,0,0,9.7,,,piqa,acc,50,50,100,y",
    "b,2e8,3e9,3,2.6,,,piqa,acc,,50,100,y",
    "",
    "c,3e8,3e9,3,,,,piqa,acc,60,50,100,y",
    "c,3e8,4e9,4,2.2,,,piqa,acc,62,50,100,y",
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(LINES))
    return path


def _compactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "LARGE", 0)
    monkeypatch.setattr(files, "CHUNK", 4)


def test_a_large_table_reads_as_a_small_one(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: other rows, notes or numbers above half a million rows."""
    small = read(table)
    imported = collect([str(table)]).observations
    kept, rejected = sift(table)
    _compactly(monkeypatch)
    large = read(table)
    assert distinct.is_compact(large.run)
    assert_frame_equal(distinct.plain(large), small)
    assert large.attrs == small.attrs
    again = collect([str(table)]).observations
    assert_frame_equal(distinct.plain(again), imported)
    assert again.attrs == imported.attrs
    assert_frame_equal(distinct.plain(sift(table)[0]), kept)
    assert_frame_equal(distinct.plain(sift(table)[1]), rejected)


def test_a_large_parquet_table_reads_as_a_small_one(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: the same for tables that are not text."""
    files.write_table(read(table), tmp_path / "t.parquet")
    small = read(tmp_path / "t.parquet")
    _compactly(monkeypatch)
    large = read(tmp_path / "t.parquet")
    assert distinct.is_compact(large.run)
    assert_frame_equal(distinct.plain(large), small)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("b,2e8,4e9,4,2.2,,,piqa,acc,abc,50,100,y", "line 13: score 'abc' is not a number"),
        ("c,3e8,4e9,4,2.2,,,piqa,acc,64,50,100,y", "has two scores"),
        ("c,5e8,5e9,5,2.1,,,piqa,acc,64,50,100,y", "the run has two sizes"),
        ("c,3e8,5e9,5,2.1,,,piqa,acc,640,50,100,y", "is outside the range"),
        ("c,3e8,5e9,5,21.0,,,piqa,acc,64,50,100,y", "rise 5-fold"),
    ],
)
def test_a_fault_in_a_large_table_is_told_as_in_a_small_one(
    table: Path, monkeypatch: pytest.MonkeyPatch, row: str, told: str
) -> None:
    """Lost otherwise: a contradiction that is only seen in small tables."""
    table.write_text("\n".join([*LINES, row]))
    with pytest.raises(OnsetError, match=told) as small:
        read(table)
    _compactly(monkeypatch)
    with pytest.raises(OnsetError) as large:
        read(table)
    assert str(large.value) == str(small.value)


def test_a_row_that_is_too_long_is_named_by_its_line(tmp_path: Path) -> None:
    """Lost otherwise: a table whose columns are shifted, or a hunt for the row."""
    path = tmp_path / "t.csv"
    path.write_text("run,loss\n1,2,3,4\n5,6,7,8\n")
    with pytest.raises(OnsetError, match="more cells than the header") as error:
        files.read_table(path)
    assert str(error.value.where).endswith("line 2")
    path.write_text("run,loss\n1,2\n5,6,7,8\n")
    with pytest.raises(OnsetError, match="line 3"):
        files.read_table(path)


def test_a_table_of_too_many_rows_is_refused_with_advice(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: a machine without memory, an hour later."""
    files.write_table(read(table), tmp_path / "t.parquet")
    monkeypatch.setattr(files, "MOST_ROWS", 3)
    for path in (table, tmp_path / "t.parquet"):
        with pytest.raises(OnsetError, match="more than 3 rows") as error:
            files.read_table(path)
        assert "fewer checkpoints" in str(error.value.advice)


def test_each_value_is_computed_once() -> None:
    """Lost otherwise: minutes over millions of rows."""
    asked: list[str] = []

    def shout(text: str) -> str:
        asked.append(text)
        return text.upper()

    values = pd.Series(["a", "b", None, "a"], index=[3, 4, 5, 6])
    made = distinct.each(values, shout)
    assert made.tolist()[:2] == ["A", "B"]
    assert made.isna().tolist() == [False, False, True, False]
    assert asked == ["a", "b"]
    compact = distinct.compact(values)
    assert distinct.texts(compact, shout).astype(object).tolist()[:2] == ["A", "B"]
    assert distinct.filled(compact, "z").tolist() == ["a", "b", "z", "a"]
    assert distinct.replaced(compact, pd.Series([True, False, False, False], values.index), "q").tolist()[0] == "q"
