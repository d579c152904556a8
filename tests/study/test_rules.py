"""Without these a family would have rates that nobody can trace, or old studies would change under their digest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from onset.study import rules as tuning
from onset.study.choices import chosen
from onset.study.presets import preset
from onset.study.spec import Run, Schedule, Shape

SHAPE = Shape(layers=4, width=64, heads=4, kv_heads=2, hidden=176, context=128)


def run(**values: Any) -> Run:
    return Run.model_validate({"name": "r", "shape": SHAPE, "tokens": 10**6} | values)


def test_the_rule_by_hand() -> None:
    weights = 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 176)
    operations = (6 * weights + 12 * 4 * 64 * 128) * 20 * weights
    found = run(tuning="rule")
    assert found.schedule.peak_rate == pytest.approx(0.3118 * operations**-0.125, rel=1e-2)
    assert found.batch == round(0.2920 * operations**0.3271 / 128)


def test_the_published_fit_at_its_own_scale() -> None:
    assert tuning.peak_rate(1e20) == pytest.approx(9.86e-4, rel=1e-2)
    assert tuning.batch(1e20, 2048) == pytest.approx(1.02e6 / 2048, rel=0.02)


def test_what_is_stated_stays_and_the_records_tell_which() -> None:
    found = run(tuning="rule", batch=8, schedule={"kind": "wsd"})
    told = chosen(found)
    assert found.batch == 8
    assert found.schedule.kind == "wsd"
    assert told["batch"] == {"value": 8, "source": "given"}
    assert "2401.02954" in told["peak_rate"]["source"]
    assert chosen(run(batch=8))["peak_rate"]["source"] == "given"


def test_a_tuned_run_survives_being_written_and_read() -> None:
    found = run(tuning="rule", schedule="wsd")
    assert Run.model_validate(found.model_dump(mode="json")) == found


def test_wsd_in_one_word_warms_up_in_steps() -> None:
    assert run(schedule="wsd", batch=8).schedule == Schedule(kind="wsd", warmup_steps=40)


def test_later_fields_leave_the_digest_of_older_runs_alone() -> None:
    written = run(batch=8).model_dump(mode="json")
    assert not {"tuning", "initialisation", "skip"} & set(written)
    assert "warmup_steps" not in written["schedule"]
    study = preset("paper31")
    assert study.digest(study.runs[0])[:8] == "1141a5b3"


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValidationError, match="no room"):
        run(batch=8, tokens=8 * 128 * 45, schedule="wsd")
