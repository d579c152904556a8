"""Charts: the only importer of Altair. Nothing is fitted here; what a chart would draw is in ``report.frames``."""

from __future__ import annotations

from onset.plots.draw import draw

__all__ = ["draw"]
