"""The page on statistics: whoever copies its examples must get what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"


def test_the_examples_of_the_page_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lost: the first thing that a stranger tries fails."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    told = capsys.readouterr().out
    assert "emergent, onset loss 2.48 [2.47, 2.50]" in told
    assert "At equal loss" in told
    assert "eta=" in told
    assert (tmp_path / "exam.html").stat().st_size > 1000
    assert (tmp_path / "two_steps.html").stat().st_size > 1000
