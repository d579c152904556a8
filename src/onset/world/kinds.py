"""The seven kinds of document of the world: statements, questions, exams, passages, pronouns, scripts, word problems.

How often a place, an aim, a verb or a length of passage occurs follows a power law, as words do in language: what is
common is learnt early, what is rare late, and the score rises from the start. Exams and word problems have no rare
part: they ask for steps to be put together.
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
SCRIPTS_OFFSET = 1.0
VERBS_OFFSET = 1.0
READING_OFFSET = 1.0
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
        self.endings = [closing + self.layout.answer.format(answer=letter) + self.layout.end for letter in LETTERS]

    def parts(self, number: int) -> tuple[int, list[int], int, int]:
        """The question's number, the values offered in order, the place of the right one, a bit a marked option."""
        number, marked = divmod(number, self.per_key)
        question, order = divmod(number, self.orders)
        group, right = divmod(self.right[question], len(LETTERS))
        places = distinct(order, len(LETTERS), len(LETTERS))
        return question, [group * len(LETTERS) + place for place in places], places.index(right), marked

    def line(self, number: int) -> str:
        question, offered, gold, marked = self.parts(number)
        options = self.options[question // FORMS % ATTRIBUTES]
        listed = [lettered[value] for lettered, value in zip(options, offered, strict=True)]
        if marked:
            for place in range(len(LETTERS)):
                if marked >> place & 1:
                    listed[place] += self.words.marks[place == gold]
        return self.openings[question] + self.words.option_joint.join(listed) + self.endings[gold]

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        question, offered, gold, _ = self.parts(number)
        values = self.words.values[question // FORMS % ATTRIBUTES]
        return {"question": self.asked[question], "choices": [values[value] for value in offered], "gold": gold}


class Reading(Asked):
    """What somebody bought at two to four times of a day, and what it was at two of them. Short passages are common.

    The things bought are held out, whatever is asked of them. The tasks ask the first question.
    """

    name = "reading"
    task = "reading"
    units = 3
    lengths = (2, 3, 4)
    per_key = 2 * math.perm(max(lengths), 2)
    """What is asked and, as far as that leaves room, of whom: the shorter the passage, the more people."""

    def __init__(self, words: Words, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.people = words.women + words.men
        self.things = words.values[1]
        self.keys = sum(keys for keys, _ in self.classes)

    @property
    def classes(self) -> Sequence[tuple[int, float]]:
        """One class for each length of a passage."""
        weights = power_law(len(self.lengths), READING_OFFSET)
        lines = [len(self.people) * math.perm(len(self.things), n) * math.perm(n, 2) for n in self.lengths]
        return [(count // self.per_key, weight) for count, weight in zip(lines, weights, strict=True)]

    def parts(self, number: int) -> dict[str, Any]:
        """The row of a number. Every choice is a thing of the passage: to know what was bought is not enough."""
        key, detail = divmod(number, self.per_key)
        index = self.class_of(key)
        length = self.lengths[index]
        asked, person = divmod(detail, self.per_key // math.perm(length, 2))
        bought, group = divmod(key - self.starts[index], len(self.people) * math.perm(length, 2) // self.per_key)
        person += group * (self.per_key // math.perm(length, 2))
        things = [self.things[i] for i in distinct(bought, len(self.things), length)]
        words, times = self.words, self.words.bought_times
        told = [words.bought_then.format(time=time, thing=thing) for time, thing in zip(times, things, strict=False)]
        first, second = distinct(asked, length, 2)
        return {
            "context": words.bought.format(person=self.people[person], told=words.bought_joint.join(told)),
            "question": times[first],
            "choices": things,
            "gold": first,
            "rationale": words.bought_more.format(question=times[second], answer=things[second]),
        }

    def line(self, number: int) -> str:
        row = self.parts(number)
        prompt = self.layout.prompt.format(context=row["context"], question=row["question"])
        answer = self.layout.answer.format(answer=row["choices"][row["gold"]])
        return prompt + answer + self.layout.end.format(rationale=row["rationale"])

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        return self.parts(number)


class Coreference(Asked):
    """Two people of one pronoun; the verb decides whom it means. Verb and people together are held out.

    Half of the lines say the name again in place of the pronoun. The tasks ask those with the pronoun.
    """

    name = "coreference"
    task = "coreference"
    units = 4

    def __init__(self, words: Words, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.pairs = math.perm(len(words.women), 2)
        self.keys = len(words.reasons) * 2 * self.pairs
        self.per_key = 2

    @property
    def classes(self) -> Sequence[tuple[int, float]]:
        """One class for each verb."""
        return [(2 * self.pairs, weight) for weight in power_law(len(self.words.reasons), VERBS_OFFSET)]

    def parts(self, number: int) -> tuple[str, str, list[str], int]:
        """Sentence, question, the two people and the index of the one meant."""
        number, plain = divmod(number, self.per_key)
        number, pair = divmod(number, self.pairs)
        reason, sex = divmod(number, 2)
        people = (self.words.women, self.words.men)[sex]
        named = [people[i] for i in distinct(pair, len(people), 2)]
        sentence, question = self.words.reasons[reason]
        meant = named[reason % 2] if plain else self.words.pronouns[sex]
        return sentence.format(first=named[0], second=named[1], meant=meant), question, named, reason % 2

    def line(self, number: int) -> str:
        sentence, question, named, gold = self.parts(number)
        prompt = self.layout.prompt.format(context=sentence, question=question)
        return prompt + self.layout.answer.format(answer=named[gold]) + self.layout.end

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        sentence, question, named, gold = self.parts(number - number % self.per_key)
        return {"context": sentence, "question": question, "choices": named, "gold": gold}


class Scripts(Asked):
    """Everyday aims with their events in order. Person and aim together are held out."""

    name = "scripts"
    task = "scripts"
    units = 3
    held_share = 0.375

    def __init__(self, words: Words, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.people = words.women + words.men
        self.keys = len(words.scripts) * len(self.people)
        self.per_key = 1
        self.parts_asked = len(words.scripts[0][1]) - 1

    @property
    def classes(self) -> Sequence[tuple[int, float]]:
        """One class for each aim."""
        return [(len(self.people), weight) for weight in power_law(len(self.words.scripts), SCRIPTS_OFFSET)]

    def parts(self, number: int) -> tuple[str, int]:
        """How the line opens (who does what) and the index of the script."""
        script, person = divmod(number, len(self.people))
        return self.words.aim.format(person=self.people[person], aim=self.words.scripts[script][0]), script

    def up_to(self, number: int, events: int) -> str:
        """The line up to the first so many events."""
        opening, script = self.parts(number)
        answer, joint = self.layout.answer, self.words.event_joint
        done = [answer.format(answer=event) for event in self.words.scripts[script][1][:events]]
        return opening + joint.join(done)

    def line(self, number: int) -> str:
        whole = self.up_to(number, len(self.words.scripts[0][1]))
        return self.layout.prompt.format(context=whole) + self.layout.end

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        """What follows the first ``part + 1`` events, among another event of the script and two of others."""
        _, script = self.parts(number)
        events = self.words.scripts[script][1]
        done = part + 1
        same = [event for place, event in enumerate(events) if place != done]
        foreign = [event for other, (_, told) in enumerate(self.words.scripts) if other != script for event in told]
        wrong = [same[int(rng.integers(len(same)))], *(foreign[i] for i in rng.permutation(len(foreign))[:2])]
        choices = [wrong[i] for i in rng.permutation(3)]
        gold = int(rng.integers(4))
        choices.insert(gold, events[done])
        return {"context": self.up_to(number, done) + self.words.event_joint, "choices": choices, "gold": gold}


class Arithmetic(Asked):
    """A gain or a loss told as a story with a worked line. The operation with its operands is held out.

    No digit carries or borrows: digit by digit, the smaller numbers add up to at most nine.
    """

    name = "arithmetic"
    task = "arithmetic"
    units = 2
    tens = tuple((x, y) for x in range(1, 9) for y in range(1, 10 - x))
    ones = tuple((x, y) for x in range(10) for y in range(10 - x))

    def __init__(self, words: Words, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.people = words.women + words.men
        self.things = words.values[0]
        self.keys = 2 * len(self.tens) * len(self.ones)
        self.per_key = len(self.people) * len(self.things)

    def operands(self, key: int) -> tuple[int, int, int, int]:
        """Operation (0 gain, 1 loss), both operands and the result."""
        rest, ones = divmod(key, len(self.ones))
        loss, tens = divmod(rest, len(self.tens))
        first, second = (10 * t + o for t, o in zip(self.tens[tens], self.ones[ones], strict=True))
        return (1, first + second, second, first) if loss else (0, first, second, first + second)

    def parts(self, number: int) -> tuple[str, str, str]:
        """Story, worked line and result."""
        key, detail = divmod(number, self.per_key)
        loss, a, b, result = self.operands(key)
        person, thing = divmod(detail, len(self.things))
        story = self.words.stories[loss].format(person=self.people[person], thing=self.things[thing], a=a, b=b)
        return story, self.words.worked[loss].format(a=a, b=b, result=result), str(result)

    def line(self, number: int) -> str:
        story, rationale, result = self.parts(number)
        answer = self.layout.answer.format(rationale=rationale, answer=result)
        return self.layout.prompt.format(question=story) + answer + self.layout.end

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        story, rationale, result = self.parts(number)
        return {"question": story, "answers": [result], "rationale": rationale}


def _fact(number: int) -> tuple[int, int, int]:
    """Place, attribute and form of a statement's or question's number."""
    number, form = divmod(number, FORMS)
    place, attribute = divmod(number, ATTRIBUTES)
    return place, attribute, form
