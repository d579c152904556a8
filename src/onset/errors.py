"""The one error that onset raises for the world's faults: what, where, what to do."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

LONG = 1000
"""Characters of a line of a message; what is longer is cut, so that one cell cannot fill a terminal."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and new line, halves of characters, and signs that turn the direction of writing."""


def printable(text: str, most: int | None = LONG) -> str:
    """Foreign text as a terminal may show it: control characters written as codes, lines longer than ``most`` cut.

    A terminal obeys escape sequences: a table's cell could set its title or hide what stands before it.
    """
    shown = _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    if most is None or len(shown) <= most:
        return shown
    return "\n".join(line if len(line) <= most else f"{line[: most - 3]}..." for line in shown.split("\n"))


class OnsetError(Exception):
    """Bad input or a failed piece of work, told so that the reader can mend it.

    ``what`` is one sentence on what is wrong, ``where`` names the file, key or row, and ``advice``
    says what to do. The command line prints the three and exits with 1; nothing else is printed.
    """

    exit_code = 1
    """What the command line exits with."""

    def __init__(self, what: str, *, where: object = None, advice: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.advice = advice
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.advice:
            lines.append(f"  do: {self.advice}")
        return printable("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders: keep the three parts when pickled.
        return (_rebuild, (self.what, self.where, self.advice))


def _rebuild(what: str, where: str | None, advice: str | None) -> OnsetError:
    return OnsetError(what, where=where, advice=advice)


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Advice that names the nearest known words, or lists them when none is near."""
    known = sorted(set(options))
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
    if len(known) > 20:
        known = [*known[:20], "..."]
    return "known: " + ", ".join(known)


EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "tokenizers", "safetensors", "datasets", "psutil", "fsspec"), "lm"),
    "huggingface_hub": "lm",
    **dict.fromkeys(("gguf", "accelerate"), "gguf"),
    "lm_eval": "harness",
    "ray": "ray",
    **dict.fromkeys(("wandb", "tensorboard"), "logs"),
}
"""The extra of this package that brings each optional package."""


def install(extra: str) -> str:
    """The command that installs an extra: of the checkout that this code runs or was installed from, or by name."""
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file():
        return f"pip install -e '{root}[{extra}]'"
    if (folder := _installed_from()) is not None:
        return f"pip install '{folder}[{extra}]'"
    return f"pip install 'onset-lm[{extra}]'"


def _installed_from() -> Path | None:
    """The folder that the package was installed from, as pip keeps it (PEP 610); None where it is not there."""
    try:
        said = metadata.distribution("onset-lm").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlparse(json.loads(said).get("url", "")) if said else urlparse("")
    folder = Path(unquote(url.path))
    return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None


def absent(error: ModuleNotFoundError) -> OnsetError | None:
    """The error of an optional package that is not installed; None where the module is of no extra."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    if EXTRAS[package] == EXTRAS["torch"] and find_spec("torch") is None:
        package = "torch"  # what is missed first may be a small one of those that come with it
    return OnsetError(f"this needs the package '{package}', which is not installed", advice=install(EXTRAS[package]))
