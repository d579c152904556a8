"""SQL over a study's folder: it reads what is there and can touch nothing else."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.store.parts import ITEMS, write_part
from onset.store.query import query
from onset.store.rundir import RunDir, run_dirs


def test_the_three_views_hold_what_the_study_holds(study_folder: Path) -> None:
    """A user would count the wrong rows."""
    items = query(study_folder, "SELECT task, count(*) AS n, count(DISTINCT run) AS runs FROM items GROUP BY task")
    assert items.set_index("task").n.to_dict() == {"world_exam_en": 1280, "world_facts_en": 1280}
    assert set(items.runs) == {2}
    assert query(study_folder, "SELECT count(*) AS n FROM losses").n[0] == 32
    scores = query(study_folder, "SELECT max(score) AS best FROM observations WHERE metric = 'accuracy'")
    assert 0.25 < scores.best[0] <= 1


def test_an_answer_is_right_where_the_right_choice_is_likeliest(study_folder: Path) -> None:
    """A user could not see which question is learnt when: of choices each row alone tells nothing."""
    answers = query(study_folder, "SELECT run, step, avg(correct::INT) AS score FROM answers "
                                  "WHERE task = 'world_exam_en' GROUP BY ALL ORDER BY ALL")  # fmt: skip
    scores = query(study_folder, "SELECT run, step, score FROM observations "
                                 "WHERE task = 'world_exam_en' AND metric = 'accuracy' ORDER BY run, step")  # fmt: skip
    assert answers.score.tolist() == pytest.approx(scores.score.tolist())
    signs = query(study_folder, "SELECT count(*) AS n FROM answers WHERE correct != (margin > 0)")
    assert signs.n[0] == 0


def test_free_answers_and_missing_numbers_are_told_as_they_are(tmp_path: Path) -> None:
    rundir = RunDir(tmp_path / "runs" / "r")
    rundir.create({"run": "r"})
    row = {"run": "r", "step": 1, "task": "t", "digest": "ab" * 32, "choice": 0, "gold": True}
    free = [
        {**row, "item": "a", "text": "four", "correct": True},
        {**row, "item": "b", "text": "five", "correct": False},
    ]
    choices = [{**row, "item": "c", "logprob": -1.0}, {**row, "item": "c", "choice": 1, "gold": False, "logprob": None}]
    write_part(rundir.items(1, "t", "ab" * 32), free + choices, ITEMS)
    rows = query(tmp_path, "SELECT item, correct, text FROM answers ORDER BY item")
    assert rows.correct.tolist()[:2] == [True, False]
    assert rows.text.tolist()[:2] == ["four", "five"]
    assert pd.isna(rows.correct[2])


def test_a_study_without_parts_has_empty_views(tmp_path: Path) -> None:
    for view in ("items", "answers", "losses", "observations"):
        assert query(tmp_path, f"SELECT * FROM {view}").empty
    assert "score" in query(tmp_path, "SELECT * FROM observations").columns


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM items", "COPY (SELECT 1) TO '{}/x.csv'", "SET enable_external_access = true", "ATTACH '{}/x.db'",
     "SELECT 1; SELECT 2", "CREATE TABLE t AS SELECT 1", "INSTALL httpfs", ""],
)  # fmt: skip
def test_only_one_statement_that_reads_is_taken(study_folder: Path, tmp_path: Path, sql: str) -> None:
    """A statement could change or leak what is not the study's."""
    with pytest.raises(OnsetError):
        query(study_folder, sql.replace("{}", str(tmp_path)))
    assert {entry.name for entry in tmp_path.iterdir()} == {"study"}


@pytest.mark.parametrize("sql", ["SELECT * FROM read_csv('{}')", "SELECT * FROM '{}'", "SELECT * FROM read_text('{}')"])
def test_no_file_outside_can_be_read(study_folder: Path, tmp_path: Path, sql: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    with pytest.raises(OnsetError):
        query(study_folder, sql.replace("{}", str(secret)))


def test_wrong_sql_is_explained(study_folder: Path) -> None:
    with pytest.raises(OnsetError, match="logprobs") as caught:
        query(study_folder, "SELECT logprobs FROM items")
    assert "logprob_uncond" in str(caught.value)


def test_a_part_cut_short_is_named(study_folder: Path) -> None:
    part = next((run_dirs(study_folder)[0].path / "items" / "00000040").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:300])
    with pytest.raises(OnsetError) as caught:
        query(study_folder, "SELECT sum(logprob) FROM items")
    assert caught.value.where == str(part)


def test_an_absent_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="no such folder"):
        query(tmp_path / "absent", "SELECT 1")


def test_a_query_without_end_is_stopped_and_says_how_to_give_it_longer(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
    with pytest.raises(OnsetError, match=r"longer than 0\.2 seconds") as caught:
        query(tmp_path, endless, timeout=0.2)
    assert "--timeout" in str(caught.value)
