"""Without these a study would start more than its machine holds, leave devices idle, or wait for ever."""

from __future__ import annotations

import pickle

import pytest

from onset.errors import OnsetError
from onset.study.cost import Method, Training
from onset.study.presets import preset
from onset.work.resources import GPU_BYTES, PROCESS_BYTES, Held, Machine, Need, Room, Seat, this_machine

GB = 10**9


def test_workers_are_seated_until_none_is_free() -> None:
    room = Room(Machine(4, 64 * GB), workers=2, threads=2)
    assert room.take("a", Need()) == room.take("b", Need()) == Seat(2, ("cpu",))
    assert room.take("c", Need()) is None
    room.leave("a")
    assert room.take("c", Need()) is not None


def test_what_does_not_fit_beside_others_waits_and_what_never_fits_is_told() -> None:
    room = Room(Machine(4, 8 * GB), workers=4, threads=1)
    assert room.take("large", Need(shared=6 * GB)) is not None
    assert room.take("other", Need(shared=6 * GB)) is None
    assert room.take("small", Need(shared=GB // 2)) is not None
    with pytest.raises(OnsetError, match=r"needs about 9\.4 GB of memory and this machine has 8\.0"):
        room.take("giant", Need(shared=9 * GB))


def test_memory_that_others_hold_now_delays_but_does_not_refuse() -> None:
    room = Room(Machine(4, 64 * GB, free=2 * GB), workers=4, threads=1)
    assert room.take("first", Need(shared=3 * GB)) is not None  # with nothing else in hand it is tried
    assert room.take("second", Need(shared=3 * GB)) is None


def test_several_small_models_share_a_gpu_and_the_emptiest_comes_first() -> None:
    room = Room(Machine(16, 64 * GB, (10 * GB, 10 * GB)), workers=16, threads=1)
    seats = [room.take(str(index), Need(each=2 * GB)) for index in range(8)]
    assert [seat and seat.device for seat in seats] == ["cuda:0", "cuda:1"] * 3 + [None, None]
    assert 3 * (2 * GB + GPU_BYTES) <= 10 * GB


def test_a_model_too_large_for_one_gpu_is_shared_out_over_the_fewest() -> None:
    room = Room(Machine(16, 64 * GB, (10 * GB,) * 4), workers=8, threads=1)
    seat = room.take("large", Need(shared=24 * GB, each=GB))
    assert seat == Seat(1, ("cuda:0", "cuda:1", "cuda:2"))
    with pytest.raises(OnsetError, match="on each of 4 GPUs"):
        room.take("giant", Need(shared=60 * GB))
    with pytest.raises(OnsetError, match="on each of 1 GPUs"):
        room.take("question", Need(shared=24 * GB), alone=True)


def test_gpus_are_given_as_asked() -> None:
    machine = Machine(16, 64 * GB, (80 * GB,) * 2)
    halves = Room(machine, workers=16, threads=1, gpus=0.5)
    assert sum(halves.take(str(index), Need()) is not None for index in range(6)) == 4
    assert Room(machine, workers=4, threads=1, gpus=2).take("a", Need()) == Seat(1, ("cuda:0", "cuda:1"))
    assert Room(machine, workers=4, threads=1, gpus=0).take("a", Need()) == Seat(1, ("cpu",))
    with pytest.raises(OnsetError, match="was given 3 GPUs and this machine has 2"):
        Room(machine, workers=4, threads=1, gpus=3)


def test_processes_that_share_a_training_count_as_workers() -> None:
    room = Room(Machine(4, 64 * GB), workers=4, threads=1, processes=2)
    assert room.take("a", Need()) == Seat(1, ("cpu", "cpu"))
    assert room.take("b", Need()) is not None
    assert room.take("c", Need(), alone=True) is None


def test_a_held_run_is_still_known_as_such_in_another_process() -> None:
    copy = pickle.loads(pickle.dumps(Held("runs/a")))
    assert isinstance(copy, Held)
    assert copy.where == "runs/a"


def test_this_machine_has_what_runs_this_test() -> None:
    machine = this_machine(gpus=0)
    assert machine.cores >= 1
    assert machine.memory > PROCESS_BYTES
    assert machine.gpus == ()


def test_trainings_share_a_card_only_where_all_of_them_fit() -> None:
    """Each was once planned as if on a processor, and trained as if alone on the card: together they run out of it."""
    card = 80 * GB
    trainings = [
        Need(gpu=Training(run, 65_024, Method("torch", bfloat16=True)))
        for run in preset("paper31").runs
        if "500b" in run.name
    ]
    room, taken = Room(Machine(64, 512 * GB, (card,)), workers=8, threads=1), []
    for index, need in enumerate(trainings):
        if (seat := room.take(str(index), need)) is not None:
            taken.append((need, seat))
    assert taken
    assert sum(need.on_gpus(1, card) for need, _ in taken) <= card
    for need, seat in taken:
        assert seat.memory is not None
        assert need.gpu is not None
        assert need.gpu.fit(1, seat.memory).bytes == seat.memory
