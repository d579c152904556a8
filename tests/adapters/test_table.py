"""A table of another shape becomes observations by a map, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from onset import adapters
from onset.errors import OnsetError

Make = Callable[..., pd.DataFrame]


def test_columns_are_renamed_by_pairs(table: Make, tmp_path: Path) -> None:
    foreign = table().rename(columns={"run": "model", "params": "n_params", "score": "value"})
    foreign.to_csv(tmp_path / "foreign.csv", index=False)
    frame = adapters.import_("table", tmp_path / "foreign.csv", columns=["run=model,params=n_params", "score=value"])
    pd.testing.assert_frame_equal(frame, adapters.observations.check(table()))


MAP = """
[columns]
run = "Model"
params = "Parameters"
tokens = "Tokens"
loss = "Val loss"

[constants]
family = "lab"
metric = "acc"

[tasks]
mmlu = { column = "MMLU (5-shot)", chance = 0.25, n_examples = 14042 }
piqa = "PIQA"
"""

WIDE = """Model,Parameters,Tokens,Val loss,MMLU (5-shot),PIQA
a,1000000,5000,3.1,0.25,0.60
a,1000000,9000,2.9,0.26,
b,4000000,5000,2.8,0.31,0.66
"""


def test_one_column_a_task_is_melted(tmp_path: Path) -> None:
    """Most published tables have a column a task."""
    (tmp_path / "wide.csv").write_text(WIDE)
    (tmp_path / "map.toml").write_text(MAP)
    frame = adapters.import_("table", tmp_path / "wide.csv", columns=str(tmp_path / "map.toml"))
    assert frame.groupby("task").score.apply(list).to_dict() == {"mmlu": [0.25, 0.26, 0.31], "piqa": [0.6, 0.66]}
    assert frame[frame.task == "mmlu"].n_examples.tolist() == [14042] * 3
    assert frame[frame.task == "piqa"].chance.isna().all()
    assert set(frame.family) == {"lab"}
    assert "rows without a score, left out: 1" in frame.attrs["notes"]


def test_a_faulty_row_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(WIDE.replace("2.8,0.31", "2.8,31 %"))
    (tmp_path / "map.toml").write_text(MAP)
    with pytest.raises(OnsetError, match="line 4: score '31 %' is not a number"):
        adapters.import_("table", tmp_path / "wide.csv", columns=str(tmp_path / "map.toml"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [("run=Modell", "no column 'Modell'"), ("runn=Model", "no column 'runn'"), ("run", "no pair new=old")],
)
def test_a_map_that_does_not_fit_is_explained(tmp_path: Path, columns: str, message: str) -> None:
    (tmp_path / "wide.csv").write_text(WIDE)
    with pytest.raises(OnsetError, match=message):
        adapters.import_("table", tmp_path / "wide.csv", columns=[columns])


@pytest.mark.parametrize(
    "text", ["[colums]\nrun='Model'", "[tasks]\nmmlu = {chance = 0.25}", "not toml", "[columns]\nmodel='Model'"]
)
def test_a_faulty_map_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "wide.csv").write_text(WIDE)
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(OnsetError):
        adapters.import_("table", tmp_path / "wide.csv", columns=str(tmp_path / "map.toml"))


def test_unknown_formats_and_options_are_told(tmp_path: Path) -> None:
    with pytest.raises(OnsetError, match="no format 'lmeval'") as caught:
        adapters.import_("lmeval", tmp_path)
    assert "lm-eval" in str(caught.value)
    with pytest.raises(OnsetError, match="no option 'losses'"):
        adapters.import_("table", tmp_path, losses="x.csv")
