"""How a run computes: by which code, in which number format, decided from sizes and the machine alone.

The same run on the same machine always gets the same arithmetic, so that a resume goes on bitwise on processors and
within rounding on GPUs (bitwise there too with deterministic algorithms).

Measured on an AMD EPYC core with AVX-512 bfloat16 (matrix products at widths 48 to 512, by torch): 60 to 100
GFLOP/s in float32, 140 to 215 in bfloat16. So bfloat16 pays at every size where the processor multiplies in it.
Torch's own attention is slower in bfloat16 than in float32 there, so without the kernels float32 is the better one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from onset.cpu import build as kernels
from onset.study.cost import Engine, Method, Training, flops, usable
from onset.study.spec import Run, Shape

COMPILE_FLOPS = 5e16
"""A run of at least so much work is compiled on a GPU: minutes at 100 TFLOP/s, where compiling takes about one."""


@dataclass(frozen=True)
class Arithmetic:
    """What decides a run's rounding: on a processor two trainings with equal arithmetic are bitwise equal."""

    engine: Engine
    """The kernels (CPU), autograd, or autograd compiled by torch."""
    bfloat16: bool
    """Whether matrix products are in bfloat16; weights, sums and optimiser stay float32."""
    threads: int
    device: str
    version: str
    """Of torch, and a digest of the compiled kernels and the processor where they are used."""
    together: int | None = None
    """Tokens that a thread takes through the model at once where memory is short; None for as many as usual."""
    recompute: int = 0
    """Layers, the first ones, whose activations are computed again in the backward pass instead of being held."""
    shards: int = 1
    """Processes among which weights, gradients and moments are sharded."""
    replicas: int = 1
    """Groups of such processes, each with a part of the batch."""

    def told(self) -> dict[str, Any]:
        """All of it but what is as usual."""
        usual = {"together": None, "recompute": 0, "shards": 1, "replicas": 1}
        return {name: value for name, value in asdict(self).items() if name not in usual or value != usual[name]}


def method(run: Run, vocab: int, *, device: str, precision: str, threads: int = 1, processes: int = 1) -> Method:
    """The method of a run on a kind of device ('cpu', 'cuda'), told without touching one; torch is not loaded.

    Architectures of transformers are computed by autograd, uncompiled: few of them are one graph.

    ``processes`` of a CPU that train together use autograd: the kernels are of one process.
    """
    ours = isinstance(run.shape, Shape)
    if not device.startswith("cpu"):
        compiled = ours and flops(run, vocab) >= COMPILE_FLOPS
        return Method("compiled" if compiled else "torch", precision != "float32", threads)
    bfloat16 = precision == "bfloat16" or (precision == "auto" and kernels.multiplies_bfloat16())
    if ours and processes == 1 and kernels.why_not(bfloat16=bfloat16) is None:
        return Method("kernels", bfloat16, threads)
    return Method("torch", precision == "bfloat16", threads)


def choose(
    run: Run,
    vocab: int,
    *,
    precision: str,
    threads: int,
    device: str,
    memory: int | None = None,
    processes: int = 1,
    per_host: int | None = None,
) -> Arithmetic:
    """The arithmetic of a run: ``precision`` is 'auto', 'float32' or 'bfloat16'.

    ``memory`` is a limit in bytes on each of the ``processes`` that train it together, by default the usable part of
    a GPU; ``per_host`` of them share a host. Raises OnsetError where the run does not fit in any way, and for a GPU
    that cannot multiply in bfloat16 where that was asked for.
    """
    import torch

    how = method(run, vocab, device=device, precision=precision, threads=threads, processes=processes)
    name, version = "cpu", str(torch.__version__)
    if torch.device(device).type == "cuda":
        if memory is None:
            memory = usable(torch.cuda.get_device_properties(device).total_memory)
        if precision == "auto" and not torch.cuda.is_bf16_supported():
            how = method(run, vocab, device=device, precision="float32", threads=threads)
        name = torch.cuda.get_device_name(device)
    elif torch.device(device).type != "cpu":
        name = torch.device(device).type
    elif how.engine == "kernels":
        version = f"{version} {kernels.identity()}"
    fit = Training(run, vocab, how, per_host=per_host or processes).fit(processes, memory)
    how = fit.method
    together = None if fit.usual else fit.sequences * run.shape.context
    return Arithmetic(
        how.engine, how.bfloat16, threads, name, version, together, fit.recompute, how.shards, how.replicas
    )
