"""Judging free answers: a wrong rule marks right answers wrong for every model alike, and nobody sees it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onset.tasks.answers import chinese_number, exact_chinese, exact_english, final_number, first_number, same_number
from onset.tasks.task import Item


def item(*answers: str) -> Item:
    return Item(id="1", question="?", answers=answers)


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (" Onion", ["Onion"]),
        (" the onion.\nQuestion: What", ["Onion"]),
        ("An Onion!", ["onion", "bulb"]),
        ("J.R.R. Tolkien", ["J. R. R. Tolkien", "JRR Tolkien"]),
        ("'Hamlet'", ["Hamlet"]),
        ("“Hamlet”", ["hamlet"]),
        ("new-york", ["New York"]),
        ("Ｐａｒｉｓ", ["Paris"]),
        ("STRASSE", ["straße"]),
        ("bulb onion", ["Onion", "Bulb onion"]),
        ("The The", ["The The"]),
        ("🐎", ["Horse", "🐎"]),
        ("Côte d'Ivoire", ["Côte d’Ivoire"]),
    ],
)
def test_english_answers_that_are_right(text: str, answers: list[str]) -> None:
    """Case, articles, punctuation and aliases do not make an answer wrong."""
    assert exact_english(text, item(*answers))


@pytest.mark.parametrize(
    ("text", "answers"),
    [("", ["Onion"]), ("onions are", ["Onion"]), ("The", ["The The"]), ("...", ["Onion"]), ("12", ["1 2"])],
)
def test_english_answers_that_are_wrong(text: str, answers: list[str]) -> None:
    """An empty or longer answer must not match."""
    assert not exact_english(text, item(*answers))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("吴承恩", "吴承恩"),
        ("吴承恩。\n问题：", "吴承恩"),
        ("《西游记》", "西游记"),
        ("２０１２年６月２９日", "2012年06月29日"),
        ("2012-06-29", "2012年06月29日"),
        ("2012年6月", "2012年06月"),
        ("Rasmus Lerdorf", "rasmus lerdorf"),
        ("ＮＢＡ", "nba"),
        ("秦婉、王蓉", "秦婉，王蓉"),
        ("252元", "２５２元"),
    ],
)
def test_chinese_answers_that_are_right(text: str, answer: str) -> None:
    """Full-width forms, Chinese punctuation, title marks and forms of dates do not make an answer wrong."""
    assert exact_chinese(text, item(answer))


def test_chinese_answers_that_are_wrong() -> None:
    """A longer or an empty answer must not match."""
    assert not exact_chinese("吴承恩和罗贯中", item("吴承恩"))
    assert not exact_chinese("", item("吴承恩"))
    assert not exact_chinese("2012年6月28日", item("2012年06月29日"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Lena has 12 - 5 = 7 apples left. The answer is 7.", 7),
        ("5 + 6 = 11\n#### 11", 11),
        ("#### 1,234", 1234),
        ("#### -5", -5),
        ("The answer is $1,000.50.", 1000.5),
        ("The answer is: **18** dollars", 18),
        ("the final answer is \\boxed{42}", 42),
        ("The answer is 18. The answer is 20.", 18),
        ("To get the answer: add 3 and 4. The answer is 7.", 7),
        ("Answer: 12 apples", 12),
        ("so there are 16 - 3 - 4 = 9", 9),
        ("so there are 16-3", 3),
        ("It is -3", -3),
        ("It is -$3", -3),
        ("It is $-3", -3),
        ("It is −3", -3),
        ("9 * 2 = $18 every day", 18),
        ("The answer is 25%.", 25),
        ("The answer is 3/4.", 0.75),
        ("The answer is 2.5 million.", 2_500_000),
        ("The answer is 10,20", 10),
        ("Lena keeps 12,345,678.", 12_345_678),
        ("The answer is unknown, but 4 is near", 4),
        ("5 + 6 = 11。答案是 11。", 11),
        ("５＋６＝１１。答案是１１。", 11),
        ("答案为：70,000美元", 70_000),
        ("答案：１，２３４", 1234),
        ("答：一共有 15 个。", 15),
        ("所以答案是十一。", 11),
        ("所以答案是十一。因为 5 + 6", 11),
        ("答案是一共 11 个。", 11),
        ("答案是1.5万元。", 15_000),
        ("他有 3 亿元", 300_000_000),
        ("2 本要 8 * 2 = 16 元", 16),
        # Full-width signs, as Chinese input methods write them.
        ("5 + 6 = 11\n＃＃＃＃ 12", 12),
        ("＃＃＃＃ －５", -5),
        ("答案是２５％。", 25),
        ("答案是３／４。", 0.75),
        ("答案是－７。", -7),
        ("答案是￥１，０００．５０。", 1000.5),
        # Either language's cue before either language's number.
        ("The answer is 十一。", 11),
        ("The answer is 11。因为 5 + 6 = 12", 11),
        ("Answer：11，不是 12", 11),
        ("answer is：1.5万元", 15_000),
        ("答案是 1.5 million", 1_500_000),
        ("#### 二十", 20),
    ],
)
def test_final_number(text: str, number: float) -> None:
    """The working counts for nothing when the result is read wrong."""
    assert final_number(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "no idea", "The answer is"])
def test_no_number_is_no_answer(text: str) -> None:
    """A text without a number is wrong, not an error and not zero."""
    assert final_number(text) is None
    assert not same_number(text, item("0"))


def test_numbers_are_compared_by_value() -> None:
    """18.00 and 18 are the same answer; 18 and 180 are not."""
    assert same_number("The answer is 18.00.", item("18"))
    assert same_number("The answer is 70,000.", item("70000"))
    assert not same_number("The answer is 180.", item("18"))


def test_direct_answers_are_read_from_the_first_number() -> None:
    """A bare answer that rambles on ("59 because 32 + 27") must be read from its start."""
    assert first_number(" 59 because 32 plus 27\nQuestion: What is 1 plus 1?", item("59"))
    assert first_number("1,177,683", item("1177683"))
    assert not first_number("", item("59"))
    assert not first_number("\n", item("59"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("零", 0), ("十", 10), ("十一", 11), ("二十", 20), ("一百零五", 105), ("两千三百", 2300), ("两万三千", 23_000),
        ("一亿二千万", 120_000_000), ("两万亿", 2e12), ("二〇二四", 2024), ("三点五", 3.5), ("负七", -7),
        ("十万", 100_000),
    ],
)  # fmt: skip
def test_chinese_numerals(text: str, number: float) -> None:
    """答案是十一 is as right as 答案是 11."""
    assert chinese_number(text) == pytest.approx(number)


@given(st.text(alphabet=st.characters() | st.sampled_from("0123456789,./-−$万亿十百点负答案是answer:#\n"), max_size=60))
@settings(max_examples=150, deadline=None)
def test_whatever_a_model_writes_is_judged(text: str) -> None:
    """A study of days must not end because a model wrote something odd."""
    for judge in (exact_english, exact_chinese, same_number, first_number):
        assert judge(text, item("17")) in (True, False)
