"""lm-evaluation-harness: its output folders to observations.

Read are today's ``results_<date>.json`` with ``samples_<task>_<date>.jsonl`` beside it, and the single JSON files of
older versions, Levanter's among them (the step stands in the file's name). The harness knows neither losses nor
training tokens: they come from a source of losses. Published metric names are kept, without the name of a filter where
there is only one; from samples our own metrics are measured beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from onset.adapters import names, source
from onset.adapters.formats import lm_eval_samples
from onset.adapters.source import Format, Reading, Results, load_json
from onset.errors import OnsetError
from onset.metrics import measures as metrics

SAME = {"accuracy": "acc", "exact_match": "exact_match", "accuracy_per_byte": "acc_norm"}
"""Our metrics that the harness publishes itself, under these names: not measured twice."""

LEVANTER = re.compile(r"_results\.(\d+)$")
"""Levanter's names of results: the step is in them."""


@dataclass(frozen=True)
class Result:
    """One results file: one model at one checkpoint."""

    path: Path
    content: Mapping[str, Any]
    model: str
    revision: str

    @property
    def place(self) -> names.Place:
        """The run and the checkpoint: by the revision, by the model's name, or by the file's (Levanter)."""
        found = names.place(self.model, self.revision)
        levanter = LEVANTER.search(self.path.stem)
        return names.Place(found.run, int(levanter[1])) if found.step is None and levanter else found

    def samples(self) -> Iterator[tuple[str, Path]]:
        """Tasks whose samples were logged with these results."""
        date = self.path.stem.removeprefix("results").lstrip("_")
        for task in self.content["results"]:
            log = self.path.with_name(f"samples_{task}_{date}.jsonl" if date else f"samples_{task}.jsonl")
            if log.exists():
                yield task, log


def read(path: Path, reading: Reading) -> Results:
    """The scores of one results file. Raises OnsetError for a file cut short, or one of another kind."""
    return Results(pd.concat([_scores(result) for result in results(path)], ignore_index=True))


def items(path: str | Path) -> pd.DataFrame:
    """Item rows (``store.tables.ITEMS``) of all logged samples below ``path``; ``run`` is the model's name."""
    parts = [_items(result, task, log) for result in results(Path(path)) for task, log in result.samples()]
    if not parts:
        raise OnsetError("no samples were logged", where=path, advice="evaluate with --log_samples")
    return pd.concat(parts, ignore_index=True)


def results(path: Path) -> list[Result]:
    """All results files below a folder, or the one file, by path."""
    if not path.exists():
        raise OnsetError("there is no such folder or file", where=path, advice="give lm-evaluation-harness's output")
    candidates = [path] if path.is_file() else sorted(path.rglob("*.json"))
    found = [result for file in candidates if (result := _result(file, must=path.is_file())) is not None]
    if not found:
        raise OnsetError(
            "no results of lm-evaluation-harness here",
            where=path,
            advice="give the folder of --output_path (it holds results_<date>.json), or an older single JSON",
        )
    return found


def _result(path: Path, *, must: bool) -> Result | None:
    """A results file; None for another JSON file, which is an error only where it was named."""
    try:
        content = load_json(path)
    except OnsetError:
        if not must and not path.name.startswith("results"):
            return None
        raise
    tasks = content.get("results") if isinstance(content, dict) else None
    if not isinstance(tasks, dict) or not all(isinstance(values, dict) for values in tasks.values()):
        if must:
            raise OnsetError("this is no result of lm-evaluation-harness", where=path, advice="it has no 'results'")
        return None
    config = content.get("config") or {}
    arguments = _arguments(config.get("model_args"))
    model = arguments.get("pretrained") or content.get("model_name") or arguments.get("model") or config.get("model")
    revision = arguments.get("revision") or ""
    return Result(path, content, str(model or _unnamed(path)), "" if revision == "main" else str(revision))


def _unnamed(path: Path) -> str:
    """A name for a model that the results do not name: the folder's where the file is one step's, else the file's."""
    if not LEVANTER.search(path.stem):
        return path.stem
    folder = path.resolve().parent
    return folder.parent.name if folder.name == "lm_eval_artifacts" else folder.name


def _arguments(given: Any) -> dict[str, Any]:
    """``model_args``: a mapping, or the text 'pretrained=NAME,revision=step1000'."""
    if isinstance(given, Mapping):
        return dict(given)
    pairs = (pair.partition("=") for pair in str(given or "").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _published(result: Result) -> pd.DataFrame:
    """The published scores of one file, with standard errors, chance levels and directions where they are known."""
    rows = []
    for task, values in result.content["results"].items():
        for name, value in values.items():
            metric, _, chosen = name.partition(",")
            if not isinstance(value, int | float) or isinstance(value, bool) or metric.endswith("_stderr"):
                continue
            if metric in ("alias", "name", "sample_len", "sample_count"):
                continue
            filters = [key for key in values if key.partition(",")[0] == metric]
            stderr = values.get(f"{metric}_stderr,{chosen}" if chosen else f"{metric}_stderr")
            rows.append({
                "task": task,
                "metric": metric if len(filters) == 1 or chosen in ("", "none") else f"{metric}:{chosen}",
                "score": float(value),
                # A standard error of zero is of scores that are all alike, not of certainty: the items tell it.
                "stderr": float(stderr) if isinstance(stderr, int | float) and stderr > 0 else None,
                "n_examples": _examples(result.content, task, values),
                "direction": _direction(result.content, task, metric),
                "chance": _chance(result.content, task, metric),
            })  # fmt: skip
    frame = pd.DataFrame(rows, columns=["task", "metric", "score", "stderr", "n_examples", "direction", "chance"])
    return _marked(frame, result)


def _marked(frame: pd.DataFrame, result: Result) -> pd.DataFrame:
    size = (result.content.get("config") or {}).get("model_num_parameters")
    place = result.place
    return frame.assign(
        run=place.run, step=place.step, tokens=place.tokens,
        params=size if isinstance(size, int) and size > 0 else None,
    )  # fmt: skip


def _examples(content: Mapping[str, Any], task: str, values: Mapping[str, Any]) -> int | None:
    counted = (content.get("n-samples") or {}).get(task) or {}
    found = counted.get("effective") or values.get("sample_len")
    return int(found) if found else None


def _direction(content: Mapping[str, Any], task: str, metric: str) -> str | None:
    better = ((content.get("higher_is_better") or {}).get(task) or {}).get(metric)
    return None if better is None else "higher" if better else "lower"


def _chance(content: Mapping[str, Any], task: str, metric: str) -> float | None:
    """One over the choices where the task's configuration lists them; none of a generated answer is right by chance."""
    config = (content.get("configs") or {}).get(task) or {}
    choices = config.get("doc_to_choice")
    if metric in ("acc", "acc_norm") and isinstance(choices, list) and len(choices) > 1:
        return 1.0 / len(choices)
    if metric == "exact_match" and config.get("output_type") == "generate_until":
        return 0.0
    return None


def _items(result: Result, task: str, log: Path) -> pd.DataFrame:
    logged = lm_eval_samples.samples(log)
    digest = (result.content.get("task_hashes") or {}).get(task) or ""
    if not logged:
        return pd.DataFrame()
    place = result.place
    return lm_eval_samples.item_rows(logged, run=place.run, step=place.step or 0, task=task, digest=digest)


def _scores(result: Result) -> pd.DataFrame:
    """Published scores, and our metrics of the logged samples beside them where the harness has no such metric."""
    published = _published(result)
    rows = [frame for task, log in result.samples() if len(frame := _items(result, task, log))]
    if not rows:
        return published
    measured = metrics.measure(pd.concat(rows, ignore_index=True).assign(digest=""))
    accuracy = measured[measured.metric == "accuracy"].set_index("task").chance
    unknown = published.chance.isna() & published.metric.isin(["acc", "acc_norm"])
    published["chance"] = published.chance.where(~unknown, published.task.map(accuracy))
    have = set(zip(published.task, published.metric.str.partition(":")[0], strict=True))
    twice = [(task, SAME.get(metric)) in have for task, metric in zip(measured.task, measured.metric, strict=True)]
    ours = measured.loc[
        [not is_twice for is_twice in twice], ["task", "metric", "score", "stderr", "chance", "n_examples"]
    ]
    ours = ours.assign(
        direction=ours.metric.map({name: metric.info.direction for name, metric in metrics.METRICS.items()})
    )
    return pd.concat([published, _marked(ours, result)], ignore_index=True)


def looks_like(path: Path) -> bool:
    """A JSON file with results by task, under the harness's names."""
    if path.suffix != ".json":
        return False
    text = source.head(path, 1 << 16)
    return '"results"' in text and (path.name.startswith("results") or '"versions"' in text or '"config"' in text)


FORMAT = Format("lm-eval", "lm-evaluation-harness, results_<time>.json (and samples)", looks_like, read)
