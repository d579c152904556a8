"""The table of the verdict: each cut-off decides what it says, and each sentence is true of its evidence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from onset.stats.curve.decision import ABILITY, SMOOTH, THRESHOLD, Evidence, checks, decide, e_bh

CLEAR = Evidence(
    chance=0.25, unit="nats/token", log_bf_ability=50.0, log_bf_threshold=5.0, upper_bound=0.6, upper_score=0.7,
    onset=(2.55, 2.5, 2.6), threshold=(2.6, 2.57, 2.63), rise_span=0.9, losses=(1.7, 4.0), n_runs=4,
    checkpoints=(30, 20), runs=(4, 4), clear_of_chance=20.0, clear_runs=4, without_run=(20.0, 3.0),
    decisive_run="a", without_checkpoint=(30.0, 4.0),
)  # fmt: skip


def test_a_clear_threshold() -> None:
    assert decide(CLEAR).verdict == "emergent"
    assert decide(CLEAR).failed == ()


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"log_bf_threshold": THRESHOLD - 0.01}, "inconclusive"),
        ({"log_bf_threshold": -0.01}, "inconclusive"),
        ({"log_bf_threshold": SMOOTH + 0.01}, "inconclusive"),
        ({"log_bf_threshold": SMOOTH}, "smooth"),
        ({"from_the_start": True}, "smooth"),
        ({"floor": 0.3}, "inconclusive"),
        ({"floor": 0.2, "below_chance": True}, "inconclusive"),
        ({"floor": 0.2, "below_chance": True, "log_bf_threshold": -3.0}, "smooth"),
        ({"floor": 0.2, "below_chance": True, "reaches": False}, "inconclusive"),
        ({"floor": 0.2, "below_chance": True, "reaches": False, "upper_bound": 0.09}, "at_chance"),
        ({"floor": 0.2, "below_chance": True, "reaches": False, "end_bound": 0.09, "end_score": 0.3}, "at_chance"),
        ({"chance": None}, "inconclusive"),
        ({"log_bf_ability": ABILITY - 0.01}, "inconclusive"),
        ({"log_bf_ability": -1.0, "upper_bound": 0.05}, "at_chance"),
        ({"log_bf_ability": -1.0, "upper_bound": 0.2}, "inconclusive"),
        ({"log_bf_ability": -1.0, "upper_bound": 0.05, "runs_above_chance": ("a",)}, "inconclusive"),
    ],
)
def test_every_row_of_the_table(change: dict[str, object], verdict: str) -> None:
    """A verdict that does not follow from its table could not be reviewed."""
    assert decide(replace(CLEAR, **change)).verdict == verdict  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"checkpoints": (2, 20)}, "above it"),
        ({"checkpoints": (30, 2)}, "below it"),
        ({"clear_of_chance": 1.0}, "choice of the items"),
        ({"level_errors": 2.6}, "exceed chance as well"),
        ({"clear_runs": 1}, "one run alone is above chance"),
        ({"runs": (1, 4)}, "one run alone was seen above"),
        ({"without_run": (20.0, -2.0)}, "the run a alone decides"),
        ({"without_checkpoint": (30.0, -0.5)}, "one checkpoint alone decides"),
        ({"threshold": (2.6, 2.3, 2.8)}, "interval covers half"),
        ({"threshold": (2.6, 2.3, 2.8), "onset_by_run": (("a", 2.3), ("b", 2.8))}, "too far apart for one threshold"),
    ],
)
def test_every_check_turns_a_claim_into_inconclusive(change: dict[str, object], said: str) -> None:
    """One run, one checkpoint or a vague place must never be reported as a threshold."""
    evidence = replace(CLEAR, **change)  # type: ignore[arg-type]
    assert said in checks(evidence)[0]
    found = decide(evidence)
    assert found.verdict == "inconclusive"
    assert found.failed


def test_one_run_is_not_asked_for_a_second_but_says_so() -> None:
    found = decide(replace(CLEAR, n_runs=1, runs=(1, 1), clear_runs=1, without_run=None))
    assert found.verdict == "emergent"
    assert "cannot be told apart" in found.why


def test_below_chance_is_never_called_at_chance() -> None:
    assert decide(replace(CLEAR, below_chance=True)).why.startswith("At or below chance")


def test_many_looks_ask_for_more() -> None:
    """Sixty curves looked at must not give three thresholds by luck: e-BH asks more of each the more there are."""
    weak, strong = math.log(25), math.log(2000)
    assert e_bh([weak]) == (True,)
    assert e_bh([weak, strong, *[0.0] * 58]) == (False, True, *[False] * 58)
    assert e_bh([]) == ()


def test_an_interval_that_ends_at_the_losses_fitted_is_told_as_open() -> None:
    """Lost: '[1.3, 1.51]' for an onset that may lie at any loss above 1.51."""
    told = {
        (2.0, 1.9, 2.1): "below 2 [1.9, 2.1]", (2.0, 1.9, 3.0): "below 2 [1.9, 3 or above],",
        (1.2, 1.0, 1.3): "below 1.2 [1 or below, 1.3]", (3.0, 2.5, 3.0): "already, at or above 3 [2.5 or above],",
        (3.0, 3.0, 3.0): "already, at or above 3,", (1.0, 1.0, 1.2): "alone, at or below 1 [1.2 or below],",
    }  # fmt: skip
    for onset, words in told.items():
        assert words in decide(replace(CLEAR, onset=onset, losses=(1.0, 3.0), log_bf_threshold=-3.0, width=0.05)).why
