"""The covariance of a curve's rows. Lost if it fails: every interval of thresholds, size effects and forecasts."""

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

from onset.stats.data import Array, CurveData, curve_data
from onset.stats.noise import Components, Noise, difference_variance, item_variance, noise_of, presence


def data_of(lengths: tuple[int, ...] = (5, 1, 7), seed: int = 0) -> CurveData:
    rng = np.random.default_rng(seed)
    loss = np.concatenate([np.sort(rng.uniform(2, 3, length))[::-1] for length in lengths])
    run = np.repeat([f"r{number}" for number in range(len(lengths))], lengths)
    score = 0.25 + 0.3 * (3 - loss) + rng.normal(0, 0.01, len(loss))
    return curve_data(
        pd.DataFrame(
            {"run": run, "loss": loss, "score": score, "task": "t", "metric": "accuracy", "chance": 0.25,
             "n_examples": 400.0, "tokens": np.concatenate([np.arange(1.0, 1 + length) for length in lengths])}
        )
    )  # fmt: skip


PARTS = Components(items=0.8, run=0.02, shift=0.01, drift=0.015, memory=0.6, loss=0.004)


def dense(data: CurveData, parts: Components, there: Array, slope: Array, items: Array) -> Array:
    """The covariance as the module's docstring states it, element by element."""
    same = data.run[:, None] == data.run[None, :]
    gap = np.abs(data.position[:, None] - data.position[None, :])
    steep = np.abs(slope) * data.loss.min()
    block = parts.drift**2 * np.outer(there, there) * parts.memory**gap
    block = block + parts.run**2 * np.outer(there, there) + parts.shift**2 * np.outer(steep, steep)
    return np.where(same, block, 0.0) + np.diag(parts.items**2 * items + (parts.loss * steep) ** 2)


def made(data: CurveData) -> tuple[Noise, Array]:
    there, slope = presence(data.ability), np.linspace(0.1, 0.6, len(data))
    items, known = item_variance(data)
    assert known
    return noise_of(data, PARTS, there, slope, items), dense(data, PARTS, there, slope, items)


def test_whitening_and_determinant_are_those_of_the_stated_covariance() -> None:
    data = data_of()
    noise, covariance = made(data)
    root = noise.whiten(np.eye(len(data)))
    assert_allclose(root.T @ root, np.linalg.inv(covariance), rtol=1e-6, atol=1e-6 * len(data))
    assert_allclose(noise.log_det, np.linalg.slogdet(covariance)[1], rtol=1e-8)
    assert_allclose(noise.log_dets.sum(), noise.log_det, rtol=1e-10)
    assert_allclose(noise.variance, np.diag(covariance), rtol=1e-9)


def test_runs_are_whitened_apart_so_that_one_can_be_left_out() -> None:
    data = data_of()
    noise, _ = made(data)
    white = noise.whiten(data.ability)
    changed = np.where(data.run == 0, 0.0, data.ability)
    assert_allclose(noise.whiten(changed)[data.run != 0], white[data.run != 0], atol=1e-10)


def test_many_rows_are_cheap_and_one_checkpoint_a_run_works() -> None:
    long = data_of(lengths=(40_000, 40_000))
    noise, _ = (noise_of(long, PARTS, presence(long.ability), np.full(len(long), 0.3), item_variance(long)[0]), None)
    assert np.isfinite(noise.whiten(np.column_stack([long.ability, long.loss]))).all()
    single = data_of(lengths=(1,) * 20)
    noise, covariance = made(single)
    assert_allclose(noise.whiten(np.ones(20)) ** 2, 1 / np.diag(covariance), rtol=1e-6)


def test_noise_is_read_off_neighbours_where_items_are_not_counted() -> None:
    frame = pd.DataFrame({"run": "r", "loss": np.linspace(2, 3, 400), "metric": "nats_per_answer", "task": "t"})
    frame["score"] = frame["loss"] ** 2 + np.random.default_rng(1).normal(0, 0.02, 400)
    data = curve_data(frame)
    items, known = item_variance(data)
    assert not known
    assert_allclose(np.sqrt(items) * data.scale, 0.02, rtol=0.2)
    assert difference_variance(data) == items[0]
