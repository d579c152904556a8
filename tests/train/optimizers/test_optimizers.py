"""Without these a study of optimizers would compare something else than what its file names."""

from __future__ import annotations

import pytest
import torch

from onset.errors import OnsetError
from onset.models.transformer import Decoder
from onset.study import cost
from onset.study.cost import Method, Training
from onset.study.spec import Optimizer, Run, Shape
from onset.train.optimizers import KINDS
from onset.train.precision import Arithmetic
from onset.train.step import Stepper

SHAPE = Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=16)
VOCAB = 90
PLAIN = Arithmetic("torch", False, 1, "cpu", "x")


def stepper(kind: str) -> Stepper:
    return Stepper(Decoder(SHAPE, VOCAB, 1), Optimizer(kind=kind), PLAIN, batch=8)  # type: ignore[arg-type]


def ids(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    found = torch.randint(0, 20, (8, 17), generator=torch.Generator().manual_seed(step))
    return found[:, :-1], found[:, 1:]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls(kind: str) -> None:
    one = stepper(kind)
    losses = [one.step(*ids(step), 3e-3).loss for step in range(60)]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_taken_up_goes_on_to_the_same_bits(kind: str) -> None:
    """A resume would otherwise train with an optimizer that has forgotten."""
    one, other = stepper(kind), stepper(kind)
    for step in range(5):
        one.step(*ids(step), 3e-3)
    kept = {name: tensor.clone() for name, tensor in one.state().items()}
    places = other.state()
    assert places.keys() == kept.keys()
    with torch.no_grad():
        for name, tensor in places.items():
            tensor.copy_(kept[name])
    other.restored(places)
    for step in range(5, 9):
        assert one.step(*ids(step), 3e-3) == other.step(*ids(step), 3e-3)
    assert torch.equal(one.master.values, other.master.values)


def test_muon_turns_each_matrix_alone_and_leaves_the_rest_to_adamw() -> None:
    """Matrices that are stored together for speed must not be made orthogonal together."""
    one, plain = stepper("muon"), stepper("adamw")
    before = {name: view.clone() for name, view in one.master.views(one.master.values).items()}
    one.step(*ids(0), 1e-2)
    plain.step(*ids(0), 1e-2)
    after, theirs = (each.master.views(each.master.values) for each in (one, plain))
    for name in ("embedding", "head", "gain", "blocks.0.attention_gain"):
        assert torch.allclose(after[name], theirs[name], atol=1e-7), name
    gate = (after["blocks.0.gate_up"] - before["blocks.0.gate_up"] * (1 - 1e-2 * 0.1))[:48]
    # Orthogonal up to Newton and Schulz's five steps: all singular values near 0.2 sqrt(48) times the rate.
    values = torch.linalg.svdvals(gate) / (1e-2 * 0.2 * 48**0.5)
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_memory_counts_what_an_optimizer_keeps() -> None:
    for kind in KINDS:
        run = Run(name="r", shape=SHAPE, tokens=16 * 8 * 9, batch=8, optimizer=Optimizer(kind=kind))  # type: ignore[arg-type]
        held = sum(4 * view.numel() for name, view in stepper(kind).state().items() if not name.startswith("weights/"))
        assert cost.optimizer_bytes(run, VOCAB) == held - 4  # the count of steps


def test_muon_on_several_devices_is_refused_before_anything_runs() -> None:
    run = Run(name="r", shape=SHAPE, tokens=16 * 8 * 9, batch=8, optimizer=Optimizer(kind="muon"))
    with pytest.raises(OnsetError, match="whole matrices"):
        Training(run, VOCAB, Method("torch")).fit(2)


def test_a_kind_left_out_changes_no_digest() -> None:
    """Studies from before there was a choice keep their runs."""
    assert "kind" not in Optimizer().model_dump(mode="json")
    assert Optimizer(kind="muon").model_dump(mode="json")["kind"] == "muon"
