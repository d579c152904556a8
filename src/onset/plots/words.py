"""Words of the page: titles of tasks and metrics, numbers for readers, and the sentence one would write in a paper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from onset import language
from onset.language import _, noted
from onset.metrics import info as metrics
from onset.results import LossInterval, Threshold
from onset.results.text import decimals

LANGUAGES = {"en": noted("English"), "zh": noted("Chinese")}

ABILITIES = (
    noted("closed-book question answering"),
    noted("commonsense inference"),
    noted("reading comprehension"),
    noted("coreference"),
    noted("examination"),
    noted("mathematical word problems"),
    noted("modular arithmetic"),
    noted("word unscrambling"),
    noted("addition"),
)
"""The order in which abilities are shown; a task without a known ability comes last."""

OTHER_ABILITY = noted("other")

_WORLD = {
    "facts": (noted("Facts"), 0),
    "scripts": (noted("Scripts"), 1),
    "reading": (noted("Reading"), 2),
    "coreference": (noted("Coreference"), 3),
    "exam": (noted("Exam"), 4),
    "arithmetic": (noted("Word problems"), 5),
}

_KNOWN = {
    "triviaqa": ("TriviaQA", "en", 0),
    "nlpcc_kbqa": ("NLPCC-KBQA", "zh", 0),
    "hellaswag": ("HellaSwag", "en", 1),
    "clozet": ("ClozeT", "zh", 1),
    "clozet_proxy": (noted("ClozeT stand-in"), "zh", 1),
    "race": ("RACE", "en", 2),
    "c3": ("C3", "zh", 2),
    "winogrande": ("WinoGrande", "en", 3),
    "cluewsc": ("CLUEWSC", "zh", 3),
    "mmlu": ("MMLU", "en", 4),
    "ceval": ("C-Eval", "zh", 4),
    "gsm8k": ("GSM8K", "en", 5),
    "gsm8k_zh": (noted("GSM8K-Chinese"), "zh", 5),
    "gsm8k_zh_mt": (noted("GSM8K-Chinese (machine translation)"), "zh", 5),
}

VERDICTS = {
    "emergent": noted("emergent"),
    "smooth": noted("smooth rise"),
    "at_chance": noted("not above chance"),
    "inconclusive": noted("inconclusive"),
}
EFFECTS = {
    "equivalent": noted("equivalent"),
    "differs": noted("differs"),
    "inconclusive": noted("inconclusive"),
}
METRICS = (
    noted("Accuracy"), noted("Exact match"), noted("Pass rate"), noted("Accuracy, log-probability per byte"),
    noted("Accuracy, over the bare prompt"), noted("Win rate"), noted("Precision"), noted("Recall"),
    noted("Matthews correlation"), noted("Probability of the correct choice"), noted("Brier score"),
    noted("Log loss over the choices"), noted("Bits per byte of the right answer"), noted("Perplexity"),
    noted("Coverage by samples"),
)  # fmt: skip
"""Labels of the registry of metrics that are words, for the catalogues."""


def verdict(name: str) -> str:
    """A verdict for readers."""
    return _(VERDICTS[name])


def effect(name: str) -> str:
    """The verdict on an effect for readers."""
    return _(EFFECTS[name])


@dataclass(frozen=True, slots=True)
class Title:
    """How a task is called on the page, and where it is sorted."""

    text: str
    ability: str
    language: str
    rank: tuple[int, int, str]


def title(task: str) -> Title:
    """A task's name for readers; one that is not known keeps its own name and has no ability."""
    parts = task.split("_")
    if len(parts) == 3 and parts[0] == "world" and parts[1] in _WORLD and parts[2] in LANGUAGES:
        words, ability = _WORLD[parts[1]]
        return _title(f"{_(words)} · {_(LANGUAGES[parts[2]])}", parts[2], ability, task)
    if task in _KNOWN:
        words, language, ability = _KNOWN[task]
        return _title(_(words), language, ability, task)
    return Title(task, _(OTHER_ABILITY), "", (len(ABILITIES), 0, task))


def _title(text: str, language: str, ability: int, task: str) -> Title:
    return Title(text, _(ABILITIES[ability]), _(LANGUAGES[language]), (ability, 0 if language == "en" else 1, task))


def metric_label(metric: str) -> str:
    """A metric's name for readers; one that is not known keeps its own name."""
    return _(metrics.label(metric))


def loss_label(loss_name: str) -> str:
    """What the horizontal axis is called: the loss and the text that it was measured on."""
    return _("Loss") if loss_name in ("", "loss") else _("Loss on {text}", text=loss_name)


def count(value: float | None, digits: int = 3) -> str:
    """A count for readers: 158 k, 1.5 M, 32 B; an empty string for a missing one."""
    if value is None or not math.isfinite(value):
        return ""
    for size, letter in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size * (1 - 0.5 * 10**-digits):
            return f"{_digits(value / size, digits)}{letter}"
    return _digits(value, digits)


def _digits(value: float, digits: int) -> str:
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def power(value: float | None) -> str:
    """A large number with its power of ten: 1.2×10¹⁵."""
    if value is None or not math.isfinite(value) or value <= 0:
        return ""
    exponent = math.floor(math.log10(value))
    mantissa = value / 10**exponent
    superscript = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa:.2g}×10{superscript}"


def number(value: float | None, decimals: int = 2, *, sign: bool = False) -> str:
    """A number with a true minus; an empty string for a missing one."""
    if value is None or not math.isfinite(value):
        return ""
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    zero = all(letter in "+-0." for letter in text)
    return (text.lstrip("+-") if zero else text).replace("-", "−")


def losses(found: LossInterval) -> tuple[str, str, str]:
    """A loss and the ends of its interval, with the decimals that they deserve."""
    places = decimals(found.low, found.high)
    return number(found.loss, places), number(found.low, places), number(found.high, places)


def place(found: LossInterval) -> str:
    """A loss with its interval; of ends at the highest or the lowest loss fitted, that they may lie beyond."""
    value, low, high = losses(found)
    if found.open_above:
        alone = found.low >= found.loss
        return (
            _("at or above {loss}", loss=value)
            if alone
            else _("at or above {loss} [{low} or above]", loss=value, low=low)
        )
    if found.open_below:
        return _("at or below {loss} [{high} or below]", loss=value, high=high)
    return f"{value} [{', '.join(ends(found))}]"


def ends(found: LossInterval) -> tuple[str, str]:
    """The ends of the interval of a loss; open ones say so."""
    _value, low, high = losses(found)
    return (
        _("{high} or below", high=low) if found.low_open else low,
        _("{low} or above", low=high) if found.high_open else high,
    )


def onset_text(fit: Threshold) -> str:
    """Verdict, threshold and onset loss in one line."""
    parts = [verdict(fit.verdict)]
    for name, found in ((_("threshold"), fit.threshold), (_("onset loss"), fit.onset)):
        if found is not None:
            parts.append(f"{name} {place(found)}")
    return language.listed(parts)


def percent(level: float) -> str:
    """A level of confidence: 95 %."""
    return f"{100 * level:g} %"


@dataclass(frozen=True, slots=True)
class Seen:
    """The losses that a finding has seen, and their unit."""

    high: float
    low: float
    unit: str = "nats/token"

    def __str__(self) -> str:
        return _("{high} to {low} {unit}", high=number(self.high), low=number(self.low), unit=self.unit)


def seen(rows: pd.DataFrame) -> Seen:
    """The range of losses among rows of observations (columns ``loss`` and, where given, ``loss_unit``)."""
    units = sorted({str(unit) for unit in rows["loss_unit"].dropna()}) if "loss_unit" in rows else []
    return Seen(float(rows["loss"].max()), float(rows["loss"].min()), units[0] if len(units) == 1 else "nats/token")
