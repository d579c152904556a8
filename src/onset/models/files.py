"""A model's folder in the form of the transformers library: weights, config.json, the tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import load_file, save_file
from torch import Tensor

from onset import reading
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError
from onset.models.contract import CausalModel
from onset.store.parts import whole_file, write_text

SHARD = "5GB"
"""Weights above this are written in several files."""

INDEX = "model.safetensors.index.json"


def save(model: CausalModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the weights, config.json, code and the tokenizer's files, each whole, into a folder.

    The weights are model.safetensors, or above ``SHARD`` several files with an index, as transformers reads them.
    """
    weights = model.export()
    plan = split_torch_state_dict_into_shards(weights, max_shard_size=SHARD)
    for name, tensors in plan.filename_to_tensors.items():
        with whole_file(folder / name) as beside:
            save_file({key: weights[key] for key in tensors}, beside, metadata={"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")
    write_text(folder / "config.json", json.dumps(model.config(tokenizer.eos), indent=2) + "\n")
    for name, text in model.code().items():
        write_text(folder / name, text)
    tokenizer.save(folder)


def named_files(index: Path) -> set[str]:
    """The names of the weights' files that an index holds; one that leads out of the folder is refused."""
    found = reading.json_object(index, advice="save or fetch it again").get("weight_map")
    names = set(map(str, found.values())) if isinstance(found, dict) else set()
    if not names or any(Path(name).name != name for name in names):
        raise OnsetError(
            "the index of the weights does not name files of this folder", where=index, advice="save or fetch it again"
        )
    return names


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder that ``save`` wrote."""
    if not (folder / INDEX).exists():
        return load_file(folder / "model.safetensors")
    names = named_files(folder / INDEX)
    return {key: tensor for name in sorted(names) for key, tensor in load_file(folder / name).items()}
