"""Chance levels of public multiple-choice tasks, for sources that do not give them.

One over the number of choices, where the questions of the task have one number of them (a few of ARC's have three or
five). Tasks whose questions differ, such as TruthfulQA, are left to the source.
"""

from __future__ import annotations

import re

from onset.metrics.info import info

CHOICES = {
    "anli": 3, "arc_challenge": 4, "arc_easy": 4, "blimp": 2, "boolq": 2, "cb": 3, "commitment_bank": 3,
    "commonsense_qa": 5, "copa": 2, "hellaswag": 4, "logiqa": 4, "mathqa": 5, "medmcqa": 4, "mmlu": 4, "mrpc": 2,
    "openbook_qa": 4, "openbookqa": 4, "piqa": 2, "qnli": 2, "qqp": 2, "race": 4, "rte": 2, "sciq": 4, "siqa": 3,
    "social_iqa": 3, "socialiqa": 3, "sst2": 2, "sst": 2, "storycloze": 2, "wic": 2, "winogrande": 2, "wnli": 2,
    "wsc": 2,
}  # fmt: skip
"""Number of choices of a question."""

_DECORATION = re.compile(r"(@\d+|_\d+shot|_(val|test|rc|mc|mcf)(?=_|$)|\d+$)")


def chance_of(task: str, metric: str) -> float | None:
    """The chance level of an accuracy or of the probability of the right choice; None where it is not known."""
    found = info(metric)
    if found.chance != "guess":
        return None
    name = task.lower()
    if name not in CHOICES:
        name = _DECORATION.sub("", name)
    return 1 / CHOICES[name] if name in CHOICES else None
