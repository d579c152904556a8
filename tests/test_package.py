"""``import onset``: quick, without torch, and the verbs do what the command line does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import onset
from onset.errors import OnsetError

HEAVY = ("torch", "transformers", "tokenizers", "datasets", "ray", "altair", "pandas", "scipy", "duckdb", "pydantic")
BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "tokenizers", "safetensors", "datasets", "ray"):
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)
sys.meta_path.insert(0, Blocked())
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    """``import onset`` would take seconds, and fail where torch is not installed."""
    loaded = python("import onset, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))").split()
    assert not set(loaded) & set(HEAVY)


def test_analysis_works_where_torch_is_not_installed(table: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    """The core install has no torch: analysis and adapters must not ask for it."""
    table(("late", "never")).to_csv(tmp_path / "table.csv", index=False)
    code = BLOCK + (
        "import onset, onset.adapters, onset.store.query, onset.metrics, onset.study.files\n"
        f"obs = onset.read({str(tmp_path / 'table.csv')!r})\n"
        "found = onset.analyze(obs, jobs=1)\n"
        "print(*(f'{one.task}:{one.verdict}' for one in found.findings))\n"
        "print('torch' in sys.modules)\n"
    )
    lines = python(code).splitlines()
    assert lines[0].split()[1] == "never:at_chance"
    assert lines[1] == "False"


def test_verbs_return_frozen_results(table: Callable[..., pd.DataFrame]) -> None:
    fit = onset.threshold(table(), "late", "acc")
    assert isinstance(fit.summary(), pd.DataFrame)
    assert len(fit.predict([2.0, 2.1])) == 2
    with pytest.raises(AttributeError):
        fit.verdict = "emergent"  # type: ignore[misc]
    size = onset.collapse(table(), "late")
    assert isinstance(size.summary(), pd.DataFrame)


def test_a_forecast_takes_rows_of_targets(table: Callable[..., pd.DataFrame]) -> None:
    made = onset.forecast(table(checkpoints=14), [{"loss": 2.0}], task="late")
    assert isinstance(made.summary(), pd.DataFrame)
    with pytest.raises(OnsetError, match="no task 'ltae'"):
        onset.forecast(table(), [{"loss": 2.0}], task="ltae")


def test_verbs_name_what_they_do_not_find(table: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(OnsetError, match="no task 'ltae'") as caught:
        onset.threshold(table(), "ltae")
    assert "'late'" in str(caught.value)
    several = pd.concat([table(), table().assign(metric="acc_norm")])
    with pytest.raises(OnsetError, match="several values of metric"):
        onset.collapse(several, "late")


def test_a_study_loads_by_file(study_folder: Path) -> None:
    assert onset.load(study_folder / "study.toml").name == "made"


def test_all_verbs_are_there() -> None:
    for verb in onset.__all__:
        assert callable(getattr(onset, verb))
    with pytest.raises(AttributeError):
        onset.nothing  # type: ignore[attr-defined] # noqa: B018
