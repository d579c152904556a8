"""Every Eval Ever: records and samples that go out and come back the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from uuid import UUID

import pandas as pd
import pytest
from typer.testing import CliRunner

from onset.adapters import registry
from onset.adapters.collect import collect
from onset.adapters.formats import every_eval_ever
from onset.adapters.source import Reading
from onset.cli import app
from onset.errors import OnsetError
from onset.store.parts import read_part


def test_every_eval_ever_goes_out_and_comes_back(tmp_path: Path) -> None:
    """Step, tokens and loss have no place in the schema: they stand in the details of the model, as text."""
    table = tmp_path / "scores.csv"
    table.write_text(
        "run,step,tokens,params,loss,loss_name,task,metric,score,stderr,chance,n_examples,direction\n"
        "a,10,1000,5e6,3.5,c4,piqa,acc,0.5,0.01,0.5,100,higher\na,10,1000,5e6,3.5,c4,piqa,brier,0.7,,,100,lower\n"
        "a,20,2000,5e6,3.1,c4,piqa,acc,0.6,0.01,0.5,100,higher\n"
    )
    frame = collect([str(table)]).observations
    written = every_eval_ever.write(frame, tmp_path / "records")
    assert len(written) == 2
    record = json.loads(written[0].read_text())
    assert record["schema_version"] == "0.3.0"
    assert record["model_info"]["additional_details"]["step"] == "10.0"
    assert record["model_info"]["additional_details"]["model_availability"] == "unknown"
    assert every_eval_ever.write(frame, tmp_path / "records") == written, "written again it would lie there twice"
    assert record["evaluation_results"][1]["metric_config"]["lower_is_better"] is True
    again = collect([str(tmp_path / "records")]).observations
    keys = ["step", "metric"]
    pd.testing.assert_frame_equal(
        again.sort_values(keys).reset_index(drop=True),
        frame.sort_values(keys).reset_index(drop=True),
        check_dtype=False,
    )


def test_the_item_rows_of_a_study_go_out_as_samples_and_come_back(study_folder: Path, tmp_path: Path) -> None:
    """Lost otherwise: log-probabilities of choices, which the schema has no place for."""
    done = CliRunner().invoke(app, ["import", str(study_folder), "--out", str(tmp_path / "obs.csv"), "--records",
                                    str(tmp_path / "records"), "--items", str(tmp_path / "items.parquet")])  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    record = next((tmp_path / "records").glob("data/onset/unknown/run0/*.json"))
    told = json.loads(record.read_text())["detailed_evaluation_results"]
    assert UUID(record.stem).version == 4, "version 0.3 of the schema asks for such names"
    samples = tmp_path / "records" / told["file_path"]
    assert samples == record.with_name(f"{record.stem}_samples.jsonl")
    assert told["checksum"] == hashlib.sha256(samples.read_bytes()).hexdigest()
    assert told["total_rows"] == len(samples.read_text().splitlines())
    out = read_part(tmp_path / "items.parquet")
    back = registry.read(str(tmp_path / "records"), Reading()).items
    keys = ["run", "step", "task", "item", "choice"]
    same = [*keys, "gold", "logprob", "bytes", "tokens"]
    pd.testing.assert_frame_equal(
        back.sort_values(keys)[same].reset_index(drop=True), out.sort_values(keys)[same].reset_index(drop=True),
        check_dtype=False, check_exact=True,
    )  # fmt: skip


def sample(item: str, correct: bool | None, **more: object) -> str:
    return json.dumps({
        "evaluation_name": "gsm8k", "sample_id": item, "output": {"raw": ["so 5"]},
        "evaluation": {"score": 1.0, "is_correct": correct}, **more,
    })  # fmt: skip


def test_a_sample_that_failed_or_that_contradicts_itself_is_no_wrong_answer(tmp_path: Path) -> None:
    """Lost otherwise: an interface error counted as an error of the model; a sample twice, once for each metric."""
    result = {"evaluation_name": "gsm8k", "metric_config": {"metric_name": "f1"}, "score_details": {"score": 0.5}}
    record = {"model_info": {"id": "lab/a@step10"}, "evaluation_results": [result]}
    (tmp_path / "x.json").write_text(json.dumps(record))
    lines = [sample("1", True), sample("1", True), sample("2", False), sample("3", False, error="timeout"),
             sample("4", True), sample("4", False)]  # fmt: skip
    (tmp_path / "x_samples.jsonl").write_text("\n".join(lines))
    found = registry.read(str(tmp_path / "x.json"), Reading())
    assert found.items.correct.isna().tolist() == [False, False, True]
    assert found.items["item"].tolist() == ["1", "2", "3"]
    assert any("left out: 1" in note for note in found.notes)
    losses = tmp_path / "l.csv"
    losses.write_text("run,step,tokens,params,loss\nlab/a,10,1000,5e6,3.0\n")
    frame = collect([str(tmp_path / "x.json")], [str(losses)]).observations.set_index("metric")
    assert frame.score["exact_match"] == 0.5, "one of two that were answered"
    (tmp_path / "x_samples.jsonl").write_text('{"sample_id": "1"}')
    with pytest.raises(OnsetError, match="lacks 'evaluation'"):
        registry.read(str(tmp_path / "x.json"), Reading())
