"""The registry of metrics: what is known of a score by the name of its metric, onset's own and published ones.

``info(name)`` gives direction, range, whether the metric is discontinuous, how items err, the rule of its chance level
and its rank among a task's metrics. Names are kept as published; ``acc,none``, ``exact_match:strict-match`` and
``pass@1`` are read as the metric that they filter or count. A metric whose name says nothing has no direction: a table
may say it in its ``direction`` column. To add a metric, add one ``MetricInfo`` here; to compute it from item rows, add
its function to ``metrics.measures``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Literal

from onset.errors import OnsetError

Direction = Literal["higher", "lower"]
ChanceRule = Literal["guess", "brier", "log", "constant_answer"]
"""``guess``: the best constant choice; ``brier`` and ``log``: the best constant probabilities; ``constant_answer``:
the best constant free answer."""
Error = Literal["binomial", "bounded", "unknown"]
"""How one item errs: right or wrong, somewhere within the range, or without a bound."""

UNKNOWN_RANK = 90


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What is known of a metric by its name; shares of one count as fractions."""

    name: str
    direction: Direction | None
    low: float = -math.inf
    """Least possible score."""
    high: float = math.inf
    continuous: bool | None = None
    """Whether the score changes continuously with the model's probabilities; None where the name does not tell.

    Accuracy, exact match, F1 and BLEU judge the one answer that is likeliest: they can jump where the model improves
    smoothly (Schaeffer et al. 2023)."""
    error: Error = "unknown"
    chance: ChanceRule | None = None
    """Rule for the best score of a predictor that ignores the question; None where there is none."""
    rank: int = UNKNOWN_RANK
    """Order among a task's metrics: the least is the headline metric."""
    label: str = ""
    """For readers; empty for the name itself."""
    unit: str = ""
    """Empty for a share of one."""
    aliases: tuple[str, ...] = ()

    @property
    def share(self) -> bool:
        """Whether the score lies between 0 and 1 and higher is better, which some publish in percent."""
        return self.direction == "higher" and (self.low, self.high) == (0.0, 1.0)

    @property
    def span(self) -> float | None:
        """Largest difference between two items' values; None where unbounded."""
        span = self.high - self.low
        return span if math.isfinite(span) else None


def _share(
    name: str, rank: int, *, continuous: bool, aliases: Sequence[str] = (), error: Error = "bounded",
    chance: ChanceRule | None = None, label: str = "",
) -> MetricInfo:  # fmt: skip
    return MetricInfo(
        name, "higher", 0.0, 1.0, continuous, error, chance, rank, label or name.replace("_", " ").capitalize(), "",
        tuple(aliases),
    )  # fmt: skip


REGISTRY: dict[str, MetricInfo] = {
    one.name: one
    for one in (
        _share("accuracy", 0, continuous=False, error="binomial", chance="guess",
               aliases=("acc", "acc_raw", "accuracy_raw", "multiple_choice_grade", "prefix_exact_match")),
        _share("exact_match", 1, continuous=False, error="binomial", chance="constant_answer",
               aliases=("em", "exact", "match", "quasi_exact_match")),
        _share("pass", 2, continuous=False, error="binomial", label="Pass rate", aliases=("pass_at_1",)),
        _share("coverage", 2, continuous=False, error="binomial", label="Coverage by samples"),
        _share("accuracy_per_byte", 3, continuous=False, error="binomial", chance="guess",
               label="Accuracy, log-probability per byte",
               aliases=("acc_norm", "acc_bytes", "acc_per_char", "acc_per_byte", "acc_per_token", "len_norm")),
        _share("accuracy_unconditional", 4, continuous=False, error="binomial", chance="guess",
               label="Accuracy, over the bare prompt", aliases=("acc_uncond", "acc_mutual_info", "uncond_acc")),
        _share("mc1", 5, continuous=False, error="binomial", label="MC1"),
        _share("f1", 6, continuous=False, label="F1"),
        _share("win_rate", 7, continuous=False, error="binomial", aliases=("win",)),
        _share("precision", 8, continuous=False),
        _share("recall", 8, continuous=False),
        _share("bleu", 9, continuous=False, label="BLEU", aliases=("bleu_max", "bleu_acc", "sacrebleu")),
        _share("rouge", 9, continuous=False, label="ROUGE",
               aliases=("rouge1", "rouge2", "rougel", "rouge_l", "rougelsum")),
        _share("chrf", 9, continuous=False, label="chrF", aliases=("chrf++",)),
        MetricInfo("mcc", "higher", -1.0, 1.0, False, "unknown", None, 9, "Matthews correlation"),
        _share("correct_choice_prob", 20, continuous=True, chance="guess", label="Probability of the correct choice",
               aliases=("acc_soft", "soft_acc", "correct_prob_normalised", "p_correct_norm")),
        _share("mc2", 21, continuous=True, label="MC2"),
        MetricInfo("brier", "lower", 0.0, 2.0, True, "bounded", "brier", 22, "Brier score", "", ("brier_score",)),
        MetricInfo("choice_log_loss", "lower", 0.0, math.inf, True, "unknown", "log", 23,
                   "Log loss over the choices", "nats"),
        MetricInfo("gold_bits_per_byte", "lower", 0.0, math.inf, True, "unknown", None, 24,
                   "Bits per byte of the right answer", "bits/byte", ("bits_per_byte_corr", "bpb", "bits_per_byte")),
        MetricInfo("perplexity", "lower", 1.0, math.inf, True, "unknown", None, 25, "Perplexity", "",
                   ("ppl", "word_perplexity", "byte_perplexity")),
    )
}  # fmt: skip
"""Metrics with a meaning of their own, by canonical name."""

_ALIASES = {alias: one.name for one in REGISTRY.values() for alias in (one.name, *one.aliases)}

_WORDS = {
    "acc": "accuracy", "accuracy": "accuracy", "em": "exact_match", "mc1": "mc1", "mc2": "mc2", "f1": "f1",
    "precision": "precision", "recall": "recall", "bleu": "bleu", "rouge": "rouge", "chrf": "chrf", "mcc": "mcc",
    "win": "win_rate", "pass": "pass", "brier": "brier", "perplexity": "perplexity", "ppl": "perplexity",
}  # fmt: skip
"""Words within a longer name, and the metric whose direction, range and kind the name then has."""
_LOWER = {
    "ce", "cer", "entropy", "err", "error", "log_loss", "logloss", "loss", "mae", "mse", "nll", "rmse", "surprisal",
    "ter", "wer",
}  # fmt: skip
_HIGHER = {"likelihood", "loglikelihood", "logprob", "match", "prob", "probability", "score"}
_LOGARITHMS = {"log", "logprob", "loglikelihood", "logit", "logits"}

_FILTERS = ("", "none", "strict-match", "strict_match")
"""Filters of a published metric, the one that stands for the task first."""


def register(own: MetricInfo) -> None:
    """Take up a metric of the user's own, so that its direction and range are known by its name.

    Raises OnsetError for a name that a metric of onset has.
    """
    if own.name in _ALIASES and own.name not in _own:
        raise OnsetError(f"onset has a metric '{own.name}'", advice="give your metric another name")
    _own.add(own.name)
    REGISTRY[own.name] = own
    _ALIASES[own.name] = own.name
    info.cache_clear()
    canonical.cache_clear()


_own: set[str] = set()


@cache
def info(name: str) -> MetricInfo:
    """What is known of the metric of that name; ``direction`` is None where the name says nothing."""
    base, _ = _parts(name)
    if base in _ALIASES:
        found = REGISTRY[_ALIASES[base]]
        # A metric that is published under a name of its own keeps it, and stands behind the metric itself.
        return found if name == found.name else replace(found, name=name, label=_label(found, base, name))
    return _by_words(name, base)


@cache
def canonical(name: str) -> str:
    """The registry's name of a published metric (``acc,none`` is ``accuracy``); the name itself where there is none."""
    base, _ = _parts(name)
    return _ALIASES.get(base, name)


def direction(name: str) -> Direction | None:
    """Whether a higher or a lower score is better; None where the name does not tell."""
    return info(name).direction


def bounds(name: str) -> tuple[float, float]:
    """Lowest and highest possible score, infinite where there is no bound (shares count as fractions)."""
    found = info(name)
    return found.low, found.high


def is_share(name: str) -> bool:
    """Whether the score is a share of one (an accuracy, a probability, a BLEU), which some publish in percent."""
    return info(name).share


def label(name: str) -> str:
    """The metric for readers; one that is not known keeps its own name."""
    return info(name).label or name


def rank(name: str) -> tuple[int, int, str]:
    """Sorts metrics: headline ones first, plain names before filtered ones, those that are not known last."""
    _, filtered = _parts(name)
    place = _FILTERS.index(filtered) if filtered in _FILTERS else len(_FILTERS)
    return info(name).rank, place, name


def headline(metrics: Iterable[str]) -> str:
    """The metric that stands for a task: the published, discontinuous kind where it is there, else the first by rank.

    A metric that is not known stands for a task before a continuous one only where no known kind is there.
    """
    return min(metrics, key=rank)


def _parts(name: str) -> tuple[str, str]:
    """The metric's own name in small letters, and its filter: ``exact_match:strict-match`` has one."""
    base, _, filtered = re.sub(r"[,:]", "\n", name.strip().lower(), count=1).partition("\n")
    base = re.sub(r"\W+", "_", re.sub(r"@\d+$", "", base)).strip("_")
    return base, filtered


def _label(found: MetricInfo, base: str, name: str) -> str:
    """A label only where the name is the metric itself in other letters, else the name as published."""
    if base == "acc_norm":
        return "Accuracy, normalised"
    filtered = _parts(name)[1]
    return found.label if filtered in ("", "none") and base in ("acc", "em", found.name) else name


def _by_words(name: str, base: str) -> MetricInfo:
    """A metric by the words of its name: ``care_accuracy`` is an accuracy, ``answer_ce`` a cross-entropy."""
    words = [word for word in base.split("_") if word]
    pairs = {"_".join(pair) for pair in pairwise(words)}
    if {"bits_per", "nats_per", "cross_entropy", "log_loss"} & pairs or _LOWER & set(words):
        return MetricInfo(name, "lower", 0.0, math.inf, True)
    if _LOGARITHMS & set(words):
        return MetricInfo(name, "higher", continuous=True)
    like = "exact_match" if "exact_match" in pairs else next((_WORDS[word] for word in words if word in _WORDS), None)
    if like is not None:
        found = replace(REGISTRY[like], name=name, label="", chance=None, rank=REGISTRY[like].rank + 10)
        return replace(found, low=-math.inf) if {"centered", "centred", "relative"} & set(words) else found
    if {"prob", "probability"} & set(words):
        return MetricInfo(name, "higher", 0.0, 1.0, True, "bounded", rank=30)
    return MetricInfo(name, "higher" if _HIGHER & set(words) else None)
