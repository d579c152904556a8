"""Sources of scores: outputs of evaluation programs, each with the traps of its format."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from onset.adapters import registry
from onset.adapters.collect import Collected, collect
from onset.adapters.command import options_of
from onset.adapters.source import Reading
from onset.errors import OnsetError
from onset.store.parts import ITEMS, write_part

LOGPROBS = [((-1.0, -2.0), 0), ((-1.5, -0.5), 1), ((-3.0, -1.0), 0), ((-0.2, -4.0), 0)]
"""Four questions of two choices: three are answered right."""
PROBABILITY = sum(1 / (1 + math.exp(values[1 - gold] - values[gold])) for values, gold in LOGPROBS) / 4


def placed(scores: Path, folder: Path, run: str = "tiny", step: int = 1000) -> Collected:
    """The scores at a loss of 3, by a table of losses."""
    table = folder / "losses.csv"
    table.write_text(f"run,step,tokens,params,loss\n{run},{step},2000000,42000,3.0\n")
    return collect([str(scores)], [str(table)])


def by_metric(frame: pd.DataFrame, task: str) -> dict[str, float]:
    rows = frame[frame.task == task]
    return dict(zip(rows.metric, rows.score, strict=True))


@pytest.fixture
def lighteval(tmp_path: Path) -> Path:
    time = "2025-03-01T10-00-00.123456"
    out = tmp_path / "out"
    folder = out / "results" / "lab" / "tiny-step1000"
    folder.mkdir(parents=True)
    content = {
        "config_general": {"lighteval_sha": "x", "max_samples": 4, "model_name": "lab/tiny-step1000"},
        "results": {
            "piqa|0": {"acc": 0.75, "acc_stderr": 0.25}, "leaderboard|arc:challenge|25|0": {"acc_norm": 0.3},
            "mmlu:law|5": {"acc": 0.2, "acc_stderr": 0.0}, "mmlu:_average|5": {"acc": 0.9}, "all": {"acc": 0.9},
        },
        "versions": {}, "config_tasks": {}, "summary_tasks": {}, "summary_general": {},
    }  # fmt: skip
    (folder / f"results_{time}.json").write_text(json.dumps(content, indent=2))
    details = out / "details" / "lab" / "tiny-step1000" / time
    details.mkdir(parents=True)
    rows = [
        {
            "doc": {"id": str(number), "query": "q", "choices": [" yes", " no"], "gold_index": [gold]},
            "metric": {"acc": 1.0}, "model_response": {"logprobs": list(values), "text": []},
        }
        for number, (values, gold) in enumerate(LOGPROBS)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(details / f"details_piqa|0_{time}.parquet")
    return out


def test_lighteval_means_are_no_tasks_and_details_are_measured(lighteval: Path, tmp_path: Path) -> None:
    """Averages over subjects would be findings of their own; probabilities would be lost."""
    found = placed(lighteval, tmp_path, "lab/tiny")
    frame = found.observations
    assert set(frame.task) == {"piqa", "arc:challenge|25", "mmlu:law|5"}
    piqa = by_metric(frame, "piqa")
    assert piqa["acc"] == 0.75
    assert piqa["correct_choice_prob"] == pytest.approx(PROBABILITY)
    assert "accuracy" not in piqa
    assert set(frame.step) == {1000}
    assert any("at most 4 questions" in note for note in frame.attrs["notes"])
    assert frame.stderr[frame.task == "mmlu:law|5"].isna().all()  # none right is no certainty
    write_part(tmp_path / "items.parquet", found.items, ITEMS)


def test_older_lighteval_details_have_underscores(lighteval: Path, tmp_path: Path) -> None:
    path = next(lighteval.rglob("details_*.parquet"))
    pd.read_parquet(path).rename(columns=lambda name: f"__{name}__").to_parquet(path)
    assert by_metric(placed(lighteval, tmp_path, "lab/tiny").observations, "piqa")["brier"] > 0


def test_olmes_predictions_become_item_rows(tmp_path: Path) -> None:
    """Scores of the suite, and our metrics of its single questions; a backend without log-probabilities has none."""
    out = tmp_path / "out"
    model = "tiny-step1000"
    metrics = {
        "config": {"model": model, "revision": None},
        "tasks": [
            {"task": "piqa:rc", "metrics": {"acc": {"logprob": 0.75, "per_char": 0.5}}, "num_instances": 4,
             "primary_metric": "acc:per_char"},
            {"task": "gsm8k", "metrics": {"exact_match": {"flexible": 0.1}}, "num_instances": 10},
        ],
        "errors": {"drop": "out of memory"},
    }  # fmt: skip
    folder = out / "predictions" / model
    folder.mkdir(parents=True)
    (out / "requests" / model).mkdir(parents=True)
    (out / "metrics.json").write_text(json.dumps(metrics))
    predictions, requests = [], []
    for number, (values, gold) in enumerate(LOGPROBS):
        outputs = [
            {"sum_logits": value, "num_tokens": 1, "bits_per_byte": -value / (4 * math.log(2))} for value in values
        ]
        predictions.append({"doc_id": number, "label": gold, "model_output": outputs})
        requests += [
            {"request_type": "loglikelihood", "doc_id": number, "idx": place, "request": {"continuation": " yes!"}}
            for place in range(2)
        ]
    (folder / "piqa:rc_abcdef-predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in predictions))
    (folder / "gsm8k-predictions.jsonl").write_text(
        json.dumps({"doc_id": 0, "label": "7", "model_output": [{}]}) + "\n"
    )
    (out / "requests" / model / "piqa:rc_abcdef-requests.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in requests)
    )
    found = placed(out, tmp_path)
    piqa = by_metric(found.observations, "piqa:rc")
    assert piqa["acc"] == 0.5
    assert piqa["acc:logprob"] == 0.75
    assert piqa["correct_choice_prob"] == pytest.approx(PROBABILITY)
    assert set(found.items.bytes) == {5}
    assert by_metric(found.observations, "gsm8k") == {"exact_match": 0.1}
    notes = found.observations.attrs["notes"]
    assert any("tasks that failed: drop" in note for note in notes)
    (out / "requests" / model / "piqa:rc_abcdef-requests.jsonl").unlink()
    assert set(placed(out, tmp_path).items.bytes) == {4}


def write_opencompass(folder: Path, results: dict[str, Any], time: str = "20250301_100000") -> None:
    place = folder / time / "results" / "tiny-step1000"
    place.mkdir(parents=True)
    (folder / time / "predictions").mkdir()
    for task, content in results.items():
        (place / f"{task}.json").write_text(json.dumps(content))


def test_opencompass_is_in_percent_and_its_ppl_is_none(tmp_path: Path) -> None:
    """A mean over the whole prompt would be taken for bits per byte, a failure for a zero."""
    results = {
        "piqa": {"accuracy": 75.0, "correct_bpb": 1.2, "details": [{}, {}, {}, {}]},
        "bbh": {"naive_average": 30.0, "score": 0.5},
        "race": {"error": "out of memory"},
    }
    write_opencompass(tmp_path / "outputs", results)
    write_opencompass(tmp_path / "outputs", {"piqa": {"accuracy": 80.0}}, "20250302_100000")
    frame = placed(tmp_path / "outputs", tmp_path).observations
    assert by_metric(frame, "piqa") == {"accuracy": 0.8}
    assert by_metric(frame, "bbh") == {"score": 0.005}
    assert set(frame.task) == {"piqa", "bbh"}
    notes = frame.attrs["notes"]
    assert any("failed, left out: tiny-step1000/race" in note for note in notes)
    assert any("correct_bpb, naive_average" in note for note in notes)


def test_opencompass_summaries_have_dashes_for_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "summary_20250301_100000.csv"
    path.write_text(
        "dataset,version,metric,mode,tiny-step1000,big-step1000\npiqa,ab12,accuracy,ppl,75.00,-\nmmlu,-,naive_average,ppl,25,30\n"
    )
    frame = registry.read(str(path), Reading()).scores
    assert frame[["run", "step", "task", "score"]].to_numpy().tolist() == [["tiny", 1000, "piqa", 0.75]]


def write_inspect(path: Path, *, status: str = "success", header: bool = True, epochs: int = 1) -> Path:
    metrics = {"accuracy": {"value": 0.5}, "stderr": {"value": 0.25}}
    about = {
        "version": 2, "status": status,
        "eval": {"task": "inspect_evals/sums", "model": "hf/lab/tiny", "metadata": {"step": 1000}},
        "results": {"total_samples": 4, "scores": [{"name": "match", "scorer": "match", "metrics": metrics}]},
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        if header:
            archive.writestr("header.json", json.dumps(about))
        for number, value in enumerate("CICI"):
            for epoch in range(1, epochs + 1):
                sample = {
                    "id": number,
                    "epoch": epoch,
                    "target": "7",
                    "scores": {"match": {"value": value, "answer": "7"}},
                }
                archive.writestr(f"samples/{number}_epoch_{epoch}.json", json.dumps(sample))
    return path


def test_inspect_logs_have_scores_only_when_they_ended_well(tmp_path: Path) -> None:
    """The scores of a cancelled evaluation are of the questions that happened to be first."""
    found = placed(write_inspect(tmp_path / "a.eval"), tmp_path, "lab/tiny")
    assert by_metric(found.observations, "sums") == {"accuracy": 0.5}
    assert found.observations.stderr.tolist() == [0.25]
    assert found.items.correct.tolist() == [True, False, True, False]
    write_part(tmp_path / "items.parquet", found.items, ITEMS)
    for path in (
        write_inspect(tmp_path / "b.eval", status="cancelled"),
        write_inspect(tmp_path / "c.eval", header=False),
    ):
        results = registry.read(str(path), Reading())
        assert results.scores.empty
        assert "left out" in results.notes[0]


def test_epochs_of_inspect_are_samples_of_the_same_questions(tmp_path: Path) -> None:
    """Four epochs as sixteen questions would halve the standard error; as samples they give pass@k."""
    found = placed(write_inspect(tmp_path / "a.eval", epochs=4), tmp_path, "lab/tiny")
    assert set(found.observations.n_examples) == {4}
    assert by_metric(found.observations, "sums") == {"accuracy": 0.5, "pass@1": 0.5, "coverage": 0.5}
    assert found.items.samples_correct.tolist() == [[True] * 4, [False] * 4] * 2
    assert any("4 epochs of the same 4 questions" in note for note in found.observations.attrs["notes"])


def test_samples_of_inspect_in_parts_are_no_samples(tmp_path: Path) -> None:
    """Newer logs keep a sample in several files: half of one read as a whole would be an answer that nobody gave."""
    path = write_inspect(tmp_path / "a.eval")
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if not name.startswith("samples/")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
        archive.writestr("samples/0_epoch_1/messages-0.json", "[]")
    found = placed(path, tmp_path, "lab/tiny")
    assert found.items.empty
    assert found.observations.n_examples.tolist() == [4], "from the header"


def test_bigscience_has_its_only_loss_in_lambada(atlas: Path) -> None:
    """288 genuine checkpoints on five corpora; a standard error of zero is no certainty."""
    frame = collect([str(atlas / "bigscience")], (), options_of(params=["1.3B"])).observations
    assert frame.run.nunique() == 5
    assert frame.groupby("run").step.nunique().sum() == 288
    assert set(zip(frame.loss_name, frame.loss_unit, strict=True)) == {("lambada", "nats/word")}
    content = json.loads((atlas / "bigscience/tr3e-1B3-c4-checkpoints_agg.json").read_text())
    first = frame[(frame.run == "tr3e-1B3-c4-checkpoints") & (frame.task == "piqa") & (frame.metric == "acc")].iloc[0]
    assert first.loss == pytest.approx(math.log(content["results"]["lambada"]["ppl"][0]))
    assert first.score == content["results"]["piqa"]["acc"][0]
    assert first.tokens == content["tokens"][0]
    assert not (frame.stderr == 0).any()


def test_a_file_cut_short_is_one_error_that_names_it(tmp_path: Path) -> None:
    for name, text in [
        ("results_2025.json", '{"config_general": {"x": 1}, "results": {'),
        ("a-predictions.jsonl", '{"doc_id": 0, "model_'),
        ("trainer_state.json", '{"log_history": ['),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(OnsetError) as caught:
            registry.read(str(tmp_path / name), Reading())
        assert name in str(caught.value)
        (tmp_path / name).unlink()
