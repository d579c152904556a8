"""Charts exported from Weights & Biases: restarts, groups, units of the x axis, and the genuine exports of OLMo."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adapters.conftest import write_chart
from onset.adapters.collect import collect
from onset.adapters.command import options_of
from onset.adapters.formats import wandb_chart
from onset.adapters.source import Reading
from onset.errors import OnsetError

LOSS, ACC = "eval/c4_en-validation/CrossEntropyLoss", "eval/downstream/piqa_len_norm"
RESTARTS = "{run}-run-{restart}"


def test_run_names_may_hold_dashes_and_bands_are_no_runs(tmp_path: Path) -> None:
    """The band would count as two more runs, or the run be cut in half."""
    path = write_chart(tmp_path / "c.csv", {f"a - b - 7B - {ACC}": {1: 0.5}, f"a - b - 7B - {LOSS}": {1: 3.0}})
    results = wandb_chart.read(path, Reading())
    assert results.scores[["run", "task", "metric", "score"]].to_numpy().tolist() == [
        ["a - b - 7B", "piqa", "len_norm", 0.5]
    ]
    assert results.losses[["run", "loss_name", "loss_unit", "loss"]].to_numpy().tolist() == [
        ["a - b - 7B", "c4_en", "nats/token", 3.0]
    ]


def test_the_latest_restart_counts_and_is_never_added_up(tmp_path: Path) -> None:
    """A published table sums the two and shows accuracies of 1.7."""
    lines = {
        f"M-7B-run-002 - {ACC}": {200: 0.72, 300: 0.74},
        f"M-7B-run-010 - {ACC}": {300: 0.75},
        f"M-7B-run-001 - {ACC}": {100: 0.70, 200: 0.9},
        f"M-7B-run-002 - {LOSS}": {200: 2.8, 300: 2.7},
        f"M-7B-run-010 - {LOSS}": {300: 2.71},
        f"M-7B-run-001 - {LOSS}": {100: 3.0, 200: 2.9},
    }
    path = write_chart(tmp_path / "chart.csv", lines)
    found = collect([str(path)], (), options_of(restarts=RESTARTS, tokens_per_step=["1000"]))
    frame = found.observations.sort_values("step")
    assert frame[["run", "step", "tokens", "loss", "score"]].to_numpy().tolist() == [
        ["M-7B", 100, 100_000, 3.0, 0.70],
        ["M-7B", 200, 200_000, 2.8, 0.72],
        ["M-7B", 300, 300_000, 2.71, 0.75],
    ]
    assert "scores of an earlier restart at a step that a later one has too, left out: 2" in frame.attrs["notes"]


def test_restarts_that_were_not_named_are_pointed_out(tmp_path: Path) -> None:
    """Thirty-eight runs of one training would look like thirty-eight trainings."""
    lines = {f"M-7B-run-00{n} - {m}": {100 * n: 0.5 + n} for n in (1, 2) for m in (LOSS,)}
    lines |= {f"M-7B-run-00{n} - {ACC}": {100 * n: 0.5} for n in (1, 2)}
    path = write_chart(tmp_path / "chart.csv", lines)
    notes = collect([str(path)], (), options_of(tokens_per_step=["1000"])).observations.attrs["notes"]
    assert any("2 runs look like restarts of 1: --restarts" in note for note in notes)


def test_a_group_is_told_to_be_a_mean(tmp_path: Path) -> None:
    path = write_chart(tmp_path / "c.csv", {f"Group: OLMo-1B - {ACC}": {1: 0.5}})
    results = wandb_chart.read(path, Reading())
    assert results.scores.run.tolist() == ["OLMo-1B"]
    assert results.notes == ("'OLMo-1B' is the mean of a group of runs",)


def test_the_x_axis_is_steps_or_tokens_and_never_time(tmp_path: Path) -> None:
    """Seconds would be taken for steps."""
    tokens = write_chart(tmp_path / "t.csv", {f"a - {LOSS}": {1000: 3.0}}, axis="throughput/total_tokens")
    assert wandb_chart.read(tokens, Reading()).losses.tokens.tolist() == [1000]
    time = write_chart(tmp_path / "s.csv", {f"a - {LOSS}": {1: 3.0}}, axis="Relative Time (Process)")
    with pytest.raises(OnsetError, match="x axis is 'Relative Time"):
        wandb_chart.read(time, Reading())


def test_checkpoint_numbers_become_tokens_by_run(tmp_path: Path) -> None:
    """Checkpoint 3 and sample 3000 of one run are one place only in tokens."""
    scores = write_chart(tmp_path / "s.csv", {"k2 eval - arc_easy@5": {3: 47.8, 6: 61.2}})
    losses = write_chart(
        tmp_path / "l.csv", {"k2 training - lm loss": {n: 4 - n / 1e4 for n in range(1000, 7001, 500)}}
    )
    options = options_of(
        metric="accuracy", tokens_per_step=["k2 eval=2000", "k2 training=2"], params=["65B"],
        rename=["k2 eval=K2", "k2 training=K2"],
    )  # fmt: skip
    frame = collect([str(scores)], [str(losses)], options).observations
    assert frame[["run", "tokens", "task", "score"]].to_numpy().tolist() == [
        ["K2", 6000, "arc_easy@5", 0.478],
        ["K2", 12000, "arc_easy@5", 0.612],
    ]
    np.testing.assert_allclose(frame.loss, [3.7, 3.4])
    assert set(frame.chance) == {0.25}


def test_a_perplexity_is_a_loss_by_its_logarithm_unless_the_loss_is_there(tmp_path: Path) -> None:
    """The rounding of a perplexity would look like a second loss of the checkpoint."""
    lines = {
        f"A-1B - {ACC}": {1: 0.5, 2: 0.6},
        f"A-1B - {LOSS}": {1: 3.0, 2: 2.9},
        "A-1B - eval/c4_en-validation/Perplexity": {1: 20.09, 2: 18.17},
        "A-1B - eval/pile-validation/Perplexity": {1: float(np.exp(2.5)), 2: float(np.exp(2.25))},
    }
    path = write_chart(tmp_path / "c.csv", lines)
    found = collect([str(path)], (), options_of(tokens_per_step=["1000"], loss=["c4_en"]))
    assert found.observations.loss.tolist() == [3.0, 2.9]
    pile = found.losses[found.losses.loss_name == "pile"]
    np.testing.assert_allclose(pile.loss, [2.5, 2.25])


def test_percentages_of_one_metric_and_fractions_of_another_are_told_apart(tmp_path: Path) -> None:
    """Scores of 40 beside scores of 0.4 would be refused, or drawn on one axis."""
    lines = {
        f"A-1B - {LOSS}": {1: 3.0, 2: 2.9},
        "A-1B - eval/downstream/arc_easy_acc": {1: 41.5, 2: 43.0},
        f"A-1B - {ACC}": {1: 0.6, 2: 0.62},
    }
    frame = collect(
        [str(write_chart(tmp_path / "c.csv", lines))], (), options_of(tokens_per_step=["1000"])
    ).observations
    assert frame.score[frame.task == "arc_easy"].tolist() == [0.415, 0.43]
    assert frame.score[frame.task == "piqa"].tolist() == [0.6, 0.62]
    mixed = {**lines, "A-1B - eval/downstream/boolq_acc": {1: 0.5, 2: 0.6}}
    with pytest.raises(OnsetError, match="percent"):
        collect([str(write_chart(tmp_path / "d.csv", mixed))], (), options_of(tokens_per_step=["1000"]))


OLMO = {
    "restarts": RESTARTS, "loss": ["c4_en", "v2-small-c4_en"], "params": ["OLMo-1B=1.18B", "OLMo-7B*=6.89B"],
    "tokens_per_step": ["OLMo-1B=4194304", "OLMo-7B*=4423680"],
}  # fmt: skip


def test_olmo_has_no_accuracy_above_one(atlas: Path) -> None:
    """93 genuine exports of 58 restarts: each value is one that a restart logged, the latest, never a sum."""
    frame = collect([str(atlas / "colpret/olmo/*.csv")], (), options_of(**OLMO)).observations
    assert frame.score.max() < 1
    assert frame.groupby("run").step.nunique().to_dict() == {"OLMo-1B": 735, "OLMo-7B": 529, "OLMo-7B-Twin-2T": 444}
    assert not frame.duplicated(["run", "step", "task", "metric"]).any()
    _is_of_the_latest_restart(frame, atlas / "colpret/olmo", "OLMo-7B-Twin-2T", "hellaswag_len_norm")


def _is_of_the_latest_restart(frame: pd.DataFrame, folder: Path, run: str, column: str) -> None:
    """Read again by hand, without the adapter."""
    wanted: dict[int, tuple[int, float]] = {}
    for path in folder.glob("*.csv"):
        table = pd.read_csv(path)
        for name in table:
            found = re.fullmatch(rf"{run}-run-(\d+) - eval/downstream/{column}", str(name))
            for step, value in zip(table.Step, table[name], strict=True) if found else ():
                if not np.isnan(value) and (int(step) not in wanted or wanted[int(step)][0] < int(found[1])):
                    wanted[int(step)] = (int(found[1]), float(value))
    task, _, metric = column.partition("_")
    rows = frame[(frame.run == run) & (frame.task == task) & (frame.metric == metric)]
    assert dict(zip(rows.step.astype(int), rows.score, strict=True)) == {
        step: value for step, (_, value) in wanted.items()
    }


def test_amber_and_k2_and_opt_are_read(atlas: Path) -> None:
    """Percentages, perplexities in panels named for runs, and a loss along samples."""
    options = options_of(
        rename=["*=Amber"], metric="accuracy", tokens_per_step=["3.5B"], params=["6.74B"], loss=["average per doc"]
    )
    amber = collect([str(atlas / "colpret/amber")], (), options)
    assert amber.observations.score.between(0, 1).all()
    assert amber.observations.task.nunique() == 22
    assert amber.losses.loss_name.nunique() == 18
    opt = collect(
        [str(atlas / "colpret/opt/opt.csv")], [str(atlas / "colpret/opt/opt_trajectories.csv")],
        options_of(score=["bigbench__*"], metric="accuracy"),
    ).observations  # fmt: skip
    assert sorted(opt.params.unique()) == [125e6, 1.3e9, 6.7e9, 13e9, 30e9, 175e9]
    first = opt[(opt.params == 125e6) & (opt.step == 2000)].iloc[0]
    assert first.tokens == 1_000_000_000
    assert first.loss == pytest.approx(np.log(67.52265444265277))
