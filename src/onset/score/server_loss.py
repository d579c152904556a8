"""Loss of a served model on validation texts, from the log-probabilities that its server echoes.

A text's first token has a probability only after a token that begins texts. Many servers put one there (vLLM does for
models whose tokenizer has one); for the others ``begin`` names a text for it, such as ``<|endoftext|>``, which stands
before every document and is not counted. A document that is too long is read in halves, quarters, ..., cut at a blank
where there is one, each from its own beginning. The token that ends a document is never counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onset.errors import OnsetError
from onset.score.figures import Measured, figures
from onset.score.server import PromptTooLong, ServedModel, shared, together

SHORTEST = 16
"""Characters of a piece that is not cut further."""


def measure(lm: ServedModel, texts: Mapping[str, Sequence[str]], *, begin: str | None = None) -> Measured:
    """Loss by language and, where there are several, for ``all`` documents pooled, as ``heldout.measure`` gives it.

    What the tokenizer changed is not known, and nothing is normalised by unigrams. Raises OnsetError for no text, for
    a server that begins no text with a token where ``begin`` is None, and for a loss that is zero or not a number.
    """
    front = _front(lm, begin)
    made: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for language, documents in texts.items():
        if not any(documents):
            raise OnsetError("the held-out text is empty", where=language, advice="give at least one document")
        sums = together(lambda text: _nats(lm, text, begin or "", front), documents)
        here = [_row(language, place, text, *sums[place]) for place, text in enumerate(documents)]
        made.append({"language": language, **figures(here, lm.name)})
        found += here
    if not made:
        raise OnsetError("there is no held-out text", advice="give at least one document")
    if len(texts) > 1:
        made.append({"language": "all", **figures(found, lm.name)})
    return Measured(made, found)


def _front(lm: ServedModel, begin: str | None) -> int:
    """How many tokens stand before each text: the server's own, or those of ``begin``."""
    if begin is not None:
        return len(lm.tokens(begin)[0])
    names = [lm.tokens(text)[0] for text in ("a", "7", "\n")]
    count = min(shared(names[0], names[1]), shared(names[0], names[2]))
    if not count:
        raise OnsetError(
            "the server begins no text with a token, so a text's first token has no probability",
            where=f"{lm.address}#{lm.name}",
            advice="name the model's own: --begin '<|endoftext|>', or measure the weights",
        )
    return count


def _nats(lm: ServedModel, text: str, begin: str, front: int) -> tuple[float, int]:
    """Nats and number of a text's own tokens."""
    if not text:
        return 0.0, 0
    try:
        values = lm.tokens(begin + text)[1][front:]
    except PromptTooLong:
        if len(text) <= SHORTEST:
            raise
        half = _middle(text)
        first, second = (_nats(lm, part, begin, front) for part in (text[:half], text[half:]))
        return first[0] + second[0], first[1] + second[1]
    told = [value for value in values if value is not None]
    if len(told) < len(values) or not told:
        raise OnsetError("the server does not tell the log-probability of every token", where=f"{lm.address}#{lm.name}")
    return -float(sum(told)), len(told)


def _middle(text: str) -> int:
    """Where a text is cut: at the blank nearest to its middle, within its middle half, else in its middle."""
    middle = len(text) // 2
    blanks = [at for at in range(middle // 2, middle + middle // 2) if text[at].isspace()]
    return min(blanks, key=lambda at: abs(at - middle)) if blanks else middle


def _row(language: str, place: int, text: str, nats: float, tokens: int) -> dict[str, Any]:
    return {
        "language": language, "document": place, "nats": nats, "nats_end": 0.0, "nats_unigram": None, "tokens": tokens,
        "bytes": len(text.encode()), "characters": len(text),
    }  # fmt: skip
