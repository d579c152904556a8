"""Where a run begins that does not begin with drawn weights: from a checkpoint of another run, as tuning does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from onset.study.base import Spec
from onset.study.texts import Slug

BASE = "base"
"""The stage of a run that begins with drawn weights."""
TUNED = "tuned"
"""The stage of one that begins from a checkpoint, where it does not name its own."""


class Start(Spec):
    """A checkpoint of another run of the study, whose weights a run begins with; its optimizer is new."""

    run: Slug
    """The run that it is a checkpoint of."""
    at: Annotated[int, Field(gt=0)] | Literal["every", "last"] = "last"
    """Its step; the last one; or 'every', which makes one run of each checkpoint, named NAME-STEP."""
    series: Slug | None = None
    """Name of the runs that were made of 'every' together; filled in."""
