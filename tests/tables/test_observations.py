"""What a table may be, and what is refused before anything is computed from it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.tables import observations

Make = Callable[..., pd.DataFrame]


def saved(frame: pd.DataFrame, folder: Path, name: str = "table.csv") -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.parquet"])
def test_a_table_reads_the_same_in_every_form(table: Make, tmp_path: Path, name: str) -> None:
    """Results would depend on how a table was saved."""
    frame = observations.read(saved(table(), tmp_path, name))
    pd.testing.assert_frame_equal(frame, observations.check(table()))
    assert list(frame.columns) == list(observations.COLUMNS)
    assert frame.params.dtype == "int64"
    assert frame.stderr.isna().all()  # missing is missing
    assert frame.attrs["notes"] == []


def test_only_the_needed_columns_are_needed(table: Make) -> None:
    """A user with a minimal table would be turned away."""
    frame = observations.check(table()[list(observations.NEEDED)])
    assert set(frame.loss_name) == {"loss"}
    assert frame.chance.isna().all()
    assert set(frame.direction) == {"higher"}


def test_a_missing_column_is_named_with_the_nearest(table: Make, tmp_path: Path) -> None:
    path = saved(table().rename(columns={"tokens": "token"}), tmp_path)
    with pytest.raises(OnsetError, match="lacks the column tokens") as caught:
        observations.read(path)
    assert "'token'" in str(caught.value)
    assert str(path) in str(caught.value)


def with_(frame: pd.DataFrame, row: int, **values: object) -> pd.DataFrame:
    changed = frame.copy()
    for column, value in values.items():
        changed[column] = changed[column].astype(object)
        changed.loc[row, column] = value
    return changed


CONTRADICTIONS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], list[int], str]] = {
    "a negative loss": (lambda t: with_(t, 4, loss=-2.0), [6], "loss -2"),
    "a loss of zero": (lambda t: with_(t, 4, loss=0.0), [6], "loss 0"),
    "a loss that is no number": (lambda t: with_(t, 4, loss="nan"), [6], "loss 'nan' is not a number"),
    "an infinite loss": (lambda t: with_(t, 4, loss="inf"), [6], "loss inf"),
    "a loss that rises fivefold": (lambda t: with_(t, 4, loss=15.0), [6], "rise 5-fold"),
    "a loss five times too low": (lambda t: with_(t, 4, loss=0.3), [6], "rise 5-fold"),
    "a score above one": (lambda t: with_(t, 4, score=1.3), [6], "looks like a percentage"),
    "a percentage among fractions": (lambda t: with_(t, 4, score=27.0), [6], "looks like a percentage"),
    "a negative score": (lambda t: with_(t, 4, score=-0.1), [6], "outside the range of metric 'acc'"),
    "a score that is text": (lambda t: with_(t, 4, score="25 %"), [6], "score '25 %' is not a number"),
    "negative params": (lambda t: with_(t, 4, params=-5), [6], "params -5"),
    "negative tokens": (lambda t: with_(t, 4, tokens=-5), [6], "tokens -5"),
    "a run with two sizes": (lambda t: with_(t, 4, params=99), [6], "two sizes"),
    "duplicates that disagree": (
        lambda t: pd.concat([t, t.iloc[[4]].assign(score=0.9)]), [6, 26], "two scores"
    ),
    "a task with two chance levels": (lambda t: with_(t, 4, chance=0.5), [6], "two chance levels"),
    "a chance level out of range": (lambda t: with_(t, 4, chance=-0.5), [6], "chance -0.5"),
    "no examples": (lambda t: with_(t, 4, n_examples=0), [6], "n_examples 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_named_by_line_and_never_averaged(table: Make, tmp_path: Path, name: str) -> None:
    """A wrong row would move a threshold without a word."""
    spoil, lines, reason = CONTRADICTIONS[name]
    path = saved(spoil(table()), tmp_path)
    with pytest.raises(OnsetError) as caught:
        observations.read(path)
    message = str(caught.value)
    assert reason in message
    for line in lines:
        assert f"line {line}:" in message
    kept, rejected = observations.sift(path)
    assert rejected.row.tolist() == [f"line {line}" for line in lines]
    assert rejected.reason.str.contains(reason, regex=False).all()
    assert len(kept) + len(rejected) == len(spoil(table()))
    assert any("set aside" in note for note in kept.attrs["notes"])
    pd.testing.assert_frame_equal(observations.read(path, set_aside=True), kept)


def test_many_contradictions_are_one_error_that_counts_them(table: Make) -> None:
    with pytest.raises(OnsetError, match=r"24 rows contradict themselves.*and 16 more"):
        observations.check(table().assign(loss=-1.0))


def test_a_table_of_percentages_is_read_as_fractions(table: Make) -> None:
    """Published percentages are no contradiction; mixing the two is."""
    percent = table()
    percent["score"] *= 100
    frame = observations.check(percent)
    np.testing.assert_allclose(frame.score, table().score)
    assert "percent" in frame.attrs["notes"][0]
    percent.loc[3, "score"] /= 100
    with pytest.raises(OnsetError, match=r"row 4: score 0\.2\d* looks like a fraction"):
        observations.check(percent)


def test_small_percentages_of_a_free_answer_are_believed(table: Make) -> None:
    """A task that is solved in 0.3 % of cases must not be taken for one given in fractions."""
    percent = table().assign(chance=0.0)
    percent["score"] = 40.0 * (2.9 - percent.loss).clip(0) ** 3
    percent.loc[percent.loss > 2.7, "score"] = 0.3
    assert observations.check(percent).score.min() == pytest.approx(0.003)


def test_exact_repeats_are_dropped_and_counted(table: Make) -> None:
    frame = observations.check(pd.concat([table(), table().head(3)]))
    assert len(frame) == len(table())
    assert frame.attrs["notes"] == ["rows that repeat another exactly, left out: 3"]


def test_a_missing_score_is_no_zero(table: Make, tmp_path: Path) -> None:
    """A checkpoint that was not scored would count as one that failed."""
    frame = observations.read(saved(with_(table(), 4, score=None), tmp_path))
    assert len(frame) == len(table()) - 1
    assert frame.attrs["notes"] == ["rows without a score, left out: 1"]


def test_models_before_their_first_step_are_left_out_and_counted() -> None:
    """Lost otherwise: a series that begins with its untrained weights has no place on a logarithm of tokens."""
    rows = pd.DataFrame(
        {"run": "a", "params": 10, "tokens": [0, 5, 9], "loss": [5.0, 4.0, 3.0], "task": "t", "metric": "accuracy",
         "score": [0.2, 0.3, 0.4]}
    )  # fmt: skip
    read = observations.check(rows)
    assert list(read.tokens) == [5, 9]
    assert "scores of models that had seen no token yet, left out: 1" in read.attrs["notes"]
    with pytest.raises(OnsetError, match="tokens is 0 throughout"):
        observations.check(rows.assign(tokens=0))


@pytest.mark.parametrize(
    ("metric", "score", "direction"),
    [("brier", 1.4, "lower"), ("choice_log_loss", 3.0, "lower"), ("gold_answer_ce", 9.0, "lower"),
     ("perplexity", 20.0, "lower"), ("gold_bits_per_byte", 1.1, "lower"), ("exact_match", 0.4, "higher"),
     ("acc_norm", 0.4, "higher"), ("correct_choice_prob", 0.4, "higher")],
)  # fmt: skip
def test_published_metrics_keep_their_name_and_know_their_direction(
    table: Make, metric: str, score: float, direction: str
) -> None:
    frame = observations.check(table().assign(metric=metric, score=score, chance=None))
    assert set(frame.metric) == {metric}
    assert set(frame.direction) == {direction}


def test_our_metrics_have_the_direction_that_they_say() -> None:
    """Two places that tell a metric's direction would drift apart."""
    from onset.metrics import info as scales
    from onset.metrics.measures import METRICS

    assert {name: scales.direction(name) for name in METRICS} == {n: m.info.direction for n, m in METRICS.items()}


def test_an_unknown_metric_says_what_was_taken_of_it(table: Make) -> None:
    frame = observations.check(table().assign(metric="zing"))
    assert "column 'direction'" in frame.attrs["notes"][0]
    told = observations.check(table().assign(metric="zing", direction="lower"))
    assert set(told.direction) == {"lower"}
    assert told.attrs["notes"] == []


def losses_beside(frame: pd.DataFrame, folder: Path, names: tuple[str, ...] = ("other",)) -> pd.DataFrame:
    places = frame[["run", "params", "tokens", "loss"]].drop_duplicates()
    made = pd.concat([places.assign(loss_name=name, loss=places.loss + 0.5) for name in names])
    made.to_csv(folder / "table.losses.csv.gz", index=False)
    return made


def test_a_loss_is_joined_from_the_table_beside(table: Make, tmp_path: Path) -> None:
    """Scores would stand at another checkpoint's loss."""
    path = saved(table(), tmp_path, "table.csv.gz")
    losses_beside(table(), tmp_path)
    frame = observations.read(path, "other")
    np.testing.assert_allclose(frame.loss, observations.check(table()).loss + 0.5)
    assert set(frame.loss_name) == {"other"}
    with pytest.raises(OnsetError, match="no loss 'othr'") as caught:
        observations.read(path, "othr")
    assert "'other'" in str(caught.value)


def test_a_checkpoint_without_a_loss_is_left_out_and_counted(table: Make, tmp_path: Path) -> None:
    path = saved(table(), tmp_path)
    losses = losses_beside(table(), tmp_path)
    losses.iloc[2:].to_csv(tmp_path / "table.losses.csv.gz", index=False)
    frame = observations.read(path, "other")
    assert len(frame) == len(table()) - 2
    assert frame.attrs["notes"] == ["observations without a loss 'other', which cannot be placed, left out: 2"]


def test_each_family_on_its_own_loss(table: Make, tmp_path: Path) -> None:
    """Without it nobody sees that models' own losses break the link between corpora."""
    second = table().assign(family="second", run=lambda t: t.run + "b", score=lambda t: t.score * 0.99)
    both = pd.concat([table(), second])
    path = saved(both, tmp_path)
    losses_beside(both, tmp_path, ("one", "two"))
    frame = observations.read(path, "made=one,second=two")
    assert len(frame) == len(both)
    assert set(frame.loss_name) == {"own loss"}
    with pytest.raises(OnsetError, match="no family 'thrid'"):
        observations.read(path, "made=one,thrid=two")


def test_steps_join_before_tokens(table: Make, tmp_path: Path) -> None:
    frame = table()
    frame["step"] = frame.tokens // 10**6
    path = saved(frame, tmp_path)
    losses = frame[["run", "step", "loss"]].drop_duplicates().assign(loss_name="other")
    losses.to_csv(tmp_path / "table.losses.csv", index=False)
    np.testing.assert_allclose(observations.read(path, "other").loss, frame.loss)


def test_a_table_cut_short_is_one_error(table: Make, tmp_path: Path) -> None:
    path = saved(table(checkpoints=200), tmp_path, "table.csv.gz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(OnsetError, match="cannot be read"):
        observations.read(path)
    parquet = saved(table(), tmp_path, "table.parquet")
    parquet.write_bytes(parquet.read_bytes()[:-20])
    with pytest.raises(OnsetError, match="cannot read"):
        observations.read(parquet)


def test_other_faults_of_files_are_one_error_each(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "latin.csv").write_bytes("run,größe\n1,2\n".encode("latin-1"))
    (tmp_path / "ragged.csv").write_text("run,loss\na,1\nb,1,2,3\n")
    (tmp_path / "header.csv").write_text(",".join(observations.NEEDED) + "\n")
    (tmp_path / "table.xlsx").write_text("x")
    with gzip.open(tmp_path / "plain.csv", "wt") as handle:
        handle.write("a,b\n")
    for name in ("empty.csv", "latin.csv", "ragged.csv", "header.csv", "table.xlsx", "plain.csv", "absent.csv"):
        with pytest.raises(OnsetError):
            observations.read(tmp_path / name)


@pytest.mark.parametrize(
    ("column", "value"),
    [("tokens", 1e19), ("tokens", 1e300), ("params", np.inf), ("n_examples", np.inf), ("stderr", np.inf)],
)
def test_counts_beyond_any_training_are_refused(table: Callable[..., pd.DataFrame], column: str, value: float) -> None:
    """A count that 64 bits do not hold came out negative, and an infinite one passed."""
    frame = table().astype({"tokens": float, "params": float, "n_examples": float}).assign(stderr=0.01)
    frame.loc[3, column] = value
    with pytest.raises(OnsetError, match=column):
        observations.check(frame)
