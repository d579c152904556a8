"""Without these a large model would need memory for all its logits, or train on a wrong loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from onset.errors import OnsetError
from onset.models.transformer import Decoder
from onset.study import cost as sizing
from onset.study.presets import preset
from onset.study.spec import Optimizer, Run, Shape
from onset.train import loss as chunked
from onset.train import passes
from onset.train.loss import ChunkedLoss, chunk_loss
from onset.train.precision import Arithmetic, choose, method
from onset.train.step import Stepper

SHAPE = Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=16)
VOCAB = 90


def arithmetic(**changes: object) -> Arithmetic:
    return Arithmetic(
        **({"engine": "torch", "bfloat16": False, "threads": 1, "device": "cpu", "version": "x"} | changes)
    )  # type: ignore[arg-type]


def trained(how: Arithmetic, steps: int = 4) -> list[float]:
    """Losses and gradient norms of a few steps."""
    stepper = Stepper(Decoder(SHAPE, VOCAB, 1), Optimizer(), how, batch=8)
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(steps):
        ids = torch.randint(0, VOCAB, (8, 17), generator=draw)
        outcome = stepper.step(ids[:, :-1], ids[:, 1:], 1e-2)
        found += [outcome.loss, outcome.norm]
    return found


def plain(states: Tensor, matrix: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy((states @ matrix.t()).float(), targets)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_loss_in_stretches_is_cross_entropy_with_its_gradients(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(chunked, "TORCH_LOGITS", rows * VOCAB)
    draw = torch.Generator().manual_seed(0)
    states, matrix = torch.randn(50, 32, generator=draw), torch.randn(VOCAB, 32, generator=draw)
    targets = torch.randint(0, VOCAB, (50,), generator=draw)
    one = [tensor.clone().requires_grad_() for tensor in (states, matrix)]
    two = [tensor.clone().requires_grad_() for tensor in (states, matrix)]
    expected = plain(*one, targets)
    found = ChunkedLoss.apply(*two, targets, 1 / 50, chunk_loss)
    (3 * expected).backward()
    (3 * found).backward()
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(two, one, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_no_more_logits_are_held_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "TORCH_LOGITS", 7 * VOCAB)
    seen = []

    def chunk(states: Tensor, *others: object) -> tuple[Tensor, Tensor]:
        seen.append(len(states))
        return chunk_loss(states, *others)  # type: ignore[arg-type]

    ChunkedLoss.apply(torch.randn(50, 32), torch.randn(VOCAB, 32), torch.zeros(50, dtype=torch.int64), 0.02, chunk)
    assert max(seen) == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"together": 16},
        {"together": 48},
        {"recompute": 1},
        {"together": 32, "recompute": 2},
        {"engine": "kernels", "together": 16},
    ],
)
def test_pieces_and_recomputation_give_the_same_losses(changes: dict[str, object]) -> None:
    usable = choose(RUN, VOCAB, precision="float32", threads=1, device="cpu").engine
    if changes.get("engine") == "kernels" and usable != "kernels":
        pytest.skip("no C compiler: there are no kernels")
    usual = trained(arithmetic(engine=changes.get("engine", "torch")))
    assert trained(arithmetic(**changes)) == pytest.approx(usual, rel=2e-5)


def test_bfloat16_by_autograd_is_near_float32() -> None:
    assert trained(arithmetic(bfloat16=True), 1) == pytest.approx(trained(arithmetic(), 1), rel=2e-2)


@pytest.mark.slow
def test_the_compiled_path_gives_the_same_losses() -> None:
    assert trained(arithmetic(engine="compiled"), 2) == pytest.approx(trained(arithmetic(), 2), rel=1e-4)


RUN = Run(name="r", shape=SHAPE, tokens=16 * 8 * 10, batch=8)
AUTOGRAD = sizing.Method("torch")


def test_a_limit_of_memory_chooses_smaller_pieces_then_recomputation() -> None:
    usual = sizing.fitted(RUN, VOCAB, None, AUTOGRAD)
    tighter = sizing.fitted(RUN, VOCAB, usual.bytes - 1, AUTOGRAD)
    smallest = sum(sizing.memory(RUN, VOCAB, AUTOGRAD, sequences=1, recompute=RUN.shape.layers).values())
    least = sizing.fitted(RUN, VOCAB, smallest, AUTOGRAD)
    assert (usual.sequences, usual.recompute, usual.usual) == (8, 0, True)
    assert (tighter.sequences, tighter.recompute, tighter.usual) == (4, 0, False)
    assert (least.sequences, least.recompute) == (1, RUN.shape.layers)


def test_a_run_that_fits_in_no_way_is_refused_with_advice() -> None:
    with pytest.raises(OnsetError, match="one sequence at a time") as caught:
        choose(RUN, VOCAB, precision="float32", threads=1, device="cpu", memory=1000)
    assert "smaller model" in str(caught.value)


def test_enough_memory_leaves_the_arithmetic_as_it_was() -> None:
    usual = choose(RUN, VOCAB, precision="float32", threads=1, device="cpu")
    assert choose(RUN, VOCAB, precision="float32", threads=1, device="cpu", memory=10**9) == usual
    assert "together" not in usual.told()  # a state from before there was such a choice still fits


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_the_packer_was_told_the_trainer_accepts(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two opinions on memory, trainings are seated together on a card that cannot hold them."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    card = type("Card", (), {"total_memory": 85 * 10**9})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    for name in ("tiny", "nano31", "paper31"):
        for run in preset(name).runs:
            how = method(run, 65_024, device=device, precision="auto")
            for ranks in (1, 2, 8) if run.batch >= 8 else (1,):
                try:
                    fit = sizing.Training(run, 65_024, how).fit(ranks, sizing.usable(85 * 10**9))
                except OnsetError:
                    continue
                settings = {"precision": "auto", "threads": 1, "device": device, "processes": ranks}
                found = choose(run, 65_024, memory=fit.bytes, **settings)
                assert found.shards == ranks
                assert found.recompute <= fit.recompute
                if device == "cuda":  # and with the whole card where nothing is said
                    assert (found.together is None) == fit.usual
                    choose(run, 65_024, **settings)


def test_a_device_that_is_no_gpu_of_cuda_is_not_asked_for_cudas_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's devices have no such name and no such memory."""
    for name in ("get_device_name", "get_device_properties", "is_bf16_supported"):
        monkeypatch.setattr(torch.cuda, name, lambda *arguments: pytest.fail("CUDA was asked"))
    assert choose(RUN, VOCAB, precision="auto", threads=1, device="mps").device == "mps"


def test_one_worker_compiles_more_shapes_than_torch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker trains run after run; torch gives a function up after eight shapes, and the ninth run would die."""
    monkeypatch.setattr(passes, "COMPILER", "eager")
    for layers in range(1, 11):
        shape = SHAPE.model_copy(update={"layers": layers})
        stepper = Stepper(Decoder(shape, VOCAB, 1), Optimizer(), arithmetic(engine="compiled"), batch=2)
        ids = torch.randint(0, VOCAB, (2, 17))
        assert stepper.step(ids[:, :-1], ids[:, 1:], 1e-3).finite
