"""What tuning moves: the shift of an onset loss, and whether tuned scores foretell the base's onset."""

from __future__ import annotations

from typing import Any, Literal

from onset.results.base import Record, estimate
from onset.results.findings import FactorEffect, LossInterval

StageVerdict = Literal["earlier", "later", "same", "inconclusive"]


class StageEffect(Record):
    """What one stage (tuning) changes of one (task, metric, loss measure), against checkpoints that were not tuned."""

    task: str
    metric: str
    loss_name: str
    loss_unit: str = "nats/token"
    stage: str = "tuned"
    verdict: StageVerdict
    """``earlier`` is at higher loss; ``same`` only where a margin along the loss is given."""
    nats: float | None = None
    """By how much the stage's curve lies at higher losses than the base's, in the unit of the loss: positive where the
    ability sets in earlier. From pairs of checkpoints; without them, the difference of the onset losses."""
    low: float | None = None
    """End of the interval; where the base never sets in, what the shift is at least."""
    high: float | None = None
    level: float = 0.95
    onset_base: LossInterval | None = None
    onset_tuned: LossInterval | None = None
    n_pairs: int = 0
    """Checkpoints with both stages that the shift was told from; 0 where it is the difference of the onset losses."""
    at_equal_loss: FactorEffect | None = None
    """The same in percentage points of the score at equal loss."""
    why: str = ""

    def estimates(self) -> list[dict[str, Any]]:
        """The shift as a row of intervals."""
        return estimate(f"{self.stage} (nats)", self.nats, self.low, self.high)


class Foretelling(Record):
    """Whether tuned scores at higher loss foretell the loss at which the base's scores set in."""

    loss_name: str
    stage: str
    verdict: Literal["foretells", "misleads", "inconclusive", "not_asked"]
    n_tasks: int
    error: float | None = None
    """Mean absolute error of the base's onset loss, predicted from the tuned onset, each task held out in turn."""
    error_without: float | None = None
    """The same from the other tasks' onsets alone."""
    gain: float | None = None
    """What the tuned onset takes from the error, with its interval over tasks."""
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    why: str = ""
