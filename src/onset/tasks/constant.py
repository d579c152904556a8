"""The best constant answer: what free answers score that ignore the question but know what kind of thing it asks for.

A model that answers any question on what is sold with one thing that is sold somewhere has learnt the words, not the
facts: its score is chance. Two such predictors are scored on the items themselves, and the better one is the chance
level of ``exact_match``: the commonest answer of a kind (in five folds, so that an answer is not taken from the items
that it is tried on), and an answer drawn from the other items of the kind. Where every item has an
answer of its own both score 0. The first is taken only where it is better by more than its standard error: among
equally common answers the luck of a sample is no chance level.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from onset.tasks.task import Item

FOLDS = 5
"""Parts of the items of a kind: the commonest answer of four is tried on the fifth."""


def constant_answer(items: Sequence[Item]) -> float:
    """Score of the better of the two predictors on open items, by kind (``Item.kind``); 0 for fewer than two items."""
    kinds: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        kinds[item.kind].append(item)
    if len(items) < 2:
        return 0.0
    groups = [_Group(group) for group in kinds.values()]
    commonest = sum(group.commonest() for group in groups) / len(items)
    drawn = sum(group.drawn() for group in groups) / len(items)
    error = math.sqrt(commonest * (1.0 - commonest) / len(items))
    return commonest if commonest > drawn + error else drawn


class _Group:
    """The items of one kind, by the answers that they accept; answers are compared without case and outer spaces."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.accepted = [{_plain(answer) for answer in item.answers} for item in items]
        self.references = [_plain(item.answers[0]) for item in items]
        self.counts = Counter(self.references)

    def commonest(self) -> float:
        """Items that accept the commonest reference of the other folds; the share of them where several are."""
        right, folds = 0.0, min(FOLDS, len(self.references))
        for fold in range(folds if folds > 1 else 0):
            others = Counter(answer for place, answer in enumerate(self.references) if place % folds != fold)
            top = max(others.values())
            best = [answer for answer, count in others.items() if count == top]
            for accepted in self.accepted[fold::folds]:
                right += sum(answer in accepted for answer in best) / len(best)
        return right

    def drawn(self) -> float:
        """Items right on average where each answers with the reference of another item of its kind."""
        if len(self.references) < 2:
            return 0.0
        right = 0
        for accepted in self.accepted:
            right += sum(self.counts[answer] for answer in accepted) - 1  # its own reference is no other item's
        return right / (len(self.references) - 1)


def _plain(answer: str) -> str:
    return answer.strip().casefold()
