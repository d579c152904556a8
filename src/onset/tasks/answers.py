"""Whether a generated text is right: exact match after the usual normalisation, and the number of a worked answer."""

from __future__ import annotations

import math
import re
import string
import unicodedata

from onset.tasks.task import Item

# Exact match -------------------------------------------------------------------------------------------------------

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
_MONTH = re.compile(r"(\d{4})[-/年](\d{1,2})月?(?!\d)")


def english(text: str) -> str:
    """A text as TriviaQA's scorer compares it (Joshi et al. 2017): lower case, no punctuation, no articles.

    A text that has nothing else ("The The", a lone sign) is kept as it stands.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("_", " ")
    bare = "".join(" " if mark in "-–—/" else mark for mark in plain if not _is_mark(mark) or mark in "-–—/")
    words = _ARTICLES.sub(" ", bare).split()
    return " ".join(words) or " ".join(plain.split())


def chinese(text: str) -> str:
    """A Chinese text as it is compared: half-width letters and digits, no spaces, no punctuation, one form of dates.

    2012年06月29日, 2012-06-29 and ２０１２年６月２９日 are the same. Traditional characters are not changed.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = _DATE.sub(lambda found: "{}年{}月{}日".format(*(int(part) for part in found.groups())), plain)
    plain = _MONTH.sub(lambda found: "{}年{}月".format(*(int(part) for part in found.groups())), plain)
    bare = "".join(mark for mark in plain if not mark.isspace() and not _is_mark(mark))
    return bare or "".join(plain.split())


def exact_english(text: str, item: Item) -> bool:
    """Whether the first line of a text is one of the item's answers, by ``english``."""
    return english(first_line(text)) in {english(answer) for answer in item.answers}


def exact_chinese(text: str, item: Item) -> bool:
    """Whether the first line of a text is one of the item's answers, by ``chinese``."""
    return chinese(first_line(text)) in {chinese(answer) for answer in item.answers}


def first_line(text: str) -> str:
    """The first line of a text that is not empty."""
    return text.strip().partition("\n")[0]


def _is_mark(mark: str) -> bool:
    # Category P is punctuation and S signs; a decimal point inside a number is dropped on both sides alike.
    return mark in string.punctuation or unicodedata.category(mark)[0] == "P" or mark in "`´"


# Numbers -----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]}])[-−])?(?:[$€£¥]\s?(?P<sign2>-)?)?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?P<rest>\.\d+)?(?:\s?/\s?(?P<under>\d+(?:\.\d+)?))?"
    r"(?:\s?(?P<times>万亿|亿|万|thousand\b|million\b|billion\b))?",
    re.IGNORECASE,
)
_TIMES = {"万": 1e4, "亿": 1e8, "万亿": 1e12, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_CUES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (r"####", r"answer\s+is|答案\s*[是为]", r"answer\s*[:=]|答案\s*[:=]|答\s*:")
)
"""What says that the result follows, the surest first."""
_CHINESE_DIGITS = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_NUMBER = re.compile(r"负?[零〇一二两三四五六七八九十百千万亿]+(?:点[零〇一二三四五六七八九]+)?")


def final_number(text: str) -> float | None:
    """The number that a worked answer ends in, or None.

    The rule: the first number after ``####``; else after ``answer is`` or ``答案是``; else after ``answer:`` or 答：,
    each to the end of its line or 。; else the last number of the text. Thousands separators, currency, per cent and
    units are dropped, full-width digits are digits, 1.5万 is 15000, 3/4 is 0.75; after a cue a Chinese numeral
    counts where no other number does (答案是十一).
    """
    plain = unicodedata.normalize("NFKC", text)
    for cue in (cue for pattern in _CUES for cue in pattern.finditer(plain)):
        said = re.split(r"[\n。]", plain[cue.end() :].lstrip(), maxsplit=1)[0]
        if arabic := _NUMBER.search(said):
            return _value(arabic)
        if han := _CHINESE_NUMBER.search(said):
            return chinese_number(han.group())
    every = list(_NUMBER.finditer(plain))
    return _value(every[-1]) if every else None


def chinese_number(text: str) -> float | None:
    """The value of a Chinese numeral (一百零五 is 105, 两万三千 is 23000, 三点五 is 3.5), or None."""
    text, _, decimals = text.partition("点")
    sign, text = (-1.0, text[1:]) if text.startswith("负") else (1.0, text)
    if not text:
        return None
    if len(text) > 1 and all(mark in _CHINESE_DIGITS for mark in text):  # read digit by digit: 二〇二四
        total = float("".join(str(_CHINESE_DIGITS[mark]) for mark in text))
    else:
        total = _grouped(text)
    fraction = "".join(str(_CHINESE_DIGITS[mark]) for mark in decimals)
    return sign * (total + (float(f"0.{fraction}") if fraction else 0.0))


def same_number(text: str, item: Item) -> bool:
    """Whether the final number of a text is that of the item's first answer."""
    found, right = final_number(text), final_number(item.answers[0])
    return found is not None and right is not None and math.isclose(found, right, rel_tol=1e-9, abs_tol=1e-9)


def first_number(text: str, item: Item) -> bool:
    """Whether the first number on the first line of a text is that of the item's first answer."""
    found = _NUMBER.search(unicodedata.normalize("NFKC", first_line(text)))
    right = final_number(item.answers[0])
    return found is not None and right is not None and math.isclose(_value(found), right, rel_tol=1e-9, abs_tol=1e-9)


def _value(found: re.Match[str]) -> float:
    value = float(found["digits"].replace(",", "") + (found["rest"] or ""))
    if found["under"] and float(found["under"]):
        value /= float(found["under"])
    if found["times"]:
        value *= _TIMES[found["times"].lower()]
    return -value if found["sign"] or found["sign2"] else value


def _grouped(text: str) -> float:
    """A numeral with units: sections of ten thousand and a hundred million."""
    total = section = digit = 0
    for mark in text:
        if mark in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[mark]
        elif mark in _CHINESE_UNITS:
            section += (digit or 1) * _CHINESE_UNITS[mark]
            digit = 0
        else:
            scale = 10_000 if mark == "万" else 100_000_000
            total = (total + section + digit) * scale if mark == "亿" else total + (section + digit) * scale
            section = digit = 0
    return float(total + section + digit)
