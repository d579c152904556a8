"""Models behind an OpenAI-compatible completions server: ``http://HOST:PORT/v1#NAME``.

The server must echo the prompt with the log-probability of each of its tokens (``echo`` and ``logprobs`` of
``/v1/completions``; vLLM, SGLang and the server of llama-cpp-python do). The continuation's tokens are those of prompt
and continuation as one text, from the first that is not a token of the prompt alone, as in ``score.encoding``.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from onset.errors import OnsetError
from onset.score.answers import Answered, Scored
from onset.tasks.task import Request, Sampling

TOGETHER = 8
"""Requests that are under way at once: the server batches them."""
SECONDS = 600.0
"""Longest wait for one answer."""
STOPS = 4
"""Most stop texts that the protocol takes; all of them are applied here again."""
TOO_LONG = ("context length", "context window", "maximum context", "too long", "exceed")
"""What servers say of a prompt that does not fit."""

One = TypeVar("One")
Other = TypeVar("Other")


@dataclass(frozen=True)
class ServedModel:
    """A model by the address of its server and its name there."""

    address: str
    name: str
    dtype: str = "served"
    """What the server computes in is not told by the protocol."""
    params: int | None = None

    @classmethod
    def of(cls, reference: str) -> ServedModel:
        """The model of ``http://HOST:PORT/v1#NAME``; without a name, the only one that the server has."""
        address, _, name = reference.partition("#")
        address = address.rstrip("/")
        known = [str(one.get("id")) for one in _call(f"{address}/models").get("data", [])]
        if name and known and name not in known:
            raise OnsetError(f"the server has no model '{name}'", where=address, advice=f"it has {', '.join(known)}")
        if not name and len(known) != 1:
            advice = f"it has {', '.join(known) or 'none'}: write {address}#NAME"
            raise OnsetError("which of the server's models is meant is not said", where=address, advice=advice)
        return cls(address, name or known[0])

    def complete(self, prompt: str, **settings: Any) -> dict[str, Any]:
        """The first choice of a completion, with ``prompt_tokens`` of the usage.

        Raises PromptTooLong where the server says so.
        """
        asked = {"model": self.name, "prompt": prompt, "temperature": 0, **settings}
        found = _call(f"{self.address}/completions", asked)
        try:
            choice: dict[str, Any] = dict(found["choices"][0])
            choice["prompt_tokens"] = int(found["usage"]["prompt_tokens"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise OnsetError(f"the answer of the server lacks {error}", where=self.address, advice=ECHO) from error
        return choice

    def tokens(self, text: str) -> tuple[list[str], list[float | None]]:
        """The tokens of a text and the log-probability of each given those before it, in nats; the first has none."""
        choice = self.complete(text, max_tokens=1, echo=True, logprobs=1)
        told = choice.get("logprobs") or {}
        names, values, count = told.get("tokens") or [], told.get("token_logprobs") or [], choice["prompt_tokens"]
        if len(names) < count or len(values) < count or not count:
            raise OnsetError(
                "the server does not tell the log-probabilities of the prompt",
                where=f"{self.address}#{self.name}",
                advice=ECHO,
            )
        return [str(one) for one in names[:count]], list(values[:count])


ECHO = "serve the model where completions have echo and logprobs: vLLM, SGLang, or the server of llama-cpp-python"


class PromptTooLong(OnsetError):
    """The prompt does not fit the model's context."""


class ServerScorer:
    """Scores and generates as ``score.scorer.Scorer`` does, by asking a server."""

    def __init__(self, lm: ServedModel) -> None:
        self.lm = lm
        self._prompt = lru_cache(maxsize=4096)(lambda text: tuple(lm.tokens(text)[0]))

    def score(self, requests: Sequence[Request]) -> list[Scored]:
        """Log-probability of each request's continuation, in the order of the requests."""
        return together(self._scored, requests)

    def answers(self, requests: Sequence[Request]) -> list[Answered]:
        """Greedy continuation of each prompt, up to a stop text or ``max_tokens``."""
        return together(self._answered, requests)

    def samples(self, requests: Sequence[Request]) -> list[list[str] | None]:
        """Sampled continuations of each prompt; the server draws them, with a seed of their own each."""

        def one(asked: tuple[Request, int]) -> str | None:
            request, number = asked
            assert request.sampling is not None
            how = request.sampling
            return self._answered(request, temperature=how.temperature, seed=_seed(how, request.item, number)).text

        counts = [request.sampling.samples if request.sampling else 0 for request in requests]
        each = [(request, number) for request, count in zip(requests, counts, strict=True) for number in range(count)]
        texts = iter(together(one, each))
        answers = [[next(texts) for _ in range(count)] for count in counts]
        return [None if None in own else [text for text in own if text is not None] for own in answers]

    def _scored(self, request: Request) -> Scored:
        size = len(request.continuation.encode())
        for cut in range(len(request.shots) + 1):
            prompt = request.header + "".join(request.shots[cut:]) + request.question
            try:
                logprob, tokens = self._continuation(prompt, request.continuation)
            except PromptTooLong:
                continue
            if logprob is None:
                return Scored(None, None, tokens, size, cut, "empty")
            alone = None if request.uncond is None else self._continuation(request.uncond, request.continuation)[0]
            return Scored(logprob, alone, tokens, size, cut)
        return Scored(None, None, 0, size, len(request.shots), "too long")

    def _continuation(self, prompt: str, continuation: str) -> tuple[float | None, int]:
        """Log-probability and number of the continuation's tokens; None where it has none or nothing is before it."""
        bare = prompt.rstrip()
        text = prompt + continuation
        if not continuation or not bare:
            return None, 0
        front = self._prompt(bare)
        names, values = self.lm.tokens(text)
        border = shared(names, front)
        own = values[border:]
        if not own or border == 0 or any(value is None for value in own):
            return None, len(own)
        return float(sum(value for value in own if value is not None)), len(own)

    def _answered(self, request: Request, **settings: Any) -> Answered:
        for cut in range(len(request.shots) + 1):
            prompt = request.header + "".join(request.shots[cut:]) + request.question
            try:
                found = self.lm.complete(
                    prompt.rstrip(), max_tokens=request.max_tokens, stop=list(request.stop[:STOPS]), **settings
                )
            except PromptTooLong:
                continue
            text = str(found.get("text") or "")
            ends = [at for stop in request.stop if (at := text.find(stop)) >= 0]
            return Answered(text[: min(ends)] if ends else text, cut)
        return Answered(None, len(request.shots))


def _seed(how: Sampling, item: str, number: int) -> int:
    """The seed of one sample, within the 31 bits that servers take."""
    made = hashlib.sha256(f"{how.seed} {number} {item}".encode()).digest()
    return int.from_bytes(made[:4], "big") >> 1


def shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many tokens two texts begin with alike."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def together(do: Callable[[One], Other], each: Sequence[One]) -> list[Other]:
    """Ask several things at once, the answers in order."""
    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(do, each))


def _call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON that a server answers. Raises OnsetError, PromptTooLong where the prompt does not fit."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            found: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        said = error.read().decode("utf-8", "replace")[:500]
        if error.code == 400 and any(words in said.lower() for words in TOO_LONG):
            raise PromptTooLong(f"the prompt is too long: {said}", where=url) from error
        raise OnsetError(f"the server refuses ({error.code}): {said}", where=url, advice=ECHO) from error
    except (OSError, ValueError) as error:
        raise OnsetError(
            f"no answer of the server: {error}", where=url, advice="start it, or check the address (it ends in /v1)"
        ) from error
    return found
