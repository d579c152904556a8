"""Tasks that lm-evaluation-harness builds: the same prompts and log-probabilities as the library's own run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fixtures.harness import FREE, harness_folder
from onset.errors import OnsetError
from onset.tasks import harness
from onset.tasks.catalogue import find

__all__ = ["harness_folder"]


def test_a_task_of_the_library_is_asked_with_its_own_prompts(harness_folder: Path) -> None:
    """Lost otherwise: a team's YAML tasks are written a second time, and differ from the first."""
    (task,) = find([f"harness:{harness_folder}/sums"])
    assert (task.name, task.shots, task.metric, task.language) == ("harness_sums", 2, "accuracy", "en")
    first = task.requests()[:2]
    assert first[0].prompt == "Sum: 0 + 2 = 2\n\nSum: 1 + 3 = 5\n\nSum: 3 + 5 ="
    assert [(one.continuation, one.gold) for one in first] == [(" 8", False), (" 9", True)]
    assert len(task.items()) == 4
    bare = task.with_use(shots=0)
    assert bare.requests()[0].prompt == "Sum: 3 + 5 ="
    assert bare.digest() != task.digest()
    assert task.requests()[0].prompt.count("Sum:") == 3, "the number of shots of one use is not that of another"


def test_the_library_judges_generated_answers(harness_folder: Path) -> None:
    """Lost otherwise: an answer that the library's filter finds is judged by another rule."""
    (task,) = find([f"harness:{harness_folder}/free_sums"])
    (request, *_) = task.requests()
    assert (request.kind, request.stop, request.max_tokens, request.continuation) == ("generate", ("\n",), 5, " 8")
    assert task.judge is not None
    item = task.items()[0]
    assert [task.judge(text, item) for text in (" it is 8", " 9", "")] == [True, False, False]


def test_what_cannot_be_asked_is_told(harness_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: a traceback of the library, or a task of rolling likelihood scored as if it had choices."""
    with pytest.raises(OnsetError, match="cannot load the task"):
        find([f"harness:{harness_folder}/no_such_task"])
    (harness_folder / "roll.yaml").write_text(
        FREE.format(folder=harness_folder)
        .replace("generate_until", "loglikelihood_rolling")
        .replace("free_sums", "roll")
        .replace("exact_match", "bits_per_byte")
    )
    with pytest.raises(OnsetError, match="is of the kind 'loglikelihood_rolling'"):
        find([f"harness:{harness_folder}/roll"])
    harness._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(OnsetError, match="need the package 'lm_eval'") as caught:
        find([f"harness:{harness_folder}/sums"])
    assert "harness]" in str(caught.value)
