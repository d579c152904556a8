"""StudyFacts: what a page tells of a study beside its findings. A foreign table has none of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from onset.errors import OnsetError

RUN_COLUMNS = ("run", "family", "group", "params", "tokens", "steps", "loss", "status")
TRAINING_COLUMNS = ("run", "params", "tokens", "loss")
ITEM_COLUMNS = ("task", "item", "prompt", "gold", "smallest", "largest", "smallest_right", "largest_right")
FAILED_COLUMNS = ("run", "why")


@dataclass(frozen=True)
class StudyFacts:
    """What was run: the parts of a page that observations do not hold.

    Frames are checked for their columns at construction; an empty frame leaves its section out.
    Raises OnsetError where a column is missing.
    """

    name: str
    runs: pd.DataFrame
    """One row a run: ``run, family, group, params, tokens, steps, loss, status``; loss is the last one measured."""
    training: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(TRAINING_COLUMNS)))
    """Loss against tokens: ``run, params, tokens, loss`` and, where measured apart, ``language`` (en, zh, all)."""
    floor: Mapping[str, float | None] = field(default_factory=dict)
    """Entropy of the held-out text in the unit of the loss, by language and 'all'; None or absent where unknown."""
    items: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ITEM_COLUMNS)))
    """A few questions: ``task, item, prompt, gold``, what the smallest and the largest model answered at their last
    checkpoint (``smallest, largest``), and whether that was right (``smallest_right, largest_right``: bool or None)."""
    failed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(FAILED_COLUMNS)))
    """Runs that were given up: ``run, why``."""
    counts: Mapping[str, int | float | str] = field(default_factory=dict)
    """Further facts in words, such as ``{"questions asked": 28800, "prompts cut to fit": 0}``, in the order given."""
    seconds: float | None = None
    """Wall-clock time of the whole study."""
    digest: str = ""
    smallest: str = ""
    """Name of the run whose answers are ``items.smallest``."""
    largest: str = ""

    def __post_init__(self) -> None:
        for name, frame, needed in (
            ("runs", self.runs, RUN_COLUMNS),
            ("training", self.training, TRAINING_COLUMNS),
            ("items", self.items, ITEM_COLUMNS),
            ("failed", self.failed, FAILED_COLUMNS),
        ):
            absent = [column for column in needed if column not in frame.columns]
            if absent:
                raise OnsetError(
                    f"the study's frame '{name}' lacks {', '.join(absent)}",
                    where=f"study '{self.name}'",
                    advice=f"it needs the columns {', '.join(needed)}",
                )
