"""Without these a run would end before its rate has decayed, and its final losses would not be those of its budget."""

from __future__ import annotations

from itertools import pairwise

import pytest

from onset.study.spec import Schedule
from onset.train.schedule import rate


@pytest.mark.parametrize("kind", ["cosine", "wsd"])
@pytest.mark.parametrize("steps", [1, 2, 10, 999])
def test_the_last_step_is_at_the_floor_and_none_above_the_peak(kind: str, steps: int) -> None:
    schedule = Schedule(kind=kind, peak_rate=1e-2, warmup=0.1, final_ratio=0.1)  # type: ignore[arg-type]
    rates = [rate(schedule, step, steps) for step in range(steps)]
    assert rates[-1] == pytest.approx(1e-3)
    assert max(rates) <= 1e-2
    assert min(rates) > 0


def test_warm_up_rises_in_equal_steps_to_the_peak() -> None:
    schedule = Schedule(peak_rate=1.0, warmup=0.1)
    assert [rate(schedule, step, 100) for step in range(10)] == pytest.approx([(i + 1) / 10 for i in range(10)])


def test_cosine_is_halfway_in_the_middle() -> None:
    schedule = Schedule(peak_rate=1.0, warmup=0.0, final_ratio=0.0)
    assert rate(schedule, 49, 100) == pytest.approx(0.5)


def test_wsd_holds_the_peak_then_falls_linearly() -> None:
    """The stable part is what runs of one size share, so it must not depend on where a run ends."""
    schedule = Schedule(kind="wsd", peak_rate=1.0, warmup=0.1, decay=0.2, final_ratio=0.0)
    rates = [rate(schedule, step, 100) for step in range(100)]
    assert set(rates[10:80]) == {1.0}
    assert rates[80:] == pytest.approx([(19 - i) / 20 for i in range(20)])


def test_a_linear_schedule_falls_to_zero_and_a_constant_one_not_at_all() -> None:
    linear = Schedule(kind="linear", peak_rate=1.0, warmup=0.1)
    assert linear.final_ratio == 0.0
    rates = [rate(linear, step, 100) for step in range(100)]
    assert rates[9] == 1.0
    assert rates[-1] == 0.0
    falls = [before - after for before, after in pairwise(rates[9:])]
    assert max(falls) - min(falls) < 1e-12
    constant = [rate(Schedule(kind="constant", peak_rate=1.0, warmup=0.1), step, 100) for step in range(100)]
    assert constant[9:] == [1.0] * 91
