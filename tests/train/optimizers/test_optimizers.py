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
    return Stepper(Decoder(SHAPE, VOCAB, 1), Optimizer(kind=kind), PLAIN, batch=8)


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
        run = Run(name="r", shape=SHAPE, tokens=16 * 8 * 9, batch=8, optimizer=Optimizer(kind=kind))
        held = sum(4 * view.numel() for name, view in stepper(kind).state().items() if not name.startswith("weights/"))
        assert cost.optimizer_bytes(run, VOCAB) == held - 4  # the count of steps


def test_muon_on_several_devices_is_refused_before_anything_runs() -> None:
    run = Run(name="r", shape=SHAPE, tokens=16 * 8 * 9, batch=8, optimizer=Optimizer(kind="muon"))
    with pytest.raises(OnsetError, match="several devices do not share"):
        Training(run, VOCAB, Method("torch")).fit(2)


def test_a_kind_left_out_changes_no_digest() -> None:
    """Studies from before there was a choice keep their runs."""
    assert "kind" not in Optimizer().model_dump(mode="json")
    assert Optimizer(kind="muon").model_dump(mode="json")["kind"] == "muon"


IMPORTED = {
    "torch.optim.SGD": {"momentum": 0.9},
    "torch.optim.NAdam": {"betas": [0.9, 0.95]},
    "torch.optim.Adafactor": {},
    "torch.optim.RMSprop": {},
}


@pytest.mark.parametrize("kind", IMPORTED)
def test_a_class_of_a_library_trains_resumes_and_counts_its_memory(kind: str) -> None:
    """An import path in a study must be as good as a name of our own."""
    optimizer = Optimizer.model_validate({"kind": kind, "weight_decay": 0.01, **IMPORTED[kind]})
    one, other = (Stepper(Decoder(SHAPE, VOCAB, seed), optimizer, PLAIN, batch=8) for seed in (1, 2))
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
    run = Run(name="r", shape=SHAPE, tokens=16 * 8 * 9, batch=8, optimizer=optimizer)
    held = sum(4 * view.numel() for name, view in kept.items() if not name.startswith("weights/") and view.dim())
    assert cost.optimizer_bytes(run, VOCAB) == pytest.approx(held, rel=0.25)  # factored states depend on sizes


def test_a_state_looked_at_before_the_first_step_changes_nothing() -> None:
    """A damaged recovery state is compared with the optimizer's names before training begins anew."""
    optimizer = Optimizer.model_validate({"kind": "torch.optim.NAdam", "weight_decay": 0})
    one, other = (Stepper(Decoder(SHAPE, VOCAB, 1), optimizer, PLAIN, batch=8) for _ in range(2))
    one.state()
    for step in range(3):
        assert one.step(*ids(step), 3e-3) == other.step(*ids(step), 3e-3)


@pytest.mark.parametrize("kind", [*KINDS, "torch.optim.SGD"])
def test_a_group_with_a_peak_of_its_own_moves_by_it_and_the_others_as_before(kind: str) -> None:
    def moved(peaks: dict[str, float]) -> dict[str, torch.Tensor]:
        optimizer = Optimizer.model_validate({"kind": kind, "weight_decay": 0, "peaks": peaks})
        made = Stepper(Decoder(SHAPE, VOCAB, 1), optimizer, PLAIN, batch=8, peak=1e-2)
        before = {name: view.clone() for name, view in made.master.views(made.master.values).items()}
        made.step(*ids(0), 5e-3)
        return {name: view - before[name] for name, view in made.master.views(made.master.values).items()}

    usual, other = moved({}), moved({"embedding": 1e-3, "head": 2e-2})
    assert torch.allclose(other["embedding"], usual["embedding"] / 10, rtol=1e-3, atol=1e-7)
    assert torch.allclose(other["head"], usual["head"] * 2, rtol=1e-3, atol=1e-7)
    assert torch.allclose(other["gain"], usual["gain"], rtol=1e-3, atol=1e-7)
    assert torch.allclose(other["blocks.0.down"], usual["blocks.0.down"], rtol=1e-3, atol=1e-7)


def test_lion_moves_every_weight_by_the_rate() -> None:
    one = stepper("lion")
    before = one.master.values.clone()
    one.step(*ids(0), 1e-3)
    moved = one.master.views(one.master.values - before)["gain"]
    assert torch.allclose(moved.abs(), torch.full_like(moved, 1e-3), rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"kind": "nosuchpackage.Lion"}, "needs the package 'nosuchpackage'"),
        ({"kind": "torch.optim.Adamm"}, "torch.optim has no 'Adamm'"),
        ({"kind": "torch.nn.Linear"}, "is no optimizer of torch"),
        ({"kind": "torch.optim.SGD", "betas": [0.9, 0.9]}, "unknown key 'betas'"),
        ({"kind": "torch.optim.SGD", "momentum": -1.0}, "refuses its arguments"),
        ({"kind": "torch.optim.LBFGS"}, "has no weight decay"),
        ({"kind": "torch.optim.LBFGS", "weight_decay": 0}, "refuses its arguments"),
    ],
)
def test_a_class_that_cannot_train_is_one_error_before_anything_runs(given: dict[str, object], what: str) -> None:
    run = Run(name="r", shape=SHAPE, tokens=16 * 8 * 9, batch=8, optimizer=Optimizer.model_validate(given))
    with pytest.raises(OnsetError, match=what):
        cost.optimizer_bytes(run, VOCAB)


def test_an_imported_class_is_written_and_read_back() -> None:
    given = {"kind": "pytorch_optimizer.Lion", "betas": [0.9, 0.99], "peaks": {"head": 0.01}}
    optimizer = Optimizer.model_validate(given)
    assert optimizer.arguments == {"betas": [0.9, 0.99]}
    assert Optimizer.model_validate(optimizer.model_dump(mode="json")) == optimizer
    with pytest.raises(ValueError, match="kind is one of adamw, muon, lion"):
        Optimizer(kind="adam")
