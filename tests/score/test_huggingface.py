"""Folders of models: what is right is loaded, and what is wrong is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onset.errors import OnsetError
from onset.score import huggingface as hub

Folder = Callable[..., Path]


@pytest.fixture
def copy(model_folder: Folder, tmp_path: Path) -> Path:
    """A copy of a model folder that a test may harm."""
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "model"))


def edit(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_folder_becomes_a_model_with_its_facts(model_folder: Folder) -> None:
    """Lost otherwise: scores placed at a wrong size, or cut to a wrong context."""
    from transformers import AutoModelForCausalLM

    lm = hub.load(model_folder("llama"))
    assert lm.params == AutoModelForCausalLM.from_pretrained(model_folder("llama")).num_parameters()
    assert (lm.context, lm.dtype, lm.encoder.start) == (256, torch.float32, None)
    assert hub.load(model_folder("llama"), dtype="bfloat16").dtype == torch.bfloat16


def test_a_prompt_begins_as_the_tokenizer_begins_it(model_folder: Folder) -> None:
    """Lost otherwise: scores without the BOS that a model was trained with, or with one it never saw."""
    assert hub.load(model_folder("llama", "sentencepiece")).encoder.start is not None
    assert hub.load(model_folder("llama", "sentencepiece without bos")).encoder.start is None


def test_a_folder_that_is_not_there_is_told_with_its_neighbour(copy: Path) -> None:
    """Lost otherwise: a typing error that becomes a search of the hub."""
    with pytest.raises(OnsetError, match="no such model folder") as told:
        hub.load(copy.with_name("modle"))
    assert "'model'" in (told.value.advice or "")


def test_a_run_is_not_a_checkpoint(tmp_path: Path) -> None:
    """Lost otherwise: a wrong word about a missing file instead of where the checkpoints are."""
    (tmp_path / "steps").mkdir()
    with pytest.raises(OnsetError) as told:
        hub.load(tmp_path)
    assert "steps" in (told.value.advice or "")


def test_weights_that_are_missing_or_cut_short_are_an_error(copy: Path) -> None:
    """Lost otherwise: a half-copied checkpoint that is scored with what was there."""
    weights = copy / "model.safetensors"
    whole = weights.read_bytes()
    for size in (len(whole) - 100, 20, 4, 0):
        weights.write_bytes(whole[:size])
        with pytest.raises(OnsetError, match=r"cut short|not a whole"):
            hub.load(copy)
    weights.unlink()
    with pytest.raises(OnsetError, match="no weights"):
        hub.load(copy)


def test_a_missing_part_of_the_weights_is_named(copy: Path) -> None:
    """Lost otherwise: a large model fetched in part."""
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "part-2.safetensors"}}))
    with pytest.raises(OnsetError, match="part of the weights is missing") as told:
        hub.load(copy)
    assert "part-2" in (told.value.where or "")


def test_a_tensor_that_is_not_in_the_file_is_an_error(copy: Path) -> None:
    """Lost otherwise: random weights in place of those that are missing, and a score for them."""
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OnsetError, match=r"missing, such as 'model\.layers\.1"):
        hub.load(copy)


def test_pickled_weights_are_read_only_when_asked(copy: Path) -> None:
    """Lost otherwise: code in a pickle run unasked, or published checkpoints that cannot be read at all."""
    from safetensors.torch import load_file

    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    expected = hub.load(copy).logits(hub.load(copy).states(torch.tensor([[1, 2, 3]])))
    (copy / "model.safetensors").unlink()
    with pytest.raises(OnsetError, match="pickled"):
        hub.load(copy)
    lm = hub.load(copy, allow_bin=True)
    torch.testing.assert_close(lm.logits(lm.states(torch.tensor([[1, 2, 3]]))), expected, rtol=1e-4, atol=1e-4)


def test_a_missing_tokenizer_is_an_error(copy: Path) -> None:
    """Lost otherwise: some other tokenizer in its place."""
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(OnsetError, match="no tokenizer"):
        hub.load(copy)


def test_a_model_that_does_not_continue_text_is_refused(copy: Path) -> None:
    """Lost otherwise: nonsense scores of an encoder."""
    edit(copy, model_type="bert", architectures=["BertForMaskedLM"])
    with pytest.raises(OnsetError, match="not a causal language model: BertForMaskedLM"):
        hub.load(copy)


def test_code_of_a_model_is_not_run_unasked(copy: Path) -> None:
    """Lost otherwise: a stranger's code run because a folder was named."""
    (copy / "evil.py").write_text("raise SystemExit('ran')")
    edit(copy, model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    with pytest.raises(OnsetError, match="code of its own"):
        hub.load(copy)


def test_an_unknown_kind_or_dtype_is_told_with_the_nearest(copy: Path) -> None:
    """Lost otherwise: a search for the typing error."""
    with pytest.raises(OnsetError, match="unknown dtype") as told:
        hub.load(copy, dtype="bfloat")  # type: ignore[arg-type]
    assert "'bfloat16'" in (told.value.advice or "")
    edit(copy, model_type="lama")
    with pytest.raises(OnsetError, match="unknown kind") as told:
        hub.load(copy)
    assert "'llama'" in (told.value.advice or "")


def test_a_config_that_is_not_json_is_an_error(copy: Path) -> None:
    """Lost otherwise: a traceback."""
    (copy / "config.json").write_text("{")
    with pytest.raises(OnsetError, match="not valid JSON"):
        hub.load(copy)
