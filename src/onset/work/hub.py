"""Checkpoints on a hub: the revisions that a pattern names, and public series whose revisions are checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from onset.errors import OnsetError, did_you_mean
from onset.store.step_names import STEP

PREFIX = "series:"


@dataclass(frozen=True)
class Series:
    """A public series of models whose training checkpoints are revisions. What is not known is left out."""

    name: str
    repositories: Mapping[str, str]
    """Size to hub id."""
    revisions: str = "*"
    """Pattern of the revisions that are checkpoints of pre-training; those without a step in their name never are."""
    tokens_per_step: int | None = None
    """Training tokens of a step; None where revisions state their tokens, or where no source states it."""
    licence: str = ""
    source: str = ""
    """Where these facts are stated."""
    note: str = ""
    unverified: str = ""
    """Which of these facts were not seen at a source."""
    tokens_by_size: Mapping[str, int] = field(default_factory=dict)
    """Training tokens of a step, where they differ by size."""

    def per_step(self, size: str) -> int | None:
        """Training tokens of a step of one size."""
        return self.tokens_by_size.get(size, self.tokens_per_step)


def _sizes(template: str, *sizes: str) -> dict[str, str]:
    return {size.lower(): template.format(size=size) for size in sizes}


HUGGINGFACE = "https://huggingface.co/"
SERIES: dict[str, Series] = {
    one.name: one
    for one in (
        Series(
            "pythia",
            _sizes("EleutherAI/pythia-{size}", "14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b",
                   "12b"),
            "step*", 2_097_152, "Apache-2.0", "https://github.com/EleutherAI/pythia",
            "154 checkpoints: step0, 1, 2, 4, ..., 512, 1000, 2000, ..., 143000",
        ),
        Series(
            "polypythias",
            {
                f"{size}-seed{seed}": f"EleutherAI/pythia-{size}-seed{seed}"
                for size in ("14m", "31m", "70m", "160m", "410m") for seed in range(1, 10)
            },
            "step*", 2_097_152, "Apache-2.0", HUGGINGFACE + "EleutherAI/pythia-410m-seed3",
            "nine seeds of five sizes of Pythia; sizes are written 70m-seed3",
        ),
        Series(
            "olmo", {"1b": "allenai/OLMo-1B-hf", "7b": "allenai/OLMo-7B-hf"}, "step*", None, "Apache-2.0",
            HUGGINGFACE + "allenai/OLMo-1B-hf", "revisions state their tokens: step1000-tokens4B",
        ),
        Series(
            "olmo-0724", {"1b": "allenai/OLMo-1B-0724-hf", "7b": "allenai/OLMo-7B-0724-hf"}, "step*", None,
            "Apache-2.0", HUGGINGFACE + "allenai/OLMo-7B-0724-hf", "revisions state their tokens: step1000-tokens4B",
        ),
        Series(
            "olmo2",
            {
                "1b": "allenai/OLMo-2-0425-1B", "7b": "allenai/OLMo-2-1124-7B", "13b": "allenai/OLMo-2-1124-13B",
                "32b": "allenai/OLMo-2-0325-32B",
            },
            "stage1-step*", None, "Apache-2.0", HUGGINGFACE + "allenai/OLMo-2-1124-7B",
            "revisions state their tokens: stage1-step150-tokens1B; stage 2 counts its tokens anew and is left out",
        ),
        Series(
            "olmo3", {"7b": "allenai/Olmo-3-1025-7B", "32b": "allenai/Olmo-3-1125-32B"}, "stage1-step*", None, "",
            HUGGINGFACE + "allenai/Olmo-3-1025-7B",
            "stage1-step0 to stage1-step1413814 of 7B; stages 2 and 3 count anew and are left out; tokens of a step: "
            "give --tokens-per-step",
            "licence",
        ),
        Series(
            "amber", {"7b": "LLM360/Amber"}, "ckpt_*", None, "Apache-2.0", HUGGINGFACE + "LLM360/Amber",
            "ckpt_000 to ckpt_358, and main; 1259.13 B tokens in 360 checkpoints: give --tokens-per-step",
        ),
        Series(
            "k2", {"65b": "LLM360/K2"}, "ckpt_*", None, "Apache-2.0", HUGGINGFACE + "LLM360/K2",
            "ckpt_351 to ckpt_360 are linked from its page; 1.4 T tokens in two stages: give --tokens-per-step",
            "that earlier checkpoints are revisions of the same form",
        ),
        Series(
            "smollm3", {"3b": "HuggingFaceTB/SmolLM3-3B-checkpoints"}, "stage[123]*step*", 2_359_296, "",
            HUGGINGFACE + "HuggingFaceTB/SmolLM3-3B-checkpoints",
            "every 40,000 steps (stage1-step-3440000); steps go on over the three stages; the long-context stages are "
            "left out",
            "licence",
        ),
        Series(
            "smollm2", _sizes("HuggingFaceTB/SmolLM2-{size}-intermediate-checkpoints", "135M", "360M"), "step-*", None,
            "Apache-2.0", HUGGINGFACE + "HuggingFaceTB/SmolLM2-135M-intermediate-checkpoints",
            "every 240,000 steps (135M) or 160,000 steps (360M), about 250 B tokens; of 360M give --tokens-per-step",
            tokens_by_size={"135m": 1_048_576},
        ),
        Series(
            "apertus", {"8b": "swiss-ai/Apertus-8B-2509", "70b": "swiss-ai/Apertus-70B-2509"}, "step*", None,
            "Apache-2.0", HUGGINGFACE + "swiss-ai/Apertus-8B-2509",
            "revisions state their tokens: step50000-tokens210B to step2627139-tokens15T (8B)",
            "that the revisions of 70B are named as those of 8B",
        ),
        Series(
            "datadecide",
            _sizes("allenai/DataDecide-dolma1_7-{size}", "4M", "6M", "8M", "10M", "14M", "16M", "20M", "60M", "90M",
                   "150M", "300M", "530M", "750M", "1B"),
            "step*-seed-default", None, "Apache-2.0", HUGGINGFACE + "allenai/DataDecide-c4-6M",
            "one of 25 corpora (Dolma 1.7): others are named allenai/DataDecide-CORPUS-SIZE@step*-seed-default; models "
            "need ai2-olmo and --trust-remote-code; tokens of a step: give --tokens-per-step",
        ),
        Series(
            "open-sci-ref",
            _sizes("open-sci/open-sci-ref-v0.01-{size}-fineweb-edu-1.4t-300B-4096", "0.13b", "0.4b", "1.3b", "1.7b"),
            "iter_*", None, "Apache-2.0", "https://github.com/LAION-AI/open-sci-ref-0.01",
            "one of eight corpora: others are named open-sci/open-sci-ref-v0.01-SIZE-CORPUS-300B-4096@iter_*; models "
            "need --trust-remote-code; iter_0002000 to iter_0072000 and main; tokens of a step: give --tokens-per-step",
            "that all sizes have the revisions of 0.13b",
        ),
        Series(
            "marin", {"8b": "marin-community/marin-8b-base"}, "*step*", None, "",
            HUGGINGFACE + "marin-community/marin-8b-base",
            "checkpoints are named by words, such as deeper-starling: give each as id@revision, with --tokens FILE",
            "licence",
        ),
    )
}  # fmt: skip
"""Public series by name."""


def listing() -> pd.DataFrame:
    """The series as a frame: ``series, sizes, revisions, tokens_per_step, licence, source, note, unverified``."""
    return pd.DataFrame(
        [
            {
                "series": one.name, "sizes": ", ".join(one.repositories), "revisions": one.revisions,
                "tokens_per_step": one.tokens_per_step, "licence": one.licence, "source": one.source, "note": one.note,
                "unverified": one.unverified,
            }
            for one in SERIES.values()
        ]
    ).astype({"tokens_per_step": "Int64"})  # fmt: skip


def expanded(reference: str) -> dict[str, int | None]:
    """The hub ids with revision that a reference means, with their training tokens where they are known.

    A reference is ``series:NAME``, with ``:SIZE,SIZE`` and ``@PATTERN`` where wanted, or ``id@PATTERN`` with a ``*``,
    ``?`` or ``[`` in it; anything else gives nothing. Checkpoints come in the order of their steps. Raises OnsetError
    for an unknown series or size, and where the hub has no revision like it.
    """
    if reference.startswith(PREFIX):
        name, _, pattern = reference.removeprefix(PREFIX).partition("@")
        name, _, sizes = name.partition(":")
        return _of_series(name, [one for one in sizes.split(",") if one], pattern)
    name, at, pattern = reference.rpartition("@")
    if not at or not set("*?[") & set(pattern) or Path(reference).exists():
        return {}
    return dict.fromkeys(f"{name}@{revision}" for revision in revisions(name, pattern))


def revisions(repository: str, pattern: str) -> list[str]:
    """Branches and tags of a hub's repository that fit a pattern and name a step, in the order of their steps."""
    from huggingface_hub import list_repo_refs
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        refs = list_repo_refs(repository)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise OnsetError(
            f"cannot list the revisions: {str(error).splitlines()[0]}",
            where=repository,
            advice="check the name and the network; HF_ENDPOINT names another hub",
        ) from error
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    steps = {name: found for name in names if (found := STEP.search(name)) and fnmatchcase(name, pattern)}
    if not steps:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise OnsetError(
            f"no revision that names a step is like '{pattern}'", where=repository, advice=f"it has {some or 'none'}"
        )
    return sorted(steps, key=lambda name: (int(steps[name][1]), name))


def _of_series(name: str, sizes: list[str], pattern: str) -> dict[str, int | None]:
    if name not in SERIES:
        raise OnsetError(f"there is no series '{name}'", advice=f"{did_you_mean(name, SERIES)}; see onset series")
    series = SERIES[name]
    for size in sizes:
        if size.lower() not in series.repositories:
            raise OnsetError(f"series '{name}' has no size '{size}'", advice=did_you_mean(size, series.repositories))
    found: dict[str, int | None] = {}
    for size in [one.lower() for one in sizes] or list(series.repositories):
        repository = series.repositories[size]
        for revision in revisions(repository, series.revisions):
            if pattern and not fnmatchcase(revision, pattern):
                continue
            step = STEP.search(revision)
            assert step is not None, revision
            per_step = series.per_step(size)
            found[f"{repository}@{revision}"] = None if per_step is None or step[2] else int(step[1]) * per_step
    if not found:
        raise OnsetError(f"no checkpoint of series '{name}' is like '{pattern}'", advice="see onset series")
    return found
