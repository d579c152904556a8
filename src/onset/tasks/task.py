"""Task, Item and Request: a question from its source to exactly what a model is asked.

A task is a source of rows, a row-to-item function, a format, a number of shots and a language. Formats turn
an item and its few-shot examples into requests; the scorer and the metrics see requests and rows only.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

from onset.errors import OnsetError

Row = Mapping[str, Any]


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
    kind: str = ""
    """What an open question asks for, where a model can know it without knowing the answer: a person, a year, ...
    Part of the chance level (``tasks.constant``), and of no prompt."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How often a free answer is sampled beside the greedy one, for pass@k."""

    samples: int
    temperature: float = 0.8
    """Of the softmax over the next token; Chen et al. 2021 take 0.8 for pass@100 and 0.2 for pass@1."""
    seed: int = 0


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
    sampling: Sampling | None = None
    """Samples of the answer to ``generate``, beside the greedy one."""

    @property
    def prompt(self) -> str:
        """The whole prompt."""
        return self.header + "".join(self.shots) + self.question


Judge = Callable[[str, Item], bool]
"""Whether a generated text is a right answer to an item."""


class Format(Protocol):
    """Turns an item and its examples into requests. A frozen dataclass, so that its fields are its identity."""

    @property
    def name(self) -> str:
        """One word for the format."""
        ...

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
    ability: str
    """What is asked for, in words: 'reading comprehension', 'examination'."""
    source: Source
    item: Callable[[Row], Item]
    format: Format
    shots: int = 0
    metric: str = "accuracy"
    """The published headline metric."""
    judge: Judge | None = None
    """Free answers: whether a generated text is right."""
    pick: Callable[[Item, Sequence[Item], int], list[Item]] | None = None
    """Chooses an item's examples from the pool; by default the first ``shots`` of it."""
    chance: float | None = None
    """Nominal chance of the headline metric; ``metrics.measure`` gives the exact one from the rows."""
    licence: str = ""
    source_note: str = ""
    """Where the prompt's form comes from, and caveats (a stand-in says so here)."""
    limit: int | None = None
    only: frozenset[str] | None = None
    """Ids of the questions that are asked; None for all."""
    sampling: Sampling | None = None
    """Free answers: samples beside the greedy answer."""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether the answer is free text."""
        return self.judge is not None

    def items(self) -> list[Item]:
        """The questions that can be asked, the first ``limit`` of the source; see ``faults`` for the others."""
        return list(self._questions[0])

    def faults(self) -> dict[str, int]:
        """How many rows cannot be asked, by reason ("an empty choice"); examples are told apart from questions."""
        examples = {f"example with {reason}": count for reason, count in self._examples[1].items()}
        return {**self._questions[1], **examples}

    def requests(self) -> list[Request]:
        """All requests of the task, item by item: made once, the same objects each time.

        Raises OnsetError when no row can be asked, when two have one id, or when there are too few examples.
        """
        return list(self._requests)

    def clusters(self) -> dict[str, str]:
        """What an item shares with others: its passage, by eight hexadecimal digits, else its subject."""
        return self._clusters

    def digest(self) -> str:
        """Sixty-four hexadecimal digits over all that shapes a request: rows, prompts, shots, limit."""
        return self._digest

    def with_use(self, *, shots: int | None = None, limit: int | None = None, sampling: Sampling | None = None) -> Task:
        """The same task with other shots, a limit, or samples where its answers are free."""
        changed = replace(self, limit=limit if limit is not None else self.limit)
        if sampling is not None and self.open:
            changed = replace(changed, sampling=sampling)
        return replace(changed, shots=shots) if shots is not None else changed

    def with_only(self, items: Sequence[str]) -> Task:
        """The same task with these questions alone, in the order of its source."""
        return replace(self, only=frozenset(items), limit=None)

    def __getstate__(self) -> dict[str, Any]:
        # Sent to another process as its definition: rows and prompts are made there.
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    @cached_property
    def _requests(self) -> tuple[Request, ...]:
        return tuple(self._asked())

    @cached_property
    def _clusters(self) -> dict[str, str]:
        shared = Counter(item.context for item in self._questions[0] if item.context)
        found: dict[str, str] = {}
        for item in self._questions[0]:
            if shared[item.context] > 1:
                found[item.id] = hashlib.sha256(item.context.encode()).hexdigest()[:8]
            elif item.subject:
                found[item.id] = item.subject
        return found

    @cached_property
    def _questions(self) -> tuple[list[Item], dict[str, int]]:
        items, faults = self._read(self.source.rows(), self.limit)
        items = [item for item in items if self.only is None or item.id in self.only]
        if not items:
            raise OnsetError(
                f"task '{self.name}' has no row that can be asked ({_listed(faults)})",
                where=self.source,
                advice="see docs/tasks.md for the format of rows",
            )
        twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
        if twice:
            raise OnsetError(
                f"task '{self.name}' has {len(twice)} ids more than once", where=f"{self.source}: id '{twice[0]}'",
                advice="give every row its own id",
            )  # fmt: skip
        return items, faults

    @cached_property
    def _examples(self) -> tuple[list[Item], dict[str, int]]:
        return self._read(self.source.examples(), None) if self.shots else ([], {})

    def _read(self, rows: Sequence[Row], limit: int | None) -> tuple[list[Item], dict[str, int]]:
        """Rows to items; rows that cannot be asked are counted by reason."""
        items: list[Item] = []
        faults: Counter[str] = Counter()
        for row in rows:
            if limit is not None and len(items) >= limit:
                break
            try:
                item = self.item(row)
            except KeyError as error:
                raise OnsetError(
                    f"a row of task '{self.name}' has no field {error}",
                    where=f"{self.source}: id '{row.get('id', '?')}'",
                    advice="see docs/tasks.md for the fields of a row",
                ) from error
            if reason := fault(item, open=self.open):
                faults[reason] += 1
            else:
                items.append(item)
        return items, dict(faults)

    def _asked(self) -> Iterator[Request]:
        pool = self._examples[0]
        pick = self.pick or _first
        for item in self._questions[0]:
            shots = pick(item, pool, self.shots) if self.shots else []
            if len(shots) < self.shots:
                raise OnsetError(
                    f"task '{self.name}' is asked with {self.shots} shots, and {len(shots)} examples fit",
                    where=f"{self.source}: id '{item.id}'",
                    advice=f"ask for at most {len(shots)} shots, or add examples",
                )
            for request in self.format.requests(item, shots, self.language):
                sampled = self.sampling is not None and request.kind == "generate"
                yield replace(request, sampling=self.sampling) if sampled else request

    @cached_property
    def _digest(self) -> str:
        # Kept with the frozen value: prompts of one Task never change, and all of them are rendered here.
        made = hashlib.sha256(json.dumps(self.source.identity(), sort_keys=True, default=str).encode())
        encode = json.JSONEncoder(ensure_ascii=False).encode
        shown: dict[tuple[str, ...], str] = {}  # examples are long and shared by many requests: hashed once
        for one in self._requests:
            if one.shots not in shown:
                shown[one.shots] = hashlib.sha256("".join(one.shots).encode()).hexdigest()
            shape = (one.item, one.choice, one.gold, one.kind, one.header, shown[one.shots], one.question,
                     one.continuation, one.uncond, one.stop, one.max_tokens)  # fmt: skip
            drawn = () if one.sampling is None else astuple(one.sampling)  # without samples the digest is as ever
            made.update(encode((*shape, *drawn)).encode())
        return made.hexdigest()


def fault(item: Item, *, open: bool) -> str | None:
    """Why an item cannot be asked, or None."""
    if not (item.question.strip() or item.context.strip()):
        return "no question"
    if open:
        return None if item.answers and item.answers[0].strip() else "no answer"
    if len(item.choices) < 2:
        return "fewer than two choices"
    if not all(choice.strip() for choice in item.choices):
        return "an empty choice"
    if item.gold is None or not 0 <= item.gold < len(item.choices):
        return "a right choice that is not among the choices"
    return None


def _listed(faults: Mapping[str, int]) -> str:
    return ", ".join(f"{count} with {reason}" for reason, count in faults.items()) or "it is empty"


def _first(item: Item, pool: Sequence[Item], shots: int) -> list[Item]:
    """The first examples of the pool, the item itself left out."""
    found: list[Item] = []
    for example in pool:
        if len(found) == shots:
            break
        if example.id != item.id:
            found.append(example)
    return found
