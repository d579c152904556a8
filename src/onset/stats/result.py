"""Bases of what an analysis returns: an interval, and a frozen result that can be summed up and drawn."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval, in the value's own unit."""

    value: float
    low: float
    high: float


class Result:
    """A frozen result of an analysis: ``summary()`` is a frame, ``plot()`` an Altair chart."""

    def summary(self) -> pd.DataFrame:
        """One row a quantity (or a finding), ready to print."""
        raise NotImplementedError

    def plot(self) -> Any:
        """The result as an Altair chart.

        Drawing lives on a higher floor; it is looked up by name, as pandas does with its plotting
        backends, so that analysis does not depend on it.
        """
        return importlib.import_module("onset.plots").draw(self)
