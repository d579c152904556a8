"""What an architecture of transformers, or of the user's own in its form, is made of and costs, from a configuration.

The one file of this room that asks torch and transformers, and in its functions only: reading a study needs neither.
A model is built with fake tensors (shapes without memory), so that sizes of any magnitude are told in a moment.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from onset.errors import OnsetError, did_you_mean, install
from onset.study.python_file import attribute
from onset.study.shapes import HuggingFaceShape

Part = Literal["embedding", "matrices", "experts", "vectors", "head"]
PARTS: tuple[Part, ...] = ("embedding", "matrices", "experts", "vectors", "head")

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "moe_k", "top_k_experts")
"""What configurations call the number of experts, and of those that read a token."""


@dataclass(frozen=True)
class Sizes:
    """What planning needs to know of a model."""

    parameters: dict[Part, int]
    """Parameters by part; their sum is the model's own count."""
    active: int
    """Parameters that take part in reading one token: all but the experts that it is not sent to."""
    flops_per_token: int
    """Of training, forward and backward, as torch counts them over one sequence of the context, head included."""
    activation_bytes: int
    """Bytes that a token leaves for the backward pass in float32, head left out."""
    width: int
    layers: int


def configuration(shape: HuggingFaceShape, vocab: int, eos: int = 0) -> Any:
    """The configuration object of a shape over so many tokens.

    Raises OnsetError for an architecture or a key that transformers does not know, a value that it refuses, more
    active experts than experts, and a rate of dropout above zero (a resume would not be exact).
    """
    where = f"shape of model_type '{shape.model_type}'"
    kind = _kind_of(shape, where)
    known = _keys(kind)
    for name in shape.settings:
        if name not in known:
            raise OnsetError(f"unknown key '{name}'", where=where, advice=did_you_mean(name, sorted(known)))
    ours: dict[str, Any] = {"vocab_size": vocab, "bos_token_id": eos, "eos_token_id": eos, "pad_token_id": eos}
    if "max_position_embeddings" in known:
        ours["max_position_embeddings"] = shape.context
    for name in known:
        if _is_dropout(name):
            if shape.settings.get(name):
                raise OnsetError(
                    f"{name} is {shape.settings[name]}: dropout is not offered, since a resume would not be exact",
                    where=where,
                    advice=f"leave {name} out",
                )
            ours[name] = 0.0
    try:
        found: Any = kind(**ours, **{name: value for name, value in shape.settings.items() if name not in ours})
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise OnsetError(f"the configuration is refused: {_first(error)}", where=where) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "huggingface_hub":  # its validation of values by type
            raise
        raise OnsetError(f"the configuration is refused: {_first(error)}", where=where) from error
    experts, active = experts_of(found)
    if active > experts:
        raise OnsetError(
            f"{active} experts are to read each token and there are {experts}",
            where=where,
            advice="have at most as many active experts as experts",
        )
    if getattr(found, "final_logit_softcapping", None) is not None:
        raise OnsetError(
            "the logits are capped, and training asks for logits that are a matrix times the last states",
            where=where,
            advice="choose an architecture without final_logit_softcapping",
        )
    return found


def own_class(shape: HuggingFaceShape) -> Any:
    """The class of a causal model that the user's own file defines, made known to transformers' automatic classes.

    Raises OnsetError for a file that fails, a class that is no model of transformers, and a name that is taken.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]

    path, model = attribute(shape.model_type, default="")
    if not (isinstance(model, type) and issubclass(model, PreTrainedModel)) or model.config_class is None:
        raise OnsetError(
            f"'{shape.architecture}' is no model of transformers with a configuration",
            where=path,
            advice="derive it from PreTrainedModel and give it a config_class; see examples/own_architecture.py",
        )
    kind = model.config_class
    if not kind.model_type or kind.model_type in CONFIG_MAPPING_NAMES:
        raise OnsetError(
            f"the model_type '{kind.model_type}' of the configuration is taken or empty",
            where=path,
            advice=f"give {kind.__name__} a model_type of its own",
        )
    AutoConfig.register(kind.model_type, kind, exist_ok=True)
    AutoModelForCausalLM.register(kind, model, exist_ok=True)
    return model


def code(shape: HuggingFaceShape) -> tuple[dict[str, str], dict[str, str]]:
    """Text by name of the file that defines an architecture of one's own, and what of it transformers is to load.

    Both are empty for an architecture of transformers. The second is config.json's ``auto_map``.
    """
    if shape.own_file is None:
        return {}, {}
    path, model = Path(shape.own_file[0]), own_class(shape)
    names = {"AutoConfig": model.config_class.__name__, "AutoModelForCausalLM": model.__name__}
    return {path.name: path.read_text(encoding="utf-8")}, {one: f"{path.stem}.{name}" for one, name in names.items()}


def experts_of(config: Any) -> tuple[int, int]:
    """Experts of a layer and how many of them read a token; 1 and 1 without a mixture."""
    experts = next((n for name in EXPERTS if isinstance(n := getattr(config, name, None), int) and n), None)
    active = next((n for name in ACTIVE if isinstance(n := getattr(config, name, None), int) and n), None)
    return (experts, active) if experts is not None and active is not None else (1, 1)


def built(config: Any, dtype: str = "float32") -> Any:
    """A causal model of a configuration on torch's default device, its weights drawn by the library's own rule."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as said

    before = said.get_verbosity()
    said.set_verbosity_error()  # type: ignore[no-untyped-call] # it tells of kernels that are not installed
    try:
        return AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError, ZeroDivisionError) as error:
        raise OnsetError(
            f"no model can be made of the configuration: {_first(error)}",
            where=f"shape of model_type '{config.model_type}'",
            advice="check that the sizes go together",
        ) from error
    finally:
        said.set_verbosity(before)


def parts(model: Any) -> dict[str, Part]:
    """The part of each parameter of a causal model of transformers, by its name.

    Matrices are the weights of linear layers; what else a layer has (gains, biases, convolutions, the decay of a
    state) counts as vectors.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    # Conv1D is what GPT-2 calls a linear layer whose matrix is stored the other way round.
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | Conv1D)}
    experts, _ = experts_of(model.config)
    found: dict[str, Part] = {}
    for name, parameter in model.named_parameters():
        if parameter is embedding:
            found[name] = "embedding"
        elif parameter is head:
            found[name] = "head"
        elif ".experts." in name and parameter.dim() >= 2 and (parameter.dim() == 2 or len(parameter) == experts):
            found[name] = "experts"
        else:
            found[name] = "matrices" if id(parameter) in linear else "vectors"
    return found


def sizes(shape: HuggingFaceShape, vocab: int) -> Sizes:
    """Parameters, operations and activations of a shape over so many tokens. Raises OnsetError as ``configuration``."""
    return _sizes(shape.key(), vocab)


@lru_cache(maxsize=64)
def _sizes(key: str, vocab: int) -> Sizes:
    shape = HuggingFaceShape.model_validate_json(key)
    config = configuration(shape, vocab)
    from torch._subclasses.fake_tensor import FakeTensorMode

    quiet = logging.getLogger("torch._subclasses.fake_tensor")
    before = quiet.level
    quiet.setLevel(logging.CRITICAL)  # it prints a traceback of what is told below in one sentence
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = built(config)
            _check_head(model, shape)
            count = dict.fromkeys(PARTS, 0)
            for name, part in parts(model).items():
                count[part] += model.get_parameter(name).numel()
            operations, held = _operations(model, shape.context)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, AssertionError) as error:
        raise OnsetError(
            f"the model cannot read a sequence: {_first(error)}",
            where=f"shape of model_type '{shape.model_type}'",
            advice="check that the sizes go together, and the context",
        ) from error
    finally:
        quiet.setLevel(before)
    experts, active = experts_of(config)
    text = config.get_text_config()
    return Sizes(
        parameters=count,
        active=sum(count.values()) - count["experts"] + count["experts"] * active // experts,
        flops_per_token=-(-operations // shape.context),
        activation_bytes=-(-held // shape.context),
        width=int(model.get_output_embeddings().weight.shape[1]),
        layers=int(text.num_hidden_layers),
    )


def _operations(model: Any, context: int) -> tuple[int, int]:
    """Operations of a forward and backward pass of one sequence, and bytes in float32 held for the backward pass."""
    if experts_of(model.config)[0] == 1:
        return _passed(model, context)
    # Torch counts products of matrices one by one, and not those of groups: operations are counted where each token
    # reads its experts one by one, bytes where tokens are grouped, as they are in training (here in bfloat16 alone).
    model.set_experts_implementation("batched_mm")
    operations, _ = _passed(model, context)
    half = built(model.config, "bfloat16")
    half.set_experts_implementation("grouped_mm")
    return operations, 2 * _passed(half, context)[1]


def _passed(model: Any, context: int) -> tuple[int, int]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    held: dict[int, tuple[int, Any]] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            held[storage._cdata] = storage.nbytes(), storage
        return tensor

    matrix = model.get_output_embeddings().weight
    tokens = torch.zeros(1, context, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            states = model.base_model(tokens, use_cache=False, return_dict=True).last_hidden_state
        bytes_held = sum(size for size, _ in held.values())
        (states @ matrix.t()).sum().backward()
    return int(counter.get_total_flops()), bytes_held


def _check_head(model: Any, shape: HuggingFaceShape) -> None:
    from torch import nn

    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None or model.base_model is model:
        raise OnsetError(
            "training asks for logits that are a matrix times the last states, and this architecture's are not",
            where=f"shape of model_type '{shape.model_type}'",
            advice="choose an architecture whose head is a linear layer without a bias",
        )


def _kind_of(shape: HuggingFaceShape, where: str) -> Any:
    """The class of a shape's configuration."""
    try:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    except ImportError as error:
        raise OnsetError(
            "architectures of transformers need torch and transformers",
            where=where,
            advice=install("lm"),
        ) from error
    if shape.own_file is not None:
        return own_class(shape).config_class
    if shape.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        known = list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
        raise OnsetError(
            f"transformers has no causal model of type '{shape.model_type}'",
            where=where,
            advice=did_you_mean(shape.model_type, known),
        )
    return CONFIG_MAPPING[shape.model_type]


def _keys(kind: Any) -> set[str]:
    """Keys that an architecture knows: the fields of its configurations, and what else its model's code reads."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    named = {one.name for one in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    named |= {
        name
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and name != "self"
    }
    source = inspect.getsource(inspect.getmodule(MODEL_FOR_CAUSAL_LM_MAPPING[kind]) or kind)
    named |= set(re.findall(r"\bconfig\.([a-z]\w*)", source)) | set(re.findall(r'config, "(\w+)"', source))
    if "rope_parameters" in named:
        named |= {"rope_theta", "rope_scaling", "partial_rotary_factor"}  # older names, which it takes over
    return {name for name in named | set(kind.attribute_map) if not name.startswith("_")}


def _is_dropout(name: str) -> bool:
    return "dropout" in name or name.endswith(("_pdrop", "_drop"))


def _first(error: Exception) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else type(error).__name__
