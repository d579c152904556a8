"""Without these a checkpoint would say something else in other people's tools than what it was trained to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from onset.data import tokenizer as tokenizers
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models import files, initialisation
from onset.models import transformer as models
from onset.models.transformer import Decoder
from onset.study.spec import Shape, TokenizerSpec

SHAPES = {
    "grouped": Shape(layers=2, width=64, heads=4, kv_heads=2, hidden=100, context=48),
    "tied": Shape(layers=1, width=48, heads=4, kv_heads=4, hidden=64, context=48, tied=True, rotary_base=500.0),
    "one key head": Shape(layers=3, width=36, heads=3, kv_heads=1, hidden=40, context=48),
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return tokenizers.train(["some words of a small corpus"] * 10, TokenizerSpec(vocab=262))


def stirred(shape: Shape, vocab: int = 262) -> Decoder:
    """A model whose gains are not all one, so that each matters."""
    model = Decoder(shape, vocab, seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.3)
    return model


@pytest.mark.parametrize("name", SHAPES)
def test_the_folder_loads_with_transformers_and_gives_the_same_logits(
    name: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    model = stirred(SHAPES[name])
    files.save(model, tokenizer, tmp_path)
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(other).__name__ == "GlmForCausalLM"
    tokens = torch.randint(0, 262, (3, 48), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (other(tokens).logits - model(tokens)).abs().max() < 1e-4
    assert sum(p.numel() for p in other.parameters()) == model.count()
    assert other.config.max_position_embeddings == 48


def test_what_transformers_saves_again_loads_here(tokenizer: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = stirred(SHAPES["grouped"])
    files.save(model, tokenizer, tmp_path / "ours")
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    again = models.load(tmp_path / "theirs")
    for (name, one), (_, two) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(one, two), name


@pytest.mark.parametrize("name", SHAPES)
def test_a_saved_model_loads_bit_by_bit(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = stirred(SHAPES[name])
    files.save(model, tokenizer, tmp_path)
    again = models.load(tmp_path)
    assert again.shape == model.shape
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_no_token_sees_a_later_one() -> None:
    """Otherwise held-out losses would be of a model that had been told the answer."""
    model = stirred(SHAPES["grouped"])
    tokens = torch.randint(0, 262, (1, 48), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 30] = (changed[0, 30] + 1) % 262
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    assert torch.allclose(before[:, :30], after[:, :30], atol=1e-6)
    assert not torch.allclose(before[:, 30:], after[:, 30:], atol=1e-3)


def test_the_loss_is_the_mean_over_targets() -> None:
    model = stirred(SHAPES["tied"])
    tokens = torch.randint(0, 262, (2, 49), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logs = torch.log_softmax(model(tokens[:, :-1]), -1)
        expected = -logs.gather(-1, tokens[:, 1:, None]).mean()
        assert model.loss(tokens[:, :-1], tokens[:, 1:]) == pytest.approx(float(expected), abs=1e-5)


def test_weights_are_drawn_from_the_seed_alone_by_the_cited_rule() -> None:
    shape = Shape(layers=4, width=256, heads=4, kv_heads=2, hidden=512, context=8)
    torch.manual_seed(5)
    one, two, other = Decoder(shape, 500, seed=3), Decoder(shape, 500, seed=3), Decoder(shape, 500, seed=4)
    assert torch.equal(one.embedding, two.embedding)
    assert not torch.equal(one.embedding, other.embedding)
    block = one.blocks[0]
    assert isinstance(block, models.Block)
    assert float(block.qkv.detach().std()) == pytest.approx((2 / (5 * 256)) ** 0.5, rel=0.02)
    assert float(block.down.detach().std()) == pytest.approx(2 / (4 * 16), rel=0.02)
    assert (block.feed_gain == 1).all()


@pytest.mark.parametrize("damage", ["cut", "no config", "wrong width", "no weights"])
def test_a_damaged_folder_is_one_clear_error(damage: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    files.save(stirred(SHAPES["grouped"]), tokenizer, tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "no config":
        config.unlink()
    elif damage == "wrong width":
        config.write_text(config.read_text().replace('"hidden_size": 64', '"hidden_size": 128'))
    else:
        weights.unlink()
    with pytest.raises(OnsetError, match="cannot load the checkpoint") as caught:
        models.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_rows_drawn_alone_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is sharded from the start must begin with the weights of one that is not."""
    monkeypatch.setattr(initialisation, "BLOCK", 10 * 64)
    size = torch.Size((33, 64))
    whole = initialisation.drawn("blocks.0.qkv", size, 5, 0.1)
    for rows in (range(7), range(7, 20), range(20, 33), range(9, 9)):
        assert torch.equal(initialisation.drawn("blocks.0.qkv", size, 5, 0.1, rows), whole[rows.start : rows.stop])
    assert whole.std() == pytest.approx(0.1, rel=0.1)
    assert not torch.equal(initialisation.drawn("blocks.1.qkv", size, 5, 0.1), whole)
    assert not torch.equal(initialisation.drawn("blocks.0.qkv", size, 6, 0.1), whole)


def test_large_weights_are_written_in_several_files_that_load(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file of 128 GB can be neither uploaded nor read in parts."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(files, "SHARD", "50KB")
    model = stirred(SHAPES["grouped"])
    files.save(model, tokenizer, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert not (tmp_path / "model.safetensors").exists()
    for one, other in zip(models.load(tmp_path).parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)
    tokens = torch.randint(0, 262, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)(tokens).logits
        assert (theirs - model(tokens)).abs().max() < 1e-4
