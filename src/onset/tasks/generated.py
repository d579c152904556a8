"""Tasks made from a seed, with no data: modular arithmetic, word unscrambling, addition by number of digits.

The first two are kin of BIG-bench tasks that the paper's appendix looks at; addition is GPT-3's (Brown et al. 2020).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from onset.tasks import answers
from onset.tasks.formats import Cloze, Open
from onset.tasks.sources import MadeRows, choice_item, open_item
from onset.tasks.task import Row, Task

DIGITS = (1, 2, 3, 4, 5, 6)
"""Lengths of the numbers that are added."""
MODULI = tuple(range(3, 11))
"""Moduli: the choices of an item are all its remainders, so their number differs from item to item."""
LICENCE = "Apache-2.0 (made by onset)"


def generated() -> list[Task]:
    """The generated tasks. Makes nothing before it is asked."""
    return [modular_arithmetic(), word_unscramble(), *(addition(digits) for digits in DIGITS)]


def modular_arithmetic(count: int = 500, seed: int = 0) -> Task:
    """Remainders of small sums, differences and products, chosen among all remainders."""
    return Task(
        name="modular_arithmetic",
        language="en",
        ability="modular arithmetic",
        source=MadeRows("modular_arithmetic", _modular_rows, count, seed),
        item=choice_item,
        format=Cloze(),
        shots=4,
        chance=sum(1 / modulus for modulus in MODULI) / len(MODULI),
        licence=LICENCE,
        source_note="Question/Answer; numbers below 20, moduli 3 to 10 in equal shares, all remainders as choices",
    )


def word_unscramble(count: int = 200, seed: int = 0) -> Task:
    """A common English word from its letters in another order."""
    return Task(
        name="word_unscramble",
        language="en",
        ability="word unscrambling",
        source=MadeRows("word_unscramble", _unscramble_rows, count, seed),
        item=open_item,
        format=Open(max_tokens=12),
        shots=4,
        metric="exact_match",
        judge=answers.exact_english,
        chance=0.0,
        licence=LICENCE,
        source_note="Question/Answer; common words of four to seven letters, all letters shuffled",
    )


def addition(digits: int, count: int = 500, seed: int = 0) -> Task:
    """Sums of two numbers of the same number of digits."""
    count = min(count, 60) if digits == 1 else count  # one digit: 100 pairs in all
    return Task(
        name=f"addition_{digits}digit",
        language="en",
        ability="addition",
        source=MadeRows(f"addition_{digits}digit", partial(_addition_rows, digits), count, seed),
        item=open_item,
        format=Open(max_tokens=16),
        shots=4,
        metric="exact_match",
        judge=answers.first_number,
        chance=0.0,
        licence=LICENCE,
        source_note="'What is 48 plus 76?' as in GPT-3 (Brown et al. 2020), section 3.9.1",
    )


def _distinct(make: Callable[[random.Random, int], Row], count: int, seed: int) -> list[Row]:
    """``count`` rows with different questions; ``make`` gets the number of the row."""
    draw = random.Random(seed)
    rows: dict[str, Row] = {}
    while len(rows) < count:
        row = make(draw, len(rows))
        rows.setdefault(row["question"], row)
    return list(rows.values())


def _modular_rows(count: int, seed: int) -> list[Row]:
    # Shares of moduli and of remainders are equal by construction, so that chance is 1/modulus and no remainder is a
    # better guess than another; shuffled, so that the examples show different remainders.
    wanted = [(MODULI[number % len(MODULI)], number // len(MODULI)) for number in range(count)]
    random.Random(seed).shuffle(wanted)

    def make(draw: random.Random, number: int) -> Row:
        modulus, turn = wanted[number]
        remainder = turn % modulus
        while True:
            one, other, sign = draw.randrange(1, 20), draw.randrange(1, 20), draw.choice("+-×")
            value = {"+": one + other, "-": one - other, "×": one * other}[sign]
            if value >= 0 and value % modulus == remainder:
                break
        return {
            "id": f"modular-{number}",
            "question": f"What is ({one} {sign} {other}) mod {modulus}?",
            "choices": [str(choice) for choice in range(modulus)],
            "answer": remainder,
        }

    return _distinct(make, count, seed)


def _unscramble_rows(count: int, seed: int) -> list[Row]:
    draw = random.Random(seed)
    words = list(WORDS)
    draw.shuffle(words)
    assert count <= len(words), "the list of words is too short"
    rows: list[Row] = []
    for number, word in enumerate(words[:count]):
        letters = list(word)
        while "".join(letters) == word:
            draw.shuffle(letters)
        question = f"Which English word has the letters {''.join(letters)} in another order?"
        rows.append({"id": f"unscramble-{number}", "question": question, "answers": [word]})
    return rows


def _addition_rows(digits: int, count: int, seed: int) -> list[Row]:
    low, high = (0, 10) if digits == 1 else (10 ** (digits - 1), 10**digits)

    def make(draw: random.Random, number: int) -> Row:
        one, other = draw.randrange(low, high), draw.randrange(low, high)
        question = f"What is {one} plus {other}?"
        return {"id": f"addition{digits}-{number}", "question": question, "answers": [str(one + other)]}

    return _distinct(make, count, seed + digits)


_COMMON = """
about above academy account action adult advice afraid again agency airline airport allow almost alone amount
ancient animal answer anxiety anybody apple around arrive article autumn average awkward bamboo banana basket
battle beach beauty become before behind believe benefit between beyond bicycle bitter blanket blood body
bonus bottle bottom branch bridge bright brother brown budget butter button cabinet cable camera candle cannot
captain carbon career chair chance change chapter charity chicken child choice church circle citizen city
classic climate clothes coffee collect college color column comfort common company complex concert copper
corner cotton country couple cousin cover cricket crowd crystal culture curtain custom damage dance degree
develop diamond dinner disease doctor dollar double dozen dragon drama driver duty economy effort eight empty
energy engine enough entire evening example fabric factory family famous fashion father fiction figure finance
finish flower follow foreign fortune forward freedom fruit future gallery gentle genuine giant glass grammar
group guitar habit happen happy harbor healthy heavy height helmet history holiday honest hotel hundred
husband illness image improve include island jacket journal journey judge jungle justice kingdom kitchen knife
ladder laugh lawyer lecture letter library liquid luggage machine magic manual market maybe measure member
memory message middle million mineral mirror missing mixture modern moment money monkey monster morning mother
muscle music mystery narrow nation nature nobody number object office often orange other paper pencil people
pepper picture plastic police problem public quality quick rabbit railway reason river rocket school science
season second shadow simple soldier spring station story summer support tomato travel uncle village visitor
water welcome window winter woman yellow young
"""
WORDS = tuple(_COMMON.split())
"""Common words of four to seven letters; those that another common word can be made of are left out."""
