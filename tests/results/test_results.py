"""Lost without these: a findings.json that other programs can read, and a page that can be made again from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import (
    Analysis,
    FactorEffect,
    FamilyFinding,
    Finding,
    Forecast,
    LogBayesFactor,
    LossInterval,
    Predictor,
    SizeEffect,
    Threshold,
    Width,
    load,
    load_forecast,
    save,
)

CURVE = pd.DataFrame(
    {"loss": [2.0, 2.5, 3.0], "score": [0.6, 0.3, 0.25], "low": [0.5, 0.2, 0.2], "high": [0.7, 0.4, 0.3]}
)
RESIDUALS = pd.DataFrame({"run": ["a", "b"], "params": [1e6, 1e7], "loss": [2.1, 2.9], "residual": [0.01, -0.02]})


def finding(task: str = "mmlu", metric: str = "accuracy", loss_name: str = "c4_en") -> Finding:
    return Finding(
        task=task, metric=metric, loss_name=loss_name, chance=0.25, n_points=np.int64(380), n_runs=5, spearman=-0.8,
        pearson=np.float64(-0.9), verdict="emergent", why="one sentence",
        onset=LossInterval(loss=2.71, low=2.70, high=2.72), width=Width(nats=0.04, low=0.02, high=0.07),
        threshold=LossInterval(loss=2.70, low=2.69, high=2.72),
        log_bayes_factor=LogBayesFactor(ability=40.1, threshold=3.2),
        size_effect=SizeEffect(verdict="equivalent", pp_per_decade=0.1, low=-0.4, high=0.6, within_family=True,
                               levels=pd.DataFrame({"level": [1e6], "offset": [0.1]})),
        predictors={"loss": Predictor(r2_held_out=0.95, error_pp=1.0)},
        factors=(FactorEffect(factor="corpus", verdict="not_asked", why="one run a level"),),
        families={"a": FamilyFinding(n_points=10, n_runs=2)}, curve=CURVE, residuals=RESIDUALS,
    )  # fmt: skip


def analysis(*findings: Finding) -> Analysis:
    observations = pd.DataFrame({"run": ["a"], "task": ["mmlu"], "score": [0.5], "mixed": [np.nan]})
    observations["object"] = pd.Series([3], dtype=object)
    return Analysis(source="table.csv", findings=findings or (finding(),), observations=observations)


def test_json_has_the_documented_fields() -> None:
    """Lost: programs that read the fields of version 2 by their documented names."""
    value = analysis().to_json()
    assert value["version"] == 2
    one = value["findings"][0]
    assert one["onset"] == {"loss": 2.71, "low": 2.70, "high": 2.72}
    beyond = LossInterval(loss=2.71, low=2.70, high=2.8, high_open=True)
    assert beyond.to_json() == {"loss": 2.71, "low": 2.70, "high": 2.8, "high_open": True}
    assert LossInterval.from_json(beyond.to_json()) == beyond
    assert one["width"] == {"nats": 0.04, "low": 0.02, "high": 0.07}
    assert one["threshold"]["loss"] == 2.70
    assert one["log_bayes_factor"]["threshold"] == 3.2
    assert one["size_effect"]["pp_per_decade"] == 0.1
    assert one["size_effect"]["within_family"] is True
    assert one["predictors"]["loss"]["r2_held_out"] == 0.95
    assert {"task", "metric", "loss_name", "loss_unit", "direction", "chance", "n_points", "n_runs", "spearman",
            "pearson", "verdict", "why"} <= set(one)  # fmt: skip
    assert "curve" not in one
    json.dumps(value, allow_nan=False)


def test_json_round_trip_is_equal() -> None:
    """Lost: results that come back from JSON as they were."""
    made = analysis(finding(), finding("arc"))
    assert Analysis.from_json(json.dumps(made.to_json())) == made
    assert Analysis.from_json(made.to_json()) == made
    assert made != analysis(finding())
    assert len({made, Analysis.from_json(made.to_json())}) == 1


def test_from_json_names_what_is_wrong() -> None:
    """Lost: one message instead of a page of validation errors."""
    with pytest.raises(OnsetError, match="not the JSON of Finding"):
        Finding.from_json({"verdict": "certain", "why": ""})


def test_numbers_that_are_not_finite_are_refused() -> None:
    """Lost: JSON that every parser reads; a missing value is None and never NaN."""
    with pytest.raises(ValueError, match="finite"):
        LossInterval(loss=float("nan"), low=0.0, high=1.0)


def test_folder_round_trip_keeps_the_frames(tmp_path: Path) -> None:
    """Lost: the page made again from results/ without fitting anything."""
    made = analysis(finding(), finding("arc", "brier"))
    save(made, tmp_path)
    first = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    save(made, tmp_path)
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    back = load(tmp_path)
    assert back == made
    curve = back["arc"].curve
    assert curve is not None
    pd.testing.assert_frame_equal(curve, CURVE)
    size = back["mmlu"].size_effect
    assert size is not None
    assert size.levels is not None
    assert size.levels["offset"].tolist() == [0.1]
    assert back.observations["run"].tolist() == ["a"]


def test_load_refuses_other_versions_and_empty_folders(tmp_path: Path) -> None:
    """Lost: a clear word where findings.json is of an older onset."""
    with pytest.raises(OnsetError, match="no analysis here"):
        load(tmp_path)
    (tmp_path / "findings.json").write_text('{"version": 1, "findings": []}')
    with pytest.raises(OnsetError, match="version 1"):
        load(tmp_path)


def test_index_by_task_metric_and_loss() -> None:
    """Lost: ``analysis['mmlu']``, and a near name where it is mistyped."""
    made = analysis(finding(), finding(metric="brier"), finding("arc"), finding("arc", loss_name="pile"))
    assert made["mmlu"].metric == "accuracy"
    assert made["mmlu", "brier"].metric == "brier"
    with pytest.raises(OnsetError, match="mmlu"):
        made["mlu"]
    with pytest.raises(OnsetError, match="several loss measures"):
        made["arc"]
    assert made["arc", "accuracy", "pile"].loss_name == "pile"


def test_summary_names_the_loss_where_there_are_two() -> None:
    """Lost: two rows of one task that nobody can tell apart."""
    assert "loss_name" not in analysis().summary()
    assert set(analysis(finding(), finding(loss_name="pile")).summary()["loss_name"]) == {"c4_en", "pile"}


def test_predict_is_missing_outside_of_the_losses_seen() -> None:
    """Lost: a curve that is never read beyond the data."""
    found = finding().predict([1.0, 2.25, 9.0])
    assert found["score"].isna().tolist() == [True, False, True]
    assert found["low"][1] == pytest.approx(0.35)
    with pytest.raises(OnsetError, match="nothing was fitted"):
        Threshold(verdict="inconclusive", why="too few").predict(2.0)
    with pytest.raises(OnsetError, match="no prediction band"):
        finding().predict(2.2, kind="new")


def test_text_is_short_and_html_and_latex_are_escaped() -> None:
    """Lost: a notebook cell and a paper table that come out readable."""
    made = analysis(finding("a_b<c"))
    assert len(repr(made)) < 200
    assert "1 emergent" in repr(made)
    assert "a_b&lt;c" in made._repr_html_()
    text = made.to_latex()
    assert r"a\_b<c" in text
    assert r"\toprule" in text
    assert "2.710 [2.700, 2.720]" in text


def test_intervals_are_one_frame() -> None:
    """Lost: estimates with their intervals for a reader's own table or figure."""
    one = finding().conf_int()
    assert list(one.columns) == ["task", "metric", "loss_name", "quantity", "estimate", "low", "high"]
    quantities = list(one["quantity"])
    assert quantities[:3] == ["onset", "threshold", "width"]
    assert "pp_per_decade" in quantities
    corpus = FactorEffect(factor="corpus", verdict="differs", pp=2.0, low=1.0, high=3.0).conf_int()
    assert corpus.to_dict("records") == [{"quantity": "corpus (pp)", "estimate": 2.0, "low": 1.0, "high": 3.0}]
    assert (one["low"] <= one["estimate"]).all()
    assert len(analysis(finding(), finding("arc")).conf_int()) == 2 * len(one)
    assert Threshold(verdict="inconclusive", why="too few").conf_int().empty


def test_frames_by_name() -> None:
    """Lost: residuals, curves and effects as frames for a reader's own figures."""
    made = analysis(finding(), finding("arc"))
    assert made.to_frame("residuals")["task"].tolist() == ["mmlu", "mmlu", "arc", "arc"]
    assert made.to_frame("predictors")["r2_held_out"].tolist() == [0.95, 0.95]
    assert made.to_frame("factors")["factor"].tolist() == ["corpus", "corpus"]
    assert len(made.to_frame("families")) == 2
    with pytest.raises(OnsetError, match="no frame 'residual'"):
        made.to_frame("residual")


def test_forecast_round_trip(tmp_path: Path) -> None:
    """Lost: predicted scores on the page when it is made again."""
    scores = pd.DataFrame({"task": ["mmlu", "arc"], "score": [0.5, np.nan], "why": ["", "at chance"]})
    made = Forecast(scores=scores, onsets=pd.DataFrame())
    assert Forecast.from_json(made.to_json()) == made
    save(analysis(), tmp_path, forecast=made)
    assert load_forecast(tmp_path) == (made, None)
    assert "1 scores" in repr(made)
