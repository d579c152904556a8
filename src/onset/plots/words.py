"""Words of the page: titles of tasks and metrics, numbers for readers, and the sentence one would write in a paper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from onset.metrics import info as metrics
from onset.results import Finding, LossInterval, SizeEffect, Threshold
from onset.results.text import decimals

LANGUAGES = {"en": "English", "zh": "Chinese"}

ABILITIES = (
    "closed-book question answering",
    "commonsense inference",
    "reading comprehension",
    "coreference",
    "examination",
    "mathematical word problems",
    "modular arithmetic",
    "word unscrambling",
    "addition",
)
"""The order in which abilities are shown; a task without a known ability comes last."""

OTHER_ABILITY = "other"

_WORLD = {
    "facts": ("Facts", 0),
    "scripts": ("Scripts", 1),
    "reading": ("Reading", 2),
    "coreference": ("Coreference", 3),
    "exam": ("Exam", 4),
    "arithmetic": ("Word problems", 5),
}

_KNOWN = {
    "triviaqa": ("TriviaQA", "en", 0),
    "nlpcc_kbqa": ("NLPCC-KBQA", "zh", 0),
    "hellaswag": ("HellaSwag", "en", 1),
    "clozet": ("ClozeT", "zh", 1),
    "clozet_proxy": ("ClozeT stand-in", "zh", 1),
    "race": ("RACE", "en", 2),
    "c3": ("C3", "zh", 2),
    "winogrande": ("WinoGrande", "en", 3),
    "cluewsc": ("CLUEWSC", "zh", 3),
    "mmlu": ("MMLU", "en", 4),
    "ceval": ("C-Eval", "zh", 4),
    "gsm8k": ("GSM8K", "en", 5),
    "gsm8k_zh": ("GSM8K-Chinese", "zh", 5),
    "gsm8k_zh_mt": ("GSM8K-Chinese (machine translation)", "zh", 5),
}

VERDICTS = {
    "emergent": "emergent",
    "smooth": "no threshold supported",
    "at_chance": "not above chance",
    "inconclusive": "inconclusive",
}
EFFECTS = {"equivalent": "equivalent", "differs": "differs", "inconclusive": "inconclusive"}


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
        return _title(f"{words} · {LANGUAGES[parts[2]]}", parts[2], ability, task)
    if task in _KNOWN:
        words, language, ability = _KNOWN[task]
        return _title(words, language, ability, task)
    return Title(task, OTHER_ABILITY, "", (len(ABILITIES), 0, task))


def _title(text: str, language: str, ability: int, task: str) -> Title:
    return Title(text, ABILITIES[ability], LANGUAGES[language], (ability, 0 if language == "en" else 1, task))


def metric_label(metric: str) -> str:
    """A metric's name for readers; one that is not known keeps its own name."""
    return metrics.label(metric)


def loss_label(loss_name: str) -> str:
    """What the horizontal axis is called: the loss and the text that it was measured on."""
    return "Loss" if loss_name in ("", "loss") else f"Loss on {loss_name}"


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


def duration(seconds: float | None) -> str:
    """A time for readers: 45 s, 7 min 12 s, 2 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


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


def onset_text(fit: Threshold) -> str:
    """Verdict, threshold and onset loss in one line."""
    parts = [VERDICTS[fit.verdict]]
    for name, found in (("threshold", fit.threshold), ("onset loss", fit.onset)):
        if found is not None:
            value, low, high = losses(found)
            parts.append(f"{name} {value} [{low}, {high}]")
    return ", ".join(parts)


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
        return f"{number(self.high)} to {number(self.low)} {self.unit}"


def seen(rows: pd.DataFrame) -> Seen:
    """The range of losses among rows of observations (columns ``loss`` and, where given, ``loss_unit``)."""
    units = sorted({str(unit) for unit in rows["loss_unit"].dropna()}) if "loss_unit" in rows else []
    return Seen(float(rows["loss"].max()), float(rows["loss"].min()), units[0] if len(units) == 1 else "nats/token")


def sentence(finding: Finding, seen: Seen, level: float = 0.95, *, name_loss: bool = False) -> str:
    """What one would write in a paper: only what the data shows, nothing read off an extrapolation.

    ``seen`` are the losses of the finding's points; ``name_loss`` says on which text the loss is.
    """
    on = f"On {finding.task}" + (f" and the loss '{finding.loss_name}'" if name_loss else "")
    told = f"{on}, {_VERDICTS[finding.verdict](finding, _in_text(finding.metric), seen, level)}"
    for clause in (_onset(finding, level), _size(finding.size_effect)):
        told += f"; {clause}" if clause else ""
    return f"{told}. {finding.why}" if finding.verdict in ("smooth", "inconclusive") and finding.why else f"{told}."


def _in_text(metric: str) -> str:
    """A metric's name within a sentence: in small letters, but for names."""
    label = metric_label(metric)
    return label if metric in ("correct_choice_prob", "brier") or label == metric else label[0].lower() + label[1:]


def _emergent(finding: Finding, score: str, seen: Seen, level: float) -> str:
    if finding.threshold is None:
        return f"{score} exceeds chance{_chance(finding)} below a loss that could not be estimated"
    value, low, high = losses(finding.threshold)
    way = "rises" if finding.direction == "higher" else "falls"
    level_text = "at or below chance" if finding.direction == "higher" else "at chance or worse"
    return (
        f"{score} is {level_text}{_chance(finding)} at losses above {value} {seen.unit} "
        f"({percent(level)} interval {low} to {high}) and {way} below it"
    )


def _smooth(finding: Finding, score: str, seen: Seen, level: float) -> str:
    rank = "" if finding.spearman is None else f" (Spearman {number(finding.spearman)})"
    return f"{score} follows the loss{rank} from {seen}, and no threshold is supported"


def _at_chance(finding: Finding, score: str, seen: Seen, level: float) -> str:
    return (
        f"{score} is not shown to exceed chance{_chance(finding)} at any loss seen ({seen}); "
        "what lower losses would bring is not known"
    )


def _inconclusive(finding: Finding, score: str, seen: Seen, level: float) -> str:
    return f"it is inconclusive whether {score} has a threshold within the losses seen ({seen})"


_VERDICTS = {"emergent": _emergent, "smooth": _smooth, "at_chance": _at_chance, "inconclusive": _inconclusive}


def _chance(finding: Finding) -> str:
    return "" if finding.chance is None or not math.isfinite(finding.chance) else f" ({number(finding.chance)})"


def _onset(finding: Finding, level: float) -> str:
    """The clause on the onset loss and width; empty where they were not estimated."""
    if finding.onset is None:
        return ""
    value, low, high = losses(finding.onset)
    told = f"it exceeds chance by {100 * finding.delta:g} pp at a loss of {value} [{low}, {high}]"
    if finding.width is not None:
        width = finding.width
        ends = f"[{number(width.low)}, {number(width.high)}]"
        told += f", with an onset width of {number(width.nats)} {ends}"
    return told


def _size(effect: SizeEffect | None) -> str:
    """The clause on size at equal loss; empty where it was not estimated."""
    if effect is None or effect.pp_per_decade is None:
        return ""
    margin = f"{effect.margin:g} pp"
    told = (
        f"at equal loss ten times the parameters change it by {number(effect.pp_per_decade, 1, sign=True)} pp "
        f"[{number(effect.low, 1)}, {number(effect.high, 1)}]"
    )
    along = effect.along_loss
    if along is not None:
        margin += "" if along.margin is None else f" or {along.margin:g} nats"
        told += (
            f", its curve by {number(along.nats_per_decade, 3, sign=True)} nats "
            f"[{number(along.low, 3)}, {number(along.high, 3)}]"
        )
    return (
        told
        + {
            "equivalent": f", which is equivalent to none (within ±{margin})",
            "differs": f", which differs from none by more than {margin}",
            "inconclusive": f", which is inconclusive against a margin of {margin}",
        }[effect.verdict]
    )
