"""How a run computes: by which code, in which number format, decided from sizes and the machine alone.

The same run on the same machine always gets the same arithmetic, so that a resume goes on bitwise.

Measured on an AMD EPYC core with AVX-512 bfloat16 (matrix products at widths 48 to 512, by torch): 60 to 100
GFLOP/s in float32, 140 to 215 in bfloat16. So bfloat16 pays at every size where the processor multiplies in it.
Torch's own attention is slower in bfloat16 than in float32 there, so without our kernels float32 is the better one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from onset.cpu import build as kernels
from onset.study.cost import fitted, flops
from onset.study.spec import Run

COMPILE_FLOPS = 5e16
"""A run of at least so much work is compiled on a GPU: minutes at 100 TFLOP/s, where compiling takes about one."""

GPU_SHARE = 0.85
"""Share of a GPU's memory that a training plans with where no limit is stated: of all of it, not of what is free just
now, so that a resume plans the same."""


@dataclass(frozen=True)
class Arithmetic:
    """What decides a run's rounding: two trainings with equal arithmetic are bitwise equal."""

    engine: Literal["kernels", "torch", "compiled"]
    """Our kernels (CPU), autograd, or autograd compiled by torch."""
    bfloat16: bool
    """Whether matrix products are in bfloat16; weights, sums and optimiser stay float32."""
    threads: int
    device: str
    version: str
    """Of torch, and a digest of the compiled kernels and the processor where they are used."""
    together: int | None = None
    """Tokens that a thread takes through the model at once where memory is short; None for as many as usual."""
    recompute: bool = False
    """Whether activations are computed again in the backward pass instead of being held."""

    def told(self) -> dict[str, Any]:
        """All of it but what is as usual."""
        usual = {"together": None, "recompute": False}
        return {name: value for name, value in asdict(self).items() if name not in usual or value != usual[name]}


def choose(run: Run, vocab: int, *, precision: str, threads: int, device: str, memory: int | None = None) -> Arithmetic:
    """The arithmetic of a run: ``precision`` is 'auto', 'float32' or 'bfloat16'; ``memory`` is a limit in bytes.

    Raises OnsetError where the run does not fit into that memory in any way.
    """
    usual = _usual(run, vocab, precision=precision, threads=threads, device=device)
    if memory is None and torch.device(device).type == "cuda":
        memory = int(GPU_SHARE * torch.cuda.get_device_properties(device).total_memory)
    if memory is None:
        return usual
    kernels = usual.engine == "kernels"
    fit = fitted(run, vocab, memory, bfloat16=usual.bfloat16, threads=threads, kernels=kernels)
    if fit.usual:
        return usual
    return replace(usual, together=fit.sequences * run.shape.context, recompute=fit.recompute)


def _usual(run: Run, vocab: int, *, precision: str, threads: int, device: str) -> Arithmetic:
    """The arithmetic with all the memory that it asks for."""
    if torch.device(device).type != "cpu":
        bfloat16 = precision == "bfloat16" or (precision == "auto" and torch.cuda.is_bf16_supported())
        engine: Literal["torch", "compiled"] = "compiled" if flops(run, vocab) >= COMPILE_FLOPS else "torch"
        return Arithmetic(engine, bfloat16, threads, torch.cuda.get_device_name(device), torch.__version__)
    bfloat16 = precision == "bfloat16" or (precision == "auto" and kernels.multiplies_bfloat16())
    if kernels.kernels(bfloat16=bfloat16) is not None:
        return Arithmetic("kernels", bfloat16, threads, "cpu", f"{torch.__version__} {kernels.identity()}")
    return Arithmetic("torch", precision == "bfloat16", threads, "cpu", torch.__version__)
