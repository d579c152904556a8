"""Sources: bad files must be one clear error, and public data sets become the same rows as local files."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from onset.errors import OnsetError
from onset.tasks.chinese import chinese
from onset.tasks.english import english
from onset.tasks.sources import HubRows, LocalRows, read_rows, rows_digest
from onset.tasks.task import Task

ROWS = [{"id": str(n), "question": f"Q{n}", "choices": ["a", "b"], "answer": 0} for n in range(3)]


def pack(path: Path, rows: list[Any]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def task(name: str, data: Path | None = None) -> Task:
    return {task.name: task for task in (*english(data), *chinese(data))}[name]


# Local files -------------------------------------------------------------------------------------------------------


def test_rows_of_gzip_and_plain_files_are_the_same(tmp_path: Path) -> None:
    """Unpacking a file by hand must not change a score."""
    packed = pack(tmp_path / "one.eval.jsonl.gz", ROWS)
    plain = tmp_path / "two.eval.jsonl"
    plain.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "\n")
    assert read_rows(packed) == read_rows(plain) == ROWS


def test_a_missing_file_says_which_and_in_what_format(tmp_path: Path) -> None:
    """A user with a new folder has to learn what to put there."""
    with pytest.raises(OnsetError) as caught:
        LocalRows(tmp_path, "hellaswag").rows()
    assert str(tmp_path / "hellaswag.eval.jsonl.gz") in str(caught.value)
    assert "one JSON object a line" in str(caught.value)
    pack(tmp_path / "hellaswag.eval.jsonl.gz", ROWS)
    with pytest.raises(OnsetError, match="no file of examples"):
        LocalRows(tmp_path, "hellaswag").examples()


def test_a_gzip_that_is_cut_short_is_one_error(tmp_path: Path) -> None:
    """Half a download must not become half a benchmark."""
    path = pack(tmp_path / "t.eval.jsonl.gz", ROWS)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(OnsetError, match="damaged or cut short"):
        read_rows(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(OnsetError, match="damaged or cut short"):
        read_rows(path)


def test_a_bad_line_is_named_by_its_number(tmp_path: Path) -> None:
    """One bad line in ten thousand has to be found."""
    path = tmp_path / "t.eval.jsonl"
    path.write_text('{"id": "1"}\n\n{"id": "2"\n')
    with pytest.raises(OnsetError, match="not valid JSON") as caught:
        read_rows(path)
    assert "line 3" in str(caught.value)
    path.write_text('{"id": "1"}\n["2"]\n')
    with pytest.raises(OnsetError, match="not a JSON object"):
        read_rows(path)
    path.write_text('{"id": "1", "answer": 0}\n{"id": "2"}\n')
    with pytest.raises(OnsetError, match="no field 'answer'") as caught:
        read_rows(path, ("id", "answer"))
    assert "line 2" in str(caught.value)


def test_other_encodings_and_empty_files_are_errors(tmp_path: Path) -> None:
    """Chinese text in another encoding would be scored as noise."""
    path = tmp_path / "t.eval.jsonl"
    path.write_bytes('{"id": "中文"}\n'.encode("gb18030"))
    with pytest.raises(OnsetError, match="not UTF-8"):
        read_rows(path)
    path.write_text("\n\n")
    with pytest.raises(OnsetError, match="no rows"):
        read_rows(path)


def test_files_of_other_systems_are_read_as_they_are_meant(tmp_path: Path) -> None:
    """Editors there put a mark before the first line and end lines with two characters."""
    path = tmp_path / "toy.eval.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "a", "text": "b"}\r\n{"id": "c", "text": "d"}\r\n')
    assert read_rows(path) == [{"id": "a", "text": "b"}, {"id": "c", "text": "d"}]


def test_line_separators_inside_a_text_do_not_split_a_row(tmp_path: Path) -> None:
    """U+2028 stands in web text; JSON lines end at newlines only."""
    path = tmp_path / "t.eval.jsonl"
    path.write_text(json.dumps({"id": "1", "question": "a\u2028b\x85c"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_rows(path)[0]["question"] == "a\u2028b\x85c"


def test_checksums_are_kept(tmp_path: Path) -> None:
    """A file that was changed by accident would be scored as the benchmark."""
    path = pack(tmp_path / "t.eval.jsonl.gz", ROWS)
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    assert read_rows(path) == ROWS
    pack(path, ROWS[:2])
    with pytest.raises(OnsetError, match="not the one that SHA256SUMS names"):
        read_rows(path)


def test_the_folder_is_not_part_of_the_identity(tmp_path: Path) -> None:
    """Moving the data would make every score owed again."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        pack(tmp_path / folder / "t.eval.jsonl.gz", ROWS)
    here, there = (LocalRows(tmp_path / folder, "t").identity() for folder in ("here", "there"))
    assert here == there
    pack(tmp_path / "there" / "t.eval.jsonl.gz", ROWS[:2])
    assert LocalRows(tmp_path / "there", "t").identity() != here


# Public data sets --------------------------------------------------------------------------------------------------

HUB_ROWS: dict[str, dict[str, Any]] = {
    "triviaqa": {
        "question": "Which metal?", "answer": {"value": "Mercury", "aliases": ["Quicksilver", "Mercury"]}
    },
    "hellaswag": {
        "activity_label": "Baking", "ctx_a": "A woman kneads [step] dough.", "ctx_b": "she", "label": "2",
        "endings": ["[title] Sing.", "sleeps.", "bakes [substeps]  it.", "runs."],
    },
    "race": {
        "example_id": "high123.txt", "article": "An old mill.", "question": "What is it?",
        "options": ["a mill", "a shop", "a pond", "a tree"], "answer": "A",
    },
    "winogrande": {"sentence": "Ann met Bo because _ came.", "option1": "Ann", "option2": "Bo", "answer": "2"},
    "mmlu": {"question": "Which?", "choices": ["1", "2", "3", "4"], "answer": 3, "subject": "anatomy"},
    "gsm8k": {"question": "How many?", "answer": "1 + 1 = <<1+1=2>>2\nSo it is <<1000*1=1000>>1,000.\n#### 1,000"},
    "ceval": {"id": 0, "question": "何者？", "A": "甲", "B": "乙", "C": "丙", "D": "丁", "answer": "C"},
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A hub that holds one row of each data set; records what is asked of it."""
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[Any, ...]] = []
    by_hub = {task(name).source.hub: row for name, row in HUB_ROWS.items()}  # type: ignore[attr-defined]

    def load_dataset(name: str, config: str | None, *, split: str, revision: str) -> Any:
        asked.append((name, config, split, revision))
        return datasets.Dataset.from_list([by_hub[name]] * 2)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_rows_of_the_hub_become_items(hub: list[tuple[Any, ...]]) -> None:
    """Each data set has fields of its own; a wrong one would give wrong prompts or wrong right choices."""
    items = {name: task(name).with_use(limit=1).items()[0] for name in HUB_ROWS}
    assert items["triviaqa"].answers == ("Mercury", "Quicksilver")
    assert items["hellaswag"].context == "Baking: A woman kneads dough. She"
    assert items["hellaswag"].choices[2] == "bakes it."
    assert items["hellaswag"].gold == 2
    assert (items["race"].gold, items["race"].subject, items["race"].context) == (0, "high", "An old mill.")
    assert (items["winogrande"].choices, items["winogrande"].gold) == (("Ann", "Bo"), 1)
    assert (items["mmlu"].gold, items["mmlu"].subject) == (3, "anatomy")
    assert items["gsm8k"].rationale == "1 + 1 = 2\nSo it is 1,000."
    assert items["gsm8k"].answers == ("1000",)
    assert (items["ceval"].choices, items["ceval"].gold) == (("甲", "乙", "丙", "丁"), 2)
    assert items["ceval"].subject == "注册会计师"
    assert all(len(revision) == 40 for *_, revision in hub)


def test_ids_of_the_hub_are_unique_and_examples_are_not_questions(hub: list[tuple[Any, ...]]) -> None:
    """Two subjects' first rows are different questions; an example is never dropped for a question's id."""
    source = task("ceval").source
    names = [row["id"] for row in (*source.rows(), *source.examples())]
    assert len(set(names)) == len(names) == 2 * 2 * 52
    assert {split for _, _, split, _ in hub} == {"val", "dev[:5]"}


def test_a_hub_that_cannot_be_reached_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the user must learn of --data, not read a traceback."""
    datasets = pytest.importorskip("datasets")

    def load_dataset(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(OnsetError, match="Couldn't reach the hub") as caught:
        task("hellaswag").items()
    assert "--data" in str(caught.value)


def test_rows_of_the_hub_are_held_against_their_checksum(hub: list[tuple[Any, ...]]) -> None:
    """A damaged cache would be scored as the benchmark."""
    source = task("mmlu").source
    assert isinstance(source, HubRows)
    right = rows_digest(source.rows())
    fields = {**source.__dict__}
    kept = {name: fields[name] for name in ("hub", "revision", "adapt", "configs", "split", "shots_split", "pool")}
    assert HubRows(**kept, sha256=right).rows() == source.rows()
    with pytest.raises(OnsetError, match="not the ones that this task was made for"):
        HubRows(**kept, sha256="0" * 64).rows()


@pytest.mark.parametrize("name", ["clozet", "nlpcc_kbqa", "c3", "cluewsc", "gsm8k_zh"])
def test_a_data_set_that_is_on_no_hub_says_where_to_get_it(name: str) -> None:
    """The user would search for a data set that has to be fetched by hand."""
    with pytest.raises(OnsetError) as caught:
        task(name).items()
    assert "where:" in str(caught.value)
    assert f"{name}.eval.jsonl.gz" in str(caught.value)


def test_reading_real_parquet_through_datasets(tmp_path: Path) -> None:
    """The library's own loader must accept how it is called, not only our stand-in for it."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "wino"
    folder.mkdir()
    for split in ("train", "validation"):
        datasets.Dataset.from_list([HUB_ROWS["winogrande"]] * 3).to_parquet(folder / f"{split}.parquet")
    real = task("winogrande").source
    assert isinstance(real, HubRows)
    source = HubRows(str(folder), "main", real.adapt, split="validation", pool=2)
    assert [row["answer"] for row in source.rows()] == [1, 1, 1]
    assert len(source.examples()) == 2
