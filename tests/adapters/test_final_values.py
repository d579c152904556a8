"""Sources with one point a run: tables of runs, speedruns, published tables of final models, results on a hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onset.adapters import registry
from onset.adapters.collect import collect
from onset.adapters.command import options_of
from onset.adapters.source import Reading
from onset.errors import OnsetError

RUNS = """"Name","State","User","Tags","Created","Runtime","ID","lr","_step","tokens","eval/c4_en/loss","eval/piqa_acc"
"small","finished","ann","","2025-01-01","3600","a1","0.003","1000","2e9","3.1","0.61"
"small","finished","ann","","2025-01-02","3600","b2","0.001","1000","2e9","3.2","0.60"
"large","finished","ann","","2025-01-03","7200","c3","0.003","2000","4e9","2.8","0.67"
"large","crashed","ann","","2025-01-04","100","d4","0.003","70","1e8","4.9","0.52"
"other","running","ann","","2025-01-05","100","e5","0.003","80","1e8","4.8","0.51"
"""


def test_a_table_of_runs_has_the_runs_that_finished_each_by_a_name_of_its_own(tmp_path: Path) -> None:
    """Lost otherwise: a crashed run's last loss beside its last evaluation, of another step; two seeds as one run."""
    table = tmp_path / "runs.csv"
    table.write_text(RUNS)
    assert registry.detect(table).name == "wandb-runs"  # type: ignore[union-attr]
    frame = collect([str(table)], options=options_of(params=["1e8"])).observations
    assert sorted(frame.run.unique()) == ["large", "small-a1", "small-b2"]
    assert set(zip(frame.run, frame.step, frame.tokens, frame.loss, frame.score, strict=True)) == {
        ("small-a1", 1000, 2e9, 3.1, 0.61), ("small-b2", 1000, 2e9, 3.2, 0.60), ("large", 2000, 4e9, 2.8, 0.67)
    }  # fmt: skip
    assert any("did not finish, left out: 1 crashed, 1 running" in note for note in frame.attrs["notes"])


def test_a_table_in_which_no_run_has_finished_is_told(tmp_path: Path) -> None:
    """Lost otherwise: an empty table without a reason."""
    table = tmp_path / "runs.csv"
    table.write_text("".join(line + "\n" for line in RUNS.splitlines() if "finished" not in line))
    with pytest.raises(OnsetError, match="no run of the table has finished"):
        registry.read(str(table), Reading())


def export(folder: Path, history: list[dict[str, object]] | None) -> Path:
    """The folder of wandb-export: two runs of one name and one that crashed, as dr-wandb 3.0.3 writes them."""
    folder.mkdir()
    (folder / "manifest.json").write_text('{"schema_version": 1, "name": "x", "entity": "e", "project": "p"}')
    last = {"eval/c4_en/loss": 3.1, "eval/piqa_acc": 0.61, "throughput/total_tokens": 2e9, "_step": 1000}
    runs = [
        {"run": {"run_id": key, "name": name, "state": state, "config": {"n_params": 10**8, "lr": 3e-3},
                 "summary_metrics": {**last, "_wandb": {"runtime": 9}, "samples": {"_type": "table"}}},
         "exported_at": "2025-01-01T00:00:00"}
        for key, name, state in (("a1", "small", "finished"), ("b2", "small", "running"), ("c3", "large", "crashed"))
    ]  # fmt: skip
    (folder / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    if history is not None:
        (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    return folder


def test_an_export_without_histories_has_the_runs_that_finished(tmp_path: Path) -> None:
    frame = collect([str(export(tmp_path / "x", None))]).observations
    assert frame[["run", "step", "tokens", "params", "loss", "score"]].to_numpy().tolist() == [
        ["small-a1", 1000, 2e9, 1e8, 3.1, 0.61]
    ]
    assert any("did not finish, left out: 2" in note for note in frame.attrs["notes"])


def test_an_export_of_histories_is_one_series_a_run(tmp_path: Path) -> None:
    """Lost otherwise: two seeds of one name mixed into one run; a step that was logged in two rows."""
    history: list[dict[str, object]] = [
        {"run_id": key, "step": step, "timestamp": None, "extra": {}, "wandb_metadata": {}, "metrics": metrics}
        for key, shift in (("a1", 0.0), ("c3", 0.1))
        for step in (100, 200)
        for metrics in ({"eval/c4_en/loss": 4 - step / 100 + shift, "throughput/total_tokens": 1e6 * step},
                        {"eval/piqa_acc": step / 1000, "hist": {"bins": [1]}})
    ]  # fmt: skip
    folder = export(tmp_path / "x", history)
    assert registry.detect(folder).name == "dr-wandb"  # type: ignore[union-attr]
    frame = collect([str(folder)]).observations.sort_values(["run", "step"])
    assert frame.run.tolist() == ["large", "large", "small-a1", "small-a1"]
    assert frame.loss.tolist() == pytest.approx([3.1, 2.1, 3.0, 2.0])
    assert frame.score.tolist() == [0.1, 0.2, 0.1, 0.2]
    assert frame.tokens.tolist() == [1e8, 2e8, 1e8, 2e8]
    (folder / "history.jsonl").write_text(json.dumps({**history[0], "run_id": "zz"}))
    with pytest.raises(OnsetError, match=r"a run 'zz' that runs\.jsonl lacks"):
        registry.read(str(folder), Reading())


def speedrun(folder: Path, *losses: float) -> Path:
    folder.mkdir(parents=True)
    runs = [
        {"run_info": {
            "eval/paloma/c4_en/bpb": loss, "model_size": 154147328, "total_tokens": 2599944192, "model_flops": 1.8e18,
            "training_hardware_flops": 1.7e19, "training_time": 1125.4, "train_config": {"num_train_steps": 4959},
        }}
        for loss in losses
    ]  # fmt: skip
    (folder / "speedrun_results.json").write_text(json.dumps({"runs": runs}))
    return folder / "speedrun_results.json"


def test_speedruns_are_losses_in_bits_with_the_compute_of_the_model(tmp_path: Path) -> None:
    """Lost otherwise: bits per byte taken for nats, and the hardware's peak taken for training compute."""
    speedrun(tmp_path / "adamw" / "130m", 1.19)
    speedrun(tmp_path / "muon" / "130m", 1.17, 1.18)
    losses = registry.read(f"marin-speedrun:{tmp_path}", Reading()).losses.set_index("run")
    assert losses.loss.to_dict() == {"adamw/130m": 1.19, "muon/130m-1": 1.17, "muon/130m-2": 1.18}
    assert set(losses.loss_unit) == {"bits/byte"}
    assert set(losses.loss_name) == {"paloma/c4_en"}
    assert set(losses.flops) == {1.8e18}
    scores = tmp_path / "scores.csv"
    scores.write_text("run,step,task,metric,score\nadamw/130m,4959,piqa,acc,0.6\nmuon/130m-1,4959,piqa,acc,0.62\n")
    frame = collect([str(scores)], [str(tmp_path)]).observations
    assert set(zip(frame.run, frame.loss, frame.flops, strict=True)) == {
        ("adamw/130m", 1.19, 1.8e18), ("muon/130m-1", 1.17, 1.8e18)
    }  # fmt: skip
    with pytest.raises(OnsetError, match="they hold losses"):
        collect([str(tmp_path / "adamw")])


def test_losses_that_stand_among_the_scores_of_a_published_table_are_losses(tmp_path: Path) -> None:
    """Lost otherwise: a cross-entropy judged as a score, where higher is better, and models without a name as one."""
    table = tmp_path / "results.csv"
    table.write_text(
        ",flops,params,tokens,benchmark,metric_type,score,tpr\n"
        "0,1e19,1e8,2e9,c4,cross_entropy_loss,3.2,20\n1,1e19,1e8,2e9,arc_easy,acc,0.41,20\n"
        "2,1e19,1e8,2e9,arc_easy,cross_entropy_loss,1.1,20\n3,4e19,2e8,4e9,c4,cross_entropy_loss,2.9,20\n"
        "4,4e19,2e8,4e9,arc_easy,acc,0.48,20\n5,4e19,2e8,4e9,arc_easy,cross_entropy_loss,1.0,20\n"
    )
    assert registry.detect(table).name == "apple-scaling"  # type: ignore[union-attr]
    found = collect([str(table)], options=options_of(loss=["c4"]))
    assert found.observations.run.nunique() == 2
    assert dict(zip(found.observations.loss, found.observations.score, strict=True)) == {3.2: 0.41, 2.9: 0.48}
    assert set(found.losses.loss_name) == {"c4", "arc_easy"}


def test_results_on_a_hub_keep_what_their_notes_tell_apart(tmp_path: Path) -> None:
    """Lost otherwise: a score with tools and one without as two values of one task."""
    folder = tmp_path / "tiny-step1000" / ".eval_results"
    folder.mkdir(parents=True)
    entry = "- dataset:\n    id: cais/hle\n    task_id: hle\n  value: {}\n  date: '2026-02-03'\n"
    (folder / "hle.yaml").write_text(entry.format(22.1))
    (folder / "hle_with_tools.yaml").write_text(entry.format(44.9) + '  notes: "With tools"\n')
    losses = tmp_path / "losses.csv"
    losses.write_text("run,step,tokens,params,loss\ntiny,1000,2e9,1e8,3.0\n")
    frame = collect([str(tmp_path)], [str(losses)]).observations
    assert dict(zip(frame.task, frame.score, strict=True)) == {"hle": 22.1, "hle:with_tools": 44.9}
    assert set(frame.step) == {1000}


@pytest.mark.parametrize(
    "text", ["- dataset: x\n  value: 1\n", "- dataset: {id: a/b}\n  value: high\n", "a: [", "a: 1\n"]
)
def test_results_on_a_hub_that_are_none_are_one_error(text: str, tmp_path: Path) -> None:
    """Lost otherwise: a traceback, or a word as a score."""
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(OnsetError) as caught:
        registry.read(f"hf-eval-results:{tmp_path / 'bad.yaml'}", Reading())
    assert str(caught.value.where) == str(tmp_path / "bad.yaml")
