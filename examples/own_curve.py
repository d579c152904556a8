"""A law of one's own, drawn through checkpoints: python examples/own_curve.py OBSERVATIONS TASK METRIC.

OBSERVATIONS is a table of `onset import` or a study's folder. A law is a plain function of the loss; its parameters are
those of its signature, and a default is where the search of its value begins.
"""

import sys

import numpy as np
from numpy.typing import NDArray

import onset
from onset.stats.prediction.curve_fit import Fit, fit


def saturating(loss: NDArray[np.float64], eta: float, height: float, width: float = 0.5) -> NDArray[np.float64]:
    """Ability that sets in at the loss ``eta`` and comes within 1/e of ``height`` in the next ``width`` nats."""
    return height * (1 - np.exp(-np.maximum(eta - loss, 0) / width))


def drawn(path: str, task: str, metric: str) -> Fit:
    """The law fitted to the scores of one task: ability is the distance from chance in the direction of better."""
    table = onset.read(path)
    rows = table[(table["task"] == task) & (table["metric"] == metric)]
    return fit(saturating, rows, bounds={"height": (0.0, 1.0), "width": (0.01, 5.0)})


if __name__ == "__main__":
    found = drawn(*sys.argv[1:4])
    print(found)  # with what is to be distrusted, where there is anything
    print(found.summary().to_string(index=False))
    print(found.predict(np.linspace(*found.seen, 5)).to_string(index=False))
