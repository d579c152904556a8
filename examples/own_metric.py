"""A metric of one's own: onset eval MODEL --tasks hellaswag --metrics examples/own_metric.py:margin --out OUT.

In a study: metrics = ["own_metric.py:margin"]. Metrics are computed from the stored rows: no model is asked again.
"""

import numpy as np

from onset.metrics.items import Answers, Floats
from onset.metrics.measures import metric


@metric(direction="higher", continuous=True, applies="choice", label="Margin of the right choice", unit="nats")
def margin(answers: Answers) -> Floats:
    """Log-probability of the right choice less that of the likeliest wrong one, in nats, one number an item."""
    wrong = answers.logprob.copy()
    wrong[answers.gold_row] = -np.inf
    return answers.gold(answers.logprob) - np.maximum.reduceat(wrong, answers.start)
