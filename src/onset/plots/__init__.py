"""Charts: the only importer of Altair. Nothing is fitted here; what a chart would draw is in ``plots.frames``."""

from __future__ import annotations

from onset.plots.draw import plot

__all__ = ["plot"]
