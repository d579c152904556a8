"""What all scores share because everybody answers the same items.

Items are drawn once and asked of every checkpoint, so their sampling error does not average out over checkpoints:
a model that always names the first letter scores what the answer key makes of it, at every checkpoint. Models that
are near to each other in loss err on the same items; models far apart agree less, and the shared error drifts as
the loss falls. It is therefore a process along the loss axis: an offset, and slow waves about it. On two small
models and 500 items of HellaSwag the correlation of right answers was 0.94 at one loss, 0.80 over the whole range,
and the same for checkpoints of one run and of two; on CLUEWSC it fell to 0.05.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onset.stats.point_noise import items_variance
from onset.stats.points import Points

Array = NDArray[np.float64]

REACH = 2.0
"""Ranges of loss over which the correlation of shared errors falls to 1/e: 0.6 from one end to the other."""
WAVES = 3
"""Half waves along the loss that are kept; shorter ones are as good as noise of each checkpoint's own."""


def offset(points: Points) -> float:
    """Standard deviation of what all scores share above or below chance; infinite where chance is unknown."""
    if points.chance is None:
        return np.inf
    known = items_variance(points, np.zeros(len(points.loss)))
    known = known[known > 0] * points.weight[known > 0]
    return float(np.sqrt(np.median(known))) if len(known) else 0.01 * points.room


def basis(points: Points, share: float, span: float) -> Array:
    """(n, k) columns whose coefficients are standard normal: the offset first, then the waves.

    ``share`` is the part of the items' variance that is each checkpoint's own, ``span`` the range of losses. The
    waves are the first of the exponential covariance (in its expansion on cosines); there are none where each
    checkpoint has items of its own, or where chance, and with it any level, is unknown.
    """
    size = offset(points)
    constant = np.full((len(points.loss), 1), size if np.isfinite(size) else 100 * points.room)
    if share >= 1 or not np.isfinite(size):
        return constant
    rate, waves = 1 / REACH, np.pi * np.arange(1, WAVES + 1)
    spread = size * np.sqrt((1 - share) * 4 * rate / (rate**2 + waves**2))
    place = np.clip((points.loss - points.loss.min()) / max(span, 1e-12), 0.0, 1.0)
    return np.hstack([constant, spread * np.cos(waves * place[:, None])])
