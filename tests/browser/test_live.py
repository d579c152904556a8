"""A live page in a headless Chromium: it tells what is new, renews itself, and goes on as its reader left it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from onset.plots.facts import StudyFacts
from onset.report import page as pages
from onset.results import Analysis
from onset.work.live.server import Board, Server

pytestmark = pytest.mark.slow


@pytest.fixture
def board() -> Iterator[tuple[Board, str]]:
    board = Board()
    board.show(pages.waiting("made", "events?page=1").encode(), "1")
    server = Server(board, "127.0.0.1", 0, any_name=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield board, f"http://127.0.0.1:{server.server_address[1]}/"
    board.close()
    server.shutdown()
    server.server_close()


def told(checkpoints: int, losses: int) -> dict[str, Any]:
    return {
        "summary": {"en": f"{checkpoints} checkpoints are evaluated.", "zh": f"已评测 {checkpoints} 个检查点。"},
        "runs": [{"run": "<b>w64</b>", "state": {"en": "in training", "zh": "训练中"}, "checkpoints": checkpoints,
                  "declared": 9, "evaluated": checkpoints, "last_loss": 2.5}],
        "losses": [{"run": "<b>w64</b>", "tokens": 10.0**place, "loss": 5.0 - place} for place in range(losses)],
        "working": False, "problem": "",
    }  # fmt: skip


def test_a_live_page_follows_the_study(
    open_page: Any, board: tuple[Board, str], analysis: Analysis, facts: StudyFacts
) -> None:
    """A reader would look at an old state, lose what was chosen at every renewal, or run what a run is called."""
    shown, address = board
    opened = open_page(address)
    page = opened.page
    assert "Waiting" in page.locator(".lead").inner_text()
    shown.tell(told(3, 3))
    page.get_by_text("3 checkpoints are evaluated.").wait_for()
    assert page.locator("#live-runs td").first.inner_text() == "<b>w64</b>"
    page.locator("#live .chart svg.marks").wait_for()
    shown.tell(told(4, 4))
    page.get_by_text("4 checkpoints are evaluated.").wait_for()

    prepared = pages.Report(analysis, facts)
    book = pages.prepare(prepared)
    shown.show(pages.html(book, prepared, live="events?page=2").encode(), "2")
    page.locator("#curves").wait_for()
    page.locator("fieldset[data-role=axis] label", has=page.locator("input[value=tokens]")).click()
    page.get_by_role("button", name="中文").click()
    shown.tell(told(5, 4))
    page.get_by_text("已评测 5 个检查点。").wait_for()
    page.locator("a.open").first.click()
    shown.show(pages.html(book, prepared, live="events?page=3").encode(), "3")
    page.get_by_text("有新的结果，页面正在更新。").wait_for(state="attached")
    assert page.locator("dialog[open]").count() == 1, "what is being read stays open"
    page.keyboard.press("Escape")
    page.locator('meta[content="events?page=3"]').wait_for(state="attached")
    page.locator(".grid[data-axis=tokens]").wait_for(state="attached")
    assert page.evaluate("document.documentElement.lang") == "zh"
    assert {one.split("?")[0] for one in opened.asked} <= {address, f"{address}events"}
    assert opened.said == []

    shown.close()
    page.get_by_text("无法连接服务器；以下是最后收到的内容。").wait_for()
