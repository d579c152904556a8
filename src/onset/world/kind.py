"""What a kind of document is: it numbers all the lines that it could ever tell, so that probabilities are exact.

It maps the numbers 0 .. keys * per_key - 1 one to one to lines of text. A line's number is
``key * per_key + detail``: the key is what may be held out (a question, a passage, a pair of operands), the
detail what varies freely (who, what, in which order). Keys are in classes (the facts of one place, the lines of one
script, the passages of one length): a class is drawn by its weight, a line uniformly within its class. Lines whose
key is held out are never in the text, so the surprise of a line is
-log p(class) + log((keys of the class - held out) * per_key).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onset.world.words import Layout, Words

TABLE = 10_000
"""Kinds with at most so many lines keep them."""

Floats = NDArray[np.float64]


def power_law(classes: int, offset: float) -> list[float]:
    """Weights 1 / (offset + rank), rank from 0: how often things occur where few are common and many are rare."""
    return [1 / (offset + rank) for rank in range(classes)]


class Kind(ABC):
    """One kind of document in one language: ``units`` lines drawn independently."""

    name: str
    units: int
    """Lines in a document."""
    keys: int
    per_key: int
    held_share: float = 0.25
    """Largest share of the keys that is held out."""

    def __init__(self, words: Words, held: frozenset[int] = frozenset()) -> None:
        self.words = words
        self.held = held

    @property
    def size(self) -> int:
        """Count of all lines, those held out included."""
        return self.keys * self.per_key

    @property
    def classes(self) -> Sequence[tuple[int, float]]:
        """Keys and relative weight of each class, in the order of the keys; one class where all are equally likely."""
        return ((self.keys, 1.0),)

    @cached_property
    def starts(self) -> list[int]:
        """The first key of each class."""
        return [0, *accumulate(keys for keys, _ in self.classes)][:-1]

    @cached_property
    def probabilities(self) -> Floats:
        """Probability of each class."""
        weights = np.array([weight for _, weight in self.classes], dtype=float)
        shares: Floats = weights / weights.sum()
        return shares

    @cached_property
    def surprises(self) -> list[float]:
        """Nats of one line of each class."""
        told = [keys for keys, _ in self.classes]
        for key in self.held:
            told[self.class_of(key)] -= 1
        lines = [math.log(keys * self.per_key) for keys in told]
        return [line - math.log(share) for line, share in zip(lines, self.probabilities.tolist(), strict=True)]

    def class_of(self, key: int) -> int:
        """The class of a key."""
        return bisect_right(self.starts, key) - 1

    def nats(self, numbers: Sequence[int]) -> float:
        """Surprise of these lines in the text, in nats."""
        return math.fsum(self.surprises[self.class_of(number // self.per_key)] for number in numbers)

    def draw(self, rng: np.random.Generator, count: int) -> list[int]:
        """Numbers of ``count`` lines of the text, drawn independently."""
        sizes = np.array([keys for keys, _ in self.classes])
        drawn = rng.choice(len(sizes), size=count, p=self.probabilities)
        starts = np.array(self.starts)
        keys = starts[drawn] + rng.integers(sizes[drawn])
        if self.held:
            out = np.flatnonzero([key in self.held for key in keys.tolist()])
            while len(out):
                keys[out] = starts[drawn[out]] + rng.integers(sizes[drawn[out]])
                out = out[[key in self.held for key in keys[out].tolist()]]
        numbers: list[int] = (keys * self.per_key + rng.integers(self.per_key, size=count)).tolist()
        return numbers

    def allowed(self, number: int) -> bool:
        """Whether the line may stand in the text."""
        return number // self.per_key not in self.held

    @abstractmethod
    def line(self, number: int) -> str:
        """The line of that number."""

    @cached_property
    def told(self) -> Callable[[int], str]:
        """``line``, from a table where the lines are few: documents are told by the hundred thousand."""
        return [self.line(number) for number in range(self.size)].__getitem__ if self.size <= TABLE else self.line

    def document(self, numbers: Sequence[int]) -> str:
        """The document that tells these lines in this order."""
        return "".join(map(self.told, numbers))


class Asked(Kind):
    """A kind whose lines are questions with their answers, told in a layout that the tasks share."""

    task: str
    parts_asked: int = 1
    """Questions that are made of one held-out key."""

    def __init__(self, words: Words, held: frozenset[int] = frozenset()) -> None:
        super().__init__(words, held)
        self.layout: Layout = words.layouts[self.task]

    @abstractmethod
    def opening(self, number: int) -> str:
        """The line of that number up to its answer."""

    @abstractmethod
    def row(self, number: int, part: int, rng: np.random.Generator) -> dict[str, Any]:
        """The question of that number: context, question, choices, gold, answers, rationale.

        ``part`` (below ``parts_asked``) says what of the line is asked; ``rng`` draws distractors.
        """


def distinct(number: int, options: int, chosen: int) -> list[int]:
    """The ``number``-th ordered choice of distinct indices below ``options``, of perm(options, chosen)."""
    left = list(range(options))
    picked = []
    for size in range(options, options - chosen, -1):
        number, index = divmod(number, size)
        picked.append(left.pop(index))
    return picked
