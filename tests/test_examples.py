"""Without these an example of the documentation would stop at an error, or take longer than it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from onset.study.cost import Method
from onset.study.files import load
from onset.study.plan import plan_rows
from onset.work.engines.inline import InlineEngine
from onset.work.study import run_study

FOLDER = Path(__file__).parents[1] / "examples"
SMALL = ("state_space", "mixture", "muon", "tuning")
"""Each a whole study of under two minutes."""
STUDIES = ("architectures", "optimizers", "tuned")
"""Those that docs/link.md tells of."""


@pytest.mark.parametrize("name", [*SMALL, *STUDIES])
def test_an_example_can_be_planned(name: str) -> None:
    study = load(FOLDER / f"{name}.toml")
    vocab = {key: one.vocab or 0 for key, one in study.tokenizers.items()}
    rows = plan_rows(study, lambda run: 1e9, vocab, lambda run: Method("torch"))
    assert len(rows) == len(study.runs)
    assert sum(row["flops"] for row in rows) < (2e11 if name in SMALL else 2e13)
    assert all(0 < row["params_active"] <= row["params"] for row in rows)
    if name in ("mixture", "architectures"):
        assert any(row["params_active"] < row["params"] for row in rows)
    if name in ("tuning", "tuned"):
        assert {run.stage_name for run in study.runs} == {"base", "tuned"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_an_example_runs_to_its_end(name: str, tmp_path: Path) -> None:
    outcome = run_study(load(FOLDER / f"{name}.toml"), tmp_path, engine=InlineEngine(), console=Console(quiet=True))
    assert outcome.problems == ()
    assert outcome.pending == 0
