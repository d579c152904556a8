"""``import onset``: quick, without torch, and the verbs do what the command line does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

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
        "import onset, onset.adapters, onset.store.query, onset.metrics.measures, onset.study.files\n"
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
    with pytest.raises(ValidationError):
        fit.verdict = "emergent"  # type: ignore[misc]
    size = onset.size_effect(table(), "late")
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
        onset.size_effect(several, "late")


def test_a_study_loads_by_file(study_folder: Path) -> None:
    assert onset.load(study_folder / "study.toml").name == "made"


def test_only_the_verbs_are_on_the_face() -> None:
    """Lost: tab completion that shows what there is to call."""
    assert set(dir(onset)) == {*onset.__all__, "__version__"}


@pytest.mark.parametrize("level", [95, 0.3, 1.0, float("nan")])
def test_a_level_that_is_none_is_one_clear_error(table: Callable[..., pd.DataFrame], level: float) -> None:
    """Lost: level=95 ended in errors of SciPy and NumPy, and 0.3 in a verdict at level -0.4."""
    with pytest.raises(OnsetError, match="no confidence level"):
        onset.threshold(table(), "late", level=level)
    with pytest.raises(OnsetError, match="no confidence level"):
        onset.size_effect(table(), "late", level=level)
    with pytest.raises(OnsetError, match="no confidence level"):
        onset.forecast(table(), {"loss": 2.0}, level=level)
    with pytest.raises(OnsetError, match="no confidence level"):
        onset.analyze(table(), level=level)


def test_a_size_effect_takes_the_threshold_as_it_was_found(table: Callable[..., pd.DataFrame]) -> None:
    """Lost: the natural call, which ended in an AttributeError."""
    fit = onset.threshold(table(), "late")
    assert fit.threshold is not None
    made = onset.size_effect(table(), "late", threshold=fit)
    assert made == onset.size_effect(table(), "late", threshold=fit.threshold)
    assert made == onset.size_effect(table(), "late", threshold=fit.threshold.interval)


def test_all_verbs_are_there() -> None:
    for verb in onset.__all__:
        assert callable(getattr(onset, verb))
    with pytest.raises(AttributeError):
        onset.nothing  # type: ignore[attr-defined] # noqa: B018


def typed_by_hand() -> pd.DataFrame:
    return pd.DataFrame(
        {"loss": [3.2, 3.0, 2.8, 2.6, 2.4, 2.2, 2.1, 2.0], "score": [0.25, 0.26, 0.24, 0.25, 0.30, 0.37, 0.41, 0.44]}
    )


def test_eight_numbers_typed_by_hand_are_enough_for_a_threshold() -> None:
    """Who reads a curve off a paper has losses and scores, and would be asked for columns that change nothing."""
    bare = onset.threshold(typed_by_hand())
    assert bare.verdict == "inconclusive"
    assert "chance level is unknown" in bare.why
    known = typed_by_hand().assign(chance=0.25, n_examples=1000)
    found = onset.threshold(known)
    assert found.onset is not None
    assert found.onset.low < 2.6 < found.onset.high + 0.2
    assert onset.threshold(known, "exam", "accuracy").onset == found.onset
    assert onset.threshold(known.assign(score=100 * known["score"])).verdict == found.verdict
    ahead = onset.forecast(known, {"loss": 1.9})
    assert ahead.summary()["verdict"].tolist() == ["predicted"]
    assert "says its number of parameters" in onset.size_effect(known).why


def test_a_missing_column_is_named_with_the_one_that_was_meant() -> None:
    """Without it a stranger guesses at names."""
    with pytest.raises(OnsetError, match="lacks the column score") as caught:
        onset.threshold(typed_by_hand().rename(columns={"score": "scores"}))
    assert caught.value.advice is not None
    assert "did you mean 'scores'?" in caught.value.advice


def test_a_loss_will_do_for_the_threshold_of_a_size_effect(table: Callable[..., pd.DataFrame]) -> None:
    """A threshold read elsewhere is a number, not one of our intervals."""
    fit = onset.size_effect(table(), "late", threshold=2.4)
    assert fit.residuals is None or fit.residuals.empty or fit.residuals["loss"].max() < 2.4


def test_a_task_must_be_named_where_there_are_several(table: Callable[..., pd.DataFrame]) -> None:
    """Else two abilities would be taken for one."""
    with pytest.raises(OnsetError, match="several values of task"):
        onset.threshold(table(("late", "never")))
