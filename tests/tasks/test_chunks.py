"""Chunks lose no request, split no item, and tear examples apart that are shared as seldom as can be."""

from __future__ import annotations

from itertools import chain

from onset.tasks.chunks import chunks
from onset.tasks.task import Request


def requests(items: int, subjects: int, kind: str = "score") -> list[Request]:
    """Items of four choices whose subjects take turns, as in a shuffled exam."""
    shots = [("An example of some length. " * 20, f"Subject {subject}. " * 20) for subject in range(subjects)]
    return [
        Request(
            item=str(item), choice=choice, gold=choice == 0, kind=kind, question=f"Question {item}? " * 5,  # type: ignore[arg-type]
            continuation=" A", shots=shots[item % subjects], max_tokens=100 if kind == "generate" else 0,
        )
        for item in range(items)
        for choice in range(4)
    ]  # fmt: skip


def test_every_request_is_in_one_chunk_with_its_item() -> None:
    """Lost otherwise: rows that are asked twice, never, or an item that two processes answer."""
    asked = requests(60, 5)
    made = chunks(asked, 3000)
    assert len(made) > 3
    assert sorted(chain(*made)) == list(range(len(asked)))
    homes = [{asked[index].item for index in chunk} for chunk in made]
    assert sum(map(len, homes)) == 60


def test_items_with_the_same_examples_stand_together() -> None:
    """Lost otherwise: an exam whose subjects are shuffled reads every subject's examples once a chunk."""
    asked = requests(60, 5)
    subjects = [{asked[index].shots for index in chunk} for chunk in chunks(asked, 3000)]
    assert sum(map(len, subjects)) <= 5 + len(subjects) - 1


def test_answers_that_are_generated_make_smaller_chunks() -> None:
    """Lost otherwise: an hour of generation between two writes."""
    assert len(chunks(requests(60, 5, "generate"), 30_000)) > len(chunks(requests(60, 5), 30_000))
    assert chunks(requests(3, 1)) == (tuple(range(12)),)
