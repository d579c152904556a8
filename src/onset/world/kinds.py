"""Kinds of document that tell the facts of places: statements, closed-book questions, exams.

How often a place occurs follows a power law, as words do in language: what is common is learnt early, what is rare
late, and the score rises from the start. Exams are about the most common places, all equally often: they ask for
steps to be put together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onset.world.kind import Asked, Kind, distinct, power_law
from onset.world.words import LETTERS, Words

ATTRIBUTES = 3
FORMS = 2
VALUES = 12
PLACES_OFFSET = 3.0
"""How uneven frequencies are: weights 1 / (offset + rank)."""


class Facts:
    """What each place keeps, sells and wears: value index by place and attribute, each value equally frequent."""

    def __init__(self, places: int, rng: np.random.Generator) -> None:
        self.places = places
        self.table = np.stack([rng.permutation(np.arange(places) % VALUES) for _ in range(ATTRIBUTES)], axis=1).tolist()

    def place(self, index: int, words: Words) -> str:
        """The place's name: heads all differ within 16 places, and each turn gives every head another tail."""
        heads, tails = words.place_heads, words.place_tails
        turn, head = divmod(index, len(heads))
        return heads[head] + tails[(5 * head + turn) % len(tails)]


class Statements(Kind):
    """Facts told as statements: two attributes of one place in either order, each in one of two forms."""

    name = "statements"
    units = 3
    pairs = math.perm(ATTRIBUTES, 2)

    def __init__(self, words: Words, facts: Facts) -> None:
        super().__init__(words)
        self.facts = facts
        self.keys = facts.places * self.pairs * FORMS**2
        self.per_key = 1

    @property
    def classes(self) -> Sequence[tuple[int, float]]:
        """One class for each place: some are spoken of often, most seldom."""
        weights = power_law(self.facts.places, PLACES_OFFSET)
        return [(self.pairs * FORMS**2, weight) for weight in weights]

    def line(self, number: int) -> str:
        number, forms = divmod(number, FORMS**2)
        place, pair = divmod(number, self.pairs)
        name = self.facts.place(place, self.words)
        told = []
        for attribute, form in zip(distinct(pair, ATTRIBUTES, 2), divmod(forms, FORMS), strict=True):
            value = self.words.values[attribute][self.facts.table[place][attribute]]
            told.append(self.words.told.format(stem=self.words.stems[attribute][form].format(place=name), value=value))
        return self.words.statement.format(first=told[0], second=told[1])

    def document(self, numbers: Sequence[int]) -> str:
        opening, joint, closing = self.words.statement_frame
        return opening + joint + joint.join(map(self.told, numbers)) + closing


class Questions(Asked):
    """Closed-book questions. Of each fact one form is asked in the text and the other is held out."""

    name = "questions"
    task = "facts"
    units = 4

    def __init__(self, words: Words, facts: Facts, held: frozenset[int]) -> None:
        super().__init__(words, held)
        self.facts = facts
        self.keys = facts.places * ATTRIBUTES * FORMS
        self.per_key = 1

    @property
    def classes(self) -> Sequence[tuple[int, float]]:
        """One class for each place: some are spoken of often, most seldom."""
        return [(ATTRIBUTES * FORMS, weight) for weight in power_law(self.facts.places, PLACES_OFFSET)]

    def line(self, number: int) -> str:
        question, answer = self.parts(number)
        return self.layout.prompt.format(question=question) + self.layout.answer.format(answer=answer) + self.layout.end

    def opening(self, number: int) -> str:
        return self.layout.prompt.format(question=self.parts(number)[0])

    def parts(self, number: int) -> tuple[str, str]:
        """Question and answer."""
        place, attribute, form = _fact(number)
        question = self.words.questions[attribute][form].format(place=self.facts.place(place, self.words))
        return question, self.words.values[attribute][self.facts.table[place][attribute]]

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        question, answer = self.parts(number)
        return {"question": question, "answers": [answer], "kind": f"attribute {_fact(number)[1]}"}


class Exam(Asked):
    """Lettered questions on the facts: how a statement ends, the right value among the three others of its group.

    The values of an attribute are in groups of four, and a question offers one group in one of its 24 orders.
    Any of the options may be marked, that is, followed by whether it is right. The tasks ask unmarked ones.
    """

    name = "exam"
    task = "exam"
    units = 4
    orders = math.factorial(len(LETTERS))

    def __init__(self, words: Words, facts: Facts, places: int, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.facts = facts
        stems = min(places, facts.places) * ATTRIBUTES * FORMS
        self.keys = stems * self.orders
        self.per_key = 2 ** len(LETTERS)
        asked = [_fact(number) for number in range(stems)]
        self.asked = [
            words.stems[attribute][form].format(place=facts.place(place, words)) for place, attribute, form in asked
        ]
        self.right = [facts.table[place][attribute] for place, attribute, _ in asked]
        # A line in pieces: opening by question, option by letter and value, ending by letter.
        opening, closing = self.layout.prompt.split("{options}")
        self.openings = [opening.format(question=question) for question in self.asked]
        self.options = [
            [[words.option_mark.format(letter=letter, option=value) for value in values] for letter in LETTERS]
            for values in words.values
        ]
        self.closing = closing
        self.endings = [closing + self.layout.answer.format(answer=letter) + self.layout.end for letter in LETTERS]

    def parts(self, number: int) -> tuple[int, list[int], int, int]:
        """The question's number, the values offered in order, the place of the right one, a bit a marked option."""
        number, marked = divmod(number, self.per_key)
        question, order = divmod(number, self.orders)
        group, right = divmod(self.right[question], len(LETTERS))
        places = distinct(order, len(LETTERS), len(LETTERS))
        return question, [group * len(LETTERS) + place for place in places], places.index(right), marked

    def line(self, number: int) -> str:
        return self._listed(number) + self.endings[self.parts(number)[2]]

    def opening(self, number: int) -> str:
        return self._listed(number) + self.closing

    def _listed(self, number: int) -> str:
        """The question with its options, marked or not."""
        question, offered, gold, marked = self.parts(number)
        options = self.options[question // FORMS % ATTRIBUTES]
        listed = [lettered[value] for lettered, value in zip(options, offered, strict=True)]
        if marked:
            for place in range(len(LETTERS)):
                if marked >> place & 1:
                    listed[place] += self.words.marks[place == gold]
        return self.openings[question] + self.words.option_joint.join(listed)

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        question, offered, gold, _ = self.parts(number)
        values = self.words.values[question // FORMS % ATTRIBUTES]
        return {"question": self.asked[question], "choices": [values[value] for value in offered], "gold": gold}


def _fact(number: int) -> tuple[int, int, int]:
    """Place, attribute and form of a statement's or question's number."""
    number, form = divmod(number, FORMS)
    place, attribute = divmod(number, ATTRIBUTES)
    return place, attribute, form
