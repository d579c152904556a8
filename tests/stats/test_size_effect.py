"""Collapse: a wrong verdict here tells a reader that size matters (or does not) when it is otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import Interval
from onset.stats.size_effect import collapse, effects


def planted(
    effect: float,
    *,
    sizes: int = 4,
    checkpoints: int = 20,
    items: int = 4000,
    between_runs: float = 0.2,
    seed: int = 0,
    onset: float = 3.0,
) -> pd.DataFrame:
    """Runs of several sizes on one curve that leaves chance at ``onset``, plus points a decade below it."""
    rng = np.random.default_rng(seed)
    rows = []
    decades = np.linspace(0.0, 0.6 * (sizes - 1), sizes)
    for number, decade in enumerate(decades):
        tokens = np.geomspace(2e9, 3e11, checkpoints)
        loss = 1.7 + 400.0 / (1e8 * 10**decade) ** 0.34 + 410.0 / tokens**0.28
        able = loss < onset
        moved = effect * (decade - decades.mean()) + rng.normal(0.0, between_runs)
        score = 0.25 + 0.6 * np.clip((onset - loss) / 1.2, 0, None) + able * moved / 100
        for place in range(checkpoints):
            seen = rng.binomial(items, score[place]) / items
            rows.append((f"run{number}", 1e8 * 10**decade, tokens[place], loss[place], seen))
    frame = pd.DataFrame(rows, columns=["run", "params", "tokens", "loss", "score"])
    return frame.assign(task="planted", metric="accuracy", chance=0.25, n_examples=items)


THRESHOLD = Interval(3.0, 2.98, 3.02)


def test_one_curve_for_all_sizes_is_said_to_collapse() -> None:
    """Lost: the paper's first claim could never be confirmed, only not rejected."""
    fit = collapse(planted(0.0, sizes=6, checkpoints=40, between_runs=0.1), threshold=THRESHOLD)
    assert fit.verdict == "collapses"
    assert fit.points is not None
    assert fit.points.low < 0 < fit.points.high


@pytest.mark.parametrize("effect", [4.0, -4.0])
def test_a_planted_size_effect_is_found_with_its_sign(effect: float) -> None:
    """Lost: sizes that differ at equal loss would pass as one curve."""
    fit = collapse(planted(effect), threshold=THRESHOLD)
    assert fit.verdict == "size_matters"
    assert fit.points is not None
    assert fit.points.low < effect < fit.points.high
    assert "At equal loss, ten times the parameters" in fit.why


def test_two_noisy_runs_cannot_tell() -> None:
    """Lost: an interval from two runs would be as narrow as one from twenty."""
    fit = collapse(planted(0.0, sizes=2, checkpoints=6, items=150, between_runs=0.8), threshold=THRESHOLD)
    assert fit.verdict == "unresolved"


def test_without_a_threshold_only_losses_above_chance_count() -> None:
    """Lost: points at chance, where size cannot show, would dilute its effect to nothing."""
    whole = collapse(planted(4.0))
    assert whole.verdict == "size_matters"
    assert whole.residuals["loss"].max() < 3.2


def test_losses_where_nothing_can_show_do_not_dilute_an_effect() -> None:
    """Lost: a curve that leaves chance slowly would hide that size matters."""
    table = planted(0.0, sizes=5, between_runs=0.1)
    decades = np.log10(table["params"]) - np.log10(table["params"]).mean()
    slow = 0.25 + 0.5 * (np.clip(3.0 - table["loss"], 0, None) / 1.0) ** 3
    able = np.clip((slow - 0.25) / 0.02, 0, 1)
    draw = np.random.default_rng(0).binomial(4000, np.clip(slow + able * 0.04 * decades, 0, 1)) / 4000
    fit = collapse(table.assign(score=draw), threshold=THRESHOLD)
    assert fit.points is not None
    assert fit.points.value == pytest.approx(4.0, abs=0.6)
    dark = collapse(table.assign(score=0.25), threshold=THRESHOLD)
    assert dark.points is None
    assert "for an effect to show" in dark.why


def test_an_effect_as_large_as_the_margin_is_not_beyond_it() -> None:
    """Lost: "size matters" would be said one time in ten of effects that the margin calls none."""
    said = [
        collapse(planted(1.0, sizes=5, between_runs=0.3, seed=seed), threshold=THRESHOLD).verdict == "size_matters"
        for seed in range(12)
    ]
    assert sum(said) <= 2


def test_a_corpus_that_breaks_the_link_is_named() -> None:
    """Lost: nobody would learn that loss on one's own corpus does not compare over corpora."""
    left = planted(0.0, seed=1).assign(family="books")
    right = planted(0.0, seed=2).assign(family="web")
    right["run"] = "w" + right["run"]
    right["score"] += 0.05 * (right["loss"] < 3.0)
    table = effects(pd.concat([left, right]), threshold=THRESHOLD).set_index("by")
    assert table.loc["family", "verdict"] == "size_matters"
    assert table.loc["params", "verdict"] != "size_matters"
    assert {"params", "tokens", "place", "family"} <= set(table.index)


def test_size_matters_is_claimed_falsely_at_most_one_time_in_twenty() -> None:
    """Lost: a table of sixty tasks would be full of effects that are not there."""
    wrong = sum(
        collapse(planted(0.0, sizes=2 + seed % 4, checkpoints=8, items=800, between_runs=0.5, seed=seed)).verdict
        == "size_matters"
        for seed in range(24)
    )
    assert wrong <= 3


def test_along_the_loss_a_leap_can_be_told_where_points_cannot() -> None:
    """Lost: abilities that leap within hundredths of a nat could never be said to fall on one curve."""
    rng = np.random.default_rng(3)
    frames = []
    for number, params in enumerate([1e5, 3e5, 1e6]):
        loss = np.linspace(1.3, 0.85, 24)
        truth = 0.02 + 0.96 / (1 + np.exp((loss - 1.05 + 0.001 * rng.standard_normal()) / 0.01))
        frames.append(pd.DataFrame({
            "run": f"r{number}", "params": params, "tokens": np.arange(1, 25) * 1e6, "loss": loss,
            "score": rng.binomial(200, truth) / 200, "task": "leap", "metric": "exact_match", "chance": 0.0,
            "n_examples": 200,
        }))  # fmt: skip
    table, threshold = pd.concat(frames, ignore_index=True), Interval(1.1, 1.09, 1.11)
    assert collapse(table, threshold=threshold).verdict == "unresolved"
    fit = collapse(table, threshold=threshold, loss_margin=0.02)
    assert fit.verdict == "collapses"
    assert fit.shift is not None
    assert abs(fit.shift.value) < 0.01
    assert "or 0.02 nats" in fit.why


def test_one_size_and_mixed_series_are_refused() -> None:
    """Lost: an effect of size from one size, or two tasks taken for one."""
    one = collapse(planted(0.0, sizes=1))
    assert one.points is None
    assert one.verdict == "unresolved"
    assert "does not vary" in one.why
    mixed = pd.concat([planted(0.0), planted(0.0).assign(task="other")])
    with pytest.raises(OnsetError, match="one task at a time"):
        collapse(mixed)
    with pytest.raises(OnsetError) as caught:
        collapse(planted(0.0), by="parms")
    assert caught.value.advice is not None
    assert "params" in caught.value.advice


def test_offsets_curve_and_prediction_agree() -> None:
    """Lost: the page would draw a curve that is not the one that the verdict is about."""
    fit = collapse(planted(4.0), threshold=THRESHOLD)
    assert list(fit.levels["offset"]) == sorted(fit.levels["offset"])
    middle = float(fit.curve["loss"].iloc[50])
    assert fit.predict([middle]).iloc[0] == pytest.approx(fit.curve["score"].iloc[50])
    assert np.isnan(fit.predict([9.0]).iloc[0])
    assert abs(fit.residuals["residual"].mean()) < 0.02
    assert fit.summary().loc[0, "by"] == "params"
