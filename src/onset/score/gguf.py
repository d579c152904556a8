"""A model of one ``.gguf`` file, as llama.cpp keeps them: weights, tokenizer and configuration in one.

The transformers library reads it with the packages ``gguf`` and ``accelerate`` (the extra ``[gguf]``). Weights are
dequantised when they are read: scores are those of the quantised weights, computed in the dtype that is asked for.
"""

from __future__ import annotations

import importlib
import re
import struct
from pathlib import Path
from typing import Any

import torch

from onset.errors import OnsetError
from onset.score.causal import CausalLM
from onset.score.transformers_parts import context_of, of_tokenizer, quiet
from onset.score.weights import FAULTS, check_used

MAGIC = b"GGUF"
SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
"""A part of a model that llama.cpp has split, which the library reads only joined."""


def is_gguf(ref: str | Path) -> bool:
    """Whether a reference is a file of this kind, by its ending."""
    path = Path(ref).expanduser()
    return path.suffix.lower() == ".gguf" and path.is_file()


def load(file: Path, *, name: str, dtype: torch.dtype | str, device: str) -> CausalLM:
    """The model of a file, dequantised to ``dtype``.

    Raises OnsetError for a file that is not whole, or of an architecture that the library does not read, and
    ModuleNotFoundError where a package of the extra is absent.
    """
    if part := SHARD.search(file.name):
        raise OnsetError(
            f"the file is part {int(part[1])} of {int(part[2])} of a split model",
            where=file,
            advice=f"join them: llama-gguf-split --merge {file.name[: part.start()]}-00001-of-{part[2]}.gguf OUT.gguf",
        )
    for package in ("gguf", "accelerate"):
        importlib.import_module(package)
    with open(file, "rb") as handle:
        if handle.read(4) != MAGIC:
            raise OnsetError("not a GGUF file", where=file, advice="fetch it again")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {
        "pretrained_model_name_or_path": file.parent, "gguf_file": file.name, "local_files_only": True
    }  # fmt: skip
    try:
        with quiet():
            config = AutoConfig.from_pretrained(**place)
            tokenizer = AutoTokenizer.from_pretrained(**place)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                **place, config=config, dtype=dtype, output_loading_info=True
            )
    except (*FAULTS, struct.error) as error:
        raise OnsetError(
            f"cannot load the model: {error}".splitlines()[0],
            where=file,
            advice="fetch it again, or give the model's folder or hub id",
        ) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise OnsetError(f"{len(missing)} weights are missing, such as '{missing[0]}'", where=file)
    check_used(report["unexpected_keys"], file)
    encoder, longest = of_tokenizer(tokenizer)
    return CausalLM.of_transformer(model.eval().to(device), encoder, context=context_of(config, longest), name=name)
