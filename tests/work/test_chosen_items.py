"""Questions chosen by information. Lost if they fail: the few questions that would do cannot be asked alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from onset.errors import OnsetError
from onset.study.spec import TaskUse
from onset.tasks.catalogue import find
from onset.work.chosen_items import with_most_informative


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    """The last questions of a task rank first; one is not ranked."""
    items = [item.id for item in find(["addition_1digit"])[0].with_use(limit=20).items()]
    ranks = [None, *range(19, 0, -1)]
    path = tmp_path / "items.parquet"
    pd.DataFrame({"task": "addition_1digit", "item": items, "rank": ranks}).to_parquet(path)
    return path


def test_the_most_informative_questions_are_asked_in_the_order_of_the_source(ranked: Path) -> None:
    task = find(["addition_1digit"])[0]
    chosen = with_most_informative(task, ranked, 3)
    assert [item.id for item in chosen.items()] == [item.id for item in task.items()[17:20]]
    assert {request.item for request in chosen.requests()} == {item.id for item in chosen.items()}
    assert chosen.digest() != task.with_use(limit=3).digest()


def test_more_questions_than_are_ranked_are_refused(ranked: Path) -> None:
    with pytest.raises(OnsetError, match="ranks 19 of the questions"):
        with_most_informative(find(["addition_1digit"])[0], ranked, 20)


def test_a_task_without_ranks_is_refused(ranked: Path) -> None:
    with pytest.raises(OnsetError, match="ranks 0"):
        with_most_informative(find(["addition_2digit"])[0], ranked, 5)


def test_a_study_says_all_that_the_choice_needs() -> None:
    with pytest.raises(ValueError, match="needs limit and items"):
        TaskUse(name="mmlu", choose="information", limit=5)
    assert "choose" not in TaskUse(name="mmlu", limit=5).model_dump()
