"""Lost without these: tables as real labs have them, read as they were meant or asked about."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onset.errors import OnsetError
from onset.tables import observations
from onset.tables.observations import check

Make = Callable[..., pd.DataFrame]


def notes(frame: pd.DataFrame) -> list[str]:
    found: list[str] = frame.attrs["notes"]
    return found


@pytest.mark.parametrize(
    ("column", "what"), [("params", "parameters in the largest"), ("tokens", "tokens in the longest")]
)
@pytest.mark.parametrize("factor", [1e-6, 1e-9])
def test_counts_in_millions_or_billions_are_asked_about(table: Make, column: str, what: str, factor: float) -> None:
    """Lost: compute and forecasts a million times too small, without a word."""
    frame = table()
    (asked,) = notes(check(frame.assign(**{column: frame[column] * factor * (1 if factor > 1e-8 else 100)})))
    assert what in asked
    assert "multiply by 1e6" in asked
    assert notes(check(frame)) == []


@pytest.mark.parametrize(
    ("params", "tokens", "step"), [(230_000, 61_440, 30), (61_472, 61_440, 30), (2e6, 61_440, None)]
)
def test_small_trainings_are_not_asked_about(table: Make, params: float, tokens: float, step: float | None) -> None:
    """Lost: "61440 tokens ... millions?" over a first try of the user's own."""
    frame = table()
    share = frame.tokens / frame.tokens.max()
    small = frame.assign(params=params, tokens=tokens * share, step=None if step is None else step * share)
    assert notes(check(small)) == []


def test_sizes_in_millions_are_asked_about_beside_counted_tokens(table: Make) -> None:
    """Lost: models of 70,000 million parameters taken for ones of 70,000."""
    frame = table()
    millions = frame.assign(params=70_000, tokens=1.4e12 * frame.tokens / frame.tokens.max())
    millions["step"] = millions.tokens / 4e6
    (asked,) = notes(check(millions))
    assert "70000 parameters" in asked
    (asked,) = notes(check(millions.assign(params=7e10, tokens=millions.tokens / 1e6)))
    assert "tokens in the longest" in asked


def test_an_exact_copy_of_a_run_counts_once_and_is_told(table: Make) -> None:
    """Lost: the same evidence counted twice, and intervals too narrow."""
    frame = table()
    name = frame.run.iloc[0]
    copy = frame[frame.run == name].assign(run="again", family="other").sample(frac=1, random_state=0)
    read = check(pd.concat([frame, copy], ignore_index=True))
    assert len(read) == len(frame)
    assert f"run 'again' repeats run '{name}' in every number: it counts once" in notes(read)
    near = copy.assign(score=copy.score + 1e-4)
    assert len(check(pd.concat([frame, near], ignore_index=True))) == len(frame) + len(near)


def test_missing_values_contradict_nothing_and_are_counted_by_column(table: Make) -> None:
    """Lost: a table with a few gaps refused, its gaps called contradictions."""
    frame = table()
    frame.loc[[0, 1, 2], "loss"] = np.nan
    frame["tokens"] = frame.tokens.astype(float)
    frame.loc[[2, 3], "tokens"] = np.nan
    read = check(frame)
    assert len(read) == len(frame) - 4
    assert notes(read) == ["rows with a missing value, left out: 4 (loss 3, tokens 2)"]
    _, rejected = observations.sift(frame)
    assert rejected.reason.tolist()[2] == "tokens is missing; loss is missing"
    with pytest.raises(OnsetError, match="no row of the table has all needed values; missing: loss"):
        check(table().assign(loss=np.nan))


def test_sparse_logs_are_read_by_their_scored_rows(table: Make) -> None:
    """Lost: a log with a row a step and an evaluation every fourth, refused for "contradictions"."""
    frame = table()
    empty = frame.assign(score=np.nan, loss=np.nan)
    read = check(pd.concat([frame, empty], ignore_index=True))
    assert len(read) == len(frame)
    assert notes(read) == [f"rows without a score, left out: {len(frame)}"]


def exact_match(table: Make, scale: float) -> pd.DataFrame:
    """Accuracies in percent beside a hard task's exact match, of 0 to 0.99 % (or the same as fractions)."""
    right = table(("hard",)).assign(metric="exact_match", chance=np.nan)
    right["score"] = scale * 0.0099 * (2.9 - right.loss).clip(0, 1)
    percent = table()
    percent["score"] *= 100
    return pd.concat([percent, right], ignore_index=True)


def test_a_metric_of_less_than_one_percent_is_not_nearly_solved(table: Make) -> None:
    """Lost: an exact match of 0.99 %, read as 99 % of the items."""
    read = check(exact_match(table, 100.0))
    assert read.score[read.metric == "exact_match"].max() <= 0.0099
    assert any("'exact_match'" in note and "percent" in note for note in notes(read))


def test_counts_of_right_items_tell_fractions_from_percent(table: Make) -> None:
    frame = exact_match(table, 1.0)
    hard = frame.metric == "exact_match"
    counts = np.round(frame.score[hard] * 500)
    frame.loc[hard, "n_examples"] = 500
    frame.loc[hard, "score"] = counts / 500
    assert check(frame).score[hard].max() == pytest.approx(counts.max() / 500)


def test_a_fraction_like_its_neighbour_in_percent_stays_a_fraction(table: Make) -> None:
    """Lost: acc in percent beside acc_norm in fractions, the second divided by a hundred."""
    frame = table().assign(chance=np.nan)
    both = pd.concat([frame.assign(score=100 * frame.score), frame.assign(metric="acc_norm")], ignore_index=True)
    read = check(both)
    assert read.score[read.metric == "acc_norm"].tolist() == pytest.approx(frame.score.tolist())


def test_bleu_on_a_scale_of_a_hundred_is_a_fraction(table: Make) -> None:
    """Lost: a size effect of 126 "points" on a score that has only 100."""
    frame = table().assign(metric="bleu", chance=np.nan)
    frame["score"] *= 100
    read = check(frame)
    assert read.score.max() <= 1.0
    assert "percent" in notes(read)[0]


def test_bits_among_nats_are_asked_about(table: Make) -> None:
    """Lost: half of the models shifted along the loss by 44 %, and a threshold between them."""
    frame = table()
    twin = frame.assign(run=frame.run + "-bits", loss=frame.loss / math.log(2), score=frame.score * 0.99)
    assert any("bits" in note and "nats" in note for note in notes(check(pd.concat([frame, twin], ignore_index=True))))
    middle = frame.copy()
    late = middle.groupby("run").cumcount() >= 3
    middle.loc[late, "loss"] /= math.log(2)
    assert any("in the middle of the run" in note for note in notes(check(middle)))
    assert notes(check(frame)) == []


def test_a_spike_of_the_loss_is_no_change_of_unit(table: Make) -> None:
    """Lost: BigScience's tr12b, whose loss rose 1.39-fold at one checkpoint, suspected of bits."""
    frame = table()
    spike = frame.groupby("run").cumcount() == 3
    frame.loc[spike, "loss"] *= 1.4
    assert not any("bits" in note for note in notes(check(frame)))


def test_an_index_is_not_a_column_and_a_name_stands_once(table: Make) -> None:
    """Lost: "run has two sizes" for a frame whose runs are its index."""
    with pytest.raises(OnsetError, match="lacks the column run") as caught:
        check(table().set_index("run"))
    assert "run is in the index, not a column" in str(caught.value)
    frame = table()
    twice = pd.concat([frame, frame[["loss"]]], axis=1)
    with pytest.raises(OnsetError, match="several columns called loss"):
        check(twice)


def test_any_frame_will_do(table: Make) -> None:
    """Lost: Polars and Arrow users, and a dict typed by hand."""
    import pyarrow as pa

    frame = table()
    expected = check(frame)
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    for table_of in (arrow, frame.to_dict("list"), frame.to_dict("records")):
        pd.testing.assert_frame_equal(check(table_of), expected)
    polars = pytest.importorskip("polars", reason="polars is not installed (extra dev)")
    pd.testing.assert_frame_equal(check(polars.from_arrow(arrow)), expected)


@pytest.mark.parametrize("given", [3, "table", None, np.zeros(3)])
def test_what_is_no_table_is_one_clear_error(given: object) -> None:
    with pytest.raises(OnsetError, match=r"is no table|lacks the column"):
        check(given)


def test_a_chance_that_differs_by_missing_items_is_kept_and_told(table: Make) -> None:
    """Lost: one unscorable item in one checkpoint, and the analysis of all tasks stops."""
    frame = table()
    frame.loc[0, "chance"] = 0.2504
    read = check(frame)
    assert len(read) == len(frame)
    (note,) = notes(read)
    assert "from 0.25 to 0.2504" in note


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), percent=st.booleans(), gaps=st.integers(0, 3))
def test_reading_again_or_in_another_order_changes_nothing(seed: int, percent: bool, gaps: int) -> None:
    """Lost: findings that depend on the order of rows, or on how often a table was checked."""
    draw = np.random.default_rng(seed)
    loss = np.sort(draw.uniform(2, 4, 12))[::-1]
    frame = pd.DataFrame(
        {"run": np.repeat(["a", "b"], 6), "params": np.repeat([10**7, 10**8], 6),
         "tokens": np.tile(np.arange(1, 7), 2) * 10**9,
         "loss": loss, "task": "t", "metric": "acc", "score": draw.uniform(0.2, 0.9, 12), "chance": 0.25}
    )  # fmt: skip
    frame.loc[draw.choice(12, gaps, replace=False), "score"] = np.nan
    if percent:
        frame[["score", "chance"]] *= 100
    once = check(frame)
    assert ((once.score > 0.19) & (once.score < 0.91)).all()
    again = check(once)
    pd.testing.assert_frame_equal(again, once)
    assert notes(again) == notes(once)
    mixed = check(frame.sample(frac=1, random_state=seed))
    keys = ["run", "tokens"]
    pd.testing.assert_frame_equal(
        mixed.sort_values(keys, ignore_index=True), once.sort_values(keys, ignore_index=True), check_dtype=False
    )
