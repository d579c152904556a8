"""Kinds of document that tell of people and animals: passages, pronouns, scripts, word problems.

How often a place, an aim, a trait or a length of passage occurs follows a power law (see ``onset.world.kinds``). Word
problems have no rare part: they ask for steps to be put together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from onset.world.kind import Asked, distinct, power_law
from onset.world.kinds import PLACES_OFFSET, Facts
from onset.world.words import Words

CHOICES = 4
"""Of a question on a passage."""
READING_OFFSET = 1.0
SCRIPTS_OFFSET = 1.0
TRAITS_OFFSET = 1.0
"""How uneven frequencies are: weights 1 / (offset + rank)."""


class Reading(Asked):
    """Who went to one to three places at which times of a day, and what was seen at each: the animals kept there.

    Where one place is named, knowing it is enough; where there are more, the time has to be looked up first. Short
    passages and some places are common. Person and places together are held out. The tasks ask the first question.
    """

    name = "reading"
    task = "reading"
    units = 3
    lengths = (1, 2, 3)

    def __init__(self, words: Words, facts: Facts, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.facts = facts
        self.people = words.women + words.men
        self.keys = sum(keys for keys, _ in self.classes)
        self.per_key = 1

    @cached_property
    def classes(self) -> Sequence[tuple[int, float]]:
        """One class for each length of a passage and place first asked for."""
        places = self.facts.places
        lengths = zip(self.lengths, power_law(len(self.lengths), READING_OFFSET), strict=True)
        return [
            (len(self.people) * math.perm(places - 1, length - 1) * length, of_length * of_place)
            for length, of_length in lengths
            for of_place in power_law(places, PLACES_OFFSET)
        ]

    def parts(self, number: int) -> tuple[int, list[int], int]:
        """Person, places in the order of the day, and which of them is asked first."""
        index = self.class_of(number)
        length, place = divmod(index, self.facts.places)
        length = self.lengths[length]
        number, person = divmod(number - self.starts[index], len(self.people))
        number, asked = divmod(number, length)
        places = [other + (other >= place) for other in distinct(number, self.facts.places - 1, length - 1)]
        places.insert(asked, place)
        return person, places, asked

    def prompt(self, number: int) -> tuple[str, str]:
        """What is told and the first question."""
        words, (person, places, asked) = self.words, self.parts(number)
        names = [self.facts.place(place, words) for place in places]
        told = [words.visit.format(time=time, place=name) for time, name in zip(words.times, names, strict=False)]
        context = words.travelled.format(person=self.people[person], told=words.visit_joint.join(told))
        return context, words.saw.format(time=words.times[asked])

    def seen(self, places: Sequence[int]) -> list[str]:
        """The animals that are kept in these places."""
        return [self.words.values[0][self.facts.table[place][0]] for place in places]

    def more(self, number: int) -> str:
        """The further questions with their answers, in the order of the day."""
        words, (_, places, asked) = self.words, self.parts(number)
        return "".join(
            words.saw_more.format(question=words.saw.format(time=time), answer=animal)
            for index, (time, animal) in enumerate(zip(words.times, self.seen(places), strict=False))
            if index != asked
        )

    def line(self, number: int) -> str:
        _, places, asked = self.parts(number)
        answer = self.layout.answer.format(answer=self.seen(places)[asked])
        return self.opening(number) + answer + self.layout.end.format(rationale=self.more(number))

    def opening(self, number: int) -> str:
        context, question = self.prompt(number)
        return self.layout.prompt.format(context=context, question=question)

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        """Four choices: the animals of the places named and, where these are fewer, others."""
        _, places, asked = self.parts(number)
        context, question = self.prompt(number)
        seen = self.seen(places)
        told = sorted(set(seen), key=seen.index)
        others = [animal for animal in self.words.values[0] if animal not in told]
        choices = [*told, *(others[i] for i in rng.permutation(len(others))[: CHOICES - len(told)])]
        choices = [choices[i] for i in rng.permutation(CHOICES)]
        gold = choices.index(seen[asked])
        return {
            "context": context,
            "question": question,
            "choices": choices,
            "gold": gold,
            "rationale": self.more(number),
        }


class Coreference(Asked):
    """Two sorts of animals of one pronoun; the trait decides which it means, for bears are fierce and doves timid.

    Half of the lines say the animals again in place of the pronoun. The tasks ask those with the pronoun.
    Trait and animals together are held out: what a trait goes with is learnt trait by trait, the common ones first.
    """

    name = "coreference"
    task = "coreference"
    units = 4
    strong = (0, 2, 3, 7, 10, 11)
    meek = (1, 4, 5, 6, 8, 9)

    def __init__(self, words: Words, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.pairs = 2 * len(self.strong) * len(self.meek)
        self.keys = len(words.traits) * self.pairs
        self.per_key = 2 * len(words.meetings)

    @property
    def classes(self) -> Sequence[tuple[int, float]]:
        """One class for each trait."""
        return [(self.pairs, weight) for weight in power_law(len(self.words.traits), TRAITS_OFFSET)]

    def parts(self, number: int) -> tuple[str, str, list[str], int]:
        """Sentence, question, the two sorts of animals and the index of the one meant."""
        words = self.words
        key, detail = divmod(number, self.per_key)
        verb, plain = divmod(detail, 2)
        trait, pair = divmod(key, self.pairs)
        animals, turned = divmod(pair, 2)
        strong, meek = divmod(animals, len(self.meek))
        named = [words.values[0][self.strong[strong]], words.values[0][self.meek[meek]]]
        gold = trait % 2
        meant = words.named.format(name=named[gold]) if plain else words.pronoun
        if turned:
            named, gold = named[::-1], 1 - gold
        told = {"first": named[0], "second": named[1], "meant": meant, "trait": words.traits[trait]}
        sentence = words.met.format(verb=words.meetings[verb], **told)
        return sentence, words.whose.format(trait=words.traits[trait]), named, gold

    def line(self, number: int) -> str:
        _, _, named, gold = self.parts(number)
        return self.opening(number) + self.layout.answer.format(answer=named[gold]) + self.layout.end

    def opening(self, number: int) -> str:
        sentence, question, _, _ = self.parts(number)
        return self.layout.prompt.format(context=sentence, question=question)

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        sentence, question, named, gold = self.parts(number - number % 2)
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

    def opening(self, number: int) -> str:
        return self.layout.prompt.format(context=self.up_to(number, 1))

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
        _, rationale, result = self.parts(number)
        answer = self.layout.answer.format(rationale=rationale, answer=result)
        return self.opening(number) + answer + self.layout.end

    def opening(self, number: int) -> str:
        return self.layout.prompt.format(question=self.parts(number)[0])

    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        story, rationale, result = self.parts(number)
        return {"question": story, "answers": [result], "rationale": rationale}
