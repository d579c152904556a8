"""Task, Item and Request: a question from its source to exactly what a model is asked.

A task is a source of rows, a row-to-item function, a format, a number of shots and a language. Formats turn
an item and its few-shot examples into requests; the scorer and the metrics see requests and rows only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

Row = Mapping[str, Any]
Ability = Literal[
    "closed-book question answering",
    "commonsense inference",
    "reading comprehension",
    "coreference",
    "examination",
    "mathematical word problems",
    "modular arithmetic",
    "word unscrambling",
    "addition",
]


@dataclass(frozen=True, slots=True)
class Item:
    """One question, free of any prompt words."""

    id: str
    question: str
    choices: tuple[str, ...] = ()
    """Possible answers; empty for a free answer."""
    gold: int | None = None
    """Index of the right choice; None for a free answer."""
    answers: tuple[str, ...] = ()
    """Accepted free answers, the reference first; empty for choices."""
    context: str = ""
    """Passage or situation that the question is about."""
    rationale: str = ""
    """Worked answer, shown in chain-of-thought examples."""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked: score a continuation, or generate after a prompt.

    The prompt is ``header + shots + question``; it is kept in parts so that a prompt that is too long for a
    model is cut by whole shots from the left and never inside the question.
    """

    item: str
    choice: int
    gold: bool
    kind: Literal["score", "generate"]
    question: str
    continuation: str
    """The text to be scored; for ``generate`` the reference answer, whose log-probability is kept too."""
    header: str = ""
    shots: tuple[str, ...] = ()
    uncond: str | None = None
    """Bare prompt for the unconditional log-probability of the same continuation; None where not asked."""
    stop: tuple[str, ...] = ()
    """Texts at which a generation ends (they are not part of the answer)."""
    max_tokens: int = 0
    """Longest generation."""

    @property
    def prompt(self) -> str:
        """The whole prompt."""
        return self.header + "".join(self.shots) + self.question


class Format(Protocol):
    """Turns an item and its examples into requests. A frozen dataclass, so that its fields are its identity."""

    name: str

    def requests(self, item: Item, shots: Sequence[Item], language: str) -> list[Request]:
        """The requests of one item, in the order of its choices."""
        ...


class Source(Protocol):
    """Where rows come from: the questions and the pool of few-shot examples."""

    def rows(self) -> list[Row]:
        """Rows to be asked, in a fixed order."""
        ...

    def examples(self) -> list[Row]:
        """Rows for prompts, in a fixed order; never among ``rows``."""
        ...

    def identity(self) -> dict[str, Any]:
        """What the rows depend on, without loading them: part of the digest."""
        ...


@dataclass(frozen=True)
class Task:
    """A task of the catalogue: everything that shapes what is asked and how the answer is judged."""

    name: str
    language: Literal["en", "zh"]
    ability: Ability
    source: Source
    item: Callable[[Row], Item]
    format: Format
    shots: int = 0
    metric: str = "accuracy"
    """The published headline metric."""
    judge: Callable[[str, Item], bool] | None = None
    """Free answers: whether a generated text is right."""
    pick: Callable[[Item, Sequence[Item], int], list[Item]] | None = None
    """Chooses an item's examples from the pool; by default the first ``shots`` of it."""
    licence: str = ""
    source_note: str = ""
    """Where the prompt's form comes from, and caveats (a stand-in says so here)."""
    limit: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether the answer is free text."""
        return self.judge is not None

    def items(self) -> list[Item]:
        """The questions, the first ``limit`` of the source."""
        return [self.item(row) for row in self.source.rows()[: self.limit]]

    def requests(self) -> list[Request]:
        """All requests of the task, item by item."""
        pool = [self.item(row) for row in self.source.examples()] if self.shots else []
        pick = self.pick or _first
        asked: list[Request] = []
        for item in self.items():
            asked.extend(self.format.requests(item, pick(item, pool, self.shots), self.language))
        return asked

    def digest(self) -> str:
        """Sixty-four hexadecimal digits over all that shapes a request: rows, prompts, shots, limit."""
        made = hashlib.sha256()
        made.update(json.dumps(self.source.identity(), sort_keys=True, default=str).encode())
        for request in self.requests():
            made.update(
                json.dumps(
                    [request.item, request.choice, request.gold, request.kind, request.prompt, request.continuation,
                     request.uncond, request.stop, request.max_tokens],
                    ensure_ascii=False,
                ).encode()
            )  # fmt: skip
        return made.hexdigest()

    def with_use(self, *, shots: int | None = None, limit: int | None = None) -> Task:
        """The same task with other shots or a limit."""
        changed = replace(self, limit=limit if limit is not None else self.limit)
        return replace(changed, shots=shots) if shots is not None else changed


def _first(item: Item, pool: Sequence[Item], shots: int) -> list[Item]:
    """The first examples of the pool, the item itself left out."""
    return [example for example in pool if example.id != item.id][:shots]
