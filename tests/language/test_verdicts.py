"""Every reason that a verdict can have is there in Chinese."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from onset import language
from onset.language import sentences
from onset.stats.curve.decision import Evidence, decide

PLAIN = Evidence(
    chance=0.25, unit="nats", log_bf_ability=9.0, log_bf_threshold=3.0, upper_bound=0.05, upper_score=0.3,
    end_bound=0.2, end_score=0.3, onset=(2.0, 1.9, 2.1), threshold=(2.0, 1.9, 2.1), width=0.05, rise_span=1.0,
    losses=(1.0, 3.0), n_runs=3, checkpoints=(9, 9), runs=(3, 3), clear_of_chance=9.0, clear_runs=3,
    without_run=(5.0, 3.0), decisive_run="m", without_checkpoint=(5.0, 3.0),
)  # fmt: skip
WIDE = (2.0, 1.0, 2.9)
BELOW: dict[str, Any] = {"floor": 0.2, "below_chance": True}
OPEN: list[dict[str, Any]] = [
    {"log_bf_threshold": factor, "onset": onset}
    for factor in (-3.0, 0.0)
    for onset in ((3.0, 3.0, 3.0), (3.0, 2.5, 3.0), (2.0, 1.9, 3.0), (1.2, 1.0, 3.0), (1.0, 1.0, 1.2), (1.0, 1.0, 1.0))
]
WITHOUT: dict[str, Any] = {"log_bf_ability": -2.0}


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"threshold": (2.0, 1.0, 2.1)}, {"threshold": (2.0, 1.9, 3.0)}, *OPEN,
        {"n_runs": 1}, {"below_chance": True}, {"from_the_start": True}, {"log_bf_threshold": -3.0},
        {"log_bf_threshold": -3.0, "onset": None}, {"log_bf_threshold": 0.0}, {"log_bf_threshold": 0.0, "onset": None},
        {"checkpoints": (9, 1)}, {"checkpoints": (1, 9)}, {"level_errors": 3.0}, {"clear_of_chance": 1.0},
        {"runs": (3, 1)}, {"runs": (1, 3)}, {"without_run": (5.0, -3.0)}, {"without_checkpoint": (5.0, -3.0)},
        {"threshold": WIDE}, {"threshold": WIDE, "onset_by_run": (("a", 1.0), ("b", 2.9))},
        {"threshold": None, "clear_of_chance": 1.0}, {"chance": None}, {"chance": None, "log_bf_threshold": -3.0},
        {"floor": 0.3}, BELOW, {"floor": 0.3, "log_bf_threshold": -3.0}, {**BELOW, "log_bf_threshold": -3.0},
        {"floor": 0.3, "threshold": None}, {**BELOW, "reaches": False}, {**BELOW, "reaches": False, "upper_bound": 0.5},
        {**WITHOUT, "chance": None}, {**WITHOUT, "floor": 0.3}, {**WITHOUT, "runs_above_chance": ("a", "b")},
        {**WITHOUT, "runs_above_chance": ("a", "b", "c"), "n_runs": 3}, WITHOUT, {**WITHOUT, "below_chance": True},
        {**WITHOUT, "upper_bound": 0.5},
    ],
)  # fmt: skip
def test_every_reason_is_written_in_chinese(changes: dict[str, Any]) -> None:
    """Lost: a Chinese page whose reasons fall back to English, whole or by a clause."""
    why = decide(replace(PLAIN, **changes)).why
    with language.use("zh"):
        assert not sentences.untranslated(why)
        assert not re.search(r"[A-Za-z]{5,}", sentences.told(why)), why
