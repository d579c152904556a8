"""Metrics of one's own: named as FILE.py:NAME, computed from stored rows, known to the analysis by direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.metrics import info
from onset.metrics.measures import lookup, measure

EXAMPLE = f"{Path(__file__).parents[2] / 'examples' / 'own_metric.py'}:margin"


def rows() -> pd.DataFrame:
    """Two items of three choices: the right one is 1.5 nats above the next, then 0.5 below."""
    logprobs = {"a": [-1.0, -2.5, -4.0], "b": [-2.0, -1.5, -3.0]}
    return pd.DataFrame(
        [
            {"run": "r", "step": 1, "task": "t", "item": item, "choice": choice, "gold": choice == 0,
             "logprob": value, "bytes": 1}
            for item, values in logprobs.items()
            for choice, value in enumerate(values)
        ]
    )  # fmt: skip


def test_a_function_of_a_file_is_a_metric() -> None:
    """Lost otherwise: whoever wants another number of the same rows edits the package."""
    found = measure(rows(), ["accuracy", EXAMPLE]).set_index("metric")
    assert found.loc["margin", "score"] == pytest.approx(0.5)
    assert found.loc["margin", "n_examples"] == 2
    assert np.isnan(found.loc["margin", "chance"])
    assert found.loc["accuracy", "score"] == 0.5
    assert (info.direction("margin"), info.info("margin").unit) == ("higher", "nats")


def test_mistakes_are_named(tmp_path: Path) -> None:
    """Lost otherwise: a plain function whose direction nobody knows, or onset's accuracy replaced."""
    (tmp_path / "m.py").write_text(
        "from onset.metrics.measures import metric\n"
        "def plain(answers):\n    return answers.logprob\n"
        "def named():\n"
        "    @metric(direction='higher')\n    def accuracy(answers): ...\n    return accuracy\n"
    )
    with pytest.raises(OnsetError, match="this is no metric") as caught:
        lookup(f"{tmp_path / 'm.py'}:plain")
    assert "@onset.metrics.measures.metric" in str(caught.value)
    with pytest.raises(OnsetError, match="the file has no 'margn'"):
        lookup(EXAMPLE.replace("margin", "margn"))
    (tmp_path / "n.py").write_text((tmp_path / "m.py").read_text() + "metric = named()\n")
    with pytest.raises(OnsetError, match="onset has a metric 'accuracy'"):
        lookup(str(tmp_path / "n.py"))
    with pytest.raises(OnsetError, match="no metric is called 'accuracy_per_bite'") as caught:
        lookup("accuracy_per_bite")
    assert "did you mean 'accuracy_per_byte'" in str(caught.value)
