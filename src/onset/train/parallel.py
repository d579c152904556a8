"""One run on several processes: PyTorch's own FSDP2, led by one of them.

Every process of a team holds its share of weights, gradients and moments, and takes its share of each batch. The
first process leads: it alone runs the trainer, reads batches and writes files, and tells the others each step what
to do; they ``follow``. What the leader writes is gathered first, so checkpoints and resume states are those of a run
on one process, and a run may go on with any number of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import _set_pg_timeout
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from onset.cpu.flat import Flat
from onset.errors import OnsetError
from onset.models.transformer import Decoder
from onset.study.cost import TORCH_PIECE_TOKENS
from onset.study.spec import Run
from onset.train.loss import ChunkedLoss, chunk_loss
from onset.train.precision import Arithmetic
from onset.train.step import Outcome

WAIT = timedelta(days=1)
"""So long followers wait for a word of the leader, who may be measuring or writing."""


CONNECT = timedelta(seconds=60)
"""So long processes try to find each other; those that do not are ended, and torchrun starts all of them again."""

MEET = timedelta(minutes=30)
"""So long a process waits for the others within a step: one that is lost is noticed then at the latest."""


@dataclass(frozen=True)
class Team:
    """The processes that torchrun started, and this one's place among them."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh
    words: dist.ProcessGroup
    """Where the leader's words go: of the CPU, whatever the device is."""

    @property
    def leads(self) -> bool:
        """Whether this process is the first."""
        return self.rank == 0

    def say(self, *words: Any) -> None:
        """Tell the followers what to do."""
        dist.broadcast_object_list([words], src=0, group=self.words)

    def hear(self) -> tuple[Any, ...]:
        """What the leader says next."""
        words: list[Any] = [None]
        dist.broadcast_object_list(words, src=0, group=self.words)
        return tuple(words[0])


@contextlib.contextmanager
def joined(kind: str) -> Iterator[Team]:
    """Be one of torchrun's processes within, on devices of that kind ('cpu' or 'cuda').

    Raises OnsetError where torchrun did not start this process.
    """
    if "LOCAL_RANK" not in os.environ:
        raise OnsetError("this process is not one of torchrun's", advice="start it with: torchrun --nproc-per-node N")
    cuda = kind == "cuda"
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=CONNECT)
    try:
        words = dist.new_group(backend="gloo", timeout=CONNECT)
        assert words is not None
        assert dist.group.WORLD is not None
        # A group's timeout is also that of its connecting, where now and then a word gets lost after a restart: a
        # day's patience there would be a day's hang.
        _set_pg_timeout(MEET, dist.group.WORLD)
        _set_pg_timeout(WAIT, words)
        mesh = init_device_mesh(kind, (dist.get_world_size(),))
        yield Team(dist.get_rank(), dist.get_world_size(), device, mesh, words)
    finally:
        dist.destroy_process_group()


def arithmetic_of(arithmetic: Arithmetic, team: Team) -> Arithmetic:
    """The arithmetic of a run that a team does: autograd, with the number of processes in its device."""
    version = arithmetic.version.split()[0]  # without the kernels'
    bfloat16 = arithmetic.bfloat16 and (team.device.type == "cuda" or arithmetic.engine != "kernels")
    return replace(
        arithmetic,
        engine="torch",
        bfloat16=bfloat16,
        device=f"{arithmetic.device} x{team.size}",
        version=version,
    )


class _Loss(nn.Module):
    """A decoder with its loss: its forward pass is where FSDP gathers the parameters that are in no block."""

    def __init__(self, decoder: Decoder, *, recompute: bool) -> None:
        super().__init__()
        self.decoder, self.recompute = decoder, recompute

    def forward(self, ids: Tensor, targets: Tensor, share: float) -> Tensor:
        states = self.decoder.hidden(ids, recompute=self.recompute).flatten(0, 1)
        loss: Tensor = ChunkedLoss.apply(states, self.decoder.output_matrix, targets.flatten(), share, chunk_loss)
        return loss


class Share:
    """This process's share of a model and its optimiser. Every method is called by all processes of a team at once."""

    def __init__(self, run: Run, vocab: int, arithmetic: Arithmetic, team: Team) -> None:
        if run.batch < team.size:
            raise OnsetError(
                f"a batch of {run.batch} sequences cannot be shared by {team.size} processes",
                where=f"run '{run.name}'",
                advice="use fewer processes, or a larger batch",
            )
        self.team, self.clip = team, run.optimizer.clip
        self.together = max(1, (arithmetic.together or TORCH_PIECE_TOKENS) // run.shape.context)
        decoder = Decoder(run.shape, vocab, run.seed, run.initialisation).to(team.device)
        half = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if arithmetic.bfloat16 else MixedPrecisionPolicy()
        for block in decoder.blocks:
            fully_shard(block, mesh=team.mesh, mp_policy=half)
        self.loss = _Loss(decoder, recompute=arithmetic.recompute)
        fully_shard(self.loss, mesh=team.mesh, mp_policy=half)
        self.parameters = dict(decoder.named_parameters())
        with torch.device("meta"):
            self.layout = Flat(Decoder(run.shape, vocab, seed=None))
        # The optimiser works on the local rows alone: an element's update needs no other element.
        self.rows = {name: _local(parameter) for name, parameter in self.parameters.items()}
        groups: list[dict[str, Any]] = [
            {"params": [row for row in self.rows.values() if row.dim() >= 2], "weight_decay": self._decay(run)},
            {"params": [row for row in self.rows.values() if row.dim() < 2], "weight_decay": 0.0},
        ]
        betas = (run.optimizer.beta1, run.optimizer.beta2)
        self.adam = torch.optim.AdamW(groups, betas=betas, eps=run.optimizer.epsilon, fused=True)

    @staticmethod
    def _decay(run: Run) -> float:
        return run.optimizer.weight_decay

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """One optimisation step on the whole batch (rows, context), of which this process takes its rows."""
        total = self._passes(inputs, targets)
        gradients = {name: _local(parameter.grad) for name, parameter in self.parameters.items() if _has(parameter)}
        square = sum((gradient.double().square().sum() for gradient in gradients.values()), start=total.new_zeros(()))
        sums = torch.stack([total, square])
        dist.all_reduce(sums)
        outcome = Outcome(float(sums[0]), float(sums[1].sqrt()))
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

    def _passes(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Forward and backward over this process's rows; its part of the mean loss.

        Every process makes as many passes as the one with the most rows, or the others would wait for it for ever; a
        pass without a row of its own is one of no weight. FSDP takes the mean of the gradients over the processes, so
        each weighs its rows by their number.
        """
        size, tokens = self.team.size, targets.numel()
        ids = inputs.tensor_split(size)[self.team.rank].to(self.team.device)
        right = targets.tensor_split(size)[self.team.rank].to(self.team.device)
        most = -(-len(inputs) // size)
        passes = -(-most // self.together)
        total = torch.zeros((), dtype=torch.float64, device=self.team.device)
        for part, aim in zip(ids.tensor_split(passes), right.tensor_split(passes), strict=True):
            empty = len(part) == 0
            loss = self.loss(ids[:1] if empty else part, right[:1] if empty else aim, 0.0 if empty else size / tokens)
            loss.backward()
            total += loss.detach().double() / size
        return total

    def model(self) -> dict[str, Tensor]:
        """The whole weights by name, on the CPU; empty on followers, who take part in gathering them."""
        return self._gathered({name: self.rows[name] for name in self.parameters})

    def state(self) -> dict[str, Tensor]:
        """What ``Stepper.state`` would give of this run on one process; empty on followers."""
        found = {"values": self._flat(self.model())}
        if not self.adam.state:
            return found if self.team.leads else {}
        border = self.layout.border
        for key in ("exp_avg", "exp_avg_sq"):
            flat = self._flat(self._gathered({name: self.adam.state[row][key] for name, row in self.rows.items()}))
            found |= {f"matrices.{key}": flat[:border].clone(), f"gains.{key}": flat[border:].clone()}
        step = next(iter(self.adam.state.values()))["step"].cpu()
        found |= {"matrices.step": step.clone(), "gains.step": step.clone()}
        return found if self.team.leads else {}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a state that the leader has in hand; followers give nothing."""
        self._spread(tensors.get("values"), self.rows)
        told = [float(tensors["matrices.step"]) if "matrices.step" in tensors else None]
        dist.broadcast_object_list(told, src=0, group=self.team.words)
        if told[0] is None:
            return
        for row in self.rows.values():
            step = torch.tensor(told[0], dtype=torch.float32, device=self.team.device)
            self.adam.state[row] = {"step": step, "exp_avg": torch.zeros_like(row), "exp_avg_sq": torch.zeros_like(row)}
        for key in ("exp_avg", "exp_avg_sq"):
            parts = [tensors[f"{name}.{key}"] for name in ("matrices", "gains")] if self.team.leads else None
            moments = {name: self.adam.state[row][key] for name, row in self.rows.items()}
            self._spread(None if parts is None else torch.cat(parts), moments)

    def _gathered(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for name, parameter in self.parameters.items():
            assert isinstance(parameter, DTensor)
            whole = DTensor.from_local(
                rows[name].detach(), self.team.mesh, [Shard(0)], shape=parameter.shape, stride=parameter.stride()
            ).full_tensor()
            if self.team.leads:
                found[name] = whole.cpu()
        return found

    def _flat(self, whole: dict[str, Tensor]) -> Tensor:
        """Tensors by name as one buffer of the layout that one process has."""
        if not whole:
            return torch.empty(0)
        flat = torch.zeros(self.layout.values.shape)
        for name, view in self.layout.views(flat).items():
            view.copy_(whole[name])
        return flat

    def _spread(self, flat: Tensor | None, rows: dict[str, Tensor]) -> None:
        """Put each process's rows of the leader's buffer into place."""
        views = {} if flat is None else self.layout.views(flat)
        for name, (_, shape) in self.layout.layout.items():
            whole = torch.empty(shape, device=self.team.device)
            if self.team.leads:
                whole.copy_(views[name])
            dist.broadcast(whole, src=0)
            height = -(-shape[0] // self.team.size)  # FSDP cuts as torch.chunk does
            first = min(self.team.rank * height, shape[0])
            rows[name].copy_(whole[first : first + height])


class TeamStepper:
    """The leader's stepper: in the trainer's eyes like ``Stepper``, its work done by all."""

    def __init__(self, run: Run, vocab: int, arithmetic: Arithmetic, team: Team) -> None:
        self.team, self.run, self.vocab = team, run, vocab
        self.arithmetic = arithmetic_of(arithmetic, team)
        team.say("begin", run, vocab, self.arithmetic)
        self.share = Share(run, vocab, self.arithmetic, team)
        self.master = self.share.layout
        self._model: Decoder | None = None

    def step(self, inputs: Tensor, targets: Tensor, rate: float) -> Outcome:
        """See ``Stepper.step``."""
        self._model = None
        self.team.say("step", inputs.cpu(), targets.cpu(), rate)
        return self.share.step(inputs, targets, rate)

    @property
    def model(self) -> Decoder:
        """The whole model on the CPU, gathered when it is asked for."""
        if self._model is None:
            self.team.say("model")
            self._model = Decoder(self.run.shape, self.vocab, seed=None)
            self._model.load_state_dict(self.share.model())
        return self._model

    def state(self) -> dict[str, Tensor]:
        """See ``Stepper.state``."""
        self.team.say("state")
        return self.share.state()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See ``Stepper.restore``."""
        self._model = None
        self.team.say("restore")
        self.share.restore(tensors)


def follow(team: Team) -> None:
    """A follower's life: do what the leader says until he says that it is over."""
    share: Share | None = None
    while True:
        word, *rest = team.hear()
        if word == "end":
            return
        if word == "begin":
            try:
                run, vocab, arithmetic = rest
                share = Share(run, vocab, arithmetic, team)
            except OnsetError:
                share = None  # the leader meets the same fault, and tells it
            continue
        assert share is not None
        if word == "step":
            share.step(*rest)
        elif word == "restore":
            share.restore({})
        else:
            getattr(share, word)()


def _local(tensor: Tensor | None) -> Tensor:
    """This process's rows of a sharded tensor, in the same memory."""
    assert isinstance(tensor, DTensor)
    local: Tensor = tensor.to_local().detach()
    return local


def _has(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None
