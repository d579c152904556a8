"""One container of a curve. Lost if it fails: one table in percent or under another metric name says something else."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from onset.errors import OnsetError
from onset.stats.data import Chance, curve_data


def table(rows: int = 12, metric: str = "accuracy", scale: float = 1.0) -> pd.DataFrame:
    loss = np.linspace(3.5, 2.5, rows)
    return pd.DataFrame(
        {
            "run": np.repeat(["b", "a"], rows // 2), "params": np.repeat([1e9, 1e8], rows // 2),
            "tokens": np.tile(np.geomspace(1e9, 1e11, rows // 2), 2), "loss": loss, "task": "t", "metric": metric,
            "score": scale * (0.25 + 0.4 * (3.5 - loss)), "chance": 0.25 * scale, "n_examples": 500.0,
            "family": "f", "loss_name": "val", "loss_unit": "nats/token", "corpus": "web",
        }
    )  # fmt: skip


def test_percent_fractions_and_row_order_are_one_curve() -> None:
    data = curve_data(table())
    for other in (table(scale=100.0), table().sample(frac=1, random_state=1)):
        again = curve_data(other)
        assert_allclose(again.ability, data.ability, atol=1e-12)
        assert_allclose(again.item_variance(), data.item_variance(), rtol=1e-9)
    assert data.points_per_unit == 100.0
    assert_allclose(data.to_score(data.ability), data.score)


@pytest.mark.parametrize("metric", ["acc", "acc,none", "exact_match:strict-match", "pass@1", "f1", "accuracy"])
def test_item_counts_matter_under_every_name_of_a_share(metric: str) -> None:
    few, many = table(metric=metric), table(metric=metric).assign(n_examples=1e6)
    assert (curve_data(few).item_variance() > 100 * curve_data(many).item_variance()).all()


def test_lower_is_better_and_unbounded_metrics_become_ability_that_rises() -> None:
    bits = table(metric="gold_bits_per_byte").assign(chance=np.nan)
    bits["score"] = 2.0 - bits["score"]
    data = curve_data(bits)
    assert data.direction == "lower"
    assert not data.bounded
    assert data.chance.source == "unknown"
    assert np.corrcoef(data.ability, data.loss)[0, 1] < 0
    brier = curve_data(table(metric="brier").assign(chance=0.75))
    assert brier.scale == 2.0
    assert brier.ability[0] == pytest.approx((0.75 - brier.score[0]) / 2)


def test_rows_are_by_run_and_tokens_and_nothing_is_averaged() -> None:
    data = curve_data(table(rows=2000))
    assert len(data) == 2000
    assert data.runs == ("a", "b")
    assert (np.diff(data.tokens)[np.diff(data.run) == 0] > 0).all()
    assert_allclose(data.progress[data.starts - 1], 1.0)
    assert list(data.factors) == ["corpus"]
    part = data.subset(data.run == 1)
    assert part.runs == ("b",)
    assert part.run.max() == 0
    assert len(part.factors) == 1000


def test_chance_that_differs_by_missing_items_is_told_and_a_given_chance_wins() -> None:
    frame = table()
    frame.loc[3, "chance"] = 0.2504
    assert curve_data(frame).chance.spread == pytest.approx(4e-4)
    assert curve_data(frame, chance=Chance(0.3, "constant_answer")).chance.value == 0.3


def test_two_loss_measures_or_units_are_refused_and_missing_scores_are_no_rows() -> None:
    mixed = table()
    mixed.loc[2, "loss_unit"] = "bits/byte"
    with pytest.raises(OnsetError, match="one loss_unit"):
        curve_data(mixed)
    holes = table()
    holes.loc[[1, 4], "score"] = np.nan
    assert len(curve_data(holes)) == 10
    with pytest.raises(OnsetError, match="no row has both"):
        curve_data(table().assign(score=np.nan))
