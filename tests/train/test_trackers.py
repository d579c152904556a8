"""Without these a run would be invisible in the tools that people watch their trainings with."""

from __future__ import annotations

from pathlib import Path

import pytest

from onset.errors import OnsetError
from onset.train import trackers as mirrors

LINES = [
    {"step": step, "tokens": 64 * step, "loss": 5.0 - step, "rate": 1e-3, "grad_norm": 1.0, "tokens_per_second": 9.0,
     "time": 1.7e9 + step}
    for step in (1, 2, 3)
]  # fmt: skip
META = {"run": "w16", "study": "small", "spec": {"seed": 3}}


def curve(folder: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def test_tensorboard_shows_each_step_once_after_a_resume_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'logs' is not installed")
    [one] = mirrors.mirrors(["tensorboard"], tmp_path, META, [])
    for line in LINES:
        one.add(line)
    one.close()
    [again] = mirrors.mirrors(["tensorboard"], tmp_path, META, LINES[:1])  # killed, and resumed after step 1
    for line in LINES[1:]:
        again.add(line)
    again.close()
    assert curve(tmp_path) == [(1, 4.0), (2, 3.0), (3, 2.0)]


def test_lines_from_before_the_switch_are_shown_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'logs' is not installed")
    [one] = mirrors.mirrors(["tensorboard"], tmp_path, META, LINES[:2])
    one.add(LINES[2])
    one.close()
    assert len(curve(tmp_path)) == 3


@pytest.mark.slow
def test_weights_and_biases_writes_a_run_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the extra 'logs' is not installed")
    [one] = mirrors.mirrors(["wandb-offline"], tmp_path, META, [])
    for line in LINES:
        one.add(line)
    one.close()
    [record] = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    content = record.read_bytes()
    assert b"grad_norm" in content
    assert b"small" in content


def test_an_unknown_log_is_told_with_the_nearest_name() -> None:
    with pytest.raises(OnsetError, match="tensorboard"):
        mirrors.check(["tensorbord"])


def test_a_log_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OnsetError, match=r"pip install .*\[logs\]"):
        mirrors.check(["wandb"])
