"""Columns of others' logs by their names, and names of runs, checkpoints and sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.conftest import write_rows
from onset.adapters import names, registry
from onset.adapters.columns import LossColumn, ScoreColumn, classify
from onset.adapters.names import ByRun, Pattern, Place
from onset.adapters.source import Reading
from onset.errors import OnsetError

NATS, BITS = "nats/token", "bits/byte"


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        ("eval/c4_en-validation/CrossEntropyLoss", LossColumn("c4_en", NATS)),
        ("eval/dolma_common-crawl-validation/CrossEntropyLoss", LossColumn("dolma_common-crawl", NATS)),
        ("v2-small-pile-validation/Perplexity", LossColumn("v2-small-pile", NATS, perplexity=True)),
        ("eval/pile/CrossEntropyLoss", LossColumn("pile", NATS)),
        ("eval/loss", LossColumn("eval", NATS)),
        ("eval/bpb", LossColumn("eval", BITS)),
        ("eval/paloma/c4_en/bpb", LossColumn("paloma/c4_en", BITS)),
        ("eval/uncheatable_eval/wikipedia_english/loss", LossColumn("uncheatable_eval/wikipedia_english", NATS)),
        ("val/loss", LossColumn("val", NATS)),
        ("val/bpb", LossColumn("val", BITS)),
        ("val_loss", LossColumn("val", NATS)),
        ("validation_loss", LossColumn("validation", NATS)),
        ("train/loss", LossColumn("train", NATS)),
        ("train/CrossEntropyLoss", LossColumn("train", NATS)),
        ("loss", LossColumn("train", NATS)),
        ("lm loss", LossColumn("train", NATS)),
        ("loss_metrics/global_avg_loss", LossColumn("train", NATS)),
        ("eval/downstream/piqa_len_norm", ScoreColumn("piqa", "len_norm")),
        ("eval/downstream/arc_easy_acc", ScoreColumn("arc_easy", "acc")),
        ("downstream/mrpc_f1", ScoreColumn("mrpc", "f1")),
        ("eval/downstream_bpb/arc_easy_test_rc_5shot_bpb", ScoreColumn("arc_easy_test_rc_5shot", "bpb")),
        ("eval/downstream_soft/piqa_val_rc_5shot_soft", ScoreColumn("piqa_val_rc_5shot", "soft")),
        ("eval/downstream_soft_log/piqa_val_rc_5shot_soft_log", ScoreColumn("piqa_val_rc_5shot", "soft_log")),
        ("lm_eval/mmlu_5shot/acc_norm", ScoreColumn("mmlu_5shot", "acc_norm")),
        ("lm_eval/mmlu_5shot/bpb", ScoreColumn("mmlu_5shot", "bpb")),
        ("lm_eval/mmlu_5shot/choice_logprob_norm", ScoreColumn("mmlu_5shot", "choice_logprob_norm")),
        ("lm_eval/gsm8k/exact_match,strict-match", ScoreColumn("gsm8k", "exact_match,strict-match")),
        (
            "lm_eval/gsm8k/exact_match_stderr,strict-match",
            ScoreColumn("gsm8k", "exact_match,strict-match", stderr=True),
        ),
        ("core_metric", ScoreColumn("CORE", "centered_accuracy")),
        ("lm_eval/averages/macro_avg_acc", None),
        ("eval/macro_bpb", None),
        ("throughput/total_training_Gflops", None),
        ("optim/learning_rate_group0", None),
        ("_runtime", None),
        ("eval/runtime", None),
        ("train/grad_norm", None),
    ],
)
def test_what_a_column_is(column: str, wanted: object) -> None:
    """A loss on the axis of scores, or an average taken for a task."""
    assert classify(column, Reading()) == wanted


def test_patterns_of_the_user_come_first() -> None:
    reading = Reading(metric="acc", score=("bench_*",), loss=("heldout:*",))
    assert classify("bench_mmlu", reading) == ScoreColumn("bench_mmlu", "acc")
    assert classify("heldout:c4", reading) == LossColumn("heldout:c4", NATS)
    assert classify("heldout:c4_ppl", reading) == LossColumn("heldout:c4_ppl", NATS, perplexity=True)
    assert classify("eval/mmlu", reading) == ScoreColumn("mmlu", "acc")
    assert classify("eval/mmlu", Reading()) is None


def test_a_ladders_files_name_size_and_length(tmp_path: Path) -> None:
    """Run, size and multiple stand only in the file's name; tokens only in a column."""
    head = [
        "_step",
        "throughput/total_tokens",
        "eval/c4_en-validation/CrossEntropyLoss",
        "eval/downstream/piqa_len_norm",
    ]
    for size, x in (("190M", "1"), ("190M", "0.5"), ("1B", "10")):
        write_rows(tmp_path / f"{size}-{x}xC.csv", head, [[200, 104857600.0, 4.5, 0.55], [400, 209715200.0, 4.0, None]])
    reading = Reading(runs=Pattern.parse("{params}-{x}xC.csv"))
    results = registry.read(str(tmp_path), reading)
    assert sorted(results.scores.run) == ["190M-0.5xC", "190M-1xC", "1B-10xC"]
    assert sorted(results.scores.params) == [190e6, 190e6, 1e9]
    assert sorted(results.scores.x) == ["0.5", "1", "10"]
    assert results.scores.tokens.tolist() == [104857600] * 3
    assert len(results.losses) == 6
    write_rows(tmp_path / "notes.csv", head, [[200, 1.0, 4.5, 0.55]])
    with pytest.raises(OnsetError, match="does not fit the pattern"):
        registry.read(str(tmp_path), reading)
    (tmp_path / "notes.csv").unlink()
    write_rows(tmp_path / "190M-1xC-rerun.csv", head, [[200, 104857600.0, 4.4, 0.56]])
    again = registry.read(str(tmp_path), Reading(runs=Pattern.parse("{params}-{x}xC*.csv"))).scores
    assert set(again.run[again.params == 190e6]) == {"190M-0.5xC", "190M-1xC", "190M-1xC-rerun"}, "a second seed"


@pytest.mark.parametrize(
    ("model", "revision", "wanted"),
    [
        ("lab/model", "step1000", Place("lab/model", 1000)),
        ("lab/model@step1000-tokens4B", "", Place("lab/model", 1000, 4e9)),
        ("lab/model", "stage1-step140000-tokens294B", Place("lab/model", 140000, 294e9)),
        ("out/llama-s/checkpoint-100", "", Place("llama-s", 100)),
        ("./llama-s/checkpoint-100/", "", Place("llama-s", 100)),
        ("small-step100", "", Place("small", 100)),
        ("exp/iter_0001000", "", Place("exp", 1000)),
        ("exp/global_step1000", "", Place("exp", 1000)),
        ("LLM360/Amber", "ckpt_356", Place("LLM360/Amber", 356)),
        ("EleutherAI/pythia-70m", "", Place("EleutherAI/pythia-70m")),
    ],
)
def test_which_checkpoint_a_name_is(model: str, revision: str, wanted: Place) -> None:
    """Each checkpoint would be a run of its own."""
    assert names.place(model, revision) == wanted


def test_sizes_and_counts() -> None:
    assert names.size("OLMo-7B-Twin-2T") == 7e9
    assert names.size("opt-1.3b") == 1.3e9
    assert names.size("tr3e-1B3-c4") is None  # 1.3 billion, but 1B is what a rule would read
    assert names.size("run-12") is None
    assert names.count("125m") == 125e6
    assert names.count("1e9") == 1e9
    assert names.count("12 %") is None


def test_values_by_run() -> None:
    values = ByRun.parse(["1000", "OLMo-7B*=5", "OLMo-7B-Twin=7"], "--x")
    assert [values.of(run) for run in ("other", "OLMo-7B-run", "olmo-7b-twin ")] == [1000, 5, 7]
    assert values.unused(["other"]) == ["OLMo-7B*", "OLMo-7B-Twin"]
    for text in ("x=y", "-1", "0"):
        with pytest.raises(OnsetError, match="no number above zero"):
            ByRun.parse([text], "--x")


@pytest.mark.parametrize("text", ["plain.csv", "{run}-{run}", "{run"])
def test_a_pattern_that_is_none_is_told(text: str) -> None:
    with pytest.raises(OnsetError):
        Pattern.parse(text)
