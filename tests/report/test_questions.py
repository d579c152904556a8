"""Lost without: a reader of the page could not see which question is learnt when, nor what it asks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from onset.plots import questions as plots
from onset.plots.facts import StudyFacts
from onset.report import page
from onset.results import Analysis, Questions
from onset.tasks.task import Request
from onset.work.question_texts import LONGEST, shown

EVIL = "</script><script>window.pwned=1</script>"


def found(count: int = 30) -> Questions:
    """Questions of one task; the last one is not learnt."""
    items = pd.DataFrame({
        "task": "world_facts_en", "metric": "accuracy", "item": [f"{place:04d}" for place in range(count)],
        "loss": [3.0 - place / count for place in range(count - 1)] + [None], "low": 2.0, "high": 3.0,
        "state": ["learnt"] * (count - 1) + ["not_yet"], "flips": 1, "right": 0.5,
        "text": [EVIL] + [f"What is {place}?" for place in range(1, count)],
    })  # fmt: skip
    order = pd.DataFrame({
        "task": ["world_facts_en"], "metric": ["accuracy"], "items": [count], "learnt": [0.9], "loss": [2.5],
        "low": [2.4], "high": [2.6], "before_next": [float("nan")], "flips": [1.5], "reliability": [0.9],
    })  # fmt: skip
    return Questions(order=order, items=items)


def test_the_page_has_a_map_of_questions_with_their_texts(
    analysis: Analysis, facts: StudyFacts, tmp_path: Path
) -> None:
    text = page.write(tmp_path, analysis, facts, pictures=False, found=found()).read_text(encoding="utf-8")
    assert 'data-chart="questions"' in text
    assert "What is 7?" in text
    assert EVIL not in text


def test_a_map_of_many_questions_is_thinned_evenly() -> None:
    """Lost otherwise: a benchmark of 14,000 questions makes a page that no mail takes."""
    shown_ones = plots.on_page(found(5 * plots.ON_PAGE))
    assert shown_ones is not None
    assert shown_ones.items is not None
    assert 0.8 * plots.ON_PAGE < len(shown_ones.items) <= plots.ON_PAGE
    assert shown_ones.items["loss"].max() > 2.99
    assert shown_ones.items["loss"].min() < 2.01


def test_a_question_is_shown_in_one_line_with_its_answer() -> None:
    request = Request("0", 0, True, "score", "Long\n" + "word " * 100 + "end?", " yes", header="Examples", shots=("a",))
    line = shown(request)
    assert "\n" not in line
    assert len(line) <= LONGEST + 10
    assert "Examples" not in line
    assert line.startswith("Long word")
    assert line.endswith("end? → yes")
