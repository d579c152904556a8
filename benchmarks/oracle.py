"""The oracle of the planted curves: whether a reader who knew the curve and all of its noise could tell its class.

The noise-free curve is set against every curve of the other class. Where the nearest is ``LEAST_DISTANCE`` standard
deviations away or more, the scores can tell (a log likelihood ratio of 4.5 on average).
"""

from __future__ import annotations

import numpy as np

from onset.stats.curve.families import families
from onset.stats.curve.likelihood import CurveLikelihood, loss_grid
from onset.stats.curve.marginal_likelihood import first_samples, redrawn
from onset.stats.curve.row_noise import Rows
from onset.stats.curve.window import fit_window
from onset.stats.data import curve_data
from onset.stats.noise import Components, item_variance
from planting import Planted

LEAST_DISTANCE = 3.0
CLEAR = 2.0
"""Standard errors by which a checkpoint is beyond chance."""


def could_tell(planted: Planted) -> bool:
    """Whether verdict and truth could agree for better reasons than luck."""
    if planted.verdict == "at_chance":
        # Where one run is above chance, no reader can exclude that the others will be.
        return planted.kind != "lucky_run" and excludes_an_ability(planted)
    if planted.verdict == "emergent" and one_run(planted):
        return False
    return exceeds_chance(planted) and distance(planted) >= LEAST_DISTANCE


def one_run(planted: Planted) -> bool:
    """Whether fewer than two runs have two checkpoints clear of chance below the threshold, or one above it."""
    if planted.eta is None:
        return False
    seen = planted.observations
    excess = np.abs(planted.curve(seen["loss"].to_numpy()) - planted.facts["chance"])
    clear = excess > CLEAR * np.sqrt(0.25 / planted.facts["items"])
    below = seen[(seen["loss"] < planted.eta) & clear].groupby("run").size()
    return bool((below >= 2).sum() < 2 or seen[seen["loss"] > planted.eta]["run"].nunique() < 2)


def exceeds_chance(planted: Planted) -> bool:
    """Whether the curve at the lowest losses is clear of chance, items counted once."""
    loss = planted.observations["loss"].to_numpy()
    excess = np.abs(planted.curve(np.sort(loss)[:3]) - planted.facts["chance"]).mean()
    return bool(excess > LEAST_DISTANCE * np.sqrt(0.25 / planted.facts["items"]))


def excludes_an_ability(planted: Planted) -> bool:
    """Whether so many items exclude an ability of a tenth of the room: their error counts once for all checkpoints.

    The scores lie up to two such errors above chance by luck, and the bound two above the scores.
    """
    chance, items = planted.facts["chance"], planted.facts["items"]
    error = np.sqrt(max(chance * (1 - chance), 1.0 / items) / items)
    return bool(4.0 * error < 0.1 * (1 - chance))


def distance(planted: Planted) -> float:
    """Standard deviations between the planted curve and the nearest curve of the other class."""
    facts = planted.facts
    low, score = planted.observations["loss"].min(), _clean(planted)
    # The oracle knows how noisy the items are, whether the table says it or not.
    error = np.sqrt(np.maximum(score * (1 - score), 1 / facts["items"]) / facts["items"])
    clean = planted.observations.assign(score=score, stderr=error)
    data = curve_data(clean)
    window = fit_window(data, item_variance(data)[0])
    grid = loss_grid(window.x)
    rows = Rows.of(window, grid)
    parts = Components(
        run=facts["run_noise"] / data.scale, drift=facts["drift"] / data.scale, memory=0.7,
        shift=facts["run_shift"] / low, loss=facts["loss_noise"] / low,
    )  # fmt: skip
    order = np.argsort(window.x, kind="stable")
    curve = np.interp(grid, window.x[order], window.data.ability[order])
    likelihood = CurveLikelihood(
        window.data.ability, rows.columns(parts, rows.sizes(curve)), rows.weights,
        rows.noise(parts, rows.sizes(curve)), window.room,
    )  # fmt: skip
    other = planted.verdict != "emergent"
    forms = [
        one for one in families(float(window.x.max()), flat=True, relative_low=window.low / window.span)
        if one.threshold is other
    ]  # fmt: skip
    samples = first_samples(forms, grid, likelihood, 0)
    for round_ in range(3):
        samples = redrawn(samples, grid, likelihood, round_)
    products = likelihood.products
    whole = -2.0 * products.no_ability() - np.linalg.slogdet(np.eye(len(products.columns_columns))
                                                              + products.columns_columns)[1]  # fmt: skip
    best = 0.0
    for sample in samples:
        height = np.clip(sample.solved.centre, 0.0, window.room)
        gain = sample.solved.precision * height * (2 * sample.solved.centre - height)
        best = max(best, float(gain.max()))
    return float(np.sqrt(max(whole - best, 0.0)))


def _clean(planted: Planted) -> np.ndarray:
    """Scores without any noise, in the units and direction of the table."""
    score = planted.curve(planted.observations["loss"].to_numpy())
    return 1 - score if planted.facts["lower_is_better"] else score
