"""Chance levels of public tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from onset.adapters.chance import chance_of
from onset.adapters.collect import collect
from onset.adapters.command import options_of
from onset.errors import OnsetError


@pytest.mark.parametrize(
    ("task", "metric", "wanted"),
    [
        ("piqa", "acc", 0.5), ("arc_easy@5", "accuracy", 0.25), ("arc_easy_test_rc_5shot", "acc_norm", 0.25),
        ("mmlu|5", "acc", 0.25), ("openbookqa5@5", "len_norm", 0.25), ("hellaswag", "correct_choice_prob", 0.25),
        ("piqa", "brier", None), ("piqa", "bpb", None), ("boolq", "acc", None), ("truthfulqa", "acc", None),
        ("mmlu_law", "acc", None),
    ],
)  # fmt: skip
def test_only_what_is_sure_is_filled_in(task: str, metric: str, wanted: float | None) -> None:
    """A wrong floor makes an ability of guessing, or hides one."""
    assert chance_of(task, metric) == wanted


def test_what_the_user_and_the_source_say_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "run,params,tokens,loss,task,metric,score,chance\na,1e6,1e6,3,piqa,acc,0.6,0.45\na,1e6,1e6,3,boolq,acc,0.6,\n"
        "a,1e6,1e6,3,boolq,bpb,0.9,\na,1e6,1e6,3,copa,acc,0.6,\n"
    )
    given = options_of(chance=["boolq=0.62", "piqa=0.5"], questions=["boolq=3270"])
    frame = collect([str(path)], (), given).observations.set_index(["task", "metric"])
    assert frame.chance.fillna(-1).to_dict() == {
        ("piqa", "acc"): 0.45, ("boolq", "acc"): 0.62, ("boolq", "bpb"): -1, ("copa", "acc"): 0.5,
    }  # fmt: skip
    assert frame.n_examples["boolq", "acc"] == 3270
    assert "chance levels of public tasks filled in: copa" in frame.attrs["notes"]
    with pytest.raises(OnsetError, match="--chance: there is no task 'bool'"):
        collect([str(path)], (), options_of(chance=["bool=0.62"]))
