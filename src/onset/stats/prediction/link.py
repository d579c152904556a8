"""The scale on which a curve of score on loss is drawn on beyond the data: it has a floor and a ceiling.

The logit of the share of the room between chance and the best score, so that a curve levels off where no score can go.
A metric without bounds is taken on its logarithm where it is positive and lower is better (a loss of the answers),
else as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from onset.metrics import info as metrics
from onset.stats.data import Array, CurveData

Kind = Literal["logit", "log", "identity"]

UNKNOWN_ITEMS = 1000.0
"""Items supposed where the table does not say; the dispersion is then estimated freely."""
LOG_UNIT = 0.3
"""Losses of answers differ by fewer percent between runs than odds do."""
_LIMIT = 15.0


@dataclass(frozen=True)
class Link:
    """Between ability, its share of the room, and the scale of the link."""

    kind: Kind
    floor: float
    """Ability where the room begins: 0 at a known chance level."""
    room: float
    """Ability from the floor to the best score; 1 where there is no best."""
    unit: float = 1.0
    """What a difference of one on the logit scale corresponds to: priors of differences are stated on that scale."""

    @classmethod
    def of(cls, data: CurveData) -> Link:
        """Logit where the metric has bounds, logarithm where it is a positive loss."""
        low, high = (0.0, data.scale) if data.binomial else metrics.bounds(data.metric)
        known = data.chance.value is not None
        if data.bounded and np.isfinite(low) and np.isfinite(high):
            worst, best = (low, high) if data.sign > 0 else (high, low)
            floor = 0.0 if known else data.sign * worst / data.scale
            top = data.sign * (best - (data.chance.value or 0.0)) / data.scale
            return cls("logit", floor, max(top - floor, 1e-9))
        if data.sign < 0 and data.score.min() > 0 and not known:
            return cls("log", 0.0, -1.0, LOG_UNIT)
        return cls("identity", 0.0, 1.0, max(float(np.std(data.ability)), 1e-9))

    def share(self, ability: Array) -> Array:
        """Ability as a share of the room."""
        return np.asarray((ability - self.floor) / self.room)

    def ability(self, share: Array) -> Array:
        """The inverse of ``share``."""
        return np.asarray(self.floor + self.room * share)

    def inverse(self, value: Array) -> Array:
        """Share at values of the link."""
        if self.kind == "identity":
            return value
        held = np.clip(value, -_LIMIT, _LIMIT)
        return np.asarray(1.0 / (1.0 + np.exp(-held)) if self.kind == "logit" else np.exp(held))

    def slope(self, share: Array) -> Array:
        """Derivative of ``inverse`` at shares."""
        if self.kind == "identity":
            return np.ones_like(share)
        return np.asarray(np.maximum(share * (1.0 - share), 1e-4) if self.kind == "logit" else np.maximum(share, 1e-6))

    def start(self, share: Array) -> Array:
        """Values of the link for observed shares, which may lie outside of what the link can give."""
        if self.kind == "identity":
            return share
        inside = np.clip(share, 0.01, 0.99)
        return np.asarray(np.log(inside / (1.0 - inside)) if self.kind == "logit" else np.log(np.maximum(share, 1e-6)))

    def noise(self, data: CurveData, share: Array) -> tuple[Array, bool]:
        """Variance of observed shares by their items, where the curve is at ``share``; whether items are known."""
        ability = self.ability(share)
        variance = data.item_variance(ability) / self.room**2
        if np.isfinite(variance).all():
            return np.maximum(variance, 1e-9), True
        if data.binomial:
            score = np.clip(data.to_score(ability) / data.scale, 0.02, 0.98)
            return np.asarray(score * (1.0 - score) / UNKNOWN_ITEMS / self.room**2), False
        spread = max(float(np.std(self.share(data.ability))), 1e-6)
        return np.full(len(share), (0.01 * spread) ** 2), False
