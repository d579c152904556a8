"""Log-probabilities of continuations and greedy answers, for any causal model, each shared prefix computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onset.score import generate as generation
from onset.score.answers import Answered, Scored
from onset.score.batches import Engine, batch_size
from onset.score.causal import CausalLM
from onset.score.requests import prepare
from onset.tasks.task import Request


class Scorer:
    """Scores requests with one model. ``batch_tokens`` bounds a batch; by default it is found from memory."""

    def __init__(self, lm: CausalLM, *, batch_tokens: int | None = None) -> None:
        self.lm = lm
        self._engine = Engine(lm, batch_tokens or batch_size(lm))

    def score(self, requests: Sequence[Request]) -> list[Scored]:
        """Log-probability of each request's continuation, in the order of the requests.

        Raises OnsetError when the model's numbers are not finite.
        """
        prepared = prepare(requests, self.lm.encoder, self.lm.context, self.lm.reach)
        sums = np.zeros(2 * len(requests))
        self._engine.run(prepared.groups, sums, prepared.share)
        return [
            Scored(
                logprob=None if asked.missing else float(sums[2 * index]),
                logprob_uncond=None if asked.missing or not asked.uncond else float(sums[2 * index + 1]),
                tokens=asked.tokens,
                bytes=asked.bytes,
                cut_shots=asked.cut_shots,
                missing=asked.missing,
            )
            for index, asked in enumerate(prepared.asked)
        ]

    def generate(self, requests: Sequence[Request]) -> list[str | None]:
        """Greedy continuation of each prompt, up to a stop text, the end of text, or ``max_tokens``.

        None where the question alone leaves no room in the model's context.
        """
        return [answer.text for answer in self.answers(requests)]

    def answers(self, requests: Sequence[Request]) -> list[Answered]:
        """The same with how many shots each prompt lost."""
        return generation.generate(self.lm, requests, self._engine.batch_tokens)

    def samples(self, requests: Sequence[Request]) -> list[list[str] | None]:
        """Sampled continuations of each prompt, as its ``sampling`` says; None where there is no room for one.

        A sample depends on the seed, the item and its number only, not on what else is asked.
        """
        return generation.sample(self.lm, requests, self._engine.batch_tokens)
