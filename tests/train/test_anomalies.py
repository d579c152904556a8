"""Without these a loss that leaps or a clock that jumps would go by unseen."""

from __future__ import annotations

import pytest

from onset.train import anomalies as watch
from onset.train.anomalies import Watch


def test_a_leap_is_told_once_where_it_begins() -> None:
    told: list[str] = []
    looking = Watch(told.append, [3.0 + 0.01 * (step % 3) for step in range(100)])
    for step, loss in enumerate([3.01, 6.5, 6.0, 3.0, 3.02], start=101):
        looking.see(step, loss)
    assert len(told) == 1
    assert "step 102" in told[0]
    assert "6.500" in told[0]


def test_a_loss_that_falls_or_wavers_is_no_leap() -> None:
    told: list[str] = []
    looking = Watch(told.append)
    for step in range(400):
        looking.see(step, 5.0 - 0.01 * step + 0.1 * (-1) ** step)
    assert told == []


def test_a_jump_of_the_clock_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    looking = Watch(told.append)
    real = watch.time.time
    monkeypatch.setattr(watch.time, "time", lambda: real() - 3600)
    looking.see(7, 3.0)
    looking.see(8, 3.0)
    assert len(told) == 1
    assert "-3600 s about step 7" in told[0]
