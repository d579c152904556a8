"""Generation in batches, greedy or sampled: shared prefixes and each row's own keys and values are computed once.

A model whose cache cannot be shared generates by reading each row whole again for every token: right before fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onset.score import attention as sharing
from onset.score.answers import Answered
from onset.score.batches import padded, prefix_of
from onset.score.causal import CausalLM, not_finite
from onset.score.encoding import Encoder, Ids
from onset.score.flash import KeysValues
from onset.score.requests import WORTH_TOKENS, prompts, shared_length
from onset.score.sampling import Draw, drawn
from onset.tasks.task import Request

CPU_BYTES = 1 << 30
"""Most keys and values that are kept of rows under way on a processor."""
FREE_SHARE = 0.5
"""Share of a device's free memory that they may take there."""
MOST_ROWS = 512


@dataclass(eq=False)
class Answer:
    """A generation under way."""

    prompt: Ids
    shares: object
    """Answers with equal ``shares`` have prompts that begin alike (their shots)."""
    stop: tuple[str, ...]
    room: int
    """Tokens that it may still take."""
    cut_shots: int = 0
    """Shots dropped from the left of the prompt, so that prompt and answer fit the context."""
    draw: Draw | None = None
    """What its tokens are drawn with; None takes the likeliest."""
    ids: list[int] = field(default_factory=list)
    done: bool = False

    def take(self, token: int, encoder: Encoder) -> None:
        """Add a token, and see whether the answer ends."""
        self.room -= 1
        if token == encoder.eos:
            self.done = True
            return
        self.ids.append(token)
        self.done = self.room <= 0 or self._stopped(encoder)

    def _stopped(self, encoder: Encoder) -> bool:
        """Whether a stop text lies in the newest tokens: enough of them to hold the longest one."""
        if not self.stop:
            return False
        window = max(len(text.encode()) for text in self.stop) + 4
        tail = encoder.decode(self.ids[-window:])
        return any(text in tail for text in self.stop)

    def text(self, encoder: Encoder) -> str:
        """What was generated before the first stop text."""
        made = encoder.decode(self.ids)
        return made[: min((at for at in (made.find(text) for text in self.stop) if at >= 0), default=len(made))]


def generate(lm: CausalLM, requests: Sequence[Request], batch_tokens: int) -> list[Answered]:
    """Greedy answers of requests, in order."""
    answers = begun(lm, requests)
    _go_on(lm, answers, batch_tokens)
    return [
        Answered(None, len(request.shots)) if answer is None else Answered(answer.text(lm.encoder), answer.cut_shots)
        for request, answer in zip(requests, answers, strict=True)
    ]


def sample(lm: CausalLM, requests: Sequence[Request], batch_tokens: int) -> list[list[str] | None]:
    """Sampled answers of requests, in order, as many as the ``sampling`` of each says."""
    drawn: list[list[Answer]] = []
    for request, first in zip(requests, begun(lm, requests), strict=True):
        how = request.sampling
        assert how is not None, request.item
        each = [] if first is None else [
            replace(first, draw=Draw.of(how, request.item, number), ids=[]) for number in range(how.samples)
        ]  # fmt: skip
        drawn.append(each)
    _go_on(lm, [answer for each in drawn for answer in each], batch_tokens)
    return [[answer.text(lm.encoder) for answer in each] or None for each in drawn]


def _go_on(lm: CausalLM, answers: Sequence[Answer | None], batch_tokens: int) -> None:
    """Generate answers to their ends."""
    groups: dict[object, list[Answer]] = {}
    for answer in answers:
        if answer is not None and not answer.done:
            groups.setdefault(answer.shares, []).append(answer)
    longest = max((len(answer.prompt) + answer.room for group in groups.values() for answer in group), default=0)
    for group in groups.values():
        group.sort(key=lambda answer: len(answer.prompt), reverse=True)
        if longest <= lm.reach:
            _shared(lm, group, batch_tokens)
        else:
            _plainly(lm, group, batch_tokens)


def begun(lm: CausalLM, requests: Sequence[Request]) -> list[Answer | None]:
    """Answers at their beginning; None where there is no room for one."""
    return [
        None if one is None
        else Answer(one.ids, (request.header, request.shots[one.cut_shots :]), request.stop, one.room, one.cut_shots,
                    done=one.room <= 0)
        for request, one in zip(requests, prompts(requests, lm.encoder, lm.context), strict=True)
    ]  # fmt: skip


@torch.inference_mode()
def _plainly(lm: CausalLM, group: list[Answer], batch_tokens: int) -> None:
    """Every row read whole for each token."""
    while group:
        size = max(batch_tokens // (len(group[0].prompt) + max(answer.room for answer in group)), 1)
        size = 1 if lm.alone is not None else size
        batch, group = group[:size], group[size:]
        while batch:
            rows = [np.concatenate([answer.prompt, np.asarray(answer.ids, dtype=np.int32)]) for answer in batch]
            _take(lm, batch, lm.states(_known(padded(rows), lm), None, None, _ends(rows, lm)))
            batch = [answer for answer in batch if not answer.done]


@torch.inference_mode()
def _shared(lm: CausalLM, group: list[Answer], batch_tokens: int) -> None:
    """The prompts' common beginning read once, each prompt's rest once, then a token a pass."""
    length = shared_length([answer.prompt[:-1] for answer in group])
    length = length if length * (len(group) - 1) >= WORTH_TOKENS else 0
    prefix = prefix_of(lm, group[0].prompt[:length]) if length else None
    capacity = max(len(answer.prompt) - length + answer.room for answer in group)
    size = max(min(cache_room(lm) // (capacity * lm.cache_bytes), MOST_ROWS), 1)
    for start in range(0, len(group), size):
        batch = group[start : start + size]
        capacity = max(len(answer.prompt) - length + answer.room for answer in batch)
        memory = _read(lm, batch, prefix, length, capacity, batch_tokens)
        while True:
            alive = [index for index, answer in enumerate(batch) if not answer.done]
            if not alive:
                break
            if 2 * len(alive) <= len(batch):
                # Fewer than half are still at it: the others' rows are dropped.
                memory.select(_tensor(np.array(alive), lm))
                batch = [batch[index] for index in alive]
            _step(lm, batch, memory, prefix, length)


def _read(
    lm: CausalLM,
    batch: list[Answer],
    prefix: dict[int, KeysValues] | None,
    length: int,
    capacity: int,
    batch_tokens: int,
) -> sharing.Memory:
    """Read the prompts after their prefix, take each answer's first token, and keep keys and values."""
    lengths = [len(answer.prompt) - length for answer in batch]
    memory = sharing.Memory({}, _tensor(np.array(lengths), lm), max(lengths))
    start = 0
    while start < len(batch):
        size = max(batch_tokens // (len(batch[start].prompt) - length), 1)
        part = batch[start : start + size]
        rows = [answer.prompt[length:] for answer in part]
        places = np.arange(length, length + len(rows[0]))[None].repeat(len(rows), axis=0)
        plan = sharing.Plan(prefix=prefix, keep=True)
        _take(lm, part, lm.states(_known(padded(rows), lm), _tensor(places, lm), plan, _ends(rows, lm)))
        for layer, (keys, values) in plan.kept.items():
            if layer not in memory.layers:
                memory.layers[layer] = (_room(keys, len(batch), capacity), _room(values, len(batch), capacity))
            for whole, piece in zip(memory.layers[layer], (keys, values), strict=True):
                whole[start : start + len(part), :, : piece.shape[2]] = piece
        start += len(part)
    return memory


def _step(
    lm: CausalLM,
    batch: list[Answer],
    memory: sharing.Memory,
    prefix: dict[int, KeysValues] | None,
    length: int,
) -> None:
    """One more token for every row; rows that are done go along and are not looked at."""
    told = [[answer.ids[-1] if answer.ids else 0, not answer.done] for answer in batch]
    tokens, growing = _tensor(np.array(told), lm).split(1, dim=1)
    memory.longest = max(len(answer.prompt) - length + len(answer.ids) - 1 for answer in batch if not answer.done)
    memory.step(lm.dtype)
    states = lm.states(tokens, memory.lengths[:, None] + length, sharing.Plan(prefix=prefix, memory=memory))
    memory.lengths = memory.lengths + growing[:, 0]
    _take(lm, batch, states[:, 0])


def _take(lm: CausalLM, batch: list[Answer], states: Tensor) -> None:
    """The next token of each row that is not done: the likeliest, or a drawn one."""
    if any(answer.draw is not None for answer in batch):
        found = drawn(lm, states, [None if answer.done else answer.draw for answer in batch])
    else:
        found = likeliest(lm, states)
    for answer, token in zip(batch, found, strict=True):
        if not answer.done:
            answer.take(token, lm.encoder)


def likeliest(lm: CausalLM, states: Tensor) -> list[int]:
    """The likeliest next token of each state. Raises OnsetError when the logits are not finite numbers."""
    logits = lm.logits(states)
    found = torch.cat([logits.argmax(-1), torch.isfinite(logits.amax(-1)).all().long()[None]]).tolist()
    if not found.pop():  # one transfer from the device for both
        raise not_finite(lm.name)
    return [int(token) for token in found]


def cache_room(lm: CausalLM) -> int:
    """Bytes that the keys and values of rows under way may take: a share of what is free on a GPU."""
    if lm.device.type != "cuda":
        return CPU_BYTES
    free, _ = torch.cuda.mem_get_info(lm.device)
    return int(FREE_SHARE * free)


def _room(like: Tensor, rows: int, capacity: int) -> Tensor:
    return like.new_zeros((rows, like.shape[1], capacity, like.shape[3]))


def _tensor(array: NDArray[Any], lm: CausalLM) -> Tensor:
    return torch.from_numpy(array.astype(np.int64)).to(lm.device)


def _known(ids: NDArray[Any], lm: CausalLM) -> Tensor:
    """Ids on the model's device; those that it has no embedding for are refused."""
    lm.check_ids(ids)
    return _tensor(ids, lm)


def _ends(rows: Sequence[Ids], lm: CausalLM) -> Tensor:
    """Places of the rows' last tokens among those of the padded rows."""
    sizes = np.array([len(row) for row in rows])
    return _tensor(np.arange(len(rows)) * sizes.max() + sizes - 1, lm)
