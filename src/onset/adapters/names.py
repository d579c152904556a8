"""What the names of models, runs and files say: run, step, tokens, size.

Trainers name checkpoints ``step1000``, ``checkpoint-1000``, ``ckpt_100``, ``iter_0001000`` or
``step1000-tokens4B``, as a folder, as a revision or at the end of a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from onset.errors import OnsetError
from onset.store.step_names import STEP

SUFFIXES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:[.p]\d+)?)([KMBT])(?![A-Za-z0-9])", re.IGNORECASE)
_NUMBER = re.compile(r"^(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([KMBT]?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """The run and the checkpoint that a name means; what it does not say is None."""

    run: str
    step: int | None = None
    tokens: float | None = None


def place(model: str, revision: str = "") -> Place:
    """The run, step and tokens of a model's name and revision.

    The run of ``lab/model`` at revision ``step1000`` is ``lab/model``; that of the folder ``out/small/checkpoint-100``
    is ``small``; that of ``small-step100`` is ``small``.
    """
    model = model.strip().rstrip("/")
    if not revision and "@" in model:
        model, _, revision = model.rpartition("@")
    found = STEP.search(revision)
    if found:
        return Place(model + found["rest"], int(found[1]), _tokens(found))
    found = STEP.search(model)
    if found is None or not (rest := model[: found.start()]):
        return Place(model)
    inside = model[found.start()] == "/"  # a folder of its own: the run is the folder around it
    return Place((Path(rest).name if inside else rest) + found["rest"], int(found[1]), _tokens(found))


def step_of(text: object) -> float | None:
    """A step as a number: 1000, '1000', 'step1000', 'checkpoint-1000'; None where there is none."""
    word = str(text).strip()
    found = STEP.search(word)
    if found:
        return float(found[1])
    try:
        return float(word)
    except ValueError:
        return None


def count(text: object) -> float | None:
    """A count written as 125000000, 1.25e8, '125M' or '1.3b'; None for anything else."""
    found = _NUMBER.match(str(text).strip())
    return None if found is None else float(found[1]) * SUFFIXES.get(found[2].upper(), 1)


def size(text: str) -> float | None:
    """The size that a name such as 'OLMo-7B-Twin-2T' gives: the first one; None where it gives none."""
    found = _SIZE.search(text)
    return None if found is None else float(found[1].replace("p", ".")) * SUFFIXES[found[2].upper()]


def key(run: str) -> str:
    """A run's name as names are compared: letters and digits, without case, separators or outer blanks."""
    return re.sub(r"[^a-z0-9]+", "-", run.casefold()).strip("-")


def _tokens(found: re.Match[str]) -> float | None:
    return float(found[2]) * SUFFIXES[found[3].upper()] if found[2] else None


@dataclass(frozen=True)
class Pattern:
    """A pattern such as ``{run}-{params}-{x}xC.csv`` that takes names apart; other fields become columns."""

    text: str
    regex: re.Pattern[str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises OnsetError for a pattern without a field, or with a field twice."""
        parts, seen = [], set()
        for literal, name in re.findall(r"([^{}]*)(?:\{(\w+)\})?", text):
            parts.append(re.escape(literal).replace(r"\*", ".*"))
            if name:
                if name in seen:
                    raise OnsetError(
                        f"the pattern '{text}' has the field {{{name}}} twice",
                        advice="give each field a name of its own",
                    )
                seen.add(name)
                parts.append(f"(?P<{name}>{_FIELDS.get(name, '[^/]+?')})")
        if not seen or re.sub(r"\{\w+\}", "", text).count("{"):
            raise OnsetError(
                f"'{text}' is no pattern of names", advice="write fields in braces, for instance '{run}-{params}.csv'"
            )
        return cls(text, re.compile("".join(parts) + "$"))

    def match(self, name: str) -> dict[str, str] | None:
        """The fields of a name, or of the last parts of a path; None where it does not match."""
        tail = "/".join(name.split("/")[-(self.text.count("/") + 1) :])
        found = self.regex.match(tail)
        return None if found is None else found.groupdict()


_FIELDS = {
    "run": r".+?", "params": r"\d+(?:\.\d+)?[KMBTkmbt]?", "tokens": r"\d+(?:\.\d+)?[KMBTkmbt]?", "step": r"\d+",
    "restart": r"\d+", "x": r"\d+(?:\.\d+)?",
}  # fmt: skip


@dataclass(frozen=True)
class ByRun:
    """A value for all runs (or tasks), and values by name or pattern (``OLMo-7B*``); an exact name wins."""

    everyone: float | None = None
    named: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, texts: list[str] | None, option: str) -> ByRun:
        """From ``NUMBER`` and ``RUN=NUMBER``; a number may end in K, M, B or T."""
        everyone, named = None, []
        for text in texts or []:
            run, equals, value = text.rpartition("=")
            number = count(value)
            if number is None or number <= 0:
                raise OnsetError(f"{option}: '{text}' is no number above zero", advice="write NUMBER or RUN=NUMBER")
            if equals:
                named.append((run.strip(), number))
            else:
                everyone = number
        return cls(everyone, tuple(named))

    def of(self, run: str) -> float | None:
        """The value of a run; None where none was given."""
        for name, value in self.named:
            if key(name) == key(run):
                return value
        return next((value for name, value in self.named if fnmatchcase(run, name)), self.everyone)

    def unused(self, runs: list[str]) -> list[str]:
        """Names that are those of no run."""
        return [name for name, _ in self.named if not any(key(name) == key(r) or fnmatchcase(r, name) for r in runs)]
