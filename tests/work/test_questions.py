"""Item rows of a study's folder become the losses at which its questions are learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from onset.results import Analysis, Finding, load_questions
from onset.tables.items import answers
from onset.tables.observations import read
from onset.work import findings
from onset.work.questions import learnt


def test_values_of_items_are_those_behind_the_scores(study_folder: Path) -> None:
    """Lost: a map of questions that is of other answers than the scores."""
    scores = read(study_folder)
    told = {(task, metric): rows for task, metric, rows in answers(study_folder)}
    assert told
    for (task, metric), rows in told.items():
        means = rows.groupby(["run", "step"])["value"].mean()
        seen = scores[(scores["task"] == task) & (scores["metric"] == metric)].set_index(["run", "step"])["score"]
        assert means.loc[seen.index].to_numpy() == pytest.approx(seen.to_numpy())


def analysed(folder: Path) -> Analysis:
    """What an analysis says of where the checkpoints lie, without its fits."""
    observations = read(folder)
    keys = observations[["task", "metric", "loss_name", "loss_unit"]].drop_duplicates().to_dict("records")
    made = tuple(Finding(**{str(name): str(value) for name, value in key.items()}, verdict="smooth", why="")
                 for key in keys)  # fmt: skip
    return Analysis(findings=made, observations=observations)


def test_an_analysis_of_a_study_keeps_its_questions(
    study_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost: results/items.parquet, and the order of abilities; a table has none."""
    made = analysed(study_folder)
    monkeypatch.setattr(findings, "analyze", lambda *_, **__: made)
    monkeypatch.setattr(findings.loss_comparison, "compare", lambda analysis, *_, **__: analysis)
    monkeypatch.setattr(findings, "with_claims", lambda analysis: analysis)
    monkeypatch.setattr(findings, "_page", lambda *_, **__: tmp_path / "report.html")
    findings.report(study_folder, tmp_path / "out")
    found, again = learnt(study_folder, made), load_questions(tmp_path / "out")
    assert found is not None
    assert found == again
    assert again is not None
    assert again.items is not None
    assert set(again.items["task"]) == set(made.observations["task"])
    assert learnt(tmp_path / "table.csv", made) is None
    assert load_questions(tmp_path) is None
