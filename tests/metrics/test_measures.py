"""Metrics: wrong arithmetic here is a wrong claim in every figure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onset.errors import OnsetError
from onset.metrics.measures import METRICS, item_values, measure


def rows_of(items: list[dict[str, Any]], *, run: str = "r", step: int = 0, task: str = "t") -> pd.DataFrame:
    """Item rows; each item gives ``logprobs`` and ``gold``, or ``correct`` for a free answer."""
    rows = []
    for number, item in enumerate(items):
        logprobs = item["logprobs"]
        sizes = item.get("bytes", [4] * len(logprobs))
        for choice, logprob in enumerate(logprobs):
            rows.append(
                {
                    "run": run, "step": step, "task": task, "digest": "d", "item": item.get("id", f"i{number}"),
                    "choice": choice, "gold": choice == item.get("gold", 0), "logprob": logprob,
                    "logprob_uncond": item.get("uncond", [None] * len(logprobs))[choice], "tokens": 2,
                    "bytes": sizes[choice], "text": None, "correct": item.get("correct"),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def score(frame: pd.DataFrame, metric: str, column: str = "score") -> float:
    found = measure(frame, [metric])
    assert len(found) == 1
    return float(found[column].iloc[0])


# Scores ------------------------------------------------------------------------------------------------------------


def test_worked_example_by_hand() -> None:
    """A reader could not trust any score that they can check with a pencil."""
    frame = rows_of([{"logprobs": [math.log(0.6), math.log(0.2)], "gold": 1, "bytes": [3, 4]}])
    assert score(frame, "accuracy") == 0.0
    assert score(frame, "correct_choice_prob") == pytest.approx(0.25)
    assert score(frame, "brier") == pytest.approx(0.75**2 * 2)
    assert score(frame, "choice_log_loss") == pytest.approx(math.log(4))
    assert score(frame, "gold_bits_per_byte") == pytest.approx(math.log2(5) / 4)


def test_brier_of_the_paper() -> None:
    """Uniform over four choices is 0.75 and a sure wrong answer is 2: the paper's reading of the Brier score."""
    uniform = rows_of([{"logprobs": [-3.0] * 4, "gold": 2}])
    sure = rows_of([{"logprobs": [0.0, -800.0, -800.0, -800.0], "gold": 2}])
    assert score(uniform, "brier") == pytest.approx(0.75)
    assert score(sure, "brier") == pytest.approx(2.0)
    always_first = rows_of([{"logprobs": [0.0, -800.0, -800.0, -800.0], "gold": gold} for gold in range(4)])
    assert score(always_first, "brier") == pytest.approx(1.5)


def test_probabilities_do_not_underflow() -> None:
    """Long continuations have log-probabilities far below what exp can hold; their scores must stay exact."""
    frame = rows_of([{"logprobs": [-5000.0, -5001.0], "gold": 0}])
    assert score(frame, "correct_choice_prob") == pytest.approx(1 / (1 + math.exp(-1)))


def test_ties_count_in_part() -> None:
    """A model that cannot tell the choices apart would score 1 or 0 by the order of the file."""
    frame = rows_of([{"logprobs": [-1.0, -1.0, -2.0], "gold": 1}, {"logprobs": [-1.0, -1.0, -2.0], "gold": 2}])
    assert score(frame, "accuracy") == pytest.approx(0.25)


def test_normalised_accuracies() -> None:
    """Length and bare-prompt normalisation can change the answer; each must use its own numbers."""
    frame = rows_of([{"logprobs": [-4.0, -6.0], "gold": 1, "bytes": [2, 6], "uncond": [-1.0, -9.0]}])
    assert score(frame, "accuracy") == 0.0
    assert score(frame, "accuracy_per_byte") == 1.0
    assert score(frame, "accuracy_unconditional") == 1.0


def test_free_answers_have_exact_match_and_bits_only() -> None:
    """A free answer has no choices: accuracy or Brier of it would be made up."""
    frame = rows_of([{"logprobs": [-8.0], "correct": True}, {"logprobs": [-2.0], "correct": False}])
    found = measure(frame).set_index("metric")
    assert list(found.index) == ["exact_match", "gold_bits_per_byte"]
    assert found.loc["exact_match", "score"] == 0.5
    assert found.loc["exact_match", "chance"] == 0.0
    assert found.loc["gold_bits_per_byte", "score"] == pytest.approx(10 / 2 / 4 / math.log(2))
    assert math.isnan(found.loc["gold_bits_per_byte", "chance"])


def test_choices_have_no_exact_match() -> None:
    """Exact match of choice items would be a column of zeros."""
    frame = rows_of([{"logprobs": [-1.0, -2.0]}])
    assert list(measure(frame)["metric"]) == [
        "accuracy", "correct_choice_prob", "brier", "choice_log_loss", "gold_bits_per_byte"
    ]  # fmt: skip


def test_bare_prompt_metric_only_when_it_was_asked() -> None:
    """A metric without its numbers must be absent, not zero."""
    assert measure(rows_of([{"logprobs": [-1.0, -2.0]}]), ["accuracy_unconditional"]).empty


# Chance ------------------------------------------------------------------------------------------------------------


def test_chance_is_exact_for_items_with_different_numbers_of_choices() -> None:
    """C3 has two to four choices; a chance of 1/4 would call guessing an ability."""
    frame = rows_of([{"logprobs": [-1.0] * k, "bytes": [k + c for c in range(k)]} for k in (2, 3, 4)])
    assert score(frame, "accuracy", "chance") == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert score(frame, "correct_choice_prob", "chance") == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 3)
    assert score(frame, "brier", "chance") == pytest.approx((1 / 2 + 2 / 3 + 3 / 4) / 3)
    assert score(frame, "choice_log_loss", "chance") == pytest.approx(math.log(24) / 3)


@pytest.mark.parametrize("metric", ["accuracy", "correct_choice_prob", "brier", "choice_log_loss"])
def test_a_model_that_cannot_tell_scores_chance(metric: str) -> None:
    """Score and chance of the same predictor must agree, or a threshold appears where nothing is."""
    frame = rows_of([{"logprobs": [-2.0] * k, "gold": k // 2} for k in (2, 3, 3, 4, 5)])
    assert score(frame, metric) == pytest.approx(score(frame, metric, "chance"))


def letters(golds: list[int], *, fixed: bool = True) -> pd.DataFrame:
    sizes = [2, 2, 2, 2]
    return rows_of(
        [
            {"logprobs": [-1.0, -2.0, -3.0, -4.0], "gold": gold, "bytes": sizes if fixed else [n % 7 + 2, 3, 4, 5]}
            for n, gold in enumerate(golds)
        ]
    )


def test_chance_knows_unbalanced_labels() -> None:
    """Where D is right half the time, always saying D is no ability: it must not beat chance."""
    golds = [3] * 100 + [0] * 40 + [1] * 30 + [2] * 30
    share = np.array([0.2, 0.15, 0.15, 0.5])
    assert score(letters(golds), "accuracy", "chance") == pytest.approx(0.5)
    assert score(letters(golds), "brier", "chance") == pytest.approx(1 - (share**2).sum())
    assert score(letters(golds), "choice_log_loss", "chance") == pytest.approx(-(share * np.log(share)).sum())


def test_chance_is_uniform_for_nearly_balanced_labels() -> None:
    """The luck of a sample must not move the chance level."""
    assert score(letters([0] * 55 + [1] * 45 + [2] * 50 + [3] * 50), "accuracy", "chance") == 0.25


def test_place_of_the_right_choice_does_not_count_where_texts_differ() -> None:
    """Files that list the right choice first would get a chance of 1, though no model sees the order."""
    assert score(letters([0] * 200, fixed=False), "accuracy", "chance") == 0.25


# Standard errors ---------------------------------------------------------------------------------------------------


def test_standard_error_of_a_share() -> None:
    """Error bars of accuracy are the binomial ones."""
    frame = rows_of([{"logprobs": [-1.0, -2.0], "gold": int(n >= 60)} for n in range(200)])
    assert score(frame, "accuracy", "stderr") == pytest.approx(math.sqrt(0.3 * 0.7 / 199))


@pytest.mark.parametrize("gold", [0, 1])
def test_no_certainty_from_items_that_all_agree(gold: int) -> None:
    """0 of 50 right has no sampling variance; a zero error would give that point infinite weight in a fit."""
    frame = rows_of([{"logprobs": [-1.0, -2.0], "gold": gold} for _ in range(50)])
    expected = math.sqrt(0.5 * 50.5 / (51**2 * 52))
    assert score(frame, "accuracy", "stderr") == pytest.approx(expected)
    for metric in ("correct_choice_prob", "brier", "choice_log_loss", "gold_bits_per_byte"):
        assert score(frame, metric, "stderr") > 0


def test_standard_error_of_a_mean() -> None:
    """Error bars of continuous metrics are s / sqrt(n)."""
    logprobs = [-1.0, -2.0, -4.0, -8.0]
    frame = rows_of([{"logprobs": [value], "correct": True} for value in logprobs])
    bits = -np.array(logprobs) / 4 / math.log(2)
    assert score(frame, "gold_bits_per_byte", "stderr") == pytest.approx(bits.std(ddof=1) / 2)


def test_one_item_of_an_unbounded_metric_has_no_error() -> None:
    """Nothing is known of the spread from one item."""
    frame = rows_of([{"logprobs": [-1.0], "correct": True}])
    assert math.isnan(score(frame, "gold_bits_per_byte", "stderr"))
    assert score(frame, "exact_match", "stderr") > 0


# Missing and bad rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [None, math.nan, -math.inf, math.inf])
def test_an_item_without_a_number_is_left_out_and_counted(bad: float | None) -> None:
    """A failed item scored as wrong lowers every later claim; one silently dropped hides a failure."""
    frame = rows_of([{"logprobs": [-1.0, -2.0]}, {"logprobs": [-1.0, bad], "gold": 1}])
    found = measure(frame, ["accuracy"]).iloc[0]
    assert (found["score"], found["n_examples"], found["left_out"]) == (1.0, 1, 1)


def test_a_group_without_any_number_has_no_row() -> None:
    """A checkpoint whose logits are all NaN would appear with a score."""
    frame = pd.concat([rows_of([{"logprobs": [math.nan, math.nan]}]), rows_of([{"logprobs": [-1.0, -2.0]}], step=5)])
    assert list(measure(frame, ["accuracy"])["step"]) == [5]


def test_answers_that_were_not_generated_are_left_out() -> None:
    """Exact match over answers that were never asked would be zero."""
    frame = rows_of([{"logprobs": [-1.0], "correct": None}, {"logprobs": [-1.0], "correct": True}])
    found = measure(frame, ["exact_match"]).iloc[0]
    assert (found["score"], found["n_examples"], found["left_out"]) == (1.0, 1, 1)
    assert measure(rows_of([{"logprobs": [-1.0], "correct": None}]), ["exact_match"]).empty


def test_bad_gold_is_one_error_that_names_the_item() -> None:
    """An item with no right choice scores 0 for ever, and nobody finds it."""
    with pytest.raises(OnsetError, match="1 items have not exactly one right choice") as caught:
        measure(rows_of([{"logprobs": [-1.0, -2.0]}, {"logprobs": [-1.0, -2.0], "gold": 7, "id": "odd"}]))
    assert "item 'odd' of task 't', run 'r', step 0" in str(caught.value)


def test_two_right_choices_are_an_error() -> None:
    """Two golds in one item and none in another must not cancel out."""
    frame = rows_of([{"logprobs": [-1.0, -2.0]}, {"logprobs": [-1.0, -2.0]}])
    frame["gold"] = [True, True, False, False]
    with pytest.raises(OnsetError, match="exactly one right choice"):
        measure(frame)


def test_a_choice_that_is_missing_or_doubled_is_an_error() -> None:
    """Half-written or doubled parts would give scores over fewer or more choices."""
    frame = rows_of([{"logprobs": [-1.0, -2.0, -3.0]}])
    for broken in (frame.drop(index=1), pd.concat([frame, frame.iloc[:1]])):
        with pytest.raises(OnsetError, match="a choice twice or missing"):
            measure(broken)
    with pytest.raises(OnsetError, match="have one choice"):
        measure(pd.concat([frame, rows_of([{"logprobs": [-1.0], "id": "alone"}])]))


def test_scores_of_two_prompts_are_not_pooled() -> None:
    """Rows of an older prompt beside those of a new one would be averaged into a score of neither."""
    frame = rows_of([{"logprobs": [-1.0, -2.0]}, {"logprobs": [-1.0, -2.0]}])
    frame.loc[frame["item"] == "i1", "digest"] = "other"
    with pytest.raises(OnsetError, match="scored in two forms"):
        measure(frame)


def test_a_missing_column_and_an_unknown_metric_say_so() -> None:
    """A typing error must not end in a traceback."""
    frame = rows_of([{"logprobs": [-1.0, -2.0]}])
    with pytest.raises(OnsetError, match="no column 'logprob'"):
        measure(frame.drop(columns="logprob"))
    with pytest.raises(OnsetError) as caught:
        measure(frame, ["acuracy"])
    assert "did you mean 'accuracy'" in str(caught.value)


def test_no_rows_give_an_empty_table_with_the_columns() -> None:
    """A study that has just begun is analysed too."""
    found = measure(rows_of([{"logprobs": [-1.0, -2.0]}]).iloc[:0])
    assert found.empty
    assert {"run", "step", "task", "metric", "score", "stderr", "chance", "n_examples"} <= set(found.columns)


# Groups ------------------------------------------------------------------------------------------------------------


def test_groups_and_order_do_not_mix() -> None:
    """Rows come from many parts in any order; each (run, step, task) must keep its own."""
    parts = [
        rows_of([{"logprobs": [-1.0, -2.0], "gold": int(number == 0)}], run=run, step=step, task=task)
        for number, (run, step, task) in enumerate((r, s, t) for r in "ab" for s in (10, 2) for t in ("x", "y"))
    ]
    together = pd.concat(parts).sample(frac=1, random_state=1)
    found = measure(together, ["accuracy"]).set_index(["run", "step", "task"])["score"]
    for part in parts:
        key = (part["run"].iloc[0], part["step"].iloc[0], part["task"].iloc[0])
        assert found[key] == score(part, "accuracy")


def test_rows_read_back_from_parquet_measure_the_same(tmp_path: Any) -> None:
    """Types change on the way through a part: nullable booleans and strings must still be read."""
    from onset.store.parts import ITEMS, read_part, write_part

    frame = pd.concat(
        [
            rows_of([{"logprobs": [-1.0, None]}, {"logprobs": [-3.0, -2.0]}]),
            rows_of([{"logprobs": [-1.0], "correct": True}, {"logprobs": [-1.0], "correct": None}], task="open"),
        ],
        ignore_index=True,
    )
    write_part(tmp_path / "part.parquet", frame.to_dict("records"), ITEMS)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(measure(read_part(tmp_path / "part.parquet")), measure(frame), check_dtype=False)


def test_item_values_average_to_the_score() -> None:
    """Bootstraps over items would disagree with the point that they surround."""
    frame = rows_of([{"logprobs": [-1.0, -2.0, -1.5], "gold": n % 3} for n in range(7)])
    for name in ("accuracy", "brier", "choice_log_loss"):
        assert item_values(frame, name)["value"].mean() == pytest.approx(score(frame, name))


@given(
    st.lists(st.tuples(st.lists(st.floats(-50, 0), min_size=2, max_size=5), st.integers(0, 4)), min_size=1, max_size=12)
)
@settings(max_examples=30, deadline=None)
def test_agrees_with_the_plain_way(items: list[tuple[list[float], int]]) -> None:
    """The fast way over many groups must equal one item at a time, for any numbers of choices."""
    frame = rows_of([{"logprobs": logprobs, "gold": gold % len(logprobs)} for logprobs, gold in items])
    brier, loss = [], []
    for logprobs, gold in items:
        weights = np.exp(np.array(logprobs) - max(logprobs))
        p, y = weights / weights.sum(), np.eye(len(logprobs))[gold % len(logprobs)]
        brier.append(((y - p) ** 2).sum())
        loss.append(-np.log(p[gold % len(logprobs)]))
    assert score(frame, "brier") == pytest.approx(np.mean(brier), abs=1e-9)
    assert score(frame, "choice_log_loss") == pytest.approx(np.mean(loss), abs=1e-9)


def test_names_that_others_read() -> None:
    """Figures, findings and adapters look these names up."""
    wanted = {"accuracy", "exact_match", "correct_choice_prob", "brier", "choice_log_loss", "gold_bits_per_byte",
              "pass@1", "coverage"}  # fmt: skip
    assert {name for name, metric in METRICS.items() if metric.usual} == wanted
    assert all(name == metric.name and metric.info.label for name, metric in METRICS.items())
    lower = {"brier", "choice_log_loss", "gold_bits_per_byte"}
    assert {name for name, metric in METRICS.items() if metric.info.direction == "lower"} == lower
