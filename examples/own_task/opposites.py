"""A task of one's own in Python: onset eval MODEL --tasks examples/own_task/opposites.py --out OUT."""

from onset.tasks.formats import Open
from onset.tasks.sources import MadeRows, open_item
from onset.tasks.task import Item, Row, Task

OPPOSITES = {"hot": "cold", "big": "small", "fast": "slow", "old": "young", "early": "late", "open": "closed"}


def rows(count: int, seed: int) -> list[Row]:
    """One question an opposite; the first two are the examples."""
    pairs = list(OPPOSITES.items())[:count]
    return [{"id": one, "question": f"What is the opposite of {one}?", "answers": [other]} for one, other in pairs]


def starts_right(text: str, item: Item) -> bool:
    """Whether the first word of a generated text is the answer."""
    words = text.lower().split()
    return bool(words) and words[0].strip(".,!") == item.answers[0]


task = Task(
    name="opposites",
    language="en",
    ability="vocabulary",
    source=MadeRows("opposites", rows, count=4, pool=2),
    item=open_item,
    format=Open(max_tokens=8),
    shots=2,
    metric="exact_match",
    judge=starts_right,
    chance=0.0,
)
