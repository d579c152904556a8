"""Output of lm-evaluation-harness, today's and older: scores as published, samples as item rows.

The fixtures are written by hand in the form that its version 0.4.13 writes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from onset import adapters
from onset.adapters.formats import lm_eval
from onset.errors import OnsetError
from onset.store.parts import ITEMS, write_part

DATE = "2025-03-01T10-00-00.123456"
QUESTIONS = [((-1.0, -2.0, -3.0), 0), ((-4.0, -1.5, -2.0), 1), ((-1.0, -2.0, -2.5), 2), ((-3.0, -2.0, -1.0), 2)]
"""Log-probabilities of three choices and the right one: three of four are right."""


def choice_sample(place: int, logprobs: tuple[float, ...], gold: int, **more: Any) -> dict[str, Any]:
    best = max(range(len(logprobs)), key=lambda choice: logprobs[choice])
    return {
        "doc_id": place, "doc": {"question": f"q{place}"}, "target": str(gold),
        "arguments": {
            f"gen_args_{choice}": {"arg_0": f"Question: q{place}\nAnswer:", "arg_1": f" word{choice}"}
            for choice in range(len(logprobs))
        },
        "resps": [[[str(logprob), "False"]] for logprob in logprobs],
        "filtered_resps": [[str(logprob), "False"] for logprob in logprobs],
        "filter": "none", "metrics": ["acc"], "acc": float(best == gold), **more,
    }  # fmt: skip


def free_sample(place: int, text: str, right: bool, chosen: str) -> dict[str, Any]:
    return {
        "doc_id": place, "doc": {}, "target": "7", "resps": [[text]], "filtered_resps": [text], "filter": chosen,
        "arguments": {"gen_args_0": {"arg_0": "Q:", "arg_1": {"until": ["\n"]}}}, "exact_match": float(right),
    }  # fmt: skip


def results_of(model: str = "lab/tiny", revision: str = "", **config: Any) -> dict[str, Any]:
    arguments = {"pretrained": model, "dtype": "float32"} | ({"revision": revision} if revision else {})
    return {
        "results": {
            "exam": {"alias": "exam", "name": "exam", "sample_len": 4, "acc,none": 0.75, "acc_stderr,none": 0.25},
            "sums": {
                "alias": "sums", "exact_match,strict": 0.0, "exact_match_stderr,strict": 0.0,
                "exact_match,loose": 0.5, "exact_match_stderr,loose": 0.5,
            },
            "text": {"alias": "text", "word_perplexity,none": 20.5, "word_perplexity_stderr,none": "N/A"},
        },
        "configs": {"exam": {"output_type": "multiple_choice"}, "sums": {"output_type": "generate_until"}},
        "higher_is_better": {"exam": {"acc": True}, "sums": {"exact_match": True}, "text": {"word_perplexity": False}},
        "n-samples": {"exam": {"original": 4, "effective": 4}, "sums": {"original": 2, "effective": 2}},
        "config": {"model": "hf", "model_args": arguments, "model_num_parameters": 42432, **config},
        "task_hashes": {"exam": "ab" * 32},
    }  # fmt: skip


def write_lines(path: Path, samples: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder of --output_path with --log_samples."""
    folder = tmp_path / "out" / "lab__tiny"
    folder.mkdir(parents=True)
    (folder / f"results_{DATE}.json").write_text(json.dumps(results_of()))
    samples = [choice_sample(place, *question) for place, question in enumerate(QUESTIONS)]
    write_lines(folder / f"samples_exam_{DATE}.jsonl", samples)
    free = [free_sample(0, "7", False, "strict"), free_sample(1, "8", False, "strict")]
    write_lines(folder / f"samples_sums_{DATE}.jsonl", [*free, *(s | {"filter": "loose"} for s in free)])
    return tmp_path / "out"


@pytest.fixture
def losses(tmp_path: Path) -> Path:
    path = tmp_path / "losses.csv"
    path.write_text("model,params,tokens,loss,family\ntiny,42432,1000000,2.5,lab\n")
    return path


def test_scores_are_as_published_and_our_metrics_stand_beside_them(output: Path, losses: Path) -> None:
    """A published number would be changed, or its error and chance be lost."""
    frame = adapters.import_("lm-eval", output, losses=losses)
    scores = frame.set_index(["task", "metric"])
    assert scores.score["exam", "acc"] == 0.75
    assert scores.stderr["exam", "acc"] == 0.25
    assert scores.chance["exam", "acc"] == pytest.approx(1 / 3)
    assert scores.n_examples["exam", "acc"] == 4
    assert scores.score["sums", "exact_match:loose"] == 0.5
    assert scores.chance["sums", "exact_match:strict"] == 0
    assert math.isnan(scores.stderr["sums", "exact_match:strict"])  # none right is no certainty
    assert scores.direction["text", "word_perplexity"] == "lower"
    right = [math.exp(max(q)) / sum(map(math.exp, q)) if g != 2 or i == 3 else math.exp(q[g]) / sum(map(math.exp, q))
             for i, (q, g) in enumerate(QUESTIONS)]  # fmt: skip
    assert scores.score["exam", "correct_choice_prob"] == pytest.approx(sum(right) / 4)
    assert ("exam", "accuracy") not in scores.index
    assert set(frame.loss) == {2.5}
    assert set(frame.params) == {42432}


def test_samples_become_item_rows(output: Path, tmp_path: Path) -> None:
    """None of our metrics could be computed on others' runs."""
    rows = lm_eval.items(output)
    exam = rows[rows.task == "exam"]
    assert len(exam) == 12
    assert exam.groupby("item").gold.sum().tolist() == [1, 1, 1, 1]
    assert exam.logprob.tolist()[:3] == [-1.0, -2.0, -3.0]
    assert set(exam.bytes) == {6}
    sums = rows[rows.task == "sums"]
    assert sums.text.tolist() == ["7", "8"]
    assert sums.correct.tolist() == [False, False]
    write_part(tmp_path / "items.parquet", rows, ITEMS)


def test_unconditional_scores_are_kept_apart() -> None:
    sample = choice_sample(0, (-1.0, -2.0), 0)
    sample["arguments"] |= {
        f"gen_args_{2 + choice}": {"arg_0": "", "arg_1": f" word{choice}"} for choice in range(2)
    }  # fmt: skip
    sample["resps"] += [[["-5.0", "False"]], [["-6.0", "False"]]]
    from onset.adapters.formats.lm_eval_samples import item_rows

    rows = item_rows([sample], run="m", step=0, task="t", digest="")
    assert rows.logprob.tolist() == [-1.0, -2.0]
    assert rows.logprob_uncond.tolist() == [-5.0, -6.0]


def test_a_right_choice_given_by_its_text_is_found() -> None:
    """Numbers as answers look like places of answers: the logged accuracy tells which is meant."""
    from onset.adapters.formats.lm_eval_samples import item_rows

    sample = choice_sample(0, (-1.0, -2.0, -3.0), 0)
    for choice, part in enumerate(sample["arguments"].values()):
        part["arg_1"] = f" {2 - choice}"
    sample["target"] = "2"
    rows = item_rows([sample], run="m", step=0, task="t", digest="")
    assert rows.gold.tolist() == [True, False, False]
    sample["acc"] = 0.0
    sample["target"] = "nothing"
    assert item_rows([sample], run="m", step=0, task="t", digest="").empty


def test_older_single_files_are_read(tmp_path: Path) -> None:
    for step in (1000, 2000):
        content = {
            "results": {
                "piqa": {"acc": 0.5 + step / 1e4, "acc_stderr": 0.01, "acc_norm": 0.55, "acc_norm_stderr": 0.01}
            },
            "versions": {"piqa": 0},
            "config": {
                "model": "hf-causal",
                "model_args": f"use_accelerate=True,pretrained=lab/old,revision=step{step}",
            },
        }
        (tmp_path / f"old_step{step}.json").write_text(json.dumps(content))
    table = tmp_path / "losses.csv"
    table.write_text("run,step,params,tokens,loss\nlab/old,1000,70000000,2e9,3.5\nlab/old,2000,70000000,4e9,3.3\n")
    frame = adapters.import_("lm-eval", tmp_path, losses=table)
    acc = frame[frame.metric == "acc"].sort_values("step")
    assert acc.score.tolist() == [0.6, 0.7]
    assert acc.loss.tolist() == [3.5, 3.3]
    assert acc.step.tolist() == [1000, 2000]
    assert set(frame.metric) == {"acc", "acc_norm"}


def test_missing_losses_are_asked_for_by_name(output: Path, tmp_path: Path) -> None:
    """Scores would be placed at the losses of another model, or of several checkpoints at once."""
    with pytest.raises(OnsetError, match="no losses for lab/tiny") as caught:
        adapters.import_("lm-eval", output)
    assert "--losses" in str(caught.value)
    (tmp_path / "other.csv").write_text("model,params,tokens,loss\nbig,1,1,2.5\n")
    with pytest.raises(OnsetError, match="no checkpoint of lab/tiny has a loss") as caught:
        adapters.import_("lm-eval", output, losses=tmp_path / "other.csv")
    assert "--rename" in str(caught.value)
    (tmp_path / "twice.csv").write_text("model,params,tokens,loss\ntiny,1,1,2.5\ntiny,1,2,2.4\n")
    with pytest.raises(OnsetError, match="no checkpoint of lab/tiny has a loss"):
        adapters.import_("lm-eval", output, losses=tmp_path / "twice.csv")


def test_the_natural_table_of_losses_is_taken(tmp_path: Path) -> None:
    """A folder of checkpoints that the harness evaluated, and run,step,tokens,loss: the first table anyone writes."""
    for step in (100, 200):
        content = results_of(f"runs/llama-s/checkpoint-{step}")
        (tmp_path / f"results_{step}.json").write_text(json.dumps(content))
    table = tmp_path / "losses.csv"
    table.write_text("run,step,tokens,loss\nllama-s,100,204800,5.1\nllama-s,200,409600,4.2\n")
    frame = adapters.import_("lm-eval", tmp_path, losses=table)
    exam = frame[frame.task == "exam"]
    assert exam[["run", "step", "tokens", "loss"]].to_numpy().tolist() == [
        ["llama-s", 100, 204800, 5.1],
        ["llama-s", 200, 409600, 4.2],
    ]
    table.write_text("model,tokens,loss\nruns/llama-s/checkpoint-100,204800,5.1\nllama-s/checkpoint-200,409600,4.2\n")
    again = adapters.import_("lm-eval", tmp_path, losses=table)
    assert set(again.run) == {"llama-s"}
    assert sorted(again.loss.unique()) == [4.2, 5.1]


def test_levanter_writes_the_step_into_the_name(tmp_path: Path) -> None:
    """All steps of a run would be one checkpoint with many scores."""
    folder = tmp_path / "marin-300m" / "lm_eval_artifacts"
    folder.mkdir(parents=True)
    for step in (500, 1000):
        content = {"results": {"piqa": {"acc,none": step / 2000}}, "versions": {"piqa": 1}}
        (folder / f"lm_eval_harness_results.{step}.json").write_text(json.dumps(content))
    (tmp_path / "losses.csv").write_text("run,step,tokens,loss\nmarin-300m,500,1e9,3.5\nmarin-300m,1000,2e9,3.2\n")
    frame = adapters.import_("lm-eval", folder, losses=tmp_path / "losses.csv")
    assert frame.sort_values("step")[["run", "step", "score", "params"]].to_numpy().tolist() == [
        ["marin-300m", 500, 0.25, 300_000_000],
        ["marin-300m", 1000, 0.5, 300_000_000],
    ]


def test_two_results_that_disagree_are_refused(output: Path, losses: Path) -> None:
    """The mean of two evaluations is neither."""
    again = results_of()
    again["results"]["exam"]["acc,none"] = 0.5
    (output / "lab__tiny" / "results_2025-04-01T10-00-00.json").write_text(json.dumps(again))
    with pytest.raises(OnsetError, match="two results disagree on task 'exam'") as caught:
        adapters.import_("lm-eval", output, losses=losses)
    assert "2025-04-01" in str(caught.value)


def test_what_is_no_output_is_one_error(output: Path, losses: Path, tmp_path: Path) -> None:
    log = output / "lab__tiny" / f"samples_exam_{DATE}.jsonl"
    log.write_text(log.read_text()[:-40])
    with pytest.raises(OnsetError, match=r"not valid JSON.*\n.*line 4\n"):
        adapters.import_("lm-eval", output, losses=losses)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text("[1]")
    (output / "lab__tiny" / f"results_{DATE}.json").write_text('{"results": ')
    for path in (tmp_path / "empty", tmp_path / "other.json", output, tmp_path / "absent"):
        with pytest.raises(OnsetError):
            adapters.import_("lm-eval", path, losses=losses)


def test_the_columns_are_those_of_observations(output: Path, losses: Path) -> None:
    frame = adapters.import_("lm-eval", output, losses=losses)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == list(adapters.observations.COLUMNS)
