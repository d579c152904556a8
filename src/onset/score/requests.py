"""Requests as rows of tokens that share what they have in common; made once for all models with the same tokenizer.

Two levels are shared: the *prefix* (header and shots, or whatever all questions begin with), computed once for all
rows of a group, and the *question*, computed once for the answers that follow it in the same row. What is common is
found on tokens, so that every answer is scored along the one tokenization of its whole text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from onset.score.answers import Missing
from onset.score.encoding import Ask, Encoder, Ids, Pair
from onset.tasks.task import Request

KEPT_TOKENS = 1 << 24
"""Tokens of rows that are kept for the next checkpoint, at about sixteen bytes each."""
WORTH_TOKENS = 256
"""A prefix is computed apart only if that saves so many tokens: a pass of its own has a price."""
ATTENTION_PRICE = 1000.0
"""Row length at which attention costs about as much as all matrices together; decides if answers share a row."""

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """A question and its answers side by side, after the group's prefix."""

    tokens: Ids
    places: Ids
    """Position of each token in its text, the prefix counted."""
    branches: Ids
    """0 for the question, 1, 2, ... for its answers."""
    columns: Ids
    """Columns whose logits are needed."""
    asked: Ids
    """For each log-probability asked for: index into ``columns``."""
    targets: Ids
    """For each: the token."""
    slots: NDArray[np.int64]
    """For each: the sum that it goes into."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class Group:
    """Rows that continue one prefix (which may be empty)."""

    prefix: Ids
    rows: list[Row]


@dataclass(frozen=True, eq=False)
class Text:
    """A text whose last tokens are to be scored: tokens from ``border`` on go into sum ``slot``."""

    ids: Ids
    border: int
    slot: int
    shares: object = None
    """Texts with equal ``shares`` begin alike (their shots)."""
    item: object = None
    """Texts of one item begin more alike still (their question)."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is known of a request before any model sees it."""

    tokens: int
    bytes: int
    cut_shots: int
    missing: Missing | None
    uncond: bool


@dataclass(frozen=True, eq=False)
class Prepared:
    """Tokenised requests: request i's log-probability is sum 2i, its unconditional one 2i + 1."""

    groups: list[Group]
    asked: list[Asked]
    share: bool
    """Whether rows share prefixes, or every text is a row of its own."""

    def held(self) -> int:
        """Tokens that the rows hold."""
        return sum(len(group.prefix) + sum(map(len, group.rows)) for group in self.groups)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to generate from."""

    ids: Ids
    cut_shots: int
    """Shots dropped from the left, so that prompt and answer fit the context."""
    room: int
    """Tokens that the answer may take."""


class Kept(Generic[Value]):
    """What was tokenised last, so that the checkpoints of a family share it; bounded by the tokens that it holds."""

    def __init__(self) -> None:
        self._values: OrderedDict[object, tuple[Value, int]] = OrderedDict()
        self._held = 0

    def get(self, key: object, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The value under a key, made where it is not there."""
        found = self._values.get(key)
        if found is None:
            made = make()
            found = self._values[key] = (made, size(made))
            self._held += found[1]
            while len(self._values) > 1 and self._held > KEPT_TOKENS:
                self._held -= self._values.popitem(last=False)[1][1]
        self._values.move_to_end(key)
        return found[0]


_rows_kept: Kept[Prepared] = Kept()
_prompts_kept: Kept[list[Prompt | None]] = Kept()


def prepare(requests: Sequence[Request], encoder: Encoder, context: int, reach: int) -> Prepared:
    """Tokenise requests for a context; prefixes are shared if no text is longer than ``reach``."""
    key = (encoder.digest, context, reach, tuple(requests))
    return _rows_kept.get(key, lambda: _prepare(requests, encoder, context, reach), Prepared.held)


def prompts(requests: Sequence[Request], encoder: Encoder, context: int) -> list[Prompt | None]:
    """Prompts cut by whole shots so that prompt and answer fit the context; None where the question leaves no room."""
    key = (encoder.digest, context, tuple(requests))
    return _prompts_kept.get(
        key,
        lambda: _prompts(requests, encoder, context),
        lambda made: sum(len(one.ids) for one in made if one is not None),
    )


def _prompts(requests: Sequence[Request], encoder: Encoder, context: int) -> list[Prompt | None]:
    made: list[Prompt | None] = [None] * len(requests)
    owed = list(range(len(requests)))
    cut = 0
    while owed:
        rows = encoder.prompts([ask(requests[index], cut) for index in owed])
        long = []
        for index, ids in zip(owed, rows, strict=True):
            request = requests[index]
            room = context - len(ids)
            if room < request.max_tokens and cut < len(request.shots):
                long.append(index)
            elif room > 0 and len(ids):
                made[index] = Prompt(ids, cut, min(request.max_tokens, room))
        owed, cut = long, cut + 1
    return made


def _prepare(requests: Sequence[Request], encoder: Encoder, context: int, reach: int) -> Prepared:
    pairs, cut = fitted(requests, encoder, context)
    free = [index for index, request in enumerate(requests) if request.uncond is not None]
    bare = encoder.pairs([Ask((), requests[index].uncond or "", requests[index].continuation) for index in free])
    texts: list[Text] = []
    asked: list[Asked] = []
    for index, (request, pair) in enumerate(zip(requests, pairs, strict=True)):
        missing = _missing(request, pair, context)
        if missing is None:
            shares = (request.header, request.shots[cut[index] :])
            texts.append(Text(pair.ids, pair.border, 2 * index, shares, request.item))
        size = len(request.continuation.encode())
        asked.append(Asked(pair.tokens, size, cut[index], missing, request.uncond is not None))
    for index, pair in zip(free, bare, strict=True):
        if asked[index].missing is None:
            texts.append(Text(pair.ids, pair.border, 2 * index + 1, requests[index].uncond, pair.ids.tobytes()))
    share = max((len(text.ids) - 1 for text in texts), default=0) <= reach
    return Prepared(grouped(texts, share), asked, share)


def fitted(requests: Sequence[Request], encoder: Encoder, context: int) -> tuple[list[Pair], list[int]]:
    """Each request's row of tokens, and how many shots were dropped from the left to fit the context."""
    pairs = encoder.pairs([ask(request) for request in requests])
    cut = [0] * len(requests)
    while True:
        long = [
            index
            for index, (request, pair) in enumerate(zip(requests, pairs, strict=True))
            if len(pair.ids) - 1 > context and cut[index] < len(request.shots)
        ]
        if not long:
            return pairs, cut
        for index in long:
            cut[index] += 1
        again = encoder.pairs([ask(requests[index], cut[index]) for index in long])
        for index, pair in zip(long, again, strict=True):
            pairs[index] = pair


def ask(request: Request, cut: int = 0) -> Ask:
    """A request's texts, its first ``cut`` shots left out."""
    return Ask((request.header, *request.shots[cut:]), request.question, request.continuation)


def _missing(request: Request, pair: Pair, context: int) -> Missing | None:
    if not request.continuation or not pair.tokens or not pair.border:
        return "empty"
    return "too long" if len(pair.ids) - 1 > context else None


def grouped(texts: Sequence[Text], share: bool) -> list[Group]:
    """Texts as groups of rows."""
    if not share:
        alike: dict[bytes, list[Text]] = {}
        for text in texts:
            alike.setdefault(text.ids[:-1].tobytes(), []).append(text)
        return [Group(_NONE, [_row(same, 0, [same], len(same[0].ids) - 1) for same in alike.values()])]
    by_prefix: dict[object, dict[object, list[Text]]] = {}
    for text in texts:
        by_prefix.setdefault(text.shares, {}).setdefault(text.item, []).append(text)
    groups: list[Group] = []
    alone: list[Row] = []
    for items in by_prefix.values():
        every = [text for members in items.values() for text in members]
        length = shared_length([text.ids[: text.border - 1] for text in every])
        rows = [row for members in items.values() for row in _rows(members, length)]
        if length * (len(rows) - 1) >= WORTH_TOKENS:
            groups.append(Group(every[0].ids[:length], rows))
        else:
            alone.extend(rows if length == 0 else [row for members in items.values() for row in _rows(members, 0)])
    if alone:
        groups.append(Group(_NONE, alone))
    return groups


_NONE: Ids = np.zeros(0, dtype=np.int32)


def _rows(members: list[Text], length: int) -> list[Row]:
    """An item's texts after a prefix of ``length``: one row for all where that is cheaper, else a row each."""
    alike: dict[bytes, list[Text]] = {}
    for text in members:
        alike.setdefault(text.ids[:-1].tobytes(), []).append(text)
    branches = list(alike.values())
    if len(branches) > 1:
        common = shared_length([same[0].ids[:-1] for same in branches])
        sizes = [len(same[0].ids) - 1 - length for same in branches]
        together = common - length + sum(size + length - common for size in sizes)
        apart = sum(size + size**2 / ATTENTION_PRICE for size in sizes)
        if together + together**2 / ATTENTION_PRICE >= apart:
            return [_row(same, length, [same], len(same[0].ids) - 1) for same in branches]
        return [_row(members, length, branches, common)]
    return [_row(members, length, branches, len(members[0].ids) - 1)]


def _row(members: list[Text], length: int, branches: list[list[Text]], common: int) -> Row:
    """The row of a question of tokens ``length`` to ``common``, then each branch's own tokens."""
    first = members[0].ids
    tokens, places, marks = [first[length:common]], [np.arange(length, common, dtype=np.int32)], [common - length]
    columns, targets, slots = [], [], []
    at = common - length
    for branch in branches:
        for text in branch:
            predicting = np.arange(text.border - 1, len(text.ids) - 1)
            columns.append(np.where(predicting < common, predicting - length, predicting - common + at))
            targets.append(text.ids[text.border :])
            slots.append(np.full(len(predicting), text.slot))
        own = branch[0].ids[common:-1]
        tokens.append(own)
        places.append(np.arange(common, common + len(own), dtype=np.int32))
        marks.append(len(own))
        at += len(own)
    needed, asked = np.unique(np.concatenate(columns), return_inverse=True)
    return Row(
        tokens=np.concatenate(tokens),
        places=np.concatenate(places),
        branches=np.repeat(np.arange(len(marks), dtype=np.int32), marks),
        columns=needed.astype(np.int32),
        asked=asked.astype(np.int32),
        targets=np.concatenate(targets),
        slots=np.concatenate(slots),
    )


def shared_length(rows: list[Ids]) -> int:
    """Length of the beginning that all rows share."""
    length = min(len(row) for row in rows)
    for one, other in pairwise(rows):
        differ = np.flatnonzero(one[:length] != other[:length])
        if len(differ):
            length = int(differ[0])
        if not length:
            break
    return length
