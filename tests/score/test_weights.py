"""Weights that load and are not what they are taken for give wrong losses without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from onset.errors import OnsetError
from onset.score import huggingface as hub
from onset.score import weights


@pytest.fixture
def copy(model_folder: Callable[..., Path], tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(model_folder("llama"), tmp_path / "model"))


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_layers_that_the_configuration_does_not_use_are_refused(copy: Path) -> None:
    """Lost otherwise: four layers computed as two, and a loss of neither."""
    edit(copy, num_hidden_layers=1)
    with pytest.raises(OnsetError, match="tensors are not used"):
        hub.load(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 64}, {"intermediate_size": 4}, {"num_key_value_heads": 3}, {"num_attention_heads": 0},
        {"num_hidden_layers": 1e300}, {"vocab_size": 10}, {"architectures": {"a": 1}}, {"max_position_embeddings": "x"},
    ],
)  # fmt: skip
def test_a_configuration_of_another_size_is_refused(copy: Path, changes: dict[str, object]) -> None:
    edit(copy, **changes)
    with pytest.raises(OnsetError) as caught:
        hub.load(copy)
    assert caught.value.advice


def test_a_tensor_of_another_type_is_refused(copy: Path) -> None:
    """Lost otherwise: bits of bfloat16 read as float16, a loss of 10^10 nats a token."""
    import torch

    file = copy / "model.safetensors"
    half = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(half | {name: half[name].view(torch.float16)}, file, metadata={"format": "pt"})
    with pytest.raises(OnsetError, match="mix float16 and bfloat16"):
        hub.load(copy)
    save_file(half | {name: half[name].to(torch.int32)}, file, metadata={"format": "pt"})
    with pytest.raises(OnsetError, match=r"asks for|cannot load"):
        hub.load(copy)


def test_a_loss_that_no_model_has_is_refused() -> None:
    weights.check_nats(np.array([120.0, 30.0]), 20, "m")
    for nats in (1e12, np.nan, -5.0):
        with pytest.raises(OnsetError, match="no language model has"):
            weights.check_nats(np.array([nats]), 10, "m")


def test_ids_beyond_the_embedding_are_refused(copy: Path) -> None:
    """Lost otherwise: an index error somewhere in a library, and on a GPU a dead process."""
    lm = hub.load(copy)
    with pytest.raises(OnsetError, match="tokenizer gives the id"):
        lm.check_ids(np.array([1, lm.vocab]))
