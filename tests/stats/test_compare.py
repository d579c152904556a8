"""Comparing models on the same items: the paired difference, its interval and tests, and their limits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from onset.errors import OnsetError
from onset.results import Comparison
from onset.stats.compare import compare


def values(
    scores: dict[str, np.ndarray], task: str = "t", metric: str = "accuracy", cluster: np.ndarray | None = None
) -> pd.DataFrame:
    """Rows of models whose items are numbered alike."""
    return pd.concat(
        [
            pd.DataFrame(
                {"model": model, "task": task, "metric": metric, "item": np.arange(len(value)).astype(str),
                 "value": value, "cluster": None if cluster is None else cluster}
            )
            for model, value in scores.items()
        ],
        ignore_index=True,
    )  # fmt: skip


def test_the_difference_is_paired_and_tested_by_mcnemar() -> None:
    """Lost otherwise: two models on the same items are compared as if each had its own."""
    one = np.r_[np.ones(60), np.zeros(40)]
    other = one.copy()
    other[[60, 61, 62, 63, 64, 65, 66, 67]] = 1  # eight gained
    other[0] = 0  # one lost
    found = compare(values({"A": one, "B": other}))
    (row,) = found.rows.to_dict("records")
    assert (row["difference"], row["gained"], row["lost"], row["test"]) == (pytest.approx(0.07), 8, 1, "McNemar")
    assert row["p"] == pytest.approx(stats.binomtest(8, 9).pvalue)
    gain = other - one
    error = gain.std(ddof=1) / 10
    assert row["high"] - row["difference"] == pytest.approx(error * stats.t.ppf(0.975, 99))
    unpaired = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 100)
    assert error < unpaired / 2, "pairing is what makes the interval narrow"
    assert found.flips is not None
    assert set(found.flips["item"][found.flips["change"] == "gained"]) == {str(item) for item in range(60, 68)}
    assert list(found.flips["item"][found.flips["change"] == "lost"]) == ["0"]
    assert Comparison.from_json(found.to_json()) == found


def test_intervals_and_tests_hold_their_level_where_items_share_passages() -> None:
    """Lost otherwise: five questions about one passage count as five, and too many null differences are found."""
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(40), 5).astype(str)
    covered, found_clustered, found_alone = 0, 0, 0
    for number in range(80):
        passage = np.repeat(rng.normal(size=(2, 40)), 5, axis=1)
        one, other = ((0.9 * passage + rng.normal(size=(2, 200))) > 0).astype(float)
        row = compare(values({"A": one, "B": other}, cluster=cluster), seed=number).rows.iloc[0]
        covered += row["low"] <= 0 <= row["high"]
        found_clustered += row["p"] < 0.05
        found_alone += compare(values({"A": one, "B": other})).rows.iloc[0]["p"] < 0.05
    assert row["test"] == "permutation"
    assert covered >= 70
    assert found_clustered <= 9
    assert found_alone > 1.5 * found_clustered


def test_false_discoveries_are_controlled_over_tasks() -> None:
    """Lost otherwise: of forty tasks on which nothing differs, two are announced."""
    rng = np.random.default_rng(2)
    frames = [
        values({name: (rng.random(200) < 0.5).astype(float) for name in "AB"}, task=f"null{number}")
        for number in range(40)
    ]
    better = np.r_[np.ones(150), np.zeros(50)]
    frames.append(values({"A": np.r_[np.ones(90), np.zeros(110)], "B": better}, task="real"))
    rows = compare(pd.concat(frames, ignore_index=True)).rows.set_index("task")
    assert (rows["p"] < 0.05).sum() >= 2, "some of forty null tasks are below 0.05 by luck"
    assert list(rows.index[rows["differs"]]) == ["real"]
    assert (rows["q"] >= rows["p"]).all()


def test_models_that_agree_on_all_items_are_not_certain_to_be_equal() -> None:
    """Lost otherwise: ten items on which two models agree are told as a difference of 0 [0, 0]."""
    row = compare(values({"A": np.ones(10), "B": np.ones(10)})).rows.iloc[0]
    assert row["difference"] == 0
    assert row["low"] < -0.05
    assert row["high"] > 0.05
    assert row["p"] == 1


def test_values_that_are_no_right_or_wrong_are_permuted_and_do_not_flip() -> None:
    """Lost otherwise: a Brier score is tested as if it were an accuracy."""
    rng = np.random.default_rng(3)
    one = rng.random(50)
    found = compare(values({"A": one, "B": one + 0.1}, metric="brier"))
    (row,) = found.rows.to_dict("records")
    assert (row["test"], row["gained"]) == ("permutation", None)
    assert row["p"] == pytest.approx(1e-4, rel=0.5)
    assert found.flips is not None
    assert found.flips.empty


def test_items_of_one_model_only_are_left_out_and_counted() -> None:
    """Lost otherwise: a model that could not answer a question is compared on other questions."""
    frame = values({"A": np.ones(20), "B": np.zeros(20)})
    frame.loc[frame.index[-3:], "value"] = np.nan
    row = compare(frame[1:]).rows.iloc[0]
    assert (row["n_items"], row["left_out"]) == (16, 4)
    with pytest.raises(OnsetError, match="no item in common"):
        compare(pd.concat([values({"A": np.ones(3)}, task="s"), values({"B": np.ones(3)}, task="t")]))
    with pytest.raises(OnsetError, match="an item stands twice"):
        compare(pd.concat([frame, frame]))
    with pytest.raises(OnsetError, match="1 models are given"):
        compare(values({"A": np.ones(3)}))
