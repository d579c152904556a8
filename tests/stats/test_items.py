"""Which question is learnt when: planted losses come back, luck is not taken for learning, order and sets are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.plots import plot
from onset.plots.files import specification, svg
from onset.results import load_questions, save_questions
from onset.stats.items import learning
from onset.stats.items import response_model as response
from onset.stats.items.order import TaskAnswers, questions
from onset.stats.items.smallest_set import smallest_set
from onset.stats.threshold import threshold

GUESS = 0.25


def planted(places: np.ndarray, seed: int, slope: float = 12.0, runs: int = 4, guess: float = GUESS) -> pd.DataFrame:
    """Item values of questions learnt at known losses: runs of 16 checkpoints that end at losses of their own."""
    rng, frames = np.random.default_rng(seed), []
    for run in range(runs):
        loss = np.linspace(3.2, 2.0 + 0.12 * run, 16)
        share = guess + (0.98 - guess) / (1.0 + np.exp(-slope * (places[None, :] - loss[:, None])))
        value = (rng.random(share.shape) < share).astype(float)
        step, item = (one.ravel() for one in np.meshgrid(np.arange(16), np.arange(len(places)), indexing="ij"))
        frames.append(
            pd.DataFrame({"run": f"r{run}", "step": step, "item": [f"{one:04d}" for one in item],
                          "value": value.ravel(), "loss": loss[step], "params": 1e8 * 2.0**run,
                          "tokens": 1e9 * (step + 1)})
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_losses_at_which_questions_were_planted_come_back_within_their_intervals() -> None:
    """Lost: a map of questions that is luck."""
    places = np.random.default_rng(1).uniform(2.15, 3.0, 150)
    found = learning.learnt_at(learning.responses(planted(places, 2)), GUESS)
    learnt = found["state"] == "learnt"
    assert learnt.mean() > 0.95
    covered = (found["low"] <= places) & (places <= found["high"])
    assert covered[learnt].mean() > 0.85
    assert (found["loss"] - places).abs()[learnt].median() < 0.06
    assert (found["high"] - found["low"])[learnt].median() < 0.4


def test_questions_that_are_guessed_or_known_throughout_have_no_loss() -> None:
    """Lost: a question that was guessed right twice, told as learnt."""
    places = np.r_[np.full(40, 1.0), np.full(40, 5.0)]
    found = learning.learnt_at(learning.responses(planted(places, 3)), GUESS)
    assert (found["state"][:40] == "not_yet").mean() >= 0.9
    assert (found["state"][40:] == "from_the_start").mean() > 0.9
    assert found.loc[found["state"] != "learnt", "loss"].isna().all()


def test_right_answers_that_were_lost_are_counted_within_runs_only() -> None:
    rows = pd.DataFrame({
        "run": ["a"] * 4 + ["b"] * 2, "step": [1, 2, 3, 4, 1, 2], "item": "q", "loss": [3.0, 2.8, 2.6, 2.4, 3.0, 2.8],
        "value": [1.0, 0.0, 1.0, 1.0, 0.0, 1.0],
    })  # fmt: skip
    assert learning.flips(learning.responses(rows)).tolist() == [1]


def test_checkpoints_that_answer_alike_count_for_fewer() -> None:
    """Lost: intervals that get narrower when every checkpoint is saved ten times."""
    places = np.random.default_rng(4).uniform(2.2, 3.0, 60)
    rows = planted(places, 5)
    again = pd.concat([rows.assign(step=10 * rows["step"] + copy) for copy in range(6)], ignore_index=True)
    once, often = (learning.learnt_at(learning.responses(one), GUESS) for one in (rows, again))
    ratio = ((often["high"] - often["low"]) / (once["high"] - once["low"])).median()
    assert ratio > 0.6  # six times the rows as independent ones would give 0.41


def test_difficulty_and_discrimination_are_those_that_were_planted() -> None:
    """Lost: information by which sets of questions are chosen."""
    rng = np.random.default_rng(6)
    ability, difficulty = rng.standard_normal(300), rng.normal(0, 1, 60)
    slope = np.exp(rng.normal(0.2, 0.4, 60))
    share = 0.2 + 0.8 / (1 + np.exp(-slope * (ability[:, None] - difficulty)))
    made = response.fit((rng.random(share.shape) < share).astype(float), 0.2)
    assert np.corrcoef(made.difficulty, difficulty)[0, 1] > 0.93
    assert np.corrcoef(np.log(made.discrimination), np.log(slope))[0, 1] > 0.7
    assert np.corrcoef(made.ability, ability)[0, 1] > 0.93
    own = response.ItemResponse(np.zeros(1), np.full(1, 2.0), np.zeros(1), 0.0)
    assert own.information(0.0) == pytest.approx(2.0**2 / 4)  # a^2 p (1 - p)


def tasks() -> list[TaskAnswers]:
    rng = np.random.default_rng(7)
    return [
        TaskAnswers(name, "accuracy", GUESS, planted(rng.uniform(middle - 0.2, middle + 0.2, 80), 8 + place))
        for place, (name, middle) in enumerate((("late", 2.4), ("early", 2.8), ("never", 1.2)))
    ]


def test_abilities_stand_in_the_order_in_which_they_set_in(tmp_path: Path) -> None:
    """Lost: which ability comes before which, and how sure that is."""
    found = questions(tasks(), loss_name="c4", onsets={"late": 2.5})
    assert found.order["task"].tolist() == ["early", "late", "never"]
    assert found.order["loss"].tolist()[:2] == pytest.approx([2.8, 2.4], abs=0.08)
    assert found.order["before_next"].tolist()[:2] == pytest.approx([1.0, 1.0], abs=0.01)
    assert np.isnan(found.order["loss"].iloc[2])
    assert found.order["learnt"].iloc[2] < 0.2
    assert found.items is not None
    assert len(found.items) == 240
    save_questions(found, tmp_path)
    again = load_questions(tmp_path)
    assert again == found
    assert again is not None
    assert again.items is not None
    assert again.items["task"].nunique() == 3
    assert len(found.conf_int()) == 2
    drawn = svg(specification(plot(again)))
    assert "early" in drawn
    assert drawn.count("<path") > 120  # a tick a question


def test_too_few_checkpoints_are_one_error() -> None:
    one = tasks()[0]
    short = TaskAnswers(one.task, one.metric, GUESS, one.rows[one.rows["step"] < 1].query("run == 'r0'"))
    with pytest.raises(OnsetError, match="no task has four checkpoints"):
        questions([short])


def test_a_small_set_of_questions_keeps_the_verdict() -> None:
    """Lost: how few questions would do."""
    places = np.r_[np.random.default_rng(9).uniform(2.35, 2.55, 100), np.full(200, 1.0)]
    asked = TaskAnswers("task", "accuracy", GUESS, planted(places, 10, slope=40.0))
    means = asked.rows.groupby(["run", "step"]).agg(
        score=("value", "mean"), n_examples=("value", "count"), loss=("loss", "first"), params=("params", "first"),
        tokens=("tokens", "first"),
    ).reset_index().assign(task="task", metric="accuracy", chance=GUESS)  # fmt: skip
    found = threshold(means)
    assert found.verdict in ("emergent", "smooth")
    told = smallest_set(asked, found, means)
    assert told["needed"] in (25, 50, 100)
    onsets = told["onset_needed"], told["onset"]
    assert onsets[0] == pytest.approx(onsets[1], abs=0.15)
