"""What an optimizer keeps of each parameter, and classes of other libraries by their import paths.

A class of another library is tried on a few small parameters: that gives what it keeps, and tells of arguments that it
does not know before anything runs. Torch is asked for such classes only, and in functions.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from onset.errors import OnsetError, did_you_mean
from onset.study.training import Optimizer, Role

SAMPLE = (64, 48)
"""Size of the matrix that a class of another library is tried on; its vector has as many rows."""

MATRIX_STATES: Mapping[str, float] = {"adamw": 2.0, "muon": 1.0, "lion": 1.0}
REST_STATES: Mapping[str, float] = {"adamw": 2.0, "muon": 2.0, "lion": 1.0}
"""Elements kept for each parameter of the blocks' matrices, and of all others."""


def state_elements(optimizer: Optimizer, parameters: Mapping[Role, int]) -> int:
    """Elements that an optimizer keeps of so many parameters by role. Raises OnsetError as ``imported`` does."""
    if optimizer.imported:
        matrix, vector = _tried(optimizer.model_dump_json())
    else:
        matrix, vector = MATRIX_STATES[optimizer.kind], REST_STATES[optimizer.kind]
    rest = {"matrix": matrix, "vector": vector}
    # Other libraries treat embeddings and heads as any matrix; ours treat them as the rest.
    other = matrix if optimizer.imported else vector
    return round(sum(count * rest.get(role, other) for role, count in parameters.items()))


def imported(kind: str) -> type[Any]:
    """The class of an import path. Raises OnsetError where there is none, or where it is no optimizer of torch."""
    from torch.optim import Optimizer as Base

    module, _, name = kind.rpartition(".")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise OnsetError(
            f"the optimizer '{kind}' needs the package '{module.partition('.')[0]}': {error}",
            where="optimizer",
            advice=f"pip install {module.partition('.')[0]}, or check the import path",
        ) from error
    made = getattr(found, name, None)
    if made is None:
        names = [one for one in vars(found) if isinstance(getattr(found, one), type)]
        raise OnsetError(f"{module} has no '{name}'", where="optimizer", advice=did_you_mean(name, names))
    if not (isinstance(made, type) and issubclass(made, Base)):
        raise OnsetError(
            f"'{kind}' is no optimizer of torch",
            where="optimizer",
            advice="name a class derived from torch's Optimizer",
        )
    return made


def made(optimizer: Optimizer, groups: Iterable[Mapping[str, Any]], peak: float) -> Any:
    """An optimizer of another library over groups of parameters. Raises OnsetError for arguments it does not take."""
    kind = imported(optimizer.kind)
    taken = inspect.signature(kind.__init__).parameters
    arguments = {name: tuple(one) if isinstance(one, list) else one for name, one in optimizer.arguments.items()}
    if "weight_decay" in taken:
        arguments["weight_decay"] = optimizer.weight_decay
    elif optimizer.weight_decay:
        raise OnsetError(f"'{optimizer.kind}' has no weight decay", where="optimizer", advice="state weight_decay = 0")
    open_ended = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    for name in arguments:
        if name not in taken and not open_ended:
            known = [one for one in taken if one not in ("self", "params", "lr")]
            raise OnsetError(f"unknown key '{name}'", where=f"optimizer '{optimizer.kind}'",
                             advice=did_you_mean(name, known))  # fmt: skip
    kept = [dict(group) for group in groups]
    if "weight_decay" not in taken:
        kept = [{name: one for name, one in group.items() if name != "weight_decay"} for group in kept]
    try:
        return kind(kept, lr=peak, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise OnsetError(
            f"the optimizer refuses its arguments: {error}", where=f"optimizer '{optimizer.kind}'"
        ) from error


@lru_cache(maxsize=32)
def _tried(text: str) -> tuple[float, float]:
    """Elements that it keeps for each parameter of a matrix and of a vector, by a step on small ones."""
    import torch

    optimizer = Optimizer.model_validate_json(text)
    matrix, vector = torch.nn.Parameter(torch.ones(SAMPLE)), torch.nn.Parameter(torch.ones(SAMPLE[0]))
    trial = made(optimizer, [{"params": [matrix]}, {"params": [vector], "weight_decay": 0.0}], peak=1e-3)
    for parameter in (matrix, vector):
        parameter.grad = torch.full_like(parameter, 1e-2)
    try:
        trial.step()
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise OnsetError(
            f"the optimizer takes no plain step: {error}",
            where=f"optimizer '{optimizer.kind}'",
            advice="choose one whose step() needs no closure and no second gradient",
        ) from error

    def kept(parameter: Any) -> float:
        tensors = [one for one in trial.state.get(parameter, {}).values() if isinstance(one, torch.Tensor)]
        return float(sum(one.numel() for one in tensors if one.dim()) / parameter.numel())

    return kept(matrix), kept(vector)
