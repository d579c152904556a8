"""What a new user has at hand, by one command each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from adapters.conftest import write_rows
from onset.cli import app


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["import", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def histories(tmp_path: Path) -> Path:
    """Three runs, a file each: training losses at every step, validation and tasks now and then, at different steps."""
    head = ["_step", "_runtime", "train/loss", "val/loss", "eval/mmlu/acc_norm", "eval/hellaswag_acc"]
    for size in ("70M", "160M", "410M"):
        rows: list[list[object]] = []
        for step in range(100, 4001, 100):
            loss = 6 * step**-0.1
            scored = step % 400 == 0
            rows.append([
                step, step / 10, loss + 0.01 * (-1) ** step, loss if step % 300 == 100 and step < 4000 else None,
                0.25 + step / 1e5 if scored else None, 0.3 + step / 1e4 if scored else None,
            ])  # fmt: skip
        write_rows(tmp_path / "wandb" / f"ladder-{size}.csv", head, rows)
    return tmp_path / "wandb"


def test_a_folder_of_histories(histories: Path, tmp_path: Path) -> None:
    """Runs by file, tokens by step, sizes by name, empty cells passed over, losses between their neighbours."""
    out = tmp_path / "obs.csv.gz"
    told = run(histories, "--runs", "{run}-{params}.csv", "--tokens-per-step", "1048576", "--out", out)
    frame = pd.read_csv(out)
    assert len(frame) == 3 * 9 * 2  # the tasks at 4000 steps lie beyond the last loss
    assert sorted(frame.params.unique()) == [70e6, 160e6, 410e6]
    assert set(frame.run) == {"ladder-70M", "ladder-160M", "ladder-410M"}
    assert set(frame.family) == {"ladder"}
    assert set(frame.loss_name) == {"val"}
    assert set(zip(frame.task, frame.metric, strict=True)) == {("mmlu", "acc_norm"), ("hellaswag", "acc")}
    assert (frame.tokens == frame.step * 1048576).all()
    np.testing.assert_allclose(frame.loss, 6 * frame.step**-0.1, rtol=2e-3)
    assert "interpolated between neighbours at most a factor 2 apart" in told
    assert "outside their run's losses" in told
    losses = pd.read_csv(tmp_path / "obs.losses.csv.gz")
    assert set(losses.loss_name) == {"val", "train"}


def test_the_name_of_a_file_is_the_run(histories: Path, tmp_path: Path) -> None:
    run(f"{histories}/*.csv", "--tokens-per-step", "1048576", "--out", tmp_path / "obs.csv")
    frame = pd.read_csv(tmp_path / "obs.csv")
    assert set(frame.run) == {"ladder-70M", "ladder-160M", "ladder-410M"}
    assert set(frame.params) == {70e6, 160e6, 410e6}


def test_a_folder_of_onset_loss_is_a_source_of_losses(study_folder: Path, tmp_path: Path) -> None:
    """Losses that were measured here, scores from elsewhere."""
    rows = [["run0", step, "piqa", "acc", 0.5 + step / 1000] for step in (10, 20, 40, 80)]
    scores = write_rows(tmp_path / "scores.csv", ["run", "step", "task", "metric", "score"], rows)
    run(scores, "--losses", study_folder, "--loss", "main", "--out", tmp_path / "obs.csv")
    frame = pd.read_csv(tmp_path / "obs.csv")
    np.testing.assert_allclose(frame.loss, 3 - 0.3 * np.log([10, 20, 40, 80]))
    assert set(frame.params) == {100_000}
    assert (frame.tokens > 0).all()


def test_what_is_missing_is_told_with_the_option_that_gives_it(histories: Path, tmp_path: Path) -> None:
    for arguments, wanted in [
        ((histories,), "--tokens-per-step"),
        ((tmp_path / "none",), "check the path"),
        ((f"nosuch:{histories}",), "known: "),
        ((histories, "--tokens-per-step", "1000", "--loss", "vall"), "'val'"),
        ((histories, "--tokens-per-step", "many"), "RUN=NUMBER"),
        ((histories, "--tokens-per-step", "1000", "--restarts", "{run}"), "{restart}"),
    ]:
        result = CliRunner().invoke(app, ["import", *map(str, arguments), "--out", str(tmp_path / "o.csv")])
        assert result.exit_code == 1
        assert wanted in str(result.exception) + result.output, arguments


def test_a_format_may_stand_before_its_path(tmp_path: Path) -> None:
    """Commands that were written down before sources could be mixed."""
    (tmp_path / "t.csv").write_text("Model,N,tokens,loss,task,metric,score\na,1000,5000,3.1,piqa,acc,0.6\n")
    run("table", tmp_path / "t.csv", "--column", "run=Model,params=N", "--out", tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv").params.tolist() == [1000]
    (tmp_path / "s.csv").write_text("run,params,tokens,task,metric,score\na,1000,2000,piqa,acc,0.6\n")
    (tmp_path / "l.csv").write_text("run,tokens,loss\na,1000,4\na,4000,3\n")
    run("curves", tmp_path / "s.csv", "--losses", tmp_path / "l.csv", "--out", tmp_path / "b.csv")
    assert pd.read_csv(tmp_path / "b.csv").loss.tolist() == [3.5]
    results = '{"results": {"piqa": {"acc,none": 0.6}}, "config": {"model_args": "pretrained=lab/a,revision=step10"}}'
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results_2025.json").write_text(results)
    (tmp_path / "k.csv").write_text("run,step,params,tokens,loss\na,10,1000,2000,3.2\n")
    run("lm-eval", tmp_path / "out", "--losses", tmp_path / "k.csv", "--out", tmp_path / "c.csv")
    assert pd.read_csv(tmp_path / "c.csv").loss.tolist() == [3.2]


def test_records_and_items_are_written_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("run,params,tokens,loss,task,metric,score\na,1000,5000,3.1,piqa,acc,0.6\n")
    told = run(tmp_path / "t.csv", "--records", tmp_path / "eee", "--out", tmp_path / "a.csv")
    assert "1 records in" in told
    run(tmp_path / "eee", "--out", tmp_path / "b.csv")
    assert pd.read_csv(tmp_path / "b.csv").loss.tolist() == [3.1]
    result = CliRunner().invoke(
        app,
        ["import", str(tmp_path / "t.csv"), "--items", str(tmp_path / "i.parquet"), "--out", str(tmp_path / "c.csv")],
    )
    assert "no single questions" in str(result.exception) + result.output
