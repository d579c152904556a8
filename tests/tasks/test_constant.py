"""The best constant answer: set too low, a plateau of guesses of the right kind passes for an ability."""

from __future__ import annotations

import numpy as np
import pytest

from onset.tasks.constant import constant_answer
from onset.tasks.task import Item


def items(answers: list[str], kinds: list[str] | None = None) -> list[Item]:
    return [
        Item(id=str(number), question="?", answers=(answer,), kind=kinds[number] if kinds else "")
        for number, answer in enumerate(answers)
    ]


def test_answers_that_differ_give_no_chance() -> None:
    """Lost: a chance of 1/n that is only the item's own answer."""
    assert constant_answer(items([str(number) for number in range(50)])) == 0.0
    assert constant_answer([]) == 0.0
    assert constant_answer(items(["a"])) == 0.0


def test_one_answer_of_a_kind_is_right_as_often_as_it_is_common() -> None:
    """Two kinds of twelve equally common answers each: one word of the right kind is right in a twelfth of cases."""
    draw = np.random.default_rng(0)
    made = [f"{kind}{draw.integers(12)}" for kind in "ab" for _ in range(2000)]
    kinds = [answer[0] for answer in made]
    assert constant_answer(items(made, kinds)) == pytest.approx(1 / 12, abs=0.01)
    assert constant_answer(items(made)) == pytest.approx(1 / 24, abs=0.008)


def test_the_commonest_answer_counts_where_answers_are_uneven() -> None:
    made = ["yes"] * 70 + ["no"] * 30
    assert constant_answer(items(made)) == pytest.approx(0.7)


def test_a_sample_of_equally_common_answers_is_not_taken_for_uneven_ones() -> None:
    """Lost: the luck of a small sample, taken for chance: the best of twelve in 24 items is no twelfth."""
    draw = np.random.default_rng(1)
    found = [constant_answer(items([str(draw.integers(12)) for _ in range(72)])) for _ in range(50)]
    assert np.mean(found) == pytest.approx(1 / 12, abs=0.02)


def test_other_accepted_answers_count_and_case_does_not() -> None:
    made = [Item(id="0", question="?", answers=("Paris", "paname")), Item(id="1", question="?", answers=("PARIS",)),
            Item(id="2", question="?", answers=("Paname",))]  # fmt: skip
    assert constant_answer(made) == pytest.approx(max((0.5 * 2 + 1 + 0) / 3, (2 / 2 + 1 / 2 + 0) / 3), abs=0.34)
    assert constant_answer(made) > 0.3


def test_the_world_s_facts_have_the_chance_of_one_word_of_the_right_kind() -> None:
    """Lost: facts "above chance" for every model that has learnt what is sold, kept and worn."""
    from onset.study.files import load
    from onset.tasks.world import world_tasks

    spec = load("demo").world
    assert spec is not None
    task = world_tasks(spec)["world_facts_en"]
    assert len({item.kind for item in task.items()}) == 3
    assert 0.05 < constant_answer(task.items()) < 0.3
