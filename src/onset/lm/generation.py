"""Greedy generation in batches: shared prefixes and each row's own keys and values are computed once.

A model whose cache cannot be shared generates by reading each row whole again for every token: right before fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from onset.lm.causal import CausalLM
from onset.lm.encoding import Encoder, Ids
from onset.lm.prefixes import cut_prompt
from onset.tasks.task import Request


@dataclass(eq=False)
class Answer:
    """A generation under way."""

    prompt: Ids
    stop: tuple[str, ...]
    room: int
    """Tokens that it may still take."""
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


def generate(lm: CausalLM, requests: Sequence[Request], batch_tokens: int) -> list[str | None]:
    """Greedy answers of requests, in order; None where a question alone leaves no room in the context."""
    answers = begun(lm, requests)
    open_ones = [answer for answer in answers if answer is not None and not answer.done]
    open_ones.sort(key=lambda answer: len(answer.prompt), reverse=True)
    while open_ones:
        longest = len(open_ones[0].prompt) + max(answer.room for answer in open_ones)
        batch = open_ones[: max(batch_tokens // longest, 1)]
        open_ones = open_ones[len(batch) :]
        _plainly(lm, batch)
    return [None if answer is None else answer.text(lm.encoder) for answer in answers]


def begun(lm: CausalLM, requests: Sequence[Request]) -> list[Answer | None]:
    """Prompts cut by whole shots so that prompt and answer fit the context."""
    made: list[Answer | None] = [None] * len(requests)
    owed = list(range(len(requests)))
    cut = 0
    while owed:
        prompts = lm.encoder.prompts([cut_prompt(requests[index], cut) for index in owed])
        long = []
        for index, prompt in zip(owed, prompts, strict=True):
            request = requests[index]
            room = lm.context - len(prompt)
            if room < request.max_tokens and cut < len(request.shots):
                long.append(index)
            elif room > 0 and len(prompt):
                limit = min(request.max_tokens, room)
                made[index] = Answer(prompt, request.stop, limit, done=limit <= 0)
        owed, cut = long, cut + 1
    return made


@torch.inference_mode()
def _plainly(lm: CausalLM, answers: list[Answer]) -> None:
    """Every row read whole for each token."""
    answers = list(answers)
    while answers:
        rows = [np.concatenate([answer.prompt, np.asarray(answer.ids, dtype=np.int32)]) for answer in answers]
        longest = max(len(row) for row in rows)
        tokens = np.zeros((len(rows), longest), dtype=np.int64)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = row
        states = lm.states(torch.from_numpy(tokens).to(lm.device))
        last = states[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
        for answer, token in zip(answers, lm.logits(last).argmax(-1).tolist(), strict=True):
            answer.take(token, lm.encoder)
        answers = [answer for answer in answers if not answer.done]
