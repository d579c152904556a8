"""Byte-level BPE: trained on a mix or given, saved so that ``AutoTokenizer.from_pretrained`` loads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from onset import reading
from onset.errors import OnsetError
from onset.store.parts import write_text
from onset.study.spec import TokenizerSpec

END = "<|endoftext|>"
"""Separates documents; begins, ends and pads texts. Id 0 of a tokenizer that is trained here."""

KNOWN_ENDS = (END, "</s>", "<|end_of_text|>", "<eos>", "<|endofpiece|>", "[SEP]")
"""Looked for, in this order, in a given tokenizer that does not say what ends a text."""


class Tokenizer:
    """Text to token ids and back. ``vocab`` is the number of ids, ``eos`` the separator's id."""

    def __init__(self, backend: Backend, end: str = END, *, where: object = None, template: str | None = None) -> None:
        """``template`` is the chat template (Jinja text) that is saved with it."""
        eos = backend.token_to_id(end)
        if eos is None:
            raise OnsetError(f"the tokenizer has no token '{end}'", where=where, advice="name one that it has")
        backend.encode_special_tokens = True  # '<|endoftext|>' inside a document is text, not a separator
        backend.no_truncation()
        backend.no_padding()
        # A text that is asked about begins after the separator, as in training: AutoTokenizer and the harnesses
        # that go by its habit put it there; ``encode`` does not, because shards place separators themselves.
        backend.post_processor = processors.TemplateProcessing(single=f"{end} $A", special_tokens=[(end, eos)])
        self._backend = backend
        self.end = end
        self.template = template
        self.eos: int = eos
        self.vocab: int = backend.get_vocab_size(with_added_tokens=True)

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """The tokenizer of a folder with tokenizer.json, or of that file."""
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise OnsetError(
                "no tokenizer here", where=file, advice="give a folder that holds tokenizer.json, or that file"
            )
        try:
            backend = Backend.from_str(reading.text(file))
        except Exception as error:
            if type(error) is not Exception:  # the library raises bare Exception, and only that, for a malformed file
                raise
            raise OnsetError(f"not a tokenizer: {error}", where=file, advice="save or fetch it again") from error
        return cls(backend, _end_of(file, backend), where=file, template=_template_of(file))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without any separator."""
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without separators; faster than one by one."""
        return [found.ids for found in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_told(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of pieces that a chat template told, in which special tokens spelt out are those tokens."""
        self._backend.encode_special_tokens = False
        try:
            return self.encode_batch(texts)
        finally:
            self._backend.encode_special_tokens = True

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; the separator is left out."""
        text: str = self._backend.decode(list(ids), skip_special_tokens=True)
        return text

    def bytes_per_token(self, texts: Sequence[str]) -> float:
        """UTF-8 bytes per token over all the texts."""
        tokens = sum(len(ids) for ids in self.encode_batch(texts))
        if not tokens:
            raise OnsetError("bytes per token of no text at all", advice="give at least one text that is not empty")
        return sum(len(text.encode()) for text in texts) / tokens

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which AutoTokenizer loads."""
        config: dict[str, object] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self.end,
            "eos_token": self.end,
            "pad_token": self.end,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": True,  # as here: the separator spelt out in a text is text
        }
        if self.template is not None:
            config["chat_template"] = self.template
        write_text(folder / "tokenizer.json", self._backend.to_str(pretty=False))
        write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")

    def dumps(self) -> str:
        """The whole tokenizer as JSON text; equal texts encode equally."""
        text: str = self._backend.to_str(pretty=False)
        return text


def train(texts: Iterable[str], spec: TokenizerSpec) -> Tokenizer:
    """Train a byte-level BPE of ``spec.vocab`` entries on at most ``spec.sample_bytes`` of the texts.

    Raises OnsetError when the text is empty, or has too few distinct pieces for the vocabulary.
    """
    assert spec.vocab is not None, "a tokenizer to be trained has a vocabulary size"
    seen = _Count(texts, spec.sample_bytes)
    backend = Backend(models.BPE())
    split = [pre_tokenizers.Digits(individual_digits=True)] if spec.split_digits else []
    backend.pre_tokenizer = pre_tokenizers.Sequence([*split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        seen,
        trainers.BpeTrainer(
            vocab_size=spec.vocab,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if not seen.bytes:
        raise OnsetError("there is no text to train a tokenizer on", advice="check the sources of its mix")
    tokenizer = Tokenizer(backend)
    if tokenizer.vocab < spec.vocab:
        raise OnsetError(
            f"a vocabulary of {spec.vocab} is larger than the text supports: it gives {tokenizer.vocab}",
            where=f"tokenizer of mix '{spec.mix}', {seen.bytes} bytes of text",
            advice=f"set vocab to at most {tokenizer.vocab}, or give more text",
        )
    return tokenizer


def sample(sources: Sequence[tuple[Iterable[str], float]], limit: int) -> Iterator[str]:
    """Texts of weighted sources, interleaved, up to ``limit`` UTF-8 bytes shared out by weight.

    A source that ends early leaves its share unused, so that the mix keeps its proportions.
    """
    total = sum(weight for _, weight in sources)
    texts = [iter(source) for source, _ in sources]
    share = [weight / total for _, weight in sources]
    taken = [0] * len(sources)
    left = set(range(len(sources)))
    while left:
        source = min(left, key=lambda index: (taken[index] / share[index], index))  # the one furthest behind
        text = next(texts[source], None) if taken[source] < limit * share[source] else None
        if text is None:
            left.remove(source)
            continue
        taken[source] += len(text.encode())
        yield text


class _Count:
    """Passes texts on until a number of bytes is reached, and counts them."""

    def __init__(self, texts: Iterable[str], limit: int) -> None:
        self.texts, self.limit, self.bytes = texts, limit, 0

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            if self.bytes >= self.limit:
                return
            self.bytes += len(text.encode())
            yield text


def _config_of(file: Path) -> dict[str, object]:
    """The tokenizer_config.json beside a tokenizer; empty where there is none."""
    config = file.parent / "tokenizer_config.json"
    return reading.json_object(config, advice="save or fetch it again") if config.is_file() else {}


def _template_of(file: Path) -> str | None:
    """The chat template beside a tokenizer: chat_template.jinja, or that of its configuration; None without one."""
    beside = file.parent / "chat_template.jinja"
    if beside.is_file():
        return reading.text(beside)
    said = _config_of(file).get("chat_template")
    if isinstance(said, list):  # several by name
        said = next((one.get("template") for one in said if one.get("name") == "default"), None)
    return said if isinstance(said, str) else None


def _end_of(file: Path, backend: Backend) -> str:
    """The token that ends a text: what tokenizer_config.json says, or the first well-known one."""
    said = _config_of(file).get("eos_token")
    if isinstance(said, dict):  # how older versions of transformers wrote a token
        said = said.get("content")
    if isinstance(said, str):
        return said
    for end in KNOWN_ENDS:
        if backend.token_to_id(end) is not None:
            return end
    raise OnsetError(
        "the tokenizer does not say which token ends a text",
        where=file,
        advice='put tokenizer_config.json beside it with "eos_token"',
    )
