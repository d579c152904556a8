"""What a published metric's name says of its scale: which way is better, and which scores are possible.

A table may say the direction itself, in a ``direction`` column; the possible scores follow from the name only.
Names are kept as published; a filter after a comma (``acc,none``) is ignored here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Literal

Direction = Literal["higher", "lower"]

_LOWER = {
    "bpb", "brier", "ce", "cer", "entropy", "err", "error", "log_loss", "logloss", "loss", "mae", "mse", "nll",
    "perplexity", "ppl", "rmse", "surprisal", "ter", "wer",
}  # fmt: skip
_HIGHER = {
    "acc", "accuracy", "bleu", "chrf", "em", "f1", "likelihood", "logprob", "loglikelihood", "match", "mc1", "mc2",
    "mcc", "precision", "prob", "probability", "recall", "rouge", "score", "pass", "win",
}  # fmt: skip
_SHARES = {"acc", "accuracy", "em", "f1", "mc1", "mc2", "precision", "prob", "probability", "recall"}

HEADLINE = ("accuracy", "exact_match", "acc", "acc_norm", "em", "f1")
"""Metrics that stand for a task where they are there: the published kinds."""

_ORDER = ("accuracy", "exact_match", "correct_choice_prob", "brier", "choice_log_loss", "gold_bits_per_byte")


def rank(metric: str) -> tuple[int, str]:
    """Sorts metrics: headline ones first, those that are not known last and by name."""
    return (_ORDER.index(metric) if metric in _ORDER else len(_ORDER), metric)


def headline(metrics: Sequence[str]) -> str:
    """The metric that stands for a task: the published kind where it is there, else the first."""
    for metric in HEADLINE:
        if metric in metrics:
            return metric
    return min(metrics, key=rank)


def _words(metric: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", metric.lower().split(",")[0]) if word]


@cache
def direction(metric: str) -> Direction | None:
    """Whether a higher or a lower score is better; None where the name does not tell."""
    words = _words(metric)
    pairs = {"_".join(pair) for pair in pairwise(words)}
    if {"bits_per", "nats_per", "cross_entropy", "log_loss"} & pairs or _LOWER & set(words):
        return "lower"
    if _HIGHER & set(words):
        return "higher"
    return None


@cache
def is_share(metric: str) -> bool:
    """Whether the score is a share of one (an accuracy, a probability), which some publish in percent."""
    words = _words(metric)
    if direction(metric) != "higher" or {"log", "logprob", "loglikelihood"} & set(words):
        return False
    return bool(_SHARES & set(words)) or words[:2] == ["exact", "match"] or words[:1] == ["pass"]


@cache
def bounds(metric: str) -> tuple[float, float]:
    """Lowest and highest possible score, infinite where there is no bound (shares count as fractions)."""
    words = _words(metric)
    if is_share(metric):
        return 0.0, 1.0
    if "brier" in words:
        return 0.0, 2.0
    if {"perplexity", "ppl"} & set(words):
        return 1.0, math.inf
    if direction(metric) == "lower":
        return 0.0, math.inf
    return -math.inf, math.inf
