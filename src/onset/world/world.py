"""The world built from its specification: documents with their probability, held-out questions, the loss floor.

A document is drawn in two steps: its kind by ``SHARES``, then its lines independently and uniformly among the
lines that are not held out. Both steps can be read back from the text, so ``Document.nats`` is exactly
-log p(document) given its language, for training and held-out documents alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, Literal

import numpy as np

from onset.errors import OnsetError, did_you_mean
from onset.study.spec import WorldSpec
from onset.world.kind import Asked, Kind
from onset.world.kinds import Exam, Facts, Questions, Statements
from onset.world.stories import Arithmetic, Coreference, Reading, Scripts
from onset.world.words import WORDS

Split = Literal["train", "valid"]

SHARES = {
    "statements": 0.14,
    "questions": 0.11,
    "exam": 0.30,
    "reading": 0.13,
    "coreference": 0.13,
    "scripts": 0.05,
    "arithmetic": 0.14,
}
"""Probability of each kind of document, the same in both languages."""

LANGUAGE_SHARES = {"en": 0.6, "zh": 0.4}
"""Documents of each language in the training text."""

DOCUMENTS_PER_CONVERSATION = 10
"""Of the training text, for each conversation of a tuning."""

EXAMPLES = 8
"""Questions in the pool for few-shot prompts."""

_BLOCK = 4096  # documents drawn at once; part of what the text is, since numbers are drawn block by block


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the world and its surprise under the generator, in nats."""

    text: str
    nats: float
    kind: str


class World:
    """An embedded bilingual world: same facts in both languages, everything else drawn from the seed."""

    def __init__(self, spec: WorldSpec) -> None:
        words = WORDS["en"]
        most = len(words.place_heads) * len(words.place_tails)
        if spec.places > most:
            raise OnsetError(
                f"the world has names for {most} places, not for {spec.places}", where="world.places",
                advice=f"set places to {most} or fewer",
            )  # fmt: skip
        self.spec = spec
        self.facts = Facts(spec.places, np.random.default_rng([spec.seed, 0]))
        self.kinds: dict[str, dict[str, Kind]] = {language: self._kinds(language) for language in WORDS}

    def _kinds(self, language: str) -> dict[str, Kind]:
        words, facts, examined = WORDS[language], self.facts, self.spec.exam_places
        made: list[Kind] = [
            Statements(words, facts),
            Questions(words, facts, self._held_forms(language)),
            Exam(words, facts, examined, self._held(language, Exam(words, facts, examined))),
            Reading(words, facts, self._held(language, Reading(words, facts))),
            Coreference(words, self._held(language, Coreference(words))),
            Scripts(words, self._held(language, Scripts(words))),
            # The same operands in both languages: what was held out in one is not learnt from the other.
            Arithmetic(words, self._held("en", Arithmetic(words))),
        ]
        return {kind.name: kind for kind in made}

    def _held(self, language: str, kind: Asked) -> frozenset[int]:
        """Keys that are asked and never told: as many of each class as the items need, within the kind's share."""
        rng = self._rng(language, kind.name, "held")
        wanted = -(-self.spec.items // (kind.parts_asked * len(kind.classes)))
        held: set[int] = set()
        for start, (keys, _) in zip(kind.starts, kind.classes, strict=True):
            count = min(wanted, int(keys * kind.held_share))
            chosen: set[int] = set()
            while len(chosen) < count:
                chosen.add(start + int(rng.integers(keys)))
            held |= chosen
        return frozenset(held)

    def _held_forms(self, language: str) -> frozenset[int]:
        """Of each fact, the one form of its question that the text never asks."""
        facts = Questions(WORDS[language], self.facts, frozenset()).keys // 2
        forms = self._rng(language, "questions", "held").integers(2, size=facts)
        return frozenset((2 * np.arange(facts) + forms).tolist())

    def _rng(self, *names: str) -> np.random.Generator:
        """A stream of random numbers of its own for each purpose."""
        return np.random.default_rng([self.spec.seed, *("/".join(names)).encode()])

    def count(self, language: str, split: Split) -> int:
        """Documents of that language in that split."""
        _check_language(language)
        whole = self.spec.valid_documents if split == "valid" else self.spec.documents
        english = round(whole * LANGUAGE_SHARES["en"])
        return english if language == "en" else whole - english

    def documents(self, language: str, split: Split) -> Iterator[Document]:
        """The documents of one language in their order; the first ones do not depend on how many there are."""
        rng = self._rng(language, split)
        left = self.count(language, split)
        while left > 0:
            yield from self._block(language, rng, min(left, _BLOCK))
            left -= _BLOCK

    def _block(self, language: str, rng: np.random.Generator, wanted: int) -> Iterator[Document]:
        kinds = [self.kinds[language][name] for name in SHARES]
        drawn = rng.choice(len(kinds), size=_BLOCK, p=list(SHARES.values())).tolist()
        streams = [iter(kind.draw(rng, drawn.count(index) * kind.units)) for index, kind in enumerate(kinds)]
        for index in drawn[:wanted]:
            kind = kinds[index]
            numbers = list(islice(streams[index], kind.units))
            yield Document(kind.document(numbers), kind.nats(numbers) - math.log(SHARES[kind.name]), kind.name)

    def conversations(self, language: str) -> Iterator[list[dict[str, str]]]:
        """Instructions about the world: questions of one kind and their answers in turn, none of them held out.

        One for every ``DOCUMENTS_PER_CONVERSATION`` documents of that language, each as long as a document.
        """
        rng = self._rng(language, "conversations")
        kinds = [kind for kind in self.kinds[language].values() if isinstance(kind, Asked)]
        shares = np.array([SHARES[kind.name] for kind in kinds])
        for _ in range(self.count(language, "train") // DOCUMENTS_PER_CONVERSATION):
            kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
            messages = []
            for number in kind.draw(rng, kind.units):
                opening, line = kind.opening(number), kind.line(number)
                messages += [{"role": "user", "content": opening}]
                messages += [{"role": "assistant", "content": line.removeprefix(opening)}]
            yield messages

    def questions(self, task: str, language: str) -> list[dict[str, Any]]:
        """The rows of a task: held out of the text, at most ``spec.items``."""
        kind = self._asked(task, language)
        rng = self._rng(language, task, "questions")
        keys = rng.permutation(sorted(kind.held))
        details = rng.integers(kind.per_key, size=len(keys))
        numbers = (keys * kind.per_key + details).tolist()
        asked = [(number, part) for number in numbers for part in range(kind.parts_asked)][: self.spec.items]
        return [{"id": f"{n:04d}", **kind.row(number, part, rng)} for n, (number, part) in enumerate(asked)]

    def examples(self, task: str, language: str) -> list[dict[str, Any]]:
        """Rows for few-shot prompts: lines that the text may hold."""
        kind = self._asked(task, language)
        rng = self._rng(language, task, "examples")
        numbers = kind.draw(rng, EXAMPLES)
        return [{"id": f"example-{n}", **kind.row(number, 0, rng)} for n, number in enumerate(numbers)]

    def _asked(self, task: str, language: str) -> Asked:
        _check_language(language)
        asked = {kind.task: kind for kind in self.kinds[language].values() if isinstance(kind, Asked)}
        if task not in asked:
            raise OnsetError(f"the world has no task '{task}'", advice=did_you_mean(task, asked))
        return asked[task]

    @cached_property
    def _valid(self) -> dict[str, list[Document]]:
        return {language: list(self.documents(language, "valid")) for language in WORDS}

    def floor(self, count_tokens: Callable[[list[str]], list[int]]) -> dict[str, float]:
        """The loss that no model can beat on the held-out documents, by language and over all ('all').

        ``count_tokens`` gives each text's tokens without a separator; one separator a document is added, which
        costs no nats because a document's end is certain. The language of a document is taken as known.
        Nats per token.
        """
        nats: dict[str, float] = {}
        tokens: dict[str, int] = {}
        for language, documents in self._valid.items():
            nats[language] = math.fsum(document.nats for document in documents)
            tokens[language] = sum(count_tokens([document.text for document in documents])) + len(documents)
        floor = {language: nats[language] / tokens[language] for language in nats}
        return {**floor, "all": math.fsum(nats.values()) / sum(tokens.values())}


@lru_cache(maxsize=4)
def build(spec: WorldSpec) -> World:
    """The world of that specification; the same object for the same specification."""
    return World(spec)


def _check_language(language: str) -> None:
    if language not in WORDS:
        raise OnsetError(f"the world does not speak '{language}'", advice=did_you_mean(language, WORDS))
