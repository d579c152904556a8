"""Validation texts: local files by language, and public ones by hub id at a pinned revision."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from onset.errors import OnsetError, did_you_mean, install
from onset.store.text import documents, files
from onset.study.fingerprints import sha256
from onset.study.spec import Language

ENDINGS = re.compile(r"(\.jsonl|\.json|\.txt|\.md|\.gz|\.parquet)+$")
SEEN_DOCUMENTS = 20
"""Documents that are looked at to tell a text's language."""
HEADING = re.compile(r"^ = [^=].* = \s*$")
"""The first line of an article in WikiText; sections have more signs."""


@dataclass(frozen=True)
class PublicText:
    """A slice of a public data set, the same for everyone."""

    hub: str
    """Identifier on the hub, or a folder with the same files."""
    revision: str
    files: str
    """Files of the data set, a pattern."""
    language: Language
    first: int | None = None
    """So many documents from the start; None for all."""
    articles: bool = False
    """Whether rows are lines, to be joined into articles at their headings (WikiText)."""

    def read(self) -> list[str]:
        """The documents. Raises OnsetError where they cannot be loaded, or the slice is empty."""
        rows = (str(row["text"]) for row in _rows(self))
        found = list(islice(_articles(rows) if self.articles else (row for row in rows if row.strip()), self.first))
        if not found:
            raise OnsetError("the public text has no document", where=f"{self.hub}, {self.files}")
        return found


PUBLIC: Mapping[str, PublicText] = {
    "wikitext103": PublicText(
        "Salesforce/wikitext", "b08601e04326c79dfdd32d625aee71d232d685c3",
        "wikitext-103-raw-v1/test-*.parquet", "en", articles=True,
    ),
    "c4_en": PublicText(
        "allenai/c4", "1588ec454efa1a09f29cd18ddd04fe05fc8653a2", "en/c4-validation.00000-of-00008.json.gz", "en", 1000
    ),
    "wikipedia_zh": PublicText(
        "wikimedia/wikipedia", "b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
        "20231101.zh/train-00000-*.parquet", "zh", 500,
    ),
}  # fmt: skip
"""Public texts by name: WikiText-103's test articles, a slice of C4's validation, the first articles of the Chinese
Wikipedia of November 2023 (which many models were trained on)."""

Text = Path | PublicText


def texts_of(given: Sequence[str], warn: Callable[[str], None] = lambda line: None) -> dict[str, dict[str, Text]]:
    """Validation texts from ``FILE``, ``LANGUAGE:FILE`` or ``hub:NAME``; files of one name form one text.

    The name is the file's, without its endings and without a language before or after it (``en.valid.jsonl.gz`` and
    ``valid_zh.txt`` are both of ``valid``); a file called after its language alone takes its folder's name.
    Without a language before the file or in its name the text is taken for English. ``warn`` is told of a text that
    looks like the other language.
    """
    texts: dict[str, dict[str, Text]] = {}
    for one in given:
        language, _, rest = one.partition(":")
        if language == "hub":
            if rest not in PUBLIC:
                raise OnsetError(f"there is no public text '{rest}'", advice=did_you_mean(rest, PUBLIC))
            texts.setdefault(rest, {})[PUBLIC[rest].language] = PUBLIC[rest]
            continue
        if language not in {"en", "zh"}:
            language, rest = _language_of(Path(one)) or "en", one
        path = there(Path(rest), "text")
        name = name_of(path)
        by_language = texts.setdefault(name, {})
        if language in by_language:
            raise OnsetError(f"two texts named '{name}' in '{language}'", where=path, advice="rename one of the files")
        by_language[language] = path
        if (seems := _seems(path)) not in (None, language):
            said = one.startswith(f"{language}:")
            stated = "as said" if said else f"since no language stands before it: {seems}:FILE"
            warn(f"{path} looks like '{seems}' and is stored as '{language}', {stated}")
    return texts


def name_of(path: Path) -> str:
    """The name of a text, from its file: see ``texts_of``."""
    stem = ENDINGS.sub("", path.name) or path.name
    if stem in ("en", "zh"):
        return path.resolve().parent.name or stem
    return re.sub(r"^(en|zh)[._-]|[._-](en|zh)$", "", stem)


def _language_of(path: Path) -> Language | None:
    """The language that a file's name begins or ends with, if it does."""
    stem = ENDINGS.sub("", path.name) or path.name
    found = re.search(r"^(en|zh)(?:[._-]|$)|[._-](en|zh)$", stem)
    return None if found is None else "zh" if "zh" in found.groups() else "en"


def _seems(path: Path) -> Language | None:
    """The language of a text, by the share of Chinese characters among the letters of its first documents, if any."""
    letters = [one for text in islice(documents(path), SEEN_DOCUMENTS) for one in text[:10_000] if one.isalpha()]
    chinese = sum("\u4e00" <= one <= "\u9fff" for one in letters)
    if not letters:
        return None
    return "zh" if 2 * chinese > len(letters) else "en"


def there(path: Path, what: str) -> Path:
    """The path of a text. Raises OnsetError where there is nothing, or no document at its beginning."""
    if not path.exists():
        advice = "check the path; a language stands before it: zh:FILE; public texts: hub:" + ", hub:".join(PUBLIC)
        raise OnsetError(f"no such {what}", where=path, advice=advice if what == "text" else "check the path")
    next(documents(path))
    return path


def content(text: Text) -> str:
    """What a text is, whatever it is called: a digest of its files, or the pinned slice of a public data set."""
    if isinstance(text, PublicText):
        return f"{text.hub}@{text.revision}, {text.files}, first {text.first}"
    made = hashlib.sha256()
    for file in files(text):
        made.update(sha256(file))
    return made.hexdigest()


def read(by_language: Mapping[str, Text]) -> dict[str, list[str]]:
    """The documents of a text by language."""
    return {
        language: list(documents(text)) if isinstance(text, Path) else text.read()
        for language, text in by_language.items()
    }


def _rows(text: PublicText) -> Iterable[Mapping[str, Any]]:
    try:
        import datasets
    except ImportError as error:
        raise OnsetError(
            "reading public data sets needs the package 'datasets'", where=text.hub, advice=install("lm")
        ) from error
    revision = None if Path(text.hub).is_dir() else text.revision
    try:
        loaded: Iterable[Mapping[str, Any]] = datasets.load_dataset(
            text.hub, data_files={"held_out": text.files}, split="held_out", revision=revision, streaming=True
        )
        yield from loaded
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()
        raise OnsetError(
            f"cannot load the public text: {reason[0] if reason else type(error).__name__}",
            where=f"{text.hub}@{text.revision}, {text.files}",
            advice="check the network and the hub's access terms, or give a local file with --text",
        ) from error


def _articles(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined into articles, each from its heading on; what stands before the first heading is left out."""
    article: list[str] | None = None
    for line in lines:
        if HEADING.match(line):
            if article:
                yield "".join(article)
            article = []
        if article is not None:
            article.append(line if line.endswith("\n") or not line else line + "\n")
    if article:
        yield "".join(article)
