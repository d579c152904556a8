"""Thresholds: verdicts right on planted truths, and nothing reported that the data do not show."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import Threshold
from onset.stats.threshold import threshold

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def planting() -> ModuleType:
    # Last, so that no file of the benchmarks hides a package of the same name.
    sys.path.append(str(BENCHMARKS))
    try:
        return importlib.import_module("planting")
    finally:
        sys.path.remove(str(BENCHMARKS))


PLAIN: dict[str, Any] = {
    "sizes": 4, "checkpoints": 20, "items": 2000, "chance": 0.25, "run_noise": 0.003, "drift": 0.0, "loss_noise": 0.0,
    "effect": 0.0, "bad_run": "", "spacing": "log", "known_items": True, "lower_is_better": False, "run_shift": 0.0,
    "families": 1, "family_offset": 0.0, "high": 4.0, "low": 1.7,
}  # fmt: skip


@pytest.fixture(scope="module")
def table(planting: ModuleType) -> pd.DataFrame:
    """A straight onset at a loss of 2.6 in four runs of twenty checkpoints."""
    frame: pd.DataFrame = planting.plant("straight", 6, eta=2.6, **PLAIN).observations
    return frame


def runs(loss: np.ndarray, scores: list[np.ndarray], items: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Runs at the same losses, each with its own true scores."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "run": np.repeat([f"run-{index}" for index in range(len(scores))], len(loss)), "task": "t",
        "loss": np.tile(loss, len(scores)), "score": rng.binomial(items, np.concatenate(scores)) / items,
        "chance": 0.25, "n_examples": items, "metric": "accuracy",
    })  # fmt: skip


def inside(found: Threshold, table: pd.DataFrame) -> bool:
    """Whether all intervals lie within the losses seen."""
    low, high = table["loss"].min(), table["loss"].max()
    told = [one for one in (found.onset, found.threshold) if one is not None]
    return all(low <= one.low <= one.loss <= one.high <= high for one in told)


@pytest.mark.slow
def test_planted_truths(planting: ModuleType) -> None:
    """The heart: over all kinds of curves and designs, few claims are wrong and intervals cover."""
    rows = []
    for planted in planting.mixture(60, 20):
        found = threshold(planted.observations)
        assert inside(found, planted.observations)
        rows.append((planted, found))
    wrong = [one.verdict != found.verdict and found.verdict != "inconclusive" for one, found in rows]
    false = [one.verdict != "emergent" and found.verdict == "emergent" for one, found in rows]
    told = [(one.onset()[0], found.onset) for one, found in rows if found.onset and one.onset()]
    covered = [onset.low - 1e-3 <= truth <= onset.high + 1e-3 for truth, onset in told]
    assert np.mean(wrong) <= 0.1
    assert sum(false) <= 2
    assert len(told) >= 30
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize("kind", ["straight", "bent_down", "saturating", "sudden"])
def test_clear_onsets_are_found(planting: ModuleType, kind: str) -> None:
    """A threshold that a reader would see must be found, near where it is, and the onset loss just below it."""
    planted = planting.plant(kind, 3, eta=2.6, **PLAIN)
    found = threshold(planted.observations)
    assert found.verdict == "emergent"
    assert found.threshold is not None
    assert found.onset is not None
    assert abs(found.threshold.loss - 2.6) < 0.06
    assert abs(found.onset.loss - planted.onset()[0]) < 0.04


@pytest.mark.parametrize("kind", ["logistic", "exponential", "linear", "power", "concave"])
def test_smooth_curves_have_no_threshold(planting: ModuleType, kind: str) -> None:
    """Emergence claimed of a smooth curve is the error that would discredit all the rest."""
    found = threshold(planting.plant(kind, 4, **PLAIN).observations)
    assert found.verdict == "smooth"
    assert found.threshold is None
    assert found.onset is not None


@pytest.mark.parametrize("kind", ["chance", "chance_shifted", "lucky_checkpoint", "lucky_run"])
def test_chance_stays_chance(planting: ModuleType, kind: str) -> None:
    """Nothing is said about abilities that were never seen, whatever one checkpoint or one run did."""
    found = threshold(planting.plant(kind, 5, **PLAIN).observations)
    assert found.verdict == ("inconclusive" if kind == "lucky_run" else "at_chance")
    assert found.onset is None


def test_errors_of_shared_items_are_no_ability() -> None:
    """Two models answered the same 500 items and drifted from .256 to .28: the key's luck, not an ability."""
    loss = [7.32, 6.785, 6.343, 5.639, 4.921, 4.477, 7.623, 6.851, 6.323, 5.53, 4.96, 4.63]
    score = [0.256, 0.264, 0.26, 0.26, 0.276, 0.27, 0.26, 0.256, 0.264, 0.272, 0.28, 0.276]
    two = pd.DataFrame({"run": ["a"] * 6 + ["b"] * 6, "loss": loss, "score": score, "chance": 0.25, "n_examples": 500})
    found = threshold(two)
    assert found.verdict == "at_chance"
    assert found.onset is None


def test_lower_is_better_is_the_mirror(table: pd.DataFrame) -> None:
    """The same ability under a metric that falls must have the same threshold and onset loss."""
    falling = table.assign(score=1 - table["score"], chance=0.75, direction="lower", metric="error_rate")
    up, down = threshold(table), threshold(falling)
    assert up.verdict == down.verdict == "emergent"
    assert up.threshold is not None
    assert down.threshold is not None
    assert down.threshold.loss == pytest.approx(up.threshold.loss, abs=0.02)


def test_unknown_chance_is_never_emergent(planting: ModuleType, table: pd.DataFrame) -> None:
    """Without chance no one can say that an ability was absent."""
    found = threshold(table.assign(chance=np.nan))
    assert found.verdict == "inconclusive"
    assert "chance" in found.why
    linear = threshold(planting.plant("linear", 6, **PLAIN).observations.assign(chance=np.nan))
    assert linear.verdict in ("smooth", "inconclusive")


def test_held_by_one_run_is_not_found(table: pd.DataFrame) -> None:
    """One run beyond the threshold is an anecdote."""
    found = threshold(table[(table["loss"] > 2.65) | (table["run"] == "run-3")])
    assert found.verdict == "inconclusive"
    assert found.robustness is not None
    assert any("one run" in one for one in found.robustness.failed)


def test_held_by_one_checkpoint_is_not_found(table: pd.DataFrame) -> None:
    """One lucky checkpoint must not make a threshold."""
    lowest = table["loss"].idxmin()
    assert threshold(table[(table["loss"] > 2.65) | (table.index == lowest)]).verdict != "emergent"


def test_threshold_outside_the_losses_seen_is_not_found(table: pd.DataFrame) -> None:
    """A hinge fitted naively would put a threshold where no model was."""
    below, above = threshold(table[table["loss"] < 2.5]), threshold(table[table["loss"] > 2.65])
    assert below.verdict == "smooth"
    assert above.verdict == "at_chance"
    assert below.threshold is None
    assert above.threshold is None


def test_one_run_is_said(table: pd.DataFrame) -> None:
    """With one run cause and coincidence cannot be told apart, and the sentence must carry that."""
    twice = planted_one_run(table)
    found = threshold(twice)
    assert found.verdict == "emergent"
    assert "one run only" in found.why
    assert "cannot be told apart" in found.why


def planted_one_run(table: pd.DataFrame) -> pd.DataFrame:
    """All rows as the checkpoints of one run."""
    return table.assign(run="only", params=1e9, tokens=(5 - table["loss"]) * 1e9)


def test_tables_without_items_or_with_gaps(table: pd.DataFrame) -> None:
    """Others' tables lack counts and have holes; a hole is no zero."""
    holes = table.assign(n_examples=np.nan)
    holes.loc[holes.index[::7], "score"] = np.nan
    found = threshold(holes)
    assert found.verdict == "emergent"
    assert found.n_points == holes["score"].notna().sum()


def test_too_little_is_inconclusive(table: pd.DataFrame) -> None:
    assert threshold(table.head(3)).verdict == "inconclusive"
    assert threshold(table.assign(loss=2.0)).verdict == "inconclusive"


def test_thousands_of_checkpoints_move_nothing(planting: ModuleType) -> None:
    """Rows are not averaged: three thousand checkpoints must give the threshold that eighty give."""
    found = threshold(planting.plant("straight", 14, eta=2.6, **{**PLAIN, "checkpoints": 800}).observations)
    assert found.verdict == "emergent"
    assert found.threshold is not None
    assert found.threshold.low <= 2.6 <= found.threshold.high
    assert found.threshold.high - found.threshold.low < 0.04


def test_bad_tables_are_named(table: pd.DataFrame) -> None:
    with pytest.raises(OnsetError, match="one task"):
        threshold(pd.concat([table, table.assign(task="other")]))
    with pytest.raises(OnsetError, match="no column score"):
        threshold(table.drop(columns="score"))
    with pytest.raises(OnsetError, match="direction 'up'"):
        threshold(table.assign(direction="up"))
    with pytest.raises(OnsetError, match="level"):
        threshold(table, level=95)
    with pytest.raises(OnsetError, match="delta"):
        threshold(table, delta=2)


def test_what_is_drawn(table: pd.DataFrame) -> None:
    """The curve, its band and the residuals are what the report shows."""
    found = threshold(table)
    assert found.curve is not None
    assert found.residuals is not None
    assert list(found.curve.columns) == ["loss", "score", "low", "high"]
    assert (found.curve["low"] <= found.curve["score"] + 1e-9).all()
    assert (found.curve["score"] <= found.curve["high"] + 1e-9).all()
    assert list(found.residuals.columns) == ["run", "params", "loss", "residual"]
    assert len(found.residuals) == len(table)
    assert found.predict([3.5])["score"].iloc[0] == pytest.approx(0.25, abs=0.01)
    assert found.predict([9.0])["score"].isna().all()
    assert found.summary().loc[0, "verdict"] == "emergent"


def test_the_drawn_curve_goes_through_the_scores() -> None:
    """All models answer the same lucky items, .02 above what they know: the curve is drawn through what was scored."""
    loss = np.linspace(4, 1.7, 25)
    truth = 0.27 + 0.5 * np.clip((2.6 - loss) / 0.9, 0, 1)
    found = threshold(runs(loss, [truth] * 6, items=1000))
    assert found.residuals is not None
    assert abs(found.residuals["residual"].mean()) < 0.002


@pytest.mark.parametrize("eta", [2.5, 2.61, 2.7])
def test_a_sharp_jump_is_inside_its_interval(eta: float) -> None:
    """From chance to 1 within .02 nats: between two checkpoints the posterior fills the gap, not its upper end."""
    loss = np.linspace(4, 1.7, 20)
    scores = [0.25 + 0.75 * np.clip((eta - loss - shift) / 0.02, 0, 1) for shift in (0.0, 0.02, 0.04, 0.06)]
    table = runs(loss, scores).assign(loss=np.concatenate([loss + shift for shift in (0.0, 0.02, 0.04, 0.06)]))
    found = threshold(table)
    assert found.verdict == "emergent"
    assert found.threshold is not None
    assert found.threshold.low - 2e-3 <= eta <= found.threshold.high + 2e-3


def test_runs_that_set_in_at_different_losses_are_both_in_the_interval() -> None:
    """Two long runs of one size, one at 2.9 and one at 2.5: an interval about one of them would be a false claim."""
    loss = np.linspace(4, 1.7, 60)
    found = threshold(runs(loss, [0.25 + 0.5 * np.clip((eta - loss) / 0.6, 0, 1) for eta in (2.9, 2.5)], items=1000))
    assert found.onset is not None
    assert found.onset.low <= 2.5 - 0.024 + 0.05
    assert found.onset.high >= 2.9 - 0.024 - 0.05
    assert any("differ" in note for note in found.notes)


@pytest.mark.parametrize("level", [0.20, 0.30])
def test_a_level_that_is_not_chance_makes_no_emergence(level: float) -> None:
    """Answer formats score below chance and heuristics above it; leaving such a level is no onset of an ability."""
    loss = np.linspace(4, 1.7, 25)
    found = threshold(runs(loss, [level + 0.5 * np.clip((2.6 - loss) / 0.9, 0, 1)] * 4))
    assert found.verdict in ("inconclusive", "smooth")
    assert found.threshold is None
    assert "chance above" not in found.why
    assert "the score stands at" in found.why


def test_a_level_just_above_chance_makes_no_emergence() -> None:
    """.30 where chance is .25, with so few items that the two are just told apart: a rise from there is no onset."""
    loss = np.linspace(3.2, 1.8, 20)
    found = threshold(runs(loss, [0.30 + 0.6 * np.maximum(0, 2.2 - loss)] * 3, items=800))
    assert found.verdict == "inconclusive"


def test_below_chance_is_said_as_it_is() -> None:
    """'At chance above' printed over scores far below chance is false to every reader of the picture."""
    loss = np.linspace(4, 1.7, 40)
    found = threshold(runs(loss, [0.242 + 0.5 * np.clip((2.6 - loss) / 0.9, 0, 1)] * 4, items=3000))
    assert found.verdict != "emergent" or "at or below chance" in found.why.lower()


def test_worse_than_chance_is_no_ability(planting: ModuleType) -> None:
    """A Brier score that falls from 1.0 to chance has learnt to be unsure."""
    table = planting.plant("chance", 9, **{**PLAIN, "lower_is_better": True}).observations
    fall = 0.3 * np.maximum(table["loss"] - 2.5, 0)
    fallen = threshold(table.assign(score=table["score"] + fall))
    assert fallen.verdict == "at_chance"
    assert "rises to chance" in fallen.why
    assert fallen.onset is None
    crossing = threshold(table.assign(score=table["score"] + 0.15 * (table["loss"] - 2.6)))
    assert crossing.verdict == "smooth"
    assert "below chance" in crossing.why


def test_a_constant_score_says_nothing(table: pd.DataFrame) -> None:
    """A constant 1.0 neither improves nor sets in anywhere."""
    found = threshold(table.assign(score=1.0))
    assert found.verdict == "inconclusive"
    assert "does not change" in found.why
    assert threshold(table.assign(score=0.25)).verdict == "at_chance"


def test_scattered_scores_above_chance_are_named() -> None:
    """A third of the models plainly above chance at any loss is no curve, and is not 'at chance' either."""
    rng = np.random.default_rng(3)
    above = rng.random(60) < 1 / 3
    table = pd.DataFrame({
        "run": [f"m{index}" for index in range(60)], "loss": rng.uniform(2, 4, 60),
        "score": rng.binomial(1000, 0.25 + 0.12 * above) / 1000, "chance": 0.25, "n_examples": 1000,
        "metric": "accuracy",
    })  # fmt: skip
    found = threshold(table)
    assert found.verdict == "inconclusive"
    assert "of 60 run(s) score above chance" in found.why
    assert "no curve follows" in found.why


def test_one_lucky_checkpoint_is_no_run_above_chance() -> None:
    """Where chance is 0 a single score of .1 is clear of it by many errors; the others of its run are all 0."""
    loss = np.linspace(4, 1.7, 20)
    lucky = runs(loss, [0.0 * loss] * 4, items=1000).assign(chance=0.0)
    lucky.loc[30, "score"] = 0.1
    found = threshold(lucky)
    assert found.verdict == "at_chance"
    assert "run(s) score above chance" not in found.why


def test_fixed_levels_are_warned_about() -> None:
    """Models that give one label to all items score .38 or .62 on a yes-no task: a step of labels, not of ability."""
    loss = np.linspace(6, 3, 40)
    score = np.where(loss > 4.2, np.where(np.arange(40) % 2 == 0, 0.378, 0.622), 0.7)
    table = pd.DataFrame({
        "run": [f"m{index}" for index in range(40)], "loss": loss, "score": score, "chance": 0.5, "n_examples": 3270,
    })  # fmt: skip
    assert any("one label" in note for note in threshold(table).notes)


def test_an_interval_never_leaves_the_losses_seen() -> None:
    """A threshold at 4.3 [3.6, 6.5] where the highest loss is 6.1 is a claim about models nobody trained."""
    rng = np.random.default_rng(5)
    loss = np.sort(rng.uniform(2.5, 6.1, 60))[::-1]
    score = 0.5 + 0.15 * np.clip((4.3 - loss) / 1.8, 0, 1) + 0.06 * rng.standard_normal(60)
    table = pd.DataFrame({
        "run": [f"m{index}" for index in range(60)], "loss": loss, "score": score, "chance": 0.5, "n_examples": 300,
    })  # fmt: skip
    assert inside(threshold(table), table)


def test_without_chance_the_curve_still_goes_through_the_scores(table: pd.DataFrame) -> None:
    """The level and the height of one draw belong together; mixed, the drawn curve misses all the scores."""
    found = threshold(table.assign(chance=np.nan))
    assert found.residuals is not None
    assert abs(found.residuals["residual"].mean()) < 0.004
