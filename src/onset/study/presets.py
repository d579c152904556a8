"""Named studies: the place to add a family. A preset is a function that returns a whole Study.

``demo`` and ``tiny`` need nothing but a processor; ``nano31`` is the paper's design in small; ``paper31`` has the
paper's own sizes and budgets, for planning and for clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onset.errors import OnsetError, did_you_mean
from onset.study.spec import (
    FindingsSpec,
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
LOSS_MARGIN = 0.1
"""Nats a decade of parameters that count as one curve in the small families: scores there leap from nothing to all
within a tenth of a nat, and runs of one size differ by half of that."""
ENGLISH_TO_CHINESE: Mapping[Language, float] = {"en": 4.0, "zh": 1.0}
"""The paper's mix, by tokens."""
WORLD_MIX: Mapping[Language, float] = {"en": 3.0, "zh": 2.0}
"""The world's mix, by tokens: Chinese abilities set in within a budget of minutes, and still after the English ones."""


def preset(name: str) -> Study:
    """The preset of that name; OnsetError with the nearest names for one that does not exist."""
    if name not in PRESETS:
        raise OnsetError(f"no preset named '{name}'", advice=did_you_mean(name, PRESETS))
    return PRESETS[name]()


CHECKPOINTS = (0.03, 0.06, 0.1, 0.15, 0.21, 0.28, 0.36, 0.44, 0.52, 0.6, 0.68, 0.76, 0.84, 0.92, 1.0)
"""Shares of a run's tokens at which the world's checkpoints are kept: the loss falls by about equal steps between them
once scripts are learnt, so that each ability has checkpoints on either side of where it sets in."""


def demo() -> Study:
    """Three sizes of one family on the embedded world, in minutes; the middle size twice, with other seeds."""
    return _on_the_world(
        "demo",
        WorldSpec(places=96, exam_places=12, documents=90_000, valid_documents=500, items=100),
        vocab=1_300,
        runs=[
            Run(
                name=name,
                shape=_nano_shape(width),
                tokens=tokens,
                batch=4,
                checkpoints=tuple(round(share * tokens) for share in CHECKPOINTS),
                schedule=Schedule(peak_rate=3.2e-3 * (64 / width) ** 0.5),
                seed=seed,
                group="trajectory",
            )
            for seed, (name, width, tokens) in enumerate(
                (("w48", 48, 5_000_000), ("w64", 64, 4_500_000), ("w64-b", 64, 4_500_000), ("w96", 96, 3_500_000))
            )
        ],
        tasks=WORLD_TASKS,
    )


def tiny() -> Study:
    """Two sizes and four tasks of the world in under a minute: a whole study for tests and trials."""
    return _on_the_world(
        "tiny",
        WorldSpec(places=8, documents=8_000, valid_documents=200, items=60),
        vocab=640,
        runs=[
            Run(
                name=f"w{width}",
                shape=_nano_shape(width, layers=2),
                tokens=400_000,
                batch=8,
                checkpoints=6,
                schedule=Schedule(peak_rate=8e-3),
            )
            for width in (32, 48)
        ],
        tasks=("world_scripts_en", "world_facts_en", "world_exam_en", "world_scripts_zh"),
    )


NANO_WIDTHS = (32, 48, 64, 80, 96, 128)
NANO_BUDGETS = (1_000_000, 2_000_000, 3_500_000, 6_000_000, 10_000_000)
"""Tokens of the grid's runs; the two largest sizes leave out the last, which gives 28 runs."""


def nano31() -> Study:
    """The paper's design in small on the embedded world: 3 trajectories and a grid of 28 runs, in one to two hours.

    Trajectories have many checkpoints; every run of the grid goes through a full decay of its own, and its final
    and intermediate checkpoints are both kept.
    """
    trajectories = [
        _nano_run(f"trajectory-w{width}", width, tokens, 24, seed, "trajectory")
        for seed, (width, tokens) in enumerate(((48, 16_000_000), (96, 16_000_000), (160, 10_000_000)))
    ]
    grid = [
        _nano_run(f"grid-w{width}-{tokens / 1e6:g}m", width, tokens, 4, 100 + width, "grid")
        for width in NANO_WIDTHS
        for tokens in (NANO_BUDGETS if width < 96 else NANO_BUDGETS[:-1])
    ]
    world = WorldSpec(places=96, exam_places=12, documents=250_000, valid_documents=600, items=200)
    return _on_the_world("nano31", world, vocab=1_300, runs=trajectories + grid, tasks=WORLD_TASKS)


def _nano_run(name: str, width: int, tokens: int, checkpoints: int, seed: int, group: str) -> Run:
    """A run of the small families; narrower models take higher rates."""
    return Run(
        name=name,
        shape=_nano_shape(width),
        tokens=tokens,
        batch=8,
        checkpoints=checkpoints,
        schedule=Schedule(peak_rate=4e-3 * (64 / width) ** 0.5),
        seed=seed,
        group=group,
    )


AXES_VOCABS = (400, 640, 1_600)
"""From little more than bytes to nearly whole words: about 1.9, 2.7 and 3.7 bytes of the world's text a token."""
AXES_BYTES = 7_000_000
"""Text that each run reads, so that families differ in how they read and not in how much."""


def axes() -> Study:
    """The same two shapes with three tokenizers and two mixes, in a quarter of an hour: which loss is one axis?

    Six families, each with two runs. The mixes are four to one English and four to one Chinese.
    """
    paths: Mapping[Language, str] = {"en": "world", "zh": "world"}
    english = _sources(paths, "world")
    chinese = tuple(
        source.model_copy(update={"weight": other.weight}) for source, other in zip(english, english[::-1], strict=True)
    )
    runs = [
        Run(
            name=f"w{width}-{mix}-v{vocab}",
            shape=_nano_shape(width).model_copy(update={"context": 160}),
            tokens=int(AXES_BYTES / bytes_per_token),
            batch=8,
            checkpoints=10,
            schedule=Schedule(peak_rate=4e-3 * (64 / width) ** 0.5),
            seed=width,
            mix=mix,
            tokenizer=f"v{vocab}",
            group="trajectory",
        )
        for vocab, bytes_per_token in zip(AXES_VOCABS, (1.9, 2.7, 3.7), strict=True)
        for mix in ("en", "zh")
        for width in (32, 64)
    ]
    return Study(
        name="axes",
        world=WorldSpec(places=96, exam_places=12, documents=90_000, valid_documents=500, items=120),
        mixes={"en": Mix(sources=english), "zh": Mix(sources=chinese)},
        tokenizers={f"v{vocab}": TokenizerSpec(vocab=vocab, mix="en", sample_bytes=3_000_000) for vocab in AXES_VOCABS},
        validation=(Validation(name="world", sources=english),),
        runs=tuple(runs),
        tasks=tuple(TaskUse(name=task) for task in WORLD_TASKS if task.split("_")[1] in AXES_ABILITIES),
    )


AXES_ABILITIES = ("facts", "scripts", "coreference")
"""What sets in early enough for a short study."""


PAPER_SHAPES: Mapping[str, Shape] = {
    # name: layers, width, heads, key-value heads, feed-forward
    name: Shape(layers=layers, width=width, heads=heads, kv_heads=kv_heads, hidden=hidden, context=2048)
    for name, (layers, width, heads, kv_heads, hidden) in {
        "300m": (22, 896, 14, 2, 2432),
        "540m": (28, 1152, 18, 2, 3072),
        "1b": (32, 1536, 12, 4, 4096),
        "1.5b": (28, 2048, 16, 4, 5504),
        "3b": (39, 2560, 20, 4, 6912),
        "6b": (32, 4096, 32, 8, 10944),
        "32b": (80, 6144, 48, 8, 16384),
    }.items()
}
"""The paper names sizes, not shapes: these are chosen here so that all parameters add up to the name."""

PAPER_RATES = {"300m": 6e-4, "540m": 5e-4, "1b": 4e-4, "1.5b": 4e-4, "3b": 3e-4, "6b": 3e-4, "32b": 1.5e-4}
"""Peak rates, chosen here as is usual for these sizes: the paper does not give them."""

BILLION = 1_000_000_000
PAPER_BUDGETS = (33 * BILLION, 67 * BILLION, 125 * BILLION, 250 * BILLION, 500 * BILLION)
"""The paper trains 28 models on 33B to 500B tokens; the steps between, and which size goes without the last, are
chosen here."""


def paper31() -> Study:
    """The paper's own sizes and budgets, for planning and for clusters: 3 trajectories and 28 runs.

    The text is yours: the environment variable ONSET_PAPER names a folder with ``text/en``, ``text/zh``,
    ``valid/en``, ``valid/zh`` (files of text, JSON lines or Parquet) and ``tasks``. From the paper: sizes, tokens,
    context, vocabulary, mix, optimiser, and a checkpoint about every 43 billion tokens. Chosen here: shapes, rates,
    batch, and the budgets between the grid's smallest and largest.
    """
    trajectories = [
        _paper_run(f"trajectory-{size}", size, tokens, tuple(range(43 * BILLION, tokens, 43 * BILLION)), "trajectory")
        for size, tokens in (("1.5b", 3_000 * BILLION), ("6b", 3_000 * BILLION), ("32b", 2_500 * BILLION))
    ]
    grid = [
        _paper_run(f"grid-{size}-{tokens // BILLION}b", size, tokens, 8, "grid")
        for size in ("300m", "540m", "1b", "1.5b", "3b", "6b")
        for tokens in (PAPER_BUDGETS if size not in ("3b", "6b") else PAPER_BUDGETS[:-1])
    ]
    folder = "$ONSET_PAPER"
    return Study(
        name="paper31",
        mixes={"main": Mix(sources=_sources({"en": f"{folder}/text/en", "zh": f"{folder}/text/zh"}, "text"))},
        tokenizers={"main": TokenizerSpec(vocab=65_024, sample_bytes=2 * BILLION)},
        validation=(
            Validation(
                name="held-out", sources=_sources({"en": f"{folder}/valid/en", "zh": f"{folder}/valid/zh"}, "held-out")
            ),
        ),
        runs=tuple(trajectories + grid),
        tasks=tuple(TaskUse(name=task) for task in PAPER_TASKS),
        data=f"{folder}/tasks",
        precision="bfloat16",
    )


def _paper_run(name: str, size: str, tokens: int, checkpoints: int | tuple[int, ...], group: str) -> Run:
    return Run(
        name=name,
        shape=PAPER_SHAPES[size],
        tokens=tokens,
        batch=2048,
        checkpoints=checkpoints,
        schedule=Schedule(peak_rate=PAPER_RATES[size], warmup=0.005),
        group=group,
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
        mixes={"main": Mix(sources=_sources({"en": "world", "zh": "world"}, "world", WORLD_MIX))},
        tokenizers={"main": TokenizerSpec(vocab=vocab, sample_bytes=3_000_000)},
        validation=(Validation(name="world", sources=_sources({"en": "world", "zh": "world"}, "world", WORLD_MIX)),),
        runs=tuple(runs),
        tasks=tuple(TaskUse(name=task) for task in tasks),
        findings=FindingsSpec(loss_margin=LOSS_MARGIN),
    )


def _sources(
    paths: Mapping[Language, str], name: str, mix: Mapping[Language, float] = ENGLISH_TO_CHINESE
) -> tuple[Source, ...]:
    """One source a language, mixed by tokens as ``mix`` says."""
    return tuple(
        Source(name=f"{name}-{language}", path=path, language=language, weight=mix[language])
        for language, path in paths.items()
    )


PRESETS: Mapping[str, Callable[[], Study]] = {
    "demo": demo,
    "tiny": tiny,
    "axes": axes,
    "nano31": nano31,
    "paper31": paper31,
}
"""All presets by name."""
