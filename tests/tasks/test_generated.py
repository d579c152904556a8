"""Generated tasks: right answers, no easy way round, the same on every machine."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from onset.tasks.generated import WORDS, addition, generated, modular_arithmetic, word_unscramble


def test_remainders_are_right_and_balanced() -> None:
    """A wrong key or a favoured remainder would be learned as an ability."""
    by_modulus: dict[int, Counter[int]] = {}
    for item in modular_arithmetic().items():
        found = re.fullmatch(r"What is \((\d+) ([-+×]) (\d+)\) mod (\d+)\?", item.question)
        assert found
        one, sign, other, modulus = int(found[1]), found[2], int(found[3]), int(found[4])
        value = {"+": one + other, "-": one - other, "×": one * other}[sign]
        assert value >= 0
        assert item.gold is not None
        assert int(item.choices[item.gold]) == value % modulus
        assert len(item.choices) == modulus
        by_modulus.setdefault(modulus, Counter())[value % modulus] += 1
    for modulus, counts in by_modulus.items():
        assert len(counts) == modulus
        assert max(counts.values()) - min(counts.values()) <= 6


def test_words_are_unscrambled_in_one_way_only() -> None:
    """A right answer would be marked wrong where two common words have the same letters."""
    assert len({"".join(sorted(word)) for word in WORDS}) == len(WORDS)
    for item in word_unscramble().items():
        letters = item.question.split()[6]
        assert sorted(letters) == sorted(item.answers[0])
        assert letters != item.answers[0]


@pytest.mark.parametrize("digits", [1, 2, 6])
def test_sums_are_right_and_of_the_length_that_is_said(digits: int) -> None:
    """The family is told apart by the number of digits."""
    for item in addition(digits).items():
        one, other = (int(number) for number in re.findall(r"\d+", item.question))
        assert str(one + other) == item.answers[0]
        assert len(str(one)) == len(str(other)) == digits


def test_questions_are_new_and_never_among_the_examples() -> None:
    """An example that is asked again gives its answer away."""
    for task in generated():
        questions = [item.question for item in task.items()]
        shown = {row["question"] for row in task.source.examples()}
        assert len(set(questions)) == len(questions)
        assert not shown & set(questions)


def test_a_seed_makes_other_questions_and_the_same_seed_the_same() -> None:
    """Scores of two machines compare only when their questions are the same."""
    assert addition(3).digest() == addition(3).digest()
    assert addition(3, seed=1).digest() != addition(3).digest()
    assert modular_arithmetic(seed=1).digest() != modular_arithmetic().digest()


def test_generated_tasks_stay_as_they_are() -> None:
    """A change in how they are made would give old and new scores one name."""
    assert {task.name: task.digest()[:8] for task in generated()} == {
        "modular_arithmetic": "eb3abe7a",
        "word_unscramble": "704d9f9d",
        "addition_1digit": "8aac06e0",
        "addition_2digit": "795eeb0b",
        "addition_3digit": "efaa8055",
        "addition_4digit": "dbc8b6fb",
        "addition_5digit": "776e1956",
        "addition_6digit": "51a00854",
    }
