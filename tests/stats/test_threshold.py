"""Thresholds: verdicts right on planted truths, and nothing reported that the data do not show."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import Interval
from onset.stats.threshold import ThresholdFit, settle, threshold

PLANTING = Path(__file__).parents[2] / "benchmarks" / "planting.py"


@pytest.fixture(scope="module")
def planting() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planting", PLANTING)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planting"] = module
    spec.loader.exec_module(module)
    return module


PLAIN: dict[str, Any] = {
    "sizes": 4, "checkpoints": 20, "items": 2000, "chance": 0.25, "run_noise": 0.003, "drift": 0.0, "loss_noise": 0.0,
    "effect": 0.0, "bad_run": "", "spacing": "log", "known_items": True, "lower_is_better": False,
    "high": 4.0, "low": 1.7,
}  # fmt: skip


def test_planted_truths(planting: ModuleType) -> None:
    """The heart: over all kinds of curves and designs, verdicts are right and intervals cover."""
    rows = []
    for planted in planting.mixture(60, 20):
        found = threshold(planted.observations)
        rows.append((planted.verdict, planted.eta, found))
    right = [truth == found.verdict for truth, _, found in rows]
    wrong = [truth != found.verdict and found.verdict != "unresolved" for truth, _, found in rows]
    false = [truth != "emergent" and found.verdict == "emergent" for truth, _, found in rows]
    covered = [found.threshold.low <= eta <= found.threshold.high for _, eta, found in rows if eta and found.threshold]
    assert np.mean(right) >= 0.85
    assert np.mean(wrong) <= 0.06
    assert sum(false) <= 2
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize("kind", ["straight", "bent_down", "saturating", "soft", "sudden"])
def test_clear_onsets_are_found(planting: ModuleType, kind: str) -> None:
    """A turn that a reader would see must be found, near where it is."""
    planted = planting.plant(kind, 3, eta=2.6, **PLAIN)
    found = threshold(planted.observations)
    assert found.verdict == "emergent"
    assert found.threshold is not None
    assert found.threshold.low <= found.threshold.value <= found.threshold.high
    assert abs(found.threshold.value - 2.6) < 0.06
    assert found.p_value is not None
    assert found.p_value < 0.05


@pytest.mark.parametrize("kind", ["logistic", "exponential", "linear", "power", "concave"])
def test_smooth_curves_have_no_threshold(planting: ModuleType, kind: str) -> None:
    """Emergence claimed of a smooth curve is the error that would discredit all the rest."""
    found = threshold(planting.plant(kind, 4, **PLAIN).observations)
    assert found.verdict == "smooth"
    assert found.threshold is None


@pytest.mark.parametrize("kind", ["chance", "chance_shifted", "lucky_checkpoint", "lucky_run"])
def test_chance_stays_chance(planting: ModuleType, kind: str) -> None:
    """Nothing is said about abilities that were never seen, whatever one checkpoint or one run did."""
    found = threshold(planting.plant(kind, 5, **PLAIN).observations)
    assert found.verdict in ("at_chance", "unresolved")
    assert found.threshold is None


def test_errors_of_shared_items_are_no_ability(planting: ModuleType) -> None:
    """Two models answered the same 500 items and drifted from .256 to .28: the key's luck, not an ability."""
    loss = [7.32, 6.785, 6.343, 5.639, 4.921, 4.477, 7.623, 6.851, 6.323, 5.53, 4.96, 4.63]
    score = [0.256, 0.264, 0.26, 0.26, 0.276, 0.27, 0.26, 0.256, 0.264, 0.272, 0.28, 0.276]
    runs = ["a"] * 6 + ["b"] * 6
    table = pd.DataFrame({"run": runs, "loss": loss, "score": score, "chance": 0.25, "n_examples": 500})
    assert threshold(table).verdict == "at_chance"
    found = [threshold(planting.plant("chance_same_items", seed, **PLAIN).observations).verdict for seed in range(4)]
    assert "emergent" not in found
    assert found.count("at_chance") >= 3


def test_a_verdict_does_not_hang_on_the_seed(planting: ModuleType) -> None:
    """Who runs the analysis again with another seed must read the same: the noise alone may not decide."""
    for kind in ("soft", "hill"):
        table = planting.plant(kind, 5, **(PLAIN | {"run_noise": 0.012, "drift": 0.008, "items": 500})).observations
        told = [threshold(table, seed=seed) for seed in range(3)]
        assert len({fit.verdict for fit in told}) == 1
        assert np.ptp([fit.turns for fit in told]) < 0.3


def test_lower_is_better_is_the_mirror(planting: ModuleType) -> None:
    """The same ability under a metric that falls must have the same threshold."""
    rising = planting.plant("straight", 6, eta=2.6, **PLAIN).observations
    falling = rising.assign(score=1 - rising["score"], chance=0.75, direction="lower", metric="brier")
    up, down = threshold(rising), threshold(falling)
    assert up.verdict == down.verdict == "emergent"
    assert up.threshold is not None
    assert down.threshold is not None
    assert down.threshold.value == pytest.approx(up.threshold.value, abs=0.02)


def test_direction_is_read_from_the_metric(planting: ModuleType) -> None:
    """A Brier score without a direction column must not be read upside down."""
    table = planting.plant("straight", 6, eta=2.6, **{**PLAIN, "lower_is_better": True}).observations
    assert threshold(table.drop(columns="direction")).direction == "lower"


def test_unknown_chance_is_never_emergent(planting: ModuleType) -> None:
    """Without chance no one can say that an ability was absent."""
    table = planting.plant("straight", 6, eta=2.6, **PLAIN).observations.assign(chance=np.nan)
    found = threshold(table)
    assert found.verdict == "unresolved"
    assert "chance" in found.why
    smooth = threshold(planting.plant("linear", 6, **PLAIN).observations.assign(chance=np.nan))
    assert smooth.verdict == "smooth"


def test_held_by_one_run_is_not_found(planting: ModuleType) -> None:
    """One run beyond the threshold is an anecdote."""
    table = planting.plant("straight", 7, eta=2.6, **PLAIN).observations
    keep = (table["loss"] > 2.65) | (table["run"] == "run-3")
    found = threshold(table[keep])
    assert found.verdict == "unresolved"
    assert "one run" in found.why or "alone" in found.why


def test_held_by_one_checkpoint_is_not_found(planting: ModuleType) -> None:
    table = planting.plant("straight", 7, eta=2.6, **PLAIN).observations
    lowest = table["loss"].idxmin()
    found = threshold(table[(table["loss"] > 2.65) | (table.index == lowest)])
    assert found.verdict != "emergent"


def test_threshold_outside_the_losses_seen_is_not_found(planting: ModuleType) -> None:
    """A hinge fitted naively would put a threshold where no model was."""
    table = planting.plant("straight", 8, eta=2.6, **PLAIN).observations
    below, above = threshold(table[table["loss"] < 2.5]), threshold(table[table["loss"] > 2.65])
    assert below.verdict == "smooth"
    assert above.verdict == "at_chance"
    assert below.threshold is None
    assert above.threshold is None


def test_worse_than_chance_is_no_ability(planting: ModuleType) -> None:
    """A Brier score that falls from 1.0 to chance has learnt to be unsure, and one that falls on has no turn there."""
    table = planting.plant("chance", 9, **{**PLAIN, "lower_is_better": True}).observations
    fall = 0.3 * np.maximum(table["loss"] - 2.5, 0)
    assert threshold(table.assign(score=table["score"] + fall)).verdict == "at_chance"
    straight = table.assign(score=table["score"] + 0.15 * (table["loss"] - 2.6))
    crossing = threshold(straight)
    assert crossing.verdict == "smooth"
    assert "passes chance" in crossing.why


def test_one_run_is_said(planting: ModuleType) -> None:
    """A threshold from a single run is possible, but the sentence must carry the reservation."""
    table = planting.plant("straight", 10, eta=2.6, **PLAIN).observations
    found = threshold(table[table["run"] == "run-3"])
    assert found.verdict == "emergent"
    assert "one run" in found.why


def test_tables_without_items_or_with_gaps(planting: ModuleType) -> None:
    """Others' tables lack counts and have holes; a hole is no zero."""
    table = planting.plant("straight", 11, eta=2.6, **PLAIN).observations.assign(n_examples=np.nan)
    table.loc[table.index[::7], "score"] = np.nan
    found = threshold(table)
    assert found.verdict == "emergent"
    assert found.n_points == table["score"].notna().sum()


def test_order_of_rows_does_not_matter(planting: ModuleType) -> None:
    table = planting.plant("soft", 12, eta=2.6, **PLAIN).observations
    assert threshold(table.sample(frac=1, random_state=1)).threshold == threshold(table).threshold


def test_too_little_is_unresolved(planting: ModuleType) -> None:
    table = planting.plant("straight", 13, eta=2.6, **PLAIN).observations
    assert threshold(table.head(3)).verdict == "unresolved"
    assert threshold(table.assign(loss=2.0)).verdict == "unresolved"


def test_large_tables_are_averaged_not_refused(planting: ModuleType) -> None:
    """Five thousand checkpoints must give the threshold that eighty give."""
    planted = planting.plant("straight", 14, eta=2.6, **{**PLAIN, "checkpoints": 800})
    found = threshold(planted.observations)
    assert found.verdict == "emergent"
    assert found.threshold is not None
    assert abs(found.threshold.value - 2.6) < 0.03


def test_bad_tables_are_named(planting: ModuleType) -> None:
    table = planting.plant("straight", 15, eta=2.6, **PLAIN).observations
    with pytest.raises(OnsetError, match="one task"):
        threshold(pd.concat([table, table.assign(task="other")]))
    with pytest.raises(OnsetError, match="no column score"):
        threshold(table.drop(columns="score"))
    with pytest.raises(OnsetError, match="different chance"):
        threshold(table.assign(chance=np.where(table.index < 5, 0.25, 0.5)))
    with pytest.raises(OnsetError, match="direction 'up'"):
        threshold(table.assign(direction="up"))
    with pytest.raises(OnsetError, match="level"):
        threshold(table, level=95)


def test_what_is_drawn(planting: ModuleType) -> None:
    """The curve, its band and the residuals are what the report shows."""
    table = planting.plant("straight", 16, eta=2.6, **PLAIN).observations
    found = threshold(table)
    assert found.curve is not None
    assert found.residuals is not None
    assert list(found.curve.columns) == ["loss", "score", "low", "high"]
    assert (
        (found.curve["low"] <= found.curve["score"] + 1e-9) & (found.curve["score"] <= found.curve["high"] + 1e-9)
    ).all()
    assert list(found.residuals.columns) == ["run", "params", "loss", "residual"]
    assert len(found.residuals) == len(table)
    assert found.residuals["residual"].abs().mean() < 0.02
    inside = found.predict([2.0, 3.5])
    assert inside["score"].iloc[1] == pytest.approx(0.25, abs=0.01)
    assert found.predict([9.0])["score"].isna().all()
    assert found.summary().loc[0, "verdict"] == "emergent"


def claim(p: float) -> ThresholdFit:
    return ThresholdFit(
        "emergent", "it does.", Interval(2.0, 1.9, 2.1), p, 0.25, "higher", 0.95, None, None, n_points=80, n_runs=4
    )


def test_many_looks_take_back_weak_claims() -> None:
    """Sixty tasks looked at must not give three thresholds by luck."""
    alone = settle([claim(0.03)])
    assert alone[0].verdict == "emergent"
    chance = ThresholdFit("smooth", "no.", None, 0.8, 0.25, "higher", 0.95, None, None)
    among = settle([claim(0.03), claim(1e-6), *[chance] * 58])
    assert [one.verdict for one in among[:2]] == ["unresolved", "emergent"]
    assert among[0].threshold is None
    assert "60 tested together" in among[0].why
