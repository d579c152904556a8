"""Batches shared among threads: each done once, with what its lot shares, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from onset.cpu.threads import Lot, carry_out


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("sizes", [[7], [1, 1, 1, 1, 1], [0, 4, 2], []])
def test_every_batch_is_done_once_with_what_its_lot_shares(threads: int, sizes: list[int]) -> None:
    """Lost otherwise: an item scored after another subject's examples, or scored twice, or never."""
    done: list[tuple[int, int, int]] = []
    made: list[int] = []
    guard = threading.Lock()

    def share(lot: int) -> Callable[[], int]:
        def make() -> int:
            made.append(lot)
            return lot

        return make

    def batch(lot: int, number: int) -> Callable[[int], None]:
        def do(shared: int) -> None:
            with guard:
                done.append((lot, number, shared))

        return do

    lots = [Lot(share(lot), [batch(lot, number) for number in range(size)]) for lot, size in enumerate(sizes)]
    carry_out(lots, threads)
    assert sorted(done) == [(lot, number, lot) for lot, size in enumerate(sizes) for number in range(size)]
    assert sorted(made) == list(range(len(sizes)))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_failure_ends_the_rest_and_is_told(threads: int) -> None:
    """Lost otherwise: a broken model's rows written as if whole, or an hour until its error is seen."""
    done = []

    def fails(shared: None) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        carry_out([Lot(lambda: None, [fails, *[done.append] * 1000]), Lot(lambda: None, [fails])], threads)
    assert len(done) < 1000


def test_torch_has_its_threads_again_afterwards() -> None:
    """Lost otherwise: all that a process does after scoring runs on one core."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        inside: list[int] = []
        carry_out([Lot(lambda: None, [lambda _: inside.append(torch.get_num_threads())] * 4)] * 3, 2)
        assert set(inside) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
