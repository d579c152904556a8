"""Small models and tokenizers of several makes, with random weights, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TEXT = [
    "The capital of Arle is Venn. Question: What has Tom? Answer: a blue lamp, said the man on the hill.",
    "Which is right? A. the red one B. the blue one C. none D. all of them Answer: B",
    "阿尔的首都是文恩。问题：谁有蓝色的灯？答案：山上的人说，汤姆有一盏蓝色的灯。",
    "下列哪一个是正确的？A. 红色的 B. 蓝色的 C. 都不是 D. 都是 答案：B",
]
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.25,
    "max_position_embeddings": 256,
}


def _byte_level(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXT * 4, trainer)
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>").save_pretrained(folder)


def _sentencepiece(folder: Path, *, kind: str, begin: bool) -> None:
    import sentencepiece
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaTokenizer, PreTrainedTokenizerFast

    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(TEXT * 20), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        model_type=kind,
        byte_fallback=True,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    (folder / "tokenizer.model").unlink()  # the library reads it with protobuf only
    scores = {pieces.id_to_piece(index): pieces.get_score(index) for index in range(len(pieces))}
    vocab = {piece: index for index, piece in enumerate(scores)}
    if kind == "bpe":
        # Every way to make a piece of two others, the likeliest piece first.
        joins = [
            (scores[piece], piece[:at], piece[at:])
            for piece in vocab
            for at in range(1, len(piece))
            if piece[:at] in vocab and piece[at:] in vocab
        ]
        merges = [(left, right) for _, left, right in sorted(joins, key=lambda join: -join[0])]
        LlamaTokenizer(vocab=vocab, merges=merges, add_bos_token=begin).save_pretrained(folder)
        return
    backend = Tokenizer(models.Unigram(list(scores.items()), unk_id=0, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    if begin:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


TOKENIZERS: dict[str, Callable[[Path], None]] = {
    "byte-level": _byte_level,
    "sentencepiece": lambda folder: _sentencepiece(folder, kind="bpe", begin=True),
    "sentencepiece without bos": lambda folder: _sentencepiece(folder, kind="bpe", begin=False),
    "unigram": lambda folder: _sentencepiece(folder, kind="unigram", begin=True),
}


def _config(make: str, vocab: int) -> Any:
    import transformers as hf

    ids = {"vocab_size": vocab, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    if make == "llama":
        return hf.LlamaConfig(**SIZE, **ids, num_key_value_heads=2)
    if make == "gpt-neox":
        return hf.GPTNeoXConfig(**SIZE, **ids, rotary_pct=0.5)
    if make == "glm":
        return hf.GlmConfig(**SIZE, **ids, num_key_value_heads=2, head_dim=8, attention_bias=False)
    if make == "mistral":
        return hf.MistralConfig(**SIZE, **ids, num_key_value_heads=2, sliding_window=12)
    if make == "gpt2":
        return hf.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.25, vocab_size=vocab, eos_token_id=0
        )
    assert make == "mamba"
    return hf.MambaConfig(**ids, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.25)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes the folder of a small random model: ``model_folder("llama", "byte-level")``; each is made once."""
    made: dict[tuple[str, str], Path] = {}

    def make(kind: str = "llama", tokenizer: str = "byte-level") -> Path:
        if (kind, tokenizer) not in made:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            folder = tmp_path_factory.mktemp("model")
            TOKENIZERS[tokenizer](folder)
            vocab = len(AutoTokenizer.from_pretrained(folder))
            torch.manual_seed(7)
            AutoModelForCausalLM.from_config(_config(kind, vocab)).save_pretrained(folder)
            made[kind, tokenizer] = folder
        return made[kind, tokenizer]

    return make
