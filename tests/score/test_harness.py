"""Tasks of lm-evaluation-harness scored here, against the library's own run of the same model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.harness import harness_folder
from onset.score.huggingface import load
from onset.score.scorer import Scorer
from onset.tasks.catalogue import find

__all__ = ["harness_folder"]


@pytest.mark.slow
def test_log_probabilities_are_the_librarys_own(harness_folder: Path, model_folder: Callable[..., Path]) -> None:
    """Lost otherwise: scores beside published ones that differ by how tokens were cut, not by the model."""
    pytest.importorskip("accelerate", reason="the library's own models need accelerate")
    import lm_eval
    from lm_eval.tasks import TaskManager

    model = model_folder("gpt-neox", "byte-level")
    theirs = lm_eval.simple_evaluate(
        model="hf", model_args=f"pretrained={model},dtype=float32", tasks=["sums"], device="cpu", batch_size=1,
        task_manager=TaskManager(include_path=str(harness_folder), include_defaults=False), bootstrap_iters=0,
    )  # fmt: skip
    samples = sorted(theirs["samples"]["sums"], key=lambda sample: sample["doc_id"])
    expected = [float(answer[0][0]) for sample in samples for answer in sample["resps"]]
    (task,) = find([f"harness:{harness_folder}/sums"])
    found = [one.logprob for one in Scorer(load(model)).score(task.requests())]
    assert found == pytest.approx(expected, abs=1e-4)
