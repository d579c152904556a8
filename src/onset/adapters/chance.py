"""Chance levels of public multiple-choice tasks, for sources that do not give them.

One over the number of choices, for tasks whose questions have one number of them (a few of ARC's have three or five)
and choices of their own. Left to the user are tasks whose questions differ in it, such as TruthfulQA, and tasks that
offer the same labels each time, such as BoolQ: there the most frequent label is right more often than that.
"""

from __future__ import annotations

import re

from onset.metrics.info import info

CHOICES = {
    "arc_challenge": 4, "arc_easy": 4, "blimp": 2, "commonsense_qa": 5, "copa": 2, "hellaswag": 4, "logiqa": 4,
    "mathqa": 5, "medmcqa": 4, "mmlu": 4, "openbook_qa": 4, "openbookqa": 4, "piqa": 2, "race": 4, "sciq": 4, "siqa": 3,
    "social_iqa": 3, "socialiqa": 3, "storycloze": 2, "winogrande": 2,
}  # fmt: skip
"""Number of choices of a question."""

_DECORATION = re.compile(r"([@|]\d+|_\d+shot|_(val|test|rc|mc|mcf)(?=_|$)|\d+$)")


def guessed(metric: str) -> bool:
    """Whether the chance level of a metric is the share that guessing gets right."""
    return info(metric).chance == "guess"


def chance_of(task: str, metric: str) -> float | None:
    """The chance level of an accuracy or of the probability of the right choice; None where it is not known."""
    if not guessed(metric):
        return None
    name = task.lower()
    while name not in CHOICES and _DECORATION.search(name):
        name = _DECORATION.sub("", name, count=1)
    return 1 / CHOICES[name] if name in CHOICES else None
