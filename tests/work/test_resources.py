"""Without these a study would start more than its machine holds, leave devices idle, or wait for ever."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from onset.errors import OnsetError
from onset.study.cost import Method, Training
from onset.study.presets import PRESETS, preset
from onset.train.precision import choose, method
from onset.work import resources
from onset.work.resources import GPU_BYTES, PROCESS_BYTES, Machine, Need, Packer, Slot, this_machine

GB = 10**9
VOCAB = 65_024


def test_workers_are_sloted_until_none_is_free() -> None:
    packer = Packer(Machine(4, 64 * GB), workers=2, threads=2)
    assert packer.allocate("a", Need()) == packer.allocate("b", Need()) == Slot(2, ("cpu",))
    assert packer.allocate("c", Need()) is None
    packer.release("a")
    assert packer.allocate("c", Need()) is not None


def test_what_does_not_fit_beside_others_waits_and_what_never_fits_is_told() -> None:
    packer = Packer(Machine(4, 8 * GB), workers=4, threads=1)
    assert packer.allocate("large", Need(shared=6 * GB)) is not None
    assert packer.allocate("other", Need(shared=6 * GB)) is None
    assert packer.allocate("small", Need(shared=GB // 2)) is not None
    with pytest.raises(OnsetError, match=r"needs about 9\.4 GB of memory and this machine has 8\.0"):
        packer.allocate("giant", Need(shared=9 * GB))


def test_memory_that_others_hold_now_delays_but_does_not_refuse() -> None:
    packer = Packer(Machine(4, 64 * GB, free=2 * GB), workers=4, threads=1)
    assert packer.allocate("first", Need(shared=3 * GB)) is not None  # with nothing else in hand it is tried
    assert packer.allocate("second", Need(shared=3 * GB)) is None


def test_several_small_models_share_a_gpu_and_the_emptiest_comes_first() -> None:
    packer = Packer(Machine(16, 64 * GB, (10 * GB, 10 * GB)), workers=16, threads=1)
    slots = [packer.allocate(str(index), Need(each=2 * GB)) for index in range(8)]
    assert [slot and slot.device for slot in slots] == ["cuda:0", "cuda:1"] * 3 + [None, None]
    assert 3 * (2 * GB + GPU_BYTES) <= 10 * GB


def test_a_model_whose_size_is_not_known_has_a_gpu_to_itself() -> None:
    """Lost otherwise: eight models of a hub on one card, and all eight out of memory."""
    packer = Packer(Machine(16, 64 * GB, (10 * GB, 10 * GB)), workers=8, threads=1)
    places = [packer.allocate(name, Need(unknown=True), single=True) for name in "abc"]
    assert [slot and slot.device for slot in places] == ["cuda:0", "cuda:1", None]
    assert packer.allocate("small", Need(shared=GB), single=True) is None
    packer.release("a")
    assert packer.allocate("small", Need(shared=GB), single=True) == Slot(1, ("cuda:0",))
    assert packer.allocate("c", Need(unknown=True), single=True) is None
    assert Packer(Machine(16, 64 * GB), workers=8, threads=1).allocate("a", Need(unknown=True)) is not None


def test_apple_s_gpu_is_not_asked_as_if_it_were_nvidia_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: every training on a Mac, to a question about a driver that it does not have."""

    def asked(*_: object) -> None:
        raise AssertionError("torch.cuda was asked")

    for name in ("get_device_name", "get_device_properties", "is_bf16_supported"):
        monkeypatch.setattr(torch.cuda, name, asked)
    run = preset("tiny").runs[0]
    assert choose(run, VOCAB, precision="auto", threads=1, device="mps").device == "mps"


def test_a_model_too_large_for_one_gpu_is_shared_out_over_the_fewest() -> None:
    packer = Packer(Machine(16, 64 * GB, (10 * GB,) * 4), workers=8, threads=1)
    slot = packer.allocate("large", Need(shared=24 * GB, each=GB))
    assert slot == Slot(1, ("cuda:0", "cuda:1", "cuda:2"))
    with pytest.raises(OnsetError, match="on each of 4 GPUs"):
        packer.allocate("giant", Need(shared=60 * GB))


@pytest.mark.parametrize("gigabytes", [16, 24, 40, 80])
@pytest.mark.parametrize("name", PRESETS)
def test_what_is_placed_on_cards_the_trainer_accepts(
    name: str, gigabytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two opinions on memory a study dies on the cards that were chosen for it, hours after it was begun."""
    card = gigabytes * GB
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=card))
    machine = Machine(64, 10**13, (card,) * 8)
    placed = 0
    for run in preset(name).runs:
        how = method(run, VOCAB, device="cuda", precision="auto")
        need = Need(gpu=Training(run, VOCAB, how))
        try:
            slot = Packer(machine, 8, 1).allocate(run.name, need)
        except OnsetError:
            continue  # it says what is missing
        assert slot is not None
        assert slot.memory is not None
        placed += 1
        found = choose(
            run, VOCAB, precision="auto", threads=1, device="cuda:0", memory=slot.memory,
            processes=len(slot.devices), per_host=8,
        )  # fmt: skip
        assert found.shards * found.replicas == len(slot.devices)
        assert need.on_gpus(len(slot.devices), card) <= card
    assert placed


def test_an_evaluation_takes_one_gpu_and_more_only_where_one_is_too_small() -> None:
    """Lost otherwise: every model that is larger than a card."""
    packer = Packer(Machine(16, 64 * GB, (10 * GB,) * 4), workers=8, threads=1, gpus=2)
    assert packer.allocate("small", Need(shared=8 * GB), single=True) == Slot(1, ("cuda:0",))
    spread = packer.allocate("large", Need(shared=24 * GB), single=True)
    assert spread is not None
    assert spread.devices == ("cuda:1", "cuda:2", "cuda:3")


def test_gpus_are_given_as_asked() -> None:
    machine = Machine(16, 64 * GB, (80 * GB,) * 2)
    halves = Packer(machine, workers=16, threads=1, gpus=0.5)
    assert sum(halves.allocate(str(index), Need()) is not None for index in range(6)) == 4
    assert Packer(machine, workers=4, threads=1, gpus=2).allocate("a", Need()) == Slot(1, ("cuda:0", "cuda:1"))
    assert Packer(machine, workers=4, threads=1, gpus=0).allocate("a", Need()) == Slot(1, ("cpu",))
    with pytest.raises(OnsetError, match="was given 3 GPUs and this machine has 2"):
        Packer(machine, workers=4, threads=1, gpus=3)


def test_processes_that_share_a_training_count_as_workers() -> None:
    packer = Packer(Machine(4, 64 * GB), workers=4, threads=1, processes=2)
    assert packer.allocate("a", Need()) == Slot(1, ("cpu", "cpu"))
    assert packer.allocate("b", Need()) is not None
    assert packer.allocate("c", Need(), single=True) is None


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
    packer, taken = Packer(Machine(64, 512 * GB, (card,)), workers=8, threads=1), []
    for index, need in enumerate(trainings):
        if (slot := packer.allocate(str(index), need)) is not None:
            taken.append((need, slot))
    assert taken
    assert sum(need.on_gpus(1, card) for need, _ in taken) <= card
    for need, slot in taken:
        assert slot.memory is not None
        assert need.gpu is not None
        assert need.gpu.fit(1, slot.memory).bytes == slot.memory


def test_an_evaluation_goes_to_the_gpu_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: hours, on a machine whose GPU is idle."""
    monkeypatch.setattr(resources, "_gpu_bytes", lambda: (80 * GB,))
    assert resources.resolve_device("auto") == "cuda"
    assert resources.resolve_device("cpu") == "cpu"
    monkeypatch.setattr(resources, "_gpu_bytes", lambda: ())
    monkeypatch.setattr(resources.sys, "platform", "linux")
    assert resources.resolve_device("auto") == "cpu"


def test_pieces_on_gpus_wait_for_main_memory_in_which_their_weights_are_gathered() -> None:
    """Lost otherwise: a host out of memory when several trainings write their checkpoints."""
    packer = Packer(Machine(16, 64 * GB, (80 * GB,) * 4), workers=16, threads=1)
    assert packer.allocate("a", Need(each=GB, host=40 * GB)) is not None
    assert packer.allocate("b", Need(each=GB, host=40 * GB)) is None
    assert packer.allocate("c", Need(each=GB, host=10 * GB)) is not None
