"""Anyone's causal language model: from a folder or a hub id, checked before it is believed.

Only safetensors weights are read unless asked otherwise, no remote code runs unless asked, and a folder whose weights
are missing or cut short is an error, never a model with random weights.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from onset import reading
from onset.data.tokenizer import Tokenizer
from onset.errors import OnsetError, did_you_mean
from onset.models import transformer as models
from onset.score import gguf, llama, weights
from onset.score.causal import CausalLM
from onset.score.encoding import Encoder
from onset.score.transformers_parts import context_of, of_tokenizer, quiet

ROOM = 0.25
"""Share of each GPU's free memory that a model spread over several leaves to keys, values and logits."""

Dtype = Literal["float32", "bfloat16", "float16", "auto"]
DTYPES: dict[str, torch.dtype | str] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "auto": "auto",
}


def load(
    ref: str | Path,
    *,
    revision: str | None = None,
    dtype: Dtype = "float32",
    device: str | Sequence[str] = "cpu",
    allow_bin: bool = False,
    trust_remote_code: bool = False,
) -> CausalLM:
    """The model of a folder (ours or anyone's), of a ``.gguf`` file, or of a hub id with ``@revision``.

    ``device`` may be several GPUs, over which the layers are spread (by accelerate) where one is too small.
    ``allow_bin`` reads pickled weights, and then weights only. Raises OnsetError when there is no such folder, when
    its weights or tokenizer are missing or cut short, when it is no causal language model or needs remote code.
    """
    if dtype not in DTYPES:
        raise OnsetError(f"unknown dtype '{dtype}'", advice=did_you_mean(str(dtype), DTYPES))
    devices = (device,) if isinstance(device, str) else tuple(device)
    if gguf.is_gguf(ref):
        return gguf.load(Path(ref).expanduser(), name=str(ref), dtype=DTYPES[dtype], device=devices[0])
    folder = _folder(ref, revision, allow_bin)
    name = str(ref) if revision is None else f"{ref}@{revision}"
    raw = _raw_config(folder)
    if len(devices) == 1 and _is_ours(folder, raw):
        return _load_ours(folder, name, dtype, devices[0])
    if (
        len(devices) == 1
        and llama.readable(raw)
        and (encoder := llama.plain_encoder(folder)) is not None
        and any(folder.glob("*.safetensors"))
    ):
        weights.check_folder(folder, allow_bin)
        return llama.load(folder, raw, name, dtype, devices[0], encoder)
    return _load_any(folder, raw, name, dtype, devices, allow_bin, trust_remote_code)


def _load_any(
    folder: Path,
    raw: Mapping[str, Any],
    name: str,
    dtype: Dtype,
    devices: Sequence[str],
    allow_bin: bool,
    trust_remote_code: bool,
) -> CausalLM:
    """A model by way of the transformers library, on one device or spread over several."""
    config = _config(folder, raw, trust_remote_code)
    binary = weights.check_folder(folder, allow_bin)
    from transformers import AutoModelForCausalLM

    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=DTYPES[dtype],
                use_safetensors=not binary,
                weights_only=True,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
                **(spread(devices) if len(devices) > 1 else {}),
            )
    except weights.FAULTS as error:
        raise OnsetError(f"cannot load the model: {error}", where=folder, advice="save or fetch it again") from error
    model, report = loaded
    if report["missing_keys"]:
        names = sorted(report["missing_keys"])
        raise OnsetError(
            f"{len(names)} weights are missing, such as '{names[0]}'", where=folder, advice="save or fetch it again"
        )
    weights.check_used(report["unexpected_keys"], folder)
    model.eval()
    if len(devices) == 1:
        model.to(devices[0])
    encoder, longest = _encoder(folder, trust_remote_code)
    return CausalLM.of_transformer(model, encoder, context=context_of(config, longest), name=name)


def spread(devices: Sequence[str]) -> dict[str, Any]:
    """Settings that spread a model's layers over GPUs, as many on each as leave ``ROOM`` of its free memory."""
    if importlib.util.find_spec("accelerate") is None:
        raise OnsetError("to spread a model over several GPUs takes accelerate", advice="pip install accelerate")
    free = {torch.device(one).index: torch.cuda.mem_get_info(one)[0] for one in devices}
    return {"device_map": "auto", "max_memory": {index: int(size * (1 - ROOM)) for index, size in free.items()}}


def _folder(ref: str | Path, revision: str | None, allow_bin: bool) -> Path:
    """The local folder of a reference; a hub id is fetched, or found in the local cache."""
    path = Path(ref).expanduser()
    if path.is_dir():
        return path
    text = str(ref)
    name, _, tail = text.partition("@")
    parent = path.parent
    looks_local = isinstance(ref, Path) or text.startswith(("/", ".", "~")) or name.count("/") != 1 or path.exists()
    if looks_local or (str(parent) != "." and parent.is_dir()):
        advice = "give a model folder or a hub id such as EleutherAI/pythia-70m@step1000"
        if parent.is_dir():
            advice = did_you_mean(path.name, [entry.name for entry in parent.iterdir() if entry.is_dir()]) or advice
        raise OnsetError("no such model folder", where=path, advice=advice)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    kinds = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.txt", "*.py", "*.jinja"]
    kinds += ["*.bin"] if allow_bin else []
    try:
        return Path(snapshot_download(name, revision=revision or tail or None, allow_patterns=kinds))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise OnsetError(
            f"neither a folder here nor to be had from the hub: {error}".splitlines()[0],
            where=text,
            advice="check the name and the network, or give a folder",
        ) from error


def _is_ours(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether ``onset.models.transformer`` wrote a folder: its very configuration, and a tokenizer like ours."""
    try:
        shape = models.shape_of(config)
        said = models.glm_config(shape, config["vocab_size"], config["eos_token_id"])
        tokenizer = reading.json_object(folder / "tokenizer_config.json")
    except (OnsetError, OverflowError, ValueError, KeyError, TypeError):
        return False
    same = all(config.get(key) == value for key, value in said.items())
    return same and tokenizer.get("bos_token") == tokenizer.get("eos_token") and (folder / "tokenizer.json").is_file()


def _load_ours(folder: Path, name: str, dtype: Dtype, device: str) -> CausalLM:
    """A checkpoint of our own, without the transformers library: seconds less in every process."""
    weights.check_folder(folder, allow_bin=False)
    decoder = models.load(folder).eval()
    if dtype != "auto":
        decoder = decoder.to(getattr(torch, dtype))
    decoder = decoder.to(device)
    return CausalLM.of(decoder, Tokenizer.load(folder), name=name)


def _raw_config(folder: Path) -> dict[str, Any]:
    """What config.json holds."""
    file = folder / "config.json"
    if not file.is_file():
        steps = folder / "steps"
        advice = (
            f"a run's checkpoints lie in {steps}" if steps.is_dir() else "a model folder holds config.json and weights"
        )
        raise OnsetError("not a model folder: config.json is missing", where=folder, advice=advice)
    return reading.json_object(file, advice="save or fetch it again")


def _config(folder: Path, raw: Mapping[str, Any], trust_remote_code: bool) -> Any:
    """The configuration of a causal language model, or an error that says why it is none."""
    file = folder / "config.json"
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind, architectures = str(raw.get("model_type")), raw.get("architectures")
    if not (
        architectures is None or (isinstance(architectures, list) and all(isinstance(a, str) for a in architectures))
    ):
        raise OnsetError("'architectures' is no list of names", where=file, advice=weights.AGAIN)
    if kind not in CONFIG_MAPPING_NAMES:
        registered = kind in CONFIG_MAPPING  # by the study that it is of
        if raw.get("auto_map") and not registered and not trust_remote_code:
            raise OnsetError(
                "the model needs code of its own, which is not run unasked",
                where=folder,
                advice="read the code in its folder, then allow it: --trust-remote-code",
            )
        if not raw.get("auto_map"):
            raise OnsetError(
                f"unknown kind of model '{kind}'", where=file, advice=did_you_mean(str(kind), CONFIG_MAPPING_NAMES)
            )
    elif not _causal(kind, raw.get("architectures"), MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        named = (raw.get("architectures") or [kind])[0]
        raise OnsetError(f"not a causal language model: {named}", where=file, advice="give a model that continues text")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except weights.FAULTS as error:
        raise OnsetError(f"cannot read the configuration: {error}", where=file, advice=weights.AGAIN) from error


def _causal(kind: str, architectures: list[str] | None, known: Any) -> bool:
    """Whether a known kind of model is one that continues text."""
    if kind not in known:
        return False
    names = known[kind]
    names = set(names) if isinstance(names, (list, tuple)) else {names}
    return not architectures or bool(names & set(architectures))


def _encoder(folder: Path, trust_remote_code: bool) -> tuple[Encoder, int | None]:
    """The folder's tokenizer and the longest text that it states, if any."""
    from transformers import AutoTokenizer

    if not any(
        (folder / name).is_file()
        for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
    ):
        raise OnsetError("the folder has no tokenizer", where=folder, advice="put the model's tokenizer.json into it")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except weights.FAULTS as error:
        raise OnsetError(
            f"cannot load the tokenizer: {error}", where=folder, advice="save or fetch it again"
        ) from error
    return of_tokenizer(tokenizer)
