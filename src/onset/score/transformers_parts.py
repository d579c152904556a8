"""What of the transformers library every kind of model file needs: its tokenizers as encoders, and its silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onset.score.encoding import Encoder

CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length", "max_sequence_length")
UNKNOWN_CONTEXT = 2048
"""Context of a model that states none (state-space models), as in lm-evaluation-harness."""


@contextmanager
def quiet() -> Iterator[None]:
    """Neither warnings nor progress bars of the library."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def of_tokenizer(tokenizer: Any) -> tuple[Encoder, int | None]:
    """A transformers tokenizer as an Encoder, and the longest text that it states.

    Prompts begin with the beginning-of-text token where the tokenizer puts one by itself, and only there.
    """
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    habit = list(tokenizer("a")["input_ids"])
    start = bos if bos is not None and habit[:1] == [bos] else None
    blank = bos if bos is not None else eos
    longest = tokenizer.model_max_length
    backend = getattr(tokenizer, "backend_tokenizer", None)
    encoder = Encoder(backend, start=start, blank=blank, eos=eos, slow=None if backend is not None else tokenizer)
    return encoder, longest if longest is not None and longest < 10**9 else None


def context_of(config: Any, longest: int | None) -> int:
    """The longest text of a model: what its configuration states, else its tokenizer, else a usual length."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for key in CONTEXT_KEYS:
        found = getattr(text, key, None)
        if isinstance(found, int) and found > 0:
            return found
    return longest or UNKNOWN_CONTEXT
