"""A headless Chromium, and what a page that is opened in it says and asks for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fixtures.analyses import analysis, facts
from onset.plots.facts import StudyFacts
from onset.report import page as pages
from onset.results import Analysis

__all__ = ["analysis", "facts"]


@dataclass
class Opened:
    """A page in a browser."""

    page: Any
    said: list[str] = field(default_factory=list)
    """Errors and warnings on the console, and errors of scripts."""
    asked: list[str] = field(default_factory=list)
    """Addresses that were asked for."""


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Opens an address in a window of its own; at the end nothing may have gone wrong in it."""
    opened: list[Opened] = []

    def open_it(address: str, *, width: int = 1400, **options: Any) -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(60_000)
        page = context.new_page()
        one = Opened(page)
        page.on("console", lambda told: one.said.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: one.said.append(str(error)))
        page.on("request", lambda request: one.asked.append(request.url))
        page.goto(address)
        opened.append(one)
        return one

    yield open_it
    for one in opened:
        one.page.context.close()


@pytest.fixture(scope="session")
def report(analysis: Analysis, facts: StudyFacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the made-up study."""
    return pages.write(tmp_path_factory.mktemp("browser"), analysis, facts, pictures=False)
