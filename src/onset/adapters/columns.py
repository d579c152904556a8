"""What the columns of trainers' logs are, told by their names: losses, scores, or neither.

The rules cover the names that OLMo, Levanter, the Hugging Face Trainer, Lightning, torchtitan, Megatron and nanochat
log to Weights & Biases, TensorBoard or a CSV file. A column that no rule knows is neither, and is counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from onset.adapters.source import Reading
from onset.tables.units import NATS

BITS = "bits/byte"
TRAINING = "train"
"""Name of the loss of training batches."""


@dataclass(frozen=True)
class LossColumn:
    """A loss: of a validation text, or of training batches."""

    name: str
    unit: str = NATS
    perplexity: bool = False
    """Whether the values are exp(loss)."""

    @property
    def training(self) -> bool:
        return self.name == TRAINING


@dataclass(frozen=True)
class ScoreColumn:
    """A score of a task, or its standard error."""

    task: str
    metric: str
    stderr: bool = False


_NEITHER = re.compile(
    r"^_|^Unnamed: \d+$|__(MIN|MAX)$|^(gradients?|system|optim|throughput|perf|timers?|parameters|charts|config)[/.]"
    r"|(^|[/_])(averages?|macro|micro)([/_]|$)|grad_norm|learning_rate|(^|[/_ ])lr$",
    re.IGNORECASE,
)
_CROSS_ENTROPY = re.compile(r"^(?P<text>.+?)/(?P<kind>CrossEntropyLoss|Perplexity)$", re.IGNORECASE)
_HELD_OUT = re.compile(
    r"^(?P<text>(?:[\w.-]+/)*?(?:eval|evaluation|val|valid|validation|test|dev|heldout|held_out)"
    r"(?:[\w.-]*)(?:/[\w.@ -]+)*?)"
    r"[/_ ](?P<kind>(?:lm[ _])?loss|loss_epoch|nll|cross_entropy|bpb|bits_per_byte|perplexity|ppl)$",
    re.IGNORECASE,
)
_TRAINING = re.compile(
    r"^(?:(?:train|training|lm-loss-training)[/_ ](?:[\w-]+/)*)?(?:lm[ _]|global_avg_|smooth_train_|avg_)?loss$"
    r"|^loss_metrics/global_avg_loss$|^train/(?:CrossEntropyLoss|cross_entropy|ce_loss)$",
    re.IGNORECASE,
)
_TASK = re.compile(
    r"^(?P<task>.+?)(?:/|_| )(?P<metric>acc_norm|acc_raw|acc|accuracy|len_norm|uncond|f1|mcc|em|exact_match"
    r"|bpb|bleu|rouge\w*|soft_log|soft|brier|brier_score|choice_logprob_norm|choice_logprob|choice_prob_norm|logprob|pass@\d+|mc1|mc2"
    r"|correct_choice_prob|gold_bits_per_byte|choice_log_loss)(?P<filter>,[\w-]+)?(?P<stderr>_stderr)?$",
    re.IGNORECASE,
)
_STDERR = re.compile(r"^(?P<task>.+?)[/_](?P<metric>\w+?)_stderr(?P<filter>,[\w-]+)?$")
_TASK_PREFIX = re.compile(
    r"^(?:(?:lm_eval|eval|evals|evaluation|downstream\w*|val|test|benchmarks?|metrics|tasks?|score|scores)/)+",
    re.IGNORECASE,
)
_SCORED = re.compile(r"(^|/)(lm_eval|downstream\w*)/", re.IGNORECASE)


def classify(column: str, reading: Reading) -> LossColumn | ScoreColumn | None:
    """What a column is; patterns of ``reading`` come before the rules."""
    if any(fnmatchcase(column, pattern) for pattern in reading.loss):
        return _chosen_loss(column)
    if any(fnmatchcase(column, pattern) for pattern in reading.score):
        return _score(column, reading) or ScoreColumn(_TASK_PREFIX.sub("", column), reading.metric or "score")
    if _NEITHER.search(column):
        return None
    if not _SCORED.search(column) and (loss := _loss(column)) is not None:
        return loss
    return _score(column, reading)


def ignored(column: str) -> bool:
    """Whether a column is known to be neither (rates, times, bands), so that nobody needs to hear of it."""
    return bool(_NEITHER.search(column))


def _loss(column: str) -> LossColumn | None:
    if _TRAINING.match(column):
        return LossColumn(TRAINING)
    found = _CROSS_ENTROPY.match(column) or _HELD_OUT.match(column)
    if found is None:
        return None
    return _of_kind(_text(found["text"]), found["kind"].lower())


def _of_kind(name: str, kind: str) -> LossColumn:
    if kind in ("bpb", "bits_per_byte"):
        return LossColumn(name, BITS)
    return LossColumn(name, perplexity=kind in ("perplexity", "ppl"))


def _text(prefix: str) -> str:
    """The name of a validation text: without the evaluation's own prefix and OLMo's '-validation'."""
    return re.sub(r"^(?:eval|evaluation)[/_](?=.)", "", prefix).removesuffix("-validation")


def _chosen_loss(column: str) -> LossColumn:
    """A column that was named as a loss: its unit by its name, and nats a token where that says nothing."""
    known = _loss(column)
    if known is not None:
        return known
    kind = next((word for word in ("bpb", "bits_per_byte", "perplexity", "ppl") if word in column.lower()), "loss")
    return _of_kind(column, kind)


def _score(column: str, reading: Reading) -> ScoreColumn | None:
    bare = _TASK_PREFIX.sub("", column)
    found = _TASK.match(bare)
    if found is not None:
        metric = found["metric"] + (found["filter"] or "")
        return ScoreColumn(found["task"], metric, stderr=bool(found["stderr"]))
    erring = _STDERR.match(bare)
    if erring is not None:
        return ScoreColumn(erring["task"], erring["metric"] + (erring["filter"] or ""), stderr=True)
    if bare.lower() in ("core_metric", "core"):
        return ScoreColumn("CORE", "centered_accuracy")
    if reading.metric is not None and (_SCORED.search(column) or bare != column):
        return ScoreColumn(bare, reading.metric)
    return None


def unread(columns: list[str], reading: Reading) -> list[str]:
    """A note on columns that are neither losses nor scores by their names, if there are any."""
    odd = [column for column in columns if not ignored(column) and classify(column, reading) is None]
    if not odd:
        return []
    some = ", ".join(odd[:6]) + (f" and {len(odd) - 6} more" if len(odd) > 6 else "")
    told = "columns that are neither a loss nor a score by their name, not read (--score, --loss-columns, --metric)"
    return [f"{told}: {some}"]
