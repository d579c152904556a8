"""Without these an architecture could be trained, saved or sharded otherwise than its contract says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from onset.cpu import passes as cpu
from onset.data import tokenizer as tokenizers
from onset.errors import OnsetError
from onset.models.build import build, first_model
from onset.models.contract import CausalModel
from onset.models.files import read_weights, save
from onset.study import cost
from onset.study.spec import Optimizer, Run, Shape, TokenizerSpec
from onset.train.optimizers import KINDS
from onset.train.precision import Arithmetic
from onset.train.step import Stepper

SHAPES = {
    "transformer": Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=16),
    "tied": Shape(layers=3, width=32, heads=4, kv_heads=4, hidden=48, context=16, tied=True),
}
VOCAB = 90


@pytest.fixture(params=SHAPES)
def run(request: pytest.FixtureRequest) -> Run:
    return Run(name="r", shape=SHAPES[request.param], tokens=16 * 8 * 30, batch=8, seed=3)


def test_the_count_is_the_sum_of_parts_and_every_parameter_has_a_role(run: Run) -> None:
    with torch.device("meta"):
        model = build(run.shape, VOCAB)
    assert model.count() == cost.total_parameters(run.shape, VOCAB)
    roles = {name: model.role(name) for name, _ in model.named_parameters()}
    assert set(roles.values()) <= {"matrix", "embedding", "head", "vector"}
    assert all(model.get_parameter(name).dim() > 1 for name, role in roles.items() if role != "vector")


def test_rows_drawn_alone_are_those_of_the_whole_model(run: Run) -> None:
    """A sharded training would begin from other weights than one process."""
    whole = first_model(run, VOCAB)
    with torch.device("meta"):
        unset = build(run.shape, VOCAB)
    for name, parameter in whole.named_parameters():
        rows = range(len(parameter) // 3, len(parameter))
        with torch.device("cpu"):
            assert torch.equal(unset.draw(name, run.seed, rows=rows), parameter[rows.start :]), name


def test_buffers_are_made_anew_after_the_meta_device(run: Run) -> None:
    with torch.device("meta"):
        model = build(run.shape, VOCAB)
    model = model.to_empty(device="cpu")
    model.reset_buffers("cpu")
    model.initialise(run.seed, run.initialisation)
    ids = torch.arange(16)[None]
    assert torch.equal(model(ids), first_model(run, VOCAB)(ids))


def test_weights_written_are_taken_up_again(run: Run, tmp_path: Path) -> None:
    tokenizer = tokenizers.train(["some words of a small corpus"] * 10, TokenizerSpec(vocab=262))
    model = first_model(run, tokenizer.vocab)
    save(model, tokenizer, tmp_path)
    again = model.blank()
    again.take(read_weights(tmp_path))
    assert all(torch.equal(one, other) for one, other in zip(again.parameters(), model.parameters(), strict=True))


def test_layers_computed_again_give_the_same_gradients(run: Run) -> None:
    def gradients(recompute: int) -> list[torch.Tensor]:
        model = first_model(run, VOCAB)
        states, _ = model.read(torch.arange(16)[None], recompute=recompute)
        (states @ model.output_matrix.t()).square().mean().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    plain = gradients(0)
    for recompute in (1, run.shape.layers):
        assert all(torch.equal(one, other) for one, other in zip(gradients(recompute), plain, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_by_autograd(run: Run, kind: str) -> None:
    how = Arithmetic("torch", False, 1, "cpu", "")
    stepper = Stepper(first_model(run, VOCAB), Optimizer(kind=kind), how, batch=8)
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 20, (8, 17), generator=draw)
    losses = [stepper.step(ids[:, :-1], ids[:, 1:], 3e-3).loss for _ in range(25)]
    assert losses[-1] < losses[0] - 0.5


def test_an_auxiliary_loss_is_minimised_too_and_told_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancing loss within the loss would shift the curves of mixtures of experts."""
    model = first_model(run, VOCAB)
    read = type(model).read

    def balanced(self: CausalModel, tokens: torch.Tensor, *, recompute: int = 0) -> object:
        states, _ = read(self, tokens, recompute=recompute)
        return states, 0.5 * self.get_parameter("gain").square().sum()

    how = Arithmetic("torch", False, 1, "cpu", "", together=32)
    ids = torch.randint(0, 20, (8, 17), generator=torch.Generator().manual_seed(0))
    plain = Stepper(first_model(run, VOCAB), Optimizer(), how, batch=8)
    before = plain.step(ids[:, :-1], ids[:, 1:], 0.0)
    monkeypatch.setattr(type(model), "read", balanced)
    stepper = Stepper(model, Optimizer(), how, batch=8)
    outcome = stepper.step(ids[:, :-1], ids[:, 1:], 0.0)
    assert before.auxiliary is None
    assert outcome.loss == before.loss
    assert outcome.auxiliary == pytest.approx(0.5 * run.shape.width)
    apart = stepper.master.views(stepper.master.gradients)["gain"] / min(1, 1 / outcome.norm)
    plainly = plain.master.views(plain.master.gradients)["gain"] / min(1, 1 / before.norm)
    assert torch.allclose(apart - plainly, torch.ones(run.shape.width), atol=1e-4)


def test_the_kernels_refuse_other_models() -> None:
    class Other(CausalModel):
        """A model that is not the paper's decoder."""

    Other.__abstractmethods__ = frozenset()
    with pytest.raises(OnsetError, match="the paper's decoder alone"):
        cpu.passes(Other(), None, bfloat16=False, threads=1, batch=1)  # type: ignore[abstract, arg-type]
