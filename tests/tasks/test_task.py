"""Task: rows that cannot be asked are counted, and the digest changes with all that changes a prompt."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from onset.errors import OnsetError
from onset.tasks.formats import Cloze, Letters, Open
from onset.tasks.generated import addition
from onset.tasks.sources import choice_item, open_item, same_subject
from onset.tasks.task import Item, Row, Task, fault


@dataclass(frozen=True)
class Rows:
    """Rows given by a test."""

    asked: list[Row]
    shown: list[Row] = field(default_factory=list)

    def rows(self) -> list[Row]:
        return self.asked

    def examples(self) -> list[Row]:
        return self.shown

    def identity(self) -> dict[str, Any]:
        return {"source": "test"}


def row(name: str, **changed: Any) -> Row:
    return {"id": name, "question": f"Q{name}?", "choices": ["yes", "no"], "answer": 0, **changed}


def task(asked: list[Row], shown: list[Row] | None = None, **changed: Any) -> Task:
    base = Task(
        name="t",
        language="en",
        ability="examination",
        source=Rows(asked, shown or []),
        item=choice_item,
        format=Cloze(),
    )
    return replace(base, **changed)  # fmt: skip


def test_rows_that_cannot_be_asked_are_counted_and_left_out() -> None:
    """A bad gold index scored as wrong lowers a benchmark for ever; dropped in silence it hides a broken file."""
    bad = [
        row("2", answer=2), row("3", answer=-1), row("4", answer="x"), row("5", answer=None), row("6", answer=True),
        row("7", choices=["yes", " "]), row("8", choices=["yes"]), row("9", question="  "),
    ]  # fmt: skip
    made = task([row("1"), *bad])
    assert [item.id for item in made.items()] == ["1"]
    assert made.faults() == {
        "a right choice that is not among the choices": 5,
        "an empty choice": 1,
        "fewer than two choices": 1,
        "no question": 1,
    }
    assert {request.item for request in made.requests()} == {"1"}


def test_bad_examples_are_counted_too() -> None:
    """An example with a wrong answer index would put a wrong answer into every prompt."""
    made = task([row("1")], [row("s1", answer=5), row("s2")], shots=1)
    assert "".join(made.requests()[0].shots) == "Question: Qs2?\nAnswer: yes\n\n"
    assert made.faults() == {"example with a right choice that is not among the choices": 1}


def test_a_free_answer_needs_an_answer() -> None:
    """Without a reference nothing can be right."""
    asked = [{"id": "1", "question": "Who?", "answers": []}, {"id": "2", "question": "Who?", "answers": ["me"]}]
    made = task(asked, item=open_item, format=Open(), judge=lambda text, item: True)
    assert [item.id for item in made.items()] == ["2"]
    assert made.faults() == {"no answer": 1}


def test_no_usable_row_is_an_error() -> None:
    """A score over no questions would be NaN somewhere far from its cause."""
    with pytest.raises(OnsetError, match="no row that can be asked"):
        task([row("1", answer=9)]).items()


def test_a_row_without_a_field_names_the_field_and_the_row() -> None:
    """The user has to find the row in a file of thousands."""
    with pytest.raises(OnsetError, match="no field 'choices'") as caught:
        task([row("1"), {"id": "7", "question": "?", "answer": 0}]).items()
    assert "id '7'" in str(caught.value)
    with pytest.raises(OnsetError, match="'choices' is not a list"):
        task([row("1", choices="yes")]).items()


def test_one_id_twice_is_an_error() -> None:
    """Rows of two questions under one id would be measured as one question."""
    with pytest.raises(OnsetError, match="ids more than once"):
        task([row("1"), row("1")]).items()


def test_too_few_examples_are_an_error() -> None:
    """Asked with five shots and given two, the table would still say five."""
    with pytest.raises(OnsetError, match="asked with 3 shots, and 1 examples fit"):
        task([row("1")], [row("s1")], shots=3).requests()


def test_an_item_is_never_its_own_example() -> None:
    """The answer would stand in the prompt."""
    made = task([row("1"), row("2")], [row("1"), row("2"), row("3")], shots=2)
    for request in made.requests():
        assert f"Q{request.item}?" not in "".join(request.shots)


def test_examples_of_the_same_subject() -> None:
    """An exam is shown examples of its own subject, as published scores are."""
    shown = [row(f"{subject}{n}", subject=subject) for n in range(3) for subject in ("law", "art")]
    made = task([row("1", subject="law")], shown, shots=2, pick=same_subject)
    assert [shot.split("?")[0] for shot in made.requests()[0].shots] == ["Question: Qlaw0", "Question: Qlaw1"]


def test_the_limit_counts_questions_that_can_be_asked() -> None:
    """A limit of two gives two questions, whatever is wrong with other rows."""
    made = task([row("0", answer=9), row("1"), row("2"), row("3")]).with_use(limit=2)
    assert [item.id for item in made.items()] == ["1", "2"]


def test_the_digest_changes_with_whatever_shapes_a_prompt() -> None:
    """Scores of two prompts under one digest would be taken for the same task, and new ones never made."""
    base = task([row("1"), row("2")], [row("s1"), row("s2")], shots=1)
    others = [
        base.with_use(shots=2),
        base.with_use(limit=1),
        replace(base, format=Letters()),
        replace(base, format=Cloze(uncond=True)),
        replace(base, language="zh"),
        task([row("1", question="Other?"), row("2")], [row("s1"), row("s2")], shots=1),
        task([row("1", answer=1), row("2")], [row("s1"), row("s2")], shots=1),
        task([row("1"), row("2")], [row("s1", answer=1), row("s2")], shots=1),
    ]
    digests = [one.digest() for one in (base, *others)]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


def test_the_digest_does_not_change_by_itself() -> None:
    """Every score would be owed again after each start."""
    first, second = (task([row("1")], [row("s1")], shots=1) for _ in range(2))
    assert first.digest() == second.digest() == first.digest()
    assert replace(first, source_note="told anew").digest() == first.digest()


def test_a_task_goes_to_another_process_as_its_definition() -> None:
    """Workers would be sent megabytes of prompts, or could not be sent a task at all."""
    made = addition(2)
    size = len(pickle.dumps(made))
    digest = made.digest()
    assert len(pickle.dumps(made)) == size
    assert pickle.loads(pickle.dumps(made)).digest() == digest
    assert made.requests()[0] is made.requests()[0]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Item(id="1", question="?", choices=("a", "b"), gold=1), None),
        (Item(id="1", question="", context="c", choices=("a", "b"), gold=0), None),
        (Item(id="1", question="?", choices=("a", ""), gold=0), "an empty choice"),
    ],
)
def test_fault_of_one_item(item: Item, reason: str | None) -> None:
    """Others (adapters of new tasks) can ask why an item is left out."""
    assert fault(item, open=False) == reason
