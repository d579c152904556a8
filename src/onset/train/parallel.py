"""One run on several processes: PyTorch's FSDP2 with hybrid sharding; every process runs the trainer's own loop.

Each process holds its rows of weights, gradients and moments, knows the step, and reads its own rows of the batch.
Nothing is sent but what PyTorch's collectives send, one vote a step on whether to save or to stop, and what is
gathered for a declared checkpoint. The first process alone writes the log and the checkpoints. A run may go on with
any number of processes: see ``onset.train.states``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from onset.errors import OnsetError
from onset.models.build import build, first_model
from onset.models.contract import CausalModel
from onset.study.cost import TORCH_PIECE_TOKENS
from onset.study.spec import Run
from onset.train.loss import ChunkedLoss, chunk_loss
from onset.train.passes import COMPILER
from onset.train.precision import Arithmetic
from onset.train.step import Outcome

TIMEOUT = timedelta(minutes=30)
"""So long a process waits for the others: one that is lost is noticed then at the latest."""

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""Backends of the process group by kind of device; recovery states are written through the CPU's."""

Told = TypeVar("Told")


@dataclass(frozen=True)
class Mesh:
    """The processes that train one run together, and this one's place among them. By default it is alone."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    per_host: int = 1
    """Processes on one host."""
    words: dist.ProcessGroup | None = None
    """A group of the CPU for votes and what the first process tells."""
    files: dist.ProcessGroup | None = None
    """Another one for recovery states, which are written while steps and votes go on."""

    @property
    def leads(self) -> bool:
        """Whether this process writes the log and the checkpoints."""
        return self.rank == 0

    def any(self, *asked: bool) -> list[bool]:
        """Whether any process asks, question by question; every process gets the same answers."""
        if self.size == 1:
            return list(asked)
        votes = torch.tensor(asked, dtype=torch.int32)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=self.words)
        return [bool(vote) for vote in votes]

    def told(self, value: Told) -> Told:
        """The first process's value, on every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.words)
        return values[0]

    def rows(self, batch: int) -> range:
        """The rows of a batch that are this process's."""
        first, more = divmod(batch, self.size)
        begin = self.rank * first + min(self.rank, more)
        return range(begin, begin + first + (self.rank < more))


@contextlib.contextmanager
def joined(kind: str) -> Iterator[Mesh]:
    """The mesh of this process within, on devices of that kind ('cpu' or 'cuda').

    The process group is the one that stands (Ray Train's), or is made from the environment (torchrun's). Raises
    OnsetError where there is neither.
    """
    ours = not dist.is_initialized()
    if ours and "RANK" not in os.environ:
        raise OnsetError(
            "this process was not started to train together with others", advice="start it with Ray Train or torchrun"
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = f"cuda:{local if local < torch.cuda.device_count() else 0}" if kind == "cuda" else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(device)
    if ours:
        dist.init_process_group(BACKENDS[kind], timeout=TIMEOUT)
    try:
        words, files = (dist.new_group(backend="gloo", timeout=TIMEOUT) for _ in range(2))
        per_host = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size()))
        yield Mesh(dist.get_rank(), dist.get_world_size(), device, per_host, words, files)
    finally:
        if ours:
            dist.destroy_process_group()


class _Loss(nn.Module):
    """A model with its loss: its forward pass is where FSDP gathers the parameters that are in no layer."""

    def __init__(self, model: CausalModel, *, recompute: int) -> None:
        super().__init__()
        self.model, self.recompute = model, recompute

    def forward(self, ids: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor | None]:
        states, auxiliary = self.model.read(ids, recompute=self.recompute)
        matrix = self.model.output_matrix
        loss: Tensor = ChunkedLoss.apply(states.flatten(0, 1), matrix, targets.flatten(), share, chunk_loss)
        return loss, auxiliary


class ShardedStepper:
    """This process's share of a model and its optimiser. Every method is called by all processes at once."""

    def __init__(self, run: Run, vocab: int, arithmetic: Arithmetic, mesh: Mesh, start: Path | None = None) -> None:
        """``start`` is the folder of the checkpoint that the run begins from."""
        self.mesh, self.run, self.vocab, self.arithmetic = mesh, run, vocab, arithmetic
        self.clip = run.optimizer.clip
        self.together = max(1, (arithmetic.together or TORCH_PIECE_TOKENS) // run.shape.context)
        kind = torch.device(mesh.device).type
        if arithmetic.replicas > 1:
            sizes = (arithmetic.replicas, arithmetic.shards)
            devices = init_device_mesh(kind, sizes, mesh_dim_names=("replicas", "shards"))
        else:
            devices = init_device_mesh(kind, (arithmetic.shards,), mesh_dim_names=("shards",))
        half = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if arithmetic.bfloat16 else MixedPrecisionPolicy()
        with torch.device("meta"):
            self.model = model = build(run.shape, vocab)
        if arithmetic.engine == "compiled":
            torch.compiler.reset()  # as in ``passes``: eight shapes are the most in one process
        for layer in model.layers():
            if arithmetic.engine == "compiled":
                layer.compile(backend=COMPILER)
            fully_shard(layer, mesh=devices, mp_policy=half)
        self.loss = _Loss(model, recompute=arithmetic.recompute)
        fully_shard(self.loss, mesh=devices, mp_policy=half)
        self.loss.to_empty(device=mesh.device)
        model.reset_buffers(mesh.device)
        self.parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
        # The optimiser works on the local rows alone: an element's update needs no other element.
        self.rows = {name: _local(parameter) for name, parameter in self.parameters.items()}
        self._draw(start)
        groups: list[dict[str, Any]] = [
            {"params": [row for name, row in self.rows.items() if model.role(name) != "vector"]},
            {"params": [row for name, row in self.rows.items() if model.role(name) == "vector"], "weight_decay": 0.0},
        ]
        adam = run.optimizer
        self.adam = torch.optim.AdamW(
            groups, betas=(adam.beta1, adam.beta2), eps=adam.epsilon, weight_decay=adam.weight_decay, fused=True
        )

    @torch.no_grad()
    def _draw(self, start: Path | None) -> None:
        """Set this process's rows to what one process would begin with."""
        run = self.run
        if start is not None:
            first = dict(first_model(run, self.vocab, start).named_parameters())
            for name, parameter in self.parameters.items():
                if self.rows[name].numel():
                    rows = local_rows(parameter)
                    self.rows[name].copy_(first[name][rows.start : rows.stop])
            return
        for name, parameter in self.parameters.items():
            row = self.rows[name]
            if row.numel():
                row.copy_(self.model.draw(name, run.seed, run.initialisation, local_rows(parameter)))

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """One optimisation step on a batch of which ``inputs`` and ``targets`` (rows, context) are this process's."""
        total, auxiliary = self._passes(inputs, targets)
        gradients = {name: _local(one.grad) for name, one in self.parameters.items() if one.grad is not None}
        square = sum((gradient.double().square().sum() for gradient in gradients.values()), start=total.new_zeros(()))
        beside = torch.zeros_like(total) if auxiliary is None else auxiliary
        sums = torch.stack([total, square / self.arithmetic.replicas, beside])
        dist.all_reduce(sums)
        outcome = Outcome(float(sums[0]), float(sums[1].sqrt()), None if auxiliary is None else float(sums[2]))
        if outcome.finite:
            factor = self.clip / outcome.norm if outcome.norm > self.clip else None
            for name, gradient in gradients.items():
                self.rows[name].grad = gradient if factor is None else gradient.mul_(factor)
            for group in self.adam.param_groups:
                group["lr"] = rate
            self.adam.step()
        for name, parameter in self.parameters.items():
            parameter.grad = self.rows[name].grad = None
        return outcome

    def _passes(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Forward and backward over this process's rows; its part of the mean loss, and of the auxiliary loss.

        Every process makes as many passes as the one with the most rows, or the others would wait for it for ever; a
        pass without a row of its own is one of no weight. FSDP takes the mean of the gradients over the processes, so
        each weighs its rows by their number.
        """
        size, batch = self.mesh.size, self.run.batch
        most = -(-batch // size)
        passes = -(-most // self.together)
        counted = (targets >= 0).sum()
        dist.all_reduce(counted)
        whole = max(1, int(counted))
        total = torch.zeros((), dtype=torch.float64, device=inputs.device)
        beside: Tensor | None = None
        for part, aim in zip(inputs.tensor_split(passes), targets.tensor_split(passes), strict=True):
            empty = len(part) == 0
            share = 0.0 if empty else size / whole
            loss, auxiliary = self.loss(inputs[:1] if empty else part, targets[:1] if empty else aim, share)
            if auxiliary is not None:
                auxiliary = auxiliary * (len(part) * size / batch)
                beside = (0 if beside is None else beside) + auxiliary.detach().double() / size
            (loss if auxiliary is None else loss + auxiliary).backward()
            total += loss.detach().double() / size
        return total, beside

    def whole(self) -> CausalModel | None:
        """The whole model on the first process's CPU; None on the others, who take part in gathering it."""
        found = build(self.run.shape, self.vocab) if self.mesh.leads else None
        places = dict(found.named_parameters()) if found is not None else {}
        for name, parameter in self.parameters.items():
            sharded = parameter.detach()
            assert isinstance(sharded, DTensor)
            tensor = sharded.full_tensor()
            if name in places:
                places[name].data.copy_(tensor)
        return found

    def state(self) -> dict[str, Tensor]:
        """All that the next steps depend on, by parameter; sharded tensors."""
        found: dict[str, Tensor] = {f"weights/{name}": one.detach() for name, one in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for key, value in self._moments(self.rows[name]).items():
                found[key if key == "step" else f"{key}/{name}"] = (
                    value if key == "step" else _sharded(value, parameter)
                )
        return found

    def _moments(self, row: Tensor) -> dict[str, Tensor]:
        """The optimiser's state of a row, made where there is none yet."""
        state = self.adam.state[row]
        if not state:
            state["step"] = torch.zeros((), device=row.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(row), torch.zeros_like(row)
        return {key: state[key] for key in ("step", "exp_avg", "exp_avg_sq")}

    @torch.no_grad()
    def restored(self, tensors: dict[str, Tensor]) -> None:
        """Take up the step count after the tensors that ``state`` gave were filled in place."""
        for row in self.rows.values():
            self._moments(row)["step"].copy_(tensors["step"])


def local_rows(tensor: Tensor) -> range:
    """Which rows of a sharded tensor this process holds."""
    assert isinstance(tensor, DTensor)
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return range(offset[0], offset[0] + shape[0])


def _local(tensor: Tensor | None) -> Tensor:
    """This process's rows of a sharded tensor, in the same memory."""
    assert isinstance(tensor, DTensor)
    local: Tensor = tensor.to_local().detach()
    return local


def _sharded(rows: Tensor, like: nn.Parameter) -> DTensor:
    """Rows as the sharded tensor that they are a part of."""
    assert isinstance(like, DTensor)
    return DTensor.from_local(
        rows, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
