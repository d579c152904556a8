"""What could not be asked, or was cut, is told beside every score: per checkpoint and task, and never as zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from onset.store.coverage import asked, notes, sentence
from onset.store.parts import ITEMS, write_part
from onset.store.query import query
from onset.store.rundir import RunDir

DIGEST = "ab" * 32


def rows(step: int, missing: dict[str, str], cut: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "run": "r", "step": step, "task": "t", "digest": DIGEST, "item": item, "choice": choice,
            "gold": choice == 0,
            "logprob": None if item in missing else -1.0, "cut_shots": cut.get(item, 0),
            "missing": missing.get(item),
        }
        for item in "abcd"
        for choice in range(2)
    ]  # fmt: skip


def run_with(folder: Path) -> tuple[RunDir, list[Path]]:
    rundir = RunDir(folder / "runs" / "r")
    rundir.create({"run": "r", "digest": DIGEST, "study": ""})
    faults = {"faults": {"an empty choice": 2, "example with no question": 1}}
    parts = []
    for step, missing in ((10, {"a": "too long", "b": "no room"}), (20, {})):
        part = rundir.items(step, "t", DIGEST)
        write_part(part, rows(step, missing, {"c": 3, "d": 2} if step == 10 else {}), ITEMS, faults)
        parts.append(part)
    return rundir, parts


def test_counts_are_of_questions_by_checkpoint_and_task(tmp_path: Path) -> None:
    """Lost otherwise: a score over half the questions that looks like one over all."""
    _, parts = run_with(tmp_path)
    first, second = asked(parts).to_dict("records")
    assert (first["questions"], first["cut_questions"], first["cut_shots"]) == (4, 2, 5)
    assert (first["too_long"], first["no_room"], first["empty"], first["not_asked"]) == (1, 1, 0, 2)
    assert (second["cut_questions"], second["too_long"]) == (0, 0)
    told = sentence(first)
    for words in ("2 prompts lost 5 examples", "1 questions too long", "2 row(s) with an empty choice", "1 example(s)"):
        assert words in told
    assert [note.endswith("(1 of 2 checkpoints)") for note in notes(parts)] == [True, True]


def test_sql_sees_the_counts(tmp_path: Path) -> None:
    """Lost otherwise: the store knows, and nobody can ask it."""
    run_with(tmp_path)
    found = query(tmp_path, "SELECT step, too_long, cut_shots FROM asked ORDER BY step")
    assert found.to_dict("list") == {"step": [10, 20], "too_long": [1, 0], "cut_shots": [5, 0]}


def test_parts_of_before_say_nothing_not_zero(tmp_path: Path) -> None:
    """Lost otherwise: a study that was scored earlier passes for one in which nothing was cut."""
    _, parts = run_with(tmp_path)
    old = pq.ParquetFile(parts[0]).read().drop_columns(["cut_shots", "missing"]).replace_schema_metadata(None)
    pq.write_table(old, parts[0])
    (row,) = asked(parts[:1]).to_dict("records")
    assert row["questions"] == 4
    assert all(pd.isna(row[name]) for name in ("cut_questions", "cut_shots", "too_long", "not_asked"))
    assert sentence(row) == ""


def test_examples_that_were_cut_are_told_as_shots(tmp_path: Path) -> None:
    """Lost otherwise: eight shots became none for every question, and the reader has to divide to see it."""
    rundir = RunDir(tmp_path / "runs" / "r")
    rundir.create({"run": "r", "digest": DIGEST, "study": ""})
    told = []
    for step, cut in ((1, dict.fromkeys("abcd", 8)), (2, {"a": 5, "b": 8})):
        part = rundir.items(step, "t", DIGEST)
        write_part(part, rows(step, {}, cut), ITEMS, {"faults": {}, "shots": 8})
        told += [sentence(row) for row in asked([part]).to_dict("records")]
    assert told == [
        "asked 0-shot instead of 8-shot: all prompts were cut to fit the context",
        "asked 0- to 8-shot instead of 8-shot: 2 of 4 prompts were cut to fit the context",
    ]
