"""Forecast: what a run that was not made would score; wrong, and money goes to the wrong run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import Interval
from onset.stats.forecast import forecast
from onset.stats.refused_forecasts import alternatives


def planted(
    sizes: int = 4, seed: int = 0, onset: float = 2.9, items: int = 2000, checkpoints: int = 14
) -> pd.DataFrame:
    """A task that sets in at ``onset``, one smooth task and one at chance, for sizes of 0.1, 0.3, 0.9... billion."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, params in enumerate(1e8 * 3.0 ** np.arange(sizes)):
        tokens = np.geomspace(2e9, 2e11, checkpoints)
        loss = 1.7 + 406 / params**0.34 + 411 / tokens**0.28
        curves = {
            "sets_in": 0.25 + 0.6 * np.clip(onset - loss, 0, None),
            "smooth": 0.25 + 0.2 * (4.2 - loss),
            "chance": np.full(checkpoints, 0.25),
        }
        for task, curve in curves.items():
            moved = np.clip(curve + (task != "chance") * 0.002 * rng.standard_normal(), 0, 1)
            frames.append(pd.DataFrame({
                "run": f"r{number}", "params": params, "tokens": tokens, "loss": loss, "task": task,
                "metric": "accuracy", "score": rng.binomial(items, moved) / items, "chance": 0.25,
                "n_examples": items,
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def split(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = planted(5, seed)
    larger = table["params"] == table["params"].max()
    return table[~larger], table[larger]


def test_a_larger_run_is_foreseen_by_loss_and_by_size() -> None:
    """Lost: the tool's answer to "what would the next size score?"."""
    covered = []
    for seed in range(6):
        known, unseen = split(seed)
        unseen = unseen[unseen["task"] != "chance"].groupby("task").tail(1)
        for columns in (["loss", "task"], ["params", "tokens", "task"]):
            found = forecast(known, unseen[columns], thresholds={}).scores
            truth = unseen.set_index("task")["score"][found["task"]].to_numpy()
            covered += list((found["low"] <= truth) & (truth <= found["high"]))
            assert (found["high"] - found["low"] < 0.35).all()
    assert np.mean(covered) >= 0.85


def test_a_task_at_chance_everywhere_is_refused_and_says_why() -> None:
    """Lost: the paper's rule that an ability not yet seen cannot be extrapolated."""
    found = forecast(planted(), pd.DataFrame({"loss": [2.0]}), thresholds={}).scores.set_index("task")
    assert found.loc["chance", "verdict"] == "refused"
    assert "at chance everywhere" in found.loc["chance", "why"]
    assert np.isnan(found.loc["chance", "score"])
    assert found.loc["smooth", "verdict"] == "predicted"


def test_intervals_widen_with_the_distance() -> None:
    """Lost: a band that stays narrow beyond the losses seen."""
    known = planted()
    targets = pd.DataFrame({"loss": known["loss"].min() - np.array([0.0, 0.1, 0.3]), "task": "sets_in"})
    found = forecast(known, targets, thresholds={}).scores
    width = found["high"] - found["low"]
    assert width[0] < width[1] < width[2]


def test_when_an_ability_sets_in_is_told_only_where_a_threshold_was_seen() -> None:
    """Lost: tokens and compute to an ability, or a made-up onset for one that was never seen."""
    known = planted()
    eta = Interval(2.9, 2.89, 2.91)
    targets = pd.DataFrame({"params": [3e9], "tokens": [1e11]})
    onsets = forecast(known, targets, thresholds={("sets_in", "accuracy", "loss"): eta}).onsets
    one = onsets[(onsets["task"] == "sets_in") & ~onsets["best_size"].eq(True)].iloc[0]
    truth = (411 / (2.9 - 1.7 - 406 / 3e9**0.34)) ** (1 / 0.28)
    assert one["tokens_low"] < truth < one["tokens_high"]
    assert one["flops"] == pytest.approx(6 * 3e9 * one["tokens"], rel=0.01)
    smooth = onsets[onsets["task"] == "smooth"].iloc[0]
    assert "no threshold" in smooth["why"]
    assert np.isnan(smooth["tokens"])


def test_bad_targets_are_named() -> None:
    """Lost: a row without loss or size would be answered with a guess."""
    known = planted()
    with pytest.raises(OnsetError, match="neither its loss"):
        forecast(known, pd.DataFrame({"params": [1e9]}), thresholds={})
    with pytest.raises(OnsetError, match="no targets"):
        forecast(known, pd.DataFrame(), thresholds={})
    with pytest.raises(OnsetError, match="no task"):
        forecast(known, pd.DataFrame({"loss": [2.0], "task": ["other"]}), thresholds={})
    with pytest.raises(OnsetError, match="three sizes"):
        forecast(planted(2), pd.DataFrame({"params": [1e9], "tokens": [1e10]}), thresholds={})


def test_two_loss_measures_in_one_table_are_two_forecasts() -> None:
    """Lost: one law fitted to the losses of two texts, which predicted 0.40 where the score was 0.67."""
    table = planted().assign(loss_name="web", loss_unit="nats/token")
    both = pd.concat([table, table.assign(loss_name="books", loss=1.3 * table["loss"] + 0.4)])
    targets = pd.DataFrame({"params": [3e9], "tokens": [1e11]})
    alone = forecast(table, targets, thresholds={}).scores
    together = forecast(both, targets, thresholds={}).scores
    web = together[together["loss_name"] == "web"].reset_index(drop=True)
    assert set(together["loss_name"]) == {"web", "books"}
    np.testing.assert_allclose(web["score"], alone["score"], rtol=1e-9)
    np.testing.assert_allclose(web["loss"], alone["loss"], rtol=1e-9)
    with pytest.raises(OnsetError, match="2 loss measures"):
        forecast(both, pd.DataFrame({"loss": [2.0]}), thresholds={})
    named = forecast(both, pd.DataFrame({"loss": [2.0], "loss_name": ["web"]}), thresholds={}).scores
    assert set(named["loss_name"]) == {"web"}


def test_a_level_that_is_none_is_one_error() -> None:
    """Lost: a raw error of SciPy where 95 was typed for 0.95."""
    with pytest.raises(OnsetError, match="confidence level"):
        forecast(planted(), pd.DataFrame({"loss": [2.0]}), thresholds={}, level=95)


def test_a_refusal_says_what_else_the_table_has_of_the_task() -> None:
    """Lost: that a soft metric, tuned checkpoints or an easier part of the task show what the task itself does not."""
    rng = np.random.default_rng(0)
    loss = np.tile(np.linspace(3.4, 2.4, 12), 3)
    sizes, tokens = np.repeat([1e8, 2e8, 4e8], 12), np.tile(np.arange(1.0, 13.0), 3) * 1e9
    runs = np.repeat(["a", "b", "c"], 12)
    base = pd.DataFrame({"run": runs, "params": sizes, "tokens": tokens, "loss": loss, "n_examples": 1000})
    flat = rng.binomial(1000, 0.25, len(loss)) / 1000
    rising = 0.25 + 0.3 * (3.4 - loss)
    table = pd.concat([
        base.assign(task="exam", metric="accuracy", score=flat, chance=0.25, stage="base"),
        base.assign(task="exam", metric="gold_bits_per_byte", score=0.4 * loss, chance=np.nan, stage="base"),
        base.assign(task="exam_easy", metric="accuracy", score=rising, chance=0.25, stage="base"),
        base.assign(task="other", metric="accuracy", score=rising, chance=0.25, stage="base"),
    ], ignore_index=True)  # fmt: skip
    told = alternatives(table, "exam", "accuracy")
    assert "gold_bits_per_byte goes from 1.36 to 0.96 and can be predicted" in told
    assert "its part exam_easy scores" in told
    assert "other" not in told
    made = forecast(table, pd.DataFrame([{"loss": 2.3}]), thresholds={}).scores
    why = made[(made["task"] == "exam") & (made["metric"] == "accuracy")]["why"].iloc[0]
    assert why.startswith("at chance everywhere")
    assert told in why
    tuned = table[table["metric"] == "accuracy"].query("task == 'exam'").assign(stage="tuned", score=rising)
    both = pd.concat([table, tuned.assign(run=tuned["run"] + "-tuned")], ignore_index=True)
    assert "checkpoints with stage 'tuned' score" in alternatives(both, "exam", "accuracy")
    assert alternatives(table[table["task"] == "other"], "other", "accuracy") == ""
