"""A second call on a whole study is quick, and never shows findings that are older than its rows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onset.work.cached import standing
from onset.work.findings import report


@pytest.fixture
def whole(study_folder: Path) -> Path:
    report(study_folder, study_folder)
    return study_folder


def later(path: Path, than: Path) -> None:
    at = than.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(at, at))


def test_findings_stand_while_nothing_is_newer(whole: Path) -> None:
    kept = standing(whole)
    assert kept is not None
    found, page = kept
    analysis, _ = report(whole, whole)
    assert found == analysis
    assert page == whole / "report.html"


def test_a_newer_part_a_newer_study_or_a_lost_page_is_analysed_again(whole: Path) -> None:
    page = whole / "report.html"
    part = next((whole / "runs").rglob("*.parquet"))
    before = part.stat()
    later(part, page)
    assert standing(whole) is None
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert standing(whole) is not None
    later(whole / "study.toml", page)
    assert standing(whole) is None
    page.unlink()
    assert standing(whole) is None


def test_findings_that_cannot_be_read_are_made_again(whole: Path) -> None:
    (whole / "findings.json").write_text('{"version": ')
    later(whole / "findings.json", whole / "report.html")
    assert standing(whole) is None
