"""Loss to loss: planted maps are found, their intervals cover, and a threshold is carried with its own interval."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.results import ConvertedThreshold, Interval
from onset.stats.loss_comparison import all_losses
from onset.stats.loss_map import LossMap, between, fit, sentences


def made(seed: int, runs: int = 6, noise: float = 0.004) -> tuple[LossMap, float, float]:
    """A fitted map of planted losses, and the truth at one place."""
    draw = np.random.default_rng(seed)
    source_floor, target_floor, scale, power = draw.uniform([0.5, 0.5, 0.7, 0.75], [1.8, 1.8, 1.4, 1.3])
    x = source_floor + 0.3 + 2.2 * draw.uniform(0, 1, (runs, 10)) ** 2
    y = target_floor + scale * (x - source_floor) ** power + draw.normal(0, noise, (runs, 1))
    y += draw.normal(0, noise / 2, x.shape)
    at = float(np.quantile(x, draw.uniform(0.1, 0.9)))
    found = fit(x.ravel(), y.ravel(), np.repeat(np.arange(runs), 10), seed=seed)
    return found, at, float(target_floor + scale * (at - source_floor) ** power)


def test_planted_maps_are_covered_by_their_intervals() -> None:
    """Lost otherwise: an interval that promises more than it knows."""
    inside, errors = [], []
    for seed in range(60):
        found, at, truth = made(seed)
        row = found.predict(at).iloc[0]
        inside.append(row.low <= truth <= row.high)
        errors.append(abs(row.target - truth))
    assert np.mean(inside) >= 0.88
    assert np.median(errors) < 0.003


def test_a_few_wild_checkpoints_do_not_move_the_map() -> None:
    """Lost otherwise: one bad evaluation that moves every threshold."""
    x = np.linspace(2.0, 4.0, 40)
    y = 0.5 + 0.9 * (x - 1.0) ** 1.1
    wild = y + np.where(np.arange(40) % 13 == 5, 0.8, 0.0)
    runs = np.arange(40) // 8
    assert fit(x, wild, runs).curve(3.0) == pytest.approx(0.5 + 0.9 * 2.0**1.1, abs=0.01)


def test_a_threshold_is_carried_with_both_uncertainties_and_never_beyond_the_losses_seen() -> None:
    """Lost otherwise: a threshold read off an extrapolation, or one whose interval forgets the map."""
    found, at, truth = made(4)
    sharp, wide = (found.carry(Interval(at, at - reach, at + reach)) for reach in (1e-9, 0.05))
    assert sharp is not None
    assert wide is not None
    assert sharp.low <= truth <= sharp.high
    assert wide.high - wide.low > sharp.high - sharp.low
    assert found.carry(Interval(found.seen[1] + 0.1, found.seen[1], found.seen[1] + 0.2)) is None
    assert np.isnan(found.curve(found.seen[0] - 0.01))


def test_one_run_has_a_curve_and_no_interval() -> None:
    """Lost otherwise: checkpoints of one run, taken for a sample of runs."""
    x = np.linspace(2, 4, 12)
    found = fit(x, 0.3 * x, ["only"] * 12)
    assert found.curve(3.0) == pytest.approx(0.9, abs=1e-6)
    assert found.predict(3.0)[["low", "high"]].isna().all(axis=None)
    assert found.carry(Interval(3.0, 2.9, 3.1)) is None


def test_losses_that_make_no_map_are_refused() -> None:
    """Lost otherwise: a map of noise."""
    with pytest.raises(OnsetError, match="four parameters"):
        fit([1, 2, 3], [1, 2, 3], [0, 0, 1])
    with pytest.raises(OnsetError, match="do not rise together"):
        fit([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [0, 0, 1, 1, 1])
    table = pd.DataFrame({"run": ["a"], "step": [1], "loss_name": ["x"], "loss_unit": ["y"], "loss": [1.0]})
    with pytest.raises(OnsetError, match="no loss 'z'"):
        between(table, ("x", "y"), ("z", "y"))


def test_published_losses_map_to_a_left_out_half() -> None:
    """Gadre et al. 2024: a map from C4 to another text, fitted to half of the models, holds for the other half."""
    folder = os.environ.get("ONSET_SHARED")
    if folder is None:
        pytest.skip("ONSET_SHARED does not name the folder with data/results")
    losses = all_losses(Path(folder) / "data" / "results" / "gadre2024.csv.gz")
    assert losses is not None
    losses = losses[losses.run.str.startswith("c4_original")]
    source, target = ("c4_val", "nats/token"), ("paloma_falcon-refinedweb", "nats/token")
    runs = sorted(losses.run.unique())
    found = between(losses[losses.run.isin(runs[::2])], source, target)
    wide = losses.pivot_table(index="run", columns="loss_name", values="loss").loc[runs[1::2]]
    row = found.predict(wide["c4_val"]).dropna()
    truth = wide["paloma_falcon-refinedweb"].to_numpy()[np.isfinite(found.curve(wide["c4_val"]))]
    assert np.median(np.abs(row.target.to_numpy() - truth)) < 0.05


def test_a_converted_threshold_is_told_with_its_interval() -> None:
    """Lost otherwise: ``onset analyze`` finds a threshold and does not say where it is on the better axis."""
    entry: dict[str, Any] = {
        "task": "late",
        "metric": "accuracy",
        "family": "a",
        "loss": 0.5,
        "low": 0.4,
        "high": 0.625,
        "n_runs": 2,
    }
    told = [ConvertedThreshold(loss_name=name, loss_unit="bits/byte", **entry) for name in ("x", "y")]
    (sentence,) = sentences(told, ("own", "nats/token"), [("own", "nats/token"), ("y", "bits/byte")])
    assert "late (accuracy), converted from own (nats/token) to y (bits/byte): a 0.500 [0.400, 0.625]." in sentence
    assert sentences([], ("own", "nats/token"), [("y", "bits/byte")]) == []
