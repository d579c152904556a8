"""Without these a plan would promise hours that the trainer does not keep, or measure again at every call."""

from __future__ import annotations

from pathlib import Path

import pytest

from onset.study.presets import preset
from onset.study.spec import Run, Shape
from onset.train import calibration
from onset.train.calibration import measured_rate, sample_of

RUN = Run(
    name="r", shape=Shape(layers=1, width=16, heads=2, kv_heads=1, hidden=16, context=16), tokens=16 * 4 * 9, batch=4
)


def test_a_rate_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rates.json"
    rate = measured_rate(RUN, 50, precision="float32", keep=file)
    assert rate > 0
    monkeypatch.setattr(calibration, "_measure", lambda *of: pytest.fail("it was measured before"))
    assert measured_rate(RUN, 50, precision="float32", keep=file) == rate


def test_a_spoilt_file_of_rates_is_measured_anew(tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    file.write_text("[1, 2", encoding="utf-8")
    assert measured_rate(RUN, 50, precision="float32", keep=file) > 0


def test_a_model_of_any_size_is_measured_in_a_moment() -> None:
    """A plan for a cluster must not hold its weights."""
    for run in preset("paper31").runs:
        sample, vocab = sample_of(run, 65_024)
        assert sample.shape.width * sample.shape.layers <= 1024
        assert sample.tokens_per_step * vocab <= 4096 * 8192
    small = preset("nano31").runs[0]
    assert sample_of(small, 600)[0].shape.width == small.shape.width
