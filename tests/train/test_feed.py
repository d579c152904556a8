"""Without these a run on a GPU could train on other batches than its seed and step say."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from onset.train.feed import Feed


class Numbered:
    """A mixture whose batch is its step's number; it notes where and when each was read."""

    def __init__(self) -> None:
        self.read: list[tuple[int, bool]] = []

    def batch(self, step: int, rows: range) -> np.ndarray:
        self.read.append((step, threading.current_thread() is threading.main_thread()))
        return np.full((len(rows), 3), step, dtype=np.int64)


@pytest.mark.parametrize("ahead", [False, True])
def test_every_step_gets_its_own_rows_after_a_jump_too(ahead: bool) -> None:
    mixture = Numbered()
    feed = Feed(mixture, range(2, 4), 20, "cpu", ahead=ahead)  # type: ignore[arg-type]
    steps = [0, 1, 2, 10, 11, 3, 18, 19]
    for step in steps:
        assert torch.equal(feed.batch(step), torch.full((2, 3), step))
    feed.close()
    assert max(step for step, _ in mixture.read) == 19  # none past the end


def test_the_next_batch_is_read_before_it_is_asked_for() -> None:
    """Two thousand reads from a cold file system would leave the GPU idle."""
    mixture = Numbered()
    feed = Feed(mixture, range(2), 4, "cpu", ahead=True)  # type: ignore[arg-type]
    for step in range(4):
        feed.batch(step)
    feed.close()
    assert mixture.read == [(0, True), (1, False), (2, False), (3, False)]


def test_a_batch_that_cannot_be_read_is_the_trainers_error() -> None:
    class Broken(Numbered):
        def batch(self, step: int, rows: range) -> np.ndarray:
            if step == 1:
                raise OSError("gone")
            return super().batch(step, rows)

    feed = Feed(Broken(), range(2), 4, "cpu", ahead=True)  # type: ignore[arg-type]
    feed.batch(0)
    with pytest.raises(OSError, match="gone"):
        feed.batch(1)
    feed.close()
