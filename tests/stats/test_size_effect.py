"""Size effects at equal loss. Lost if they fail: a size effect that is another family's, another unit's, or none."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from onset.errors import OnsetError
from onset.stats.data import curve_data
from onset.stats.design import belief, family, simulation
from onset.stats.noise import Components
from onset.stats.size_effect import size_effect
from onset.tables.observations import read

SHARED = os.environ.get("ONSET_SHARED")


def plant(
    runs: int = 5, per: int = 30, *, effect: float = 0.0, families: int = 1, width: float = 0.12, seed: int = 0,
    offset: float = 0.05,
) -> pd.DataFrame:  # fmt: skip
    """Runs of several sizes whose curves are logistic in the loss; ``effect`` in score per decade of parameters."""
    rng, frames = np.random.default_rng(seed), []
    for run in range(runs):
        params = 1e8 * 10 ** (1.5 * (run // families) / max(runs // families - 1, 1))
        tokens = np.geomspace(2e9, 2e11, per)
        loss = (1.7 + 406 / params**0.34 + 411 / tokens**0.28) * np.exp(0.002 * rng.standard_normal())
        clean = 0.25 + 0.5 / (1 + np.exp((loss + 0.005 * rng.standard_normal() - 2.6) / width))
        moved = effect * np.log10(params / 1e9) + offset * (run % families - (families - 1) / 2)
        share = clean + np.clip((clean - 0.25) / 0.02, 0, 1) * (moved + 0.004 * rng.standard_normal())
        frames.append(
            pd.DataFrame(
                {"run": f"r{run}", "family": f"f{run % families}", "params": params, "tokens": tokens, "loss": loss,
                 "score": rng.binomial(1000, np.clip(share, 0, 1)) / 1000, "chance": 0.25, "n_examples": 1000.0,
                 "task": "t", "metric": "accuracy"}
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_none_planted_is_equivalent_and_three_points_are_found() -> None:
    none, three = size_effect(plant(8, seed=3), margin=1.5), size_effect(plant(8, effect=0.03, seed=3))
    assert none.verdict == "equivalent", none.why
    assert three.verdict == "differs", three.why
    assert three.pp_per_decade == pytest.approx(3.0, abs=0.8)
    assert three.curve is not None
    assert three.residuals is not None
    assert abs(float(three.residuals["residual"].mean())) < 0.002


def test_families_of_other_offsets_do_not_pass_for_size() -> None:
    """The larger models are of the better family: pooled, that is a size effect; within families there is none."""
    table = plant(8, families=2, offset=0.08, seed=1)
    table.loc[table.family == "f1", "params"] *= 8
    within, pooled = size_effect(table), size_effect(table, within_family=False)
    assert within.within_family
    assert within.low is not None
    assert within.high is not None
    assert within.low < 0 < within.high
    assert within.pp_per_decade is not None
    assert pooled.pp_per_decade is not None
    assert abs(within.pp_per_decade) < 1.0 < 2.0 < pooled.pp_per_decade


def test_runs_are_the_unit_of_an_interval() -> None:
    """Runs that differ by 2 points: 120 checkpoints each are no evidence within a point, and two runs are none."""
    many = size_effect(noisy(5, 120))
    assert many.low is not None
    assert many.high is not None
    assert many.low < 0 < many.high
    assert many.high - many.low > 4.0
    two = size_effect(noisy(2, 30))
    assert two.low is None
    assert "2 runs say nothing of how runs of one size differ" in two.why


def noisy(runs: int, per: int) -> pd.DataFrame:
    """Runs that differ by 2 points at equal loss."""
    table = plant(runs, per, seed=4)
    off = 0.02 * np.random.default_rng(1).standard_normal(runs)
    visible = np.clip((table["score"] - 0.25) / 0.1, 0, 1)
    return table.assign(score=table["score"] + visible * off[table["run"].str[1:].astype(int)])


@pytest.mark.parametrize("seed", range(3))
def test_bent_curves_with_many_checkpoints_have_no_false_effect(seed: int) -> None:
    """Averaging neighbours into rows invented effects of more than a point on such curves."""
    found = size_effect(plant(5, 400, width=0.05, seed=seed), margin=1.0)
    assert found.pp_per_decade is not None
    assert abs(found.pp_per_decade) < 0.8
    assert found.verdict != "differs"


@pytest.mark.parametrize("seed", range(3))
def test_a_sharp_jump_is_no_size_effect(seed: int) -> None:
    found = size_effect(plant(6, 30, width=0.005, seed=seed))
    assert found.verdict != "differs", found.why
    assert found.pp_per_decade is not None
    assert abs(found.pp_per_decade) < 5


def test_units_of_loss_and_score_change_nothing() -> None:
    table = plant(effect=0.02, seed=2)
    found = size_effect(table)
    for change in (
        {"loss": table["loss"] / np.log(2) / 4.2, "loss_unit": "bits/byte"},
        {"score": 100 * table["score"], "chance": 25.0},
        {"metric": "acc,none"},
        {"metric": "exact_match:strict-match"},
    ):
        again = size_effect(table.assign(**change))
        assert_allclose(
            [again.pp_per_decade, again.low, again.high], [found.pp_per_decade, found.low, found.high], atol=0.02
        )
    shuffled = size_effect(table.sample(frac=1, random_state=0))
    assert_allclose(shuffled.pp_per_decade or 0, found.pp_per_decade or 0, atol=1e-6)


@pytest.mark.parametrize("metric", ["exact_match:flexible-extract", "pass@1", "f1", "acc_norm"])
def test_more_items_tell_more_under_every_metric_name(metric: str) -> None:
    """With the metric's name unknown, 50 items and a million gave the same interval."""
    rng = np.random.default_rng(5)
    table = plant(seed=5).assign(metric=metric)
    few = table.assign(n_examples=50, score=rng.binomial(50, table["score"]) / 50)
    widths = [(found.high or 0) - (found.low or 0) for found in map(size_effect, (few, table))]
    assert widths[0] > 1.5 * widths[1]


def test_scores_that_go_by_progress_are_not_blamed_on_size() -> None:
    """Every run learns in its last fifth, at whatever loss: a size effect of -16 points, were progress not asked."""
    rng, frames = np.random.default_rng(0), []
    for number, params in enumerate(np.geomspace(1e8, 3e9, 5)):
        tokens = np.linspace(2e9, 2e11, 25)
        share = 0.25 + 0.4 * np.clip((tokens / 2e11 - 0.8) / 0.2, 0, 1)
        loss = 1.7 + 406 / params**0.34 + 411 / tokens**0.28
        score = rng.binomial(1000, share) / 1000
        frames.append(
            pd.DataFrame({"run": f"r{number}", "params": params, "tokens": tokens, "loss": loss, "score": score})
        )
    table = pd.concat(frames).assign(task="t", metric="accuracy", chance=0.25, n_examples=1000)
    found = size_effect(table)
    assert found.verdict == "inconclusive"
    assert "confounded with progress" in found.why


def test_what_every_run_learns_in_its_last_phase_is_said_to_go_by_progress() -> None:
    """Lost: three runs that jump in their annealing, at other losses each, with no word of the schedule."""
    rng, frames = np.random.default_rng(5), []
    for number in range(3):
        loss = np.sort(rng.uniform(1.8 + 0.1 * number, 3.2, 20))[::-1]
        score = rng.binomial(1000, 0.25, 20) / 1000
        score[-3:] = 0.55 + rng.normal(0, 0.01, 3)
        frames.append(pd.DataFrame({"run": f"r{number}", "params": 10 ** (8 + 0.5 * number), "loss": loss,
                                    "tokens": 2e9 * np.arange(1, 21), "score": score}))  # fmt: skip
    table = pd.concat(frames).assign(task="t", metric="accuracy", chance=0.25, n_examples=1000)
    found = size_effect(table)
    assert found.verdict == "inconclusive"
    assert "go by the progress of a run" in found.why


def test_nothing_to_compare_is_said() -> None:
    one = plant()
    assert "of one size" in size_effect(one.assign(params=1e9)).why
    families = one.assign(family=one["run"])
    assert "each of the 5 families has one size" in size_effect(families).why
    assert size_effect(families, within_family=False).pp_per_decade is not None
    assert size_effect(one.assign(score=0.25)).verdict == "inconclusive"


@pytest.mark.parametrize("bad", [{"level": 95}, {"level": 0.3}, {"margin": 0.0}, {"margin": -1.0}])
def test_levels_and_margins_are_checked_once_with_one_error(bad: dict[str, Any]) -> None:
    with pytest.raises(OnsetError, match=r"level|margin"):
        size_effect(plant(), **bad)


def test_the_loss_margin_judges_along_the_loss_and_compute_may_be_held_equal() -> None:
    table = plant(8, width=0.02, seed=4)
    along = size_effect(table, loss_margin=0.1)
    assert along.verdict == "equivalent", along.why
    assert along.along_loss is not None
    at_compute = size_effect(plant(8, seed=4), at="flops")
    assert at_compute.at == "flops"
    assert at_compute.why.startswith("At equal compute")


@pytest.mark.skipif(SHARED is None, reason="ONSET_SHARED does not name the shared data")
@pytest.mark.parametrize("task", ["squad", "lambada_openai", "arc_easy"])
def test_published_families_keep_the_sign_that_they_have_within_each_corpus(task: str) -> None:
    """Pooled over three corpora these had the opposite sign (Simpson's paradox)."""
    table = read(Path(str(SHARED)) / "data/results/gadre2024.csv.gz")
    rows = table[table["task"] == task]
    found = size_effect(rows)
    apart = [size_effect(of_family).pp_per_decade or 0.0 for _, of_family in rows.groupby("family")]
    assert found.pp_per_decade is not None
    assert found.high is not None
    assert float(np.mean(apart)) < 0 > found.pp_per_decade
    assert sum(value < 0 for value in apart) >= 2
    if task != "squad":  # its runs differ by 3 pp where it is learned: the sign of the estimate is all that it tells
        assert found.high < 0


def test_rows_are_seen_as_they_are() -> None:
    """No averaging: a run of a thousand checkpoints is a thousand residuals."""
    found = size_effect(plant(4, 1000))
    assert found.residuals is not None
    assert len(found.residuals) == len(curve_data(plant(4, 1000)))


def test_as_many_levels_as_runs_can_tell_is_no_agreement_of_runs() -> None:
    """Lost otherwise: an interval of no width, and 'differs', of three runs of which one barely shows."""
    told = belief.stated(replace(belief.LAWS["hoffmann2022"], spread=2e-3), 3.0)
    noise = Components(items=1.0, run=0.006, shift=0.002, drift=0.005, memory=0.7, loss=0.0005)
    curve = replace(told.curves[0], noise=noise)
    made = family.of_sizes([1e8, 4e8, 1.6e9], [2e10], checkpoints=10, items=1000)
    for seed in (7003, 7005, 7008):
        table = simulation.simulate(made, told.law, curve, 3.0, seed).none
        found = size_effect(table, threshold=3.0)
        assert found.low is None or found.high is None or found.high - found.low > 0.5, found.why
