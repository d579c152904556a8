"""Without these a tuning would learn from questions, or the hand-written passes other gradients than autograd."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from onset.cpu import passes as cpu
from onset.cpu.build import why_not
from onset.cpu.flat import Flat
from onset.data.tokenizer import train
from onset.errors import OnsetError
from onset.models import files
from onset.models.build import first_model
from onset.models.transformer import Decoder
from onset.study.spec import Run, Shape, TokenizerSpec
from onset.train.feed import inputs_and_targets
from onset.train.passes import TorchPasses

SHAPE = Shape(layers=2, width=32, heads=4, kv_heads=2, hidden=48, context=16)
VOCAB = 270


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of which some rows have no answer at all."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCAB, (4, 17), generator=draw)
    learnt = torch.rand(4, 17, generator=draw) < 0.3
    learnt[2] = False
    return inputs_and_targets(ids.where(learnt, ~ids))


def test_what_is_not_learnt_is_read_all_the_same() -> None:
    inputs, targets = batch()
    assert int(inputs.min()) >= 0
    assert 0 < int((targets >= 0).sum()) < targets.numel()


@pytest.mark.parametrize("engine", ["torch", "kernels"])
def test_loss_and_gradients_are_of_the_answers_alone(engine: str) -> None:
    if engine == "kernels" and (why := why_not(bfloat16=False)) is not None:
        pytest.skip(why)
    inputs, targets = batch()
    plain = Decoder(SHAPE, VOCAB, seed=3)
    wanted = functional.cross_entropy(plain(inputs).flatten(0, 1), targets.where(targets >= 0, -100).flatten())
    wanted.backward()
    model = Decoder(SHAPE, VOCAB, seed=3)
    master = Flat(model)
    made = (
        TorchPasses(model, master, bfloat16=False, compiled=False)
        if engine == "torch"
        else cpu.passes(model, master, bfloat16=False, threads=2, batch=4)
    )
    loss, _ = made.run(inputs, targets)
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    found = master.views(master.gradients)
    for name, parameter in plain.named_parameters():
        assert torch.allclose(found[name], parameter.grad, atol=2e-6), name  # type: ignore[arg-type]


def test_a_run_begins_with_the_weights_of_its_start(tmp_path: Path) -> None:
    tokenizer = train(["some words"] * 5, TokenizerSpec(vocab=262))
    run = Run(name="r", shape=SHAPE, tokens=640, batch=4)
    base = Decoder(SHAPE, tokenizer.vocab, seed=9)
    tmp_path.joinpath("a").mkdir()
    files.save(base, tokenizer, tmp_path / "a")
    found = dict(first_model(run, tokenizer.vocab, tmp_path / "a").named_parameters())
    assert all(torch.equal(found[name], one) for name, one in base.named_parameters())
    other = run.model_copy(update={"shape": SHAPE.model_copy(update={"layers": 3})})
    with pytest.raises(OnsetError, match="of another model"):
        first_model(other, tokenizer.vocab, tmp_path / "a")
