"""The kinds of document: every line once, and nothing that is held out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from onset.study.spec import WorldSpec
from onset.world import build
from onset.world.kind import Asked, Kind
from onset.world.stories import Arithmetic
from onset.world.words import WORDS, Words

SMALL = WorldSpec(places=8, items=20, documents=400, valid_documents=50)
COUNTABLE = 2_000
"""Kinds with fewer lines are enumerated; of the others so many lines are looked at."""


def kinds() -> list[Kind]:
    world = build(SMALL)
    return [kind for language in WORDS for kind in world.kinds[language].values()]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.words.pronoun}-{kind.name}")
def test_numbers_and_lines_are_one_to_one(kind: Kind) -> None:
    """Two numbers with one line would make its probability, and the loss floor, wrong."""
    stride = kind.size // COUNTABLE | 1
    numbers = {number * stride % kind.size for number in range(COUNTABLE)} | set(range(min(kind.size, COUNTABLE)))
    assert len({kind.line(number) for number in numbers}) == len(numbers)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.words.pronoun}-{kind.name}")
def test_probabilities_of_a_kinds_lines_sum_to_one(kind: Kind) -> None:
    """Held-out lines take no probability, and the rest must share all of it."""
    assert sum(keys for keys, _ in kind.classes) == kind.keys
    assert all(0 <= key < kind.keys for key in kind.held)
    if kind.size <= COUNTABLE:
        allowed = [number for number in range(kind.size) if kind.allowed(number)]
        assert math.fsum(math.exp(-kind.nats([number])) for number in allowed) == pytest.approx(1.0)
        return
    total = 0.0
    for start, (keys, _) in zip(kind.starts, kind.classes, strict=True):
        told = keys - sum(start <= key < start + keys for key in kind.held)
        total += told * kind.per_key * math.exp(-kind.nats([start * kind.per_key]))
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.words.pronoun}-{kind.name}")
def test_lines_are_drawn_as_often_as_their_surprise_says(kind: Kind) -> None:
    """The floor of the loss is only exact if a rare fact is told as rarely as its probability states."""
    drawn = 40_000
    numbers = kind.draw(np.random.default_rng(5), drawn)
    assert all(kind.allowed(number) for number in numbers)
    counts = Counter(kind.class_of(number // kind.per_key) for number in numbers)
    for index, share in enumerate(kind.probabilities.tolist()):
        assert counts[index] == pytest.approx(drawn * share, abs=5 * math.sqrt(drawn * share * (1 - share)) + 1e-9)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.words.pronoun}-{kind.name}")
def test_lines_do_not_run_into_each_other(kind: Kind) -> None:
    """A document must be readable back into its lines, or two line sequences could give one text."""
    lines = [kind.line(number) for number in range(min(kind.size, 300))]
    if kind.name == "statements":
        assert all(line.count(".") + line.count("。") == 1 for line in lines)
    else:
        layout = kind.words.layouts[kind.task].prompt if isinstance(kind, Asked) else kind.words.listed
        first = layout.split("{")[0]
        assert all(line.startswith(first) and line.count(first) == 1 and line.endswith("\n") for line in lines)


def test_working_out_a_story_never_carries() -> None:
    """The word problems promise digit-by-digit sums; a carry would be another ability."""
    kind = Arithmetic(WORDS["en"])
    for key in range(0, kind.keys, 7):
        loss, a, b, result = kind.operands(key)
        assert result == (a - b if loss else a + b)
        low, high = sorted((result, b)) if loss else (a, b)
        assert low % 10 + high % 10 < 10
        assert 10 <= a <= 99
        assert 10 <= b <= 99
        assert 10 <= result <= 99


def test_operands_are_all_different() -> None:
    """Two keys with the same operands would let a held-out problem into the text."""
    kind = Arithmetic(WORDS["en"])
    assert len({kind.operands(key) for key in range(kind.keys)}) == kind.keys


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_words_of_a_list_are_all_different(words: Words) -> None:
    """The same word twice would make a choice right and wrong at once."""
    lists = [words.women + words.men, words.place_heads, words.place_tails, *words.values]
    lists.append(tuple(event for _, events in words.scripts for event in events))
    assert all(len(set(one)) == len(one) for one in lists)
    assert [len(value) for value in words.values] == [12, 12, 12]


def test_both_languages_have_the_same_shape() -> None:
    """Entry i must mean the same in both, or the facts of the two languages differ."""
    english, chinese = WORDS["en"], WORDS["zh"]
    for field in ("women", "men", "place_heads", "place_tails", "scripts", "traits", "meetings"):
        assert len(getattr(english, field)) == len(getattr(chinese, field))
