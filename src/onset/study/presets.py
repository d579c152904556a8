"""Named studies: the place to add a family. A preset is a function that returns a whole Study.

``demo`` and ``tiny`` need nothing but a processor; ``nano31`` is the paper's design in small; ``paper31`` has the
paper's own sizes and budgets, for planning and for clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onset.errors import OnsetError, did_you_mean
from onset.study.spec import (
    Language,
    Mix,
    Run,
    Schedule,
    Shape,
    Source,
    Study,
    TaskUse,
    TokenizerSpec,
    Validation,
    WorldSpec,
)

WORLD_TASKS = tuple(
    f"world_{ability}_{language}"
    for ability in ("facts", "scripts", "reading", "coreference", "exam", "arithmetic")
    for language in ("en", "zh")
)
PAPER_TASKS = (
    "triviaqa", "hellaswag", "race", "winogrande", "mmlu", "gsm8k",
    "nlpcc_kbqa", "clozet", "c3", "cluewsc", "ceval", "gsm8k_zh",
)  # fmt: skip
ENGLISH_TO_CHINESE: Mapping[Language, float] = {"en": 4.0, "zh": 1.0}
"""The paper's mix, by tokens."""


def preset(name: str) -> Study:
    """The preset of that name; OnsetError with the nearest names for one that does not exist."""
    if name not in PRESETS:
        raise OnsetError(f"no preset named '{name}'", advice=did_you_mean(name, PRESETS))
    return PRESETS[name]()


def demo() -> Study:
    """Three sizes of one family on the embedded world, in minutes: abilities set in one after another."""
    return _on_the_world(
        "demo",
        WorldSpec(places=24, documents=60_000, valid_documents=500, items=120),
        vocab=1_100,
        runs=[
            Run(
                name=f"w{width}",
                shape=_nano_shape(width),
                tokens=tokens,
                batch=8,
                checkpoints=16,
                schedule=Schedule(peak_rate=rate),
                seed=seed,
                group="trajectory",
            )
            for seed, (width, tokens, rate) in enumerate(
                ((48, 4_000_000, 5e-3), (64, 4_000_000, 4e-3), (96, 3_200_000, 3e-3))
            )
        ],
        tasks=WORLD_TASKS,
    )


def tiny() -> Study:
    """Two sizes and four tasks of the world in under a minute: a whole study for tests and trials."""
    return _on_the_world(
        "tiny",
        WorldSpec(places=8, documents=6_000, valid_documents=200, items=40),
        vocab=640,
        runs=[
            Run(
                name=f"w{width}",
                shape=_nano_shape(width, layers=2),
                tokens=200_000,
                batch=16,
                checkpoints=5,
                schedule=Schedule(peak_rate=1e-2),
            )
            for width in (32, 48)
        ],
        tasks=("world_scripts_en", "world_facts_en", "world_exam_en", "world_scripts_zh"),
    )


def _nano_shape(width: int, layers: int = 4) -> Shape:
    """The decoders of the small families: one depth, since shape can matter where size does not."""
    hidden = -(-width * 8 // 3 // 16) * 16  # 8/3 width, as is usual for SwiGLU (Shazeer 2020), in sixteens
    # Within 128 tokens a base of 100 turns every pair of dimensions far enough to tell places apart; with the usual
    # 10,000 the slow pairs stand still, and copying from a passage sets in much later.
    return Shape(layers=layers, width=width, heads=4, kv_heads=2, hidden=hidden, context=128, rotary_base=100.0)


def _on_the_world(name: str, world: WorldSpec, *, vocab: int, runs: Sequence[Run], tasks: Sequence[str]) -> Study:
    """A study whose text, validation and tasks are the embedded world's."""
    return Study(
        name=name,
        world=world,
        mixes={"main": Mix(sources=_sources({"en": "world", "zh": "world"}, "world"))},
        tokenizers={"main": TokenizerSpec(vocab=vocab, sample_bytes=3_000_000)},
        validation=(Validation(name="world", sources=_sources({"en": "world", "zh": "world"}, "world")),),
        runs=tuple(runs),
        tasks=tuple(TaskUse(name=task) for task in tasks),
    )


def _sources(paths: Mapping[Language, str], name: str) -> tuple[Source, ...]:
    """One source a language, English to Chinese four to one."""
    return tuple(
        Source(name=f"{name}-{language}", path=path, language=language, weight=ENGLISH_TO_CHINESE[language])
        for language, path in paths.items()
    )


PRESETS: Mapping[str, Callable[[], Study]] = {"demo": demo, "tiny": tiny}
"""All presets by name."""
