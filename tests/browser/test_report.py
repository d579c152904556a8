"""The page as its reader uses it, in a headless Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

WIDE = "document.documentElement.scrollWidth"
SHOWN = "rows => rows.filter(row => row.offsetParent !== null).length"
CARD = ".grid .card .picture"


def drawn(page: Any, card: str = CARD) -> Any:
    """The first picture, once scripts have drawn it."""
    picture = page.locator(card).first
    picture.scroll_into_view_if_needed()
    picture.locator(".vega-embed .marks").wait_for()
    return picture


def choose(page: Any, switch: str, value: str) -> None:
    """Set a switch of the grid."""
    page.locator(f"fieldset[data-role={switch}] label", has=page.locator(f"input[value={value}]")).click()


def column(page: Any, place: int) -> list[float]:
    """The numbers that a column of the findings is sorted by, of the rows shown in the first group."""
    cells = f"#summary tbody:not([hidden]) >> nth=0 >> tr.finding:not([hidden]) td:nth-child({place})"
    return [float(cell.get_attribute("data-sort")) for cell in page.locator(cells).all()]


def test_nothing_goes_wrong_and_nothing_is_asked_of_a_network(open_page: Any, report: Path) -> None:
    """A reader without a network would see gaps; a reader of a confidential study would be seen."""
    opened = open_page(report.as_uri())
    drawn(opened.page)
    for place in range(0, opened.page.evaluate("document.documentElement.scrollHeight"), 800):
        opened.page.evaluate(f"scrollTo(0, {place})")
        opened.page.wait_for_timeout(60)
    assert opened.said == []
    assert [address for address in opened.asked if not address.startswith(("file:", "data:", "blob:"))] == []
    assert opened.asked.count(report.as_uri()) == 1


def test_the_axis_is_switched_for_all_panels(open_page: Any, report: Path) -> None:
    page = open_page(report.as_uri()).page
    picture = drawn(page)
    choose(page, "axis", "tokens")
    page.locator(f"{CARD}[aria-label*='against']").first.wait_for()
    assert "tokens" in picture.get_attribute("aria-label").lower()
    assert page.locator(".grid").get_attribute("data-axis") == "tokens"
    choose(page, "y", "residuals")
    page.locator(f"{CARD}[aria-label*=Residuals]").first.wait_for()
    assert page.locator("fieldset[data-role=axis]").is_hidden(), "residuals are against the loss only"


def test_the_table_is_sorted_within_its_groups_and_filtered(open_page: Any, report: Path) -> None:
    page = open_page(report.as_uri()).page
    heading = page.locator("#summary thead th", has_text="threshold")
    heading.locator("button").click()
    falling = column(page, 5)
    assert len(falling) > 3
    assert falling == sorted(falling, reverse=True)
    heading.locator("button").click()
    assert column(page, 5) == sorted(falling)
    assert heading.get_attribute("aria-sort") == "ascending"
    rows = page.locator("#summary tr.finding")
    whole = rows.evaluate_all(SHOWN)
    page.select_option("#filter-verdict", "smooth")
    smooth = rows.evaluate_all(SHOWN)
    assert 0 < smooth < whole
    assert page.locator("#shown").inner_text() == f"{smooth} shown"
    page.select_option("#filter-verdict", "")
    page.fill("#filter-task", "exam")
    assert 0 < rows.evaluate_all(SHOWN) < whole
    page.fill("#filter-task", "there is no such task")
    assert rows.evaluate_all(SHOWN) == 0


def test_details_open_in_a_dialog_and_go_back_where_they_were(open_page: Any, report: Path) -> None:
    page = open_page(report.as_uri()).page
    page.locator("#summary tr.finding:not([hidden]) a.open").first.click()
    dialog = page.locator("dialog[open]")
    dialog.wait_for()
    drawn(page, "dialog .metrics .card .picture")
    sentences = dialog.locator(".words").inner_text()
    assert sentences.startswith("On world_")
    assert dialog.locator(".item").count() == 0 or dialog.locator(".item pre").first.is_visible()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.locator("dialog .inside").count() == 0
    assert page.locator("details.task .inside").count() == page.locator("details.task").count()


def test_the_language_is_switched_and_the_page_goes_on_working(open_page: Any, report: Path) -> None:
    opened = open_page(report.as_uri())
    page = opened.page
    page.get_by_role("button", name="中文").click()
    assert page.evaluate("document.documentElement.lang") == "zh"
    assert page.locator("#curves h2").inner_text() == "曲线"
    assert "None of" not in page.locator(".lead").inner_text()
    drawn(page)
    page.fill("#filter-task", "考试")
    assert page.locator("#shown").inner_text() == "显示 2 项"
    page.get_by_role("button", name="English").click()
    assert page.locator("#curves h2").inner_text() == "Curves"
    assert opened.said == []


@pytest.mark.parametrize("width", [390, 500, 1400])
def test_the_page_never_scrolls_sideways(open_page: Any, report: Path, width: int) -> None:
    page = open_page(report.as_uri(), width=width).page
    drawn(page)
    assert page.evaluate(WIDE) <= width


def test_a_dark_page_is_dark_with_its_pictures(open_page: Any, report: Path) -> None:
    page = open_page(report.as_uri(), color_scheme="dark").page
    drawn(page)
    assert brightness(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 60
    texts = page.locator(f"{CARD} .marks text").first
    assert brightness(texts.evaluate("text => getComputedStyle(text).fill")) > 120, "dark writing on a dark page"


def brightness(colour: str) -> float:
    """The mean of red, green and blue of 'rgb(r, g, b)'."""
    return sum(float(part) for part in colour.split("(")[1].rstrip(")").split(",")[:3]) / 3


def test_print_has_every_figure_and_whole_tables(open_page: Any, report: Path) -> None:
    page = open_page(report.as_uri()).page
    drawn(page)
    page.emulate_media(media="print")
    empty = (
        "pictures => pictures.filter(one => !one.closest('[hidden], details:not([open])')"
        " && !one.querySelector('svg, canvas')).length"
    )
    assert page.locator(".grid .card .picture").evaluate_all(empty) == 0
    cut = "boxes => boxes.filter(box => box.offsetParent !== null && getComputedStyle(box).overflowX === 'auto').length"
    assert page.locator(".scroll").evaluate_all(cut) == 0
    assert page.locator(".controls").first.is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_contrast_and_names_meet_wcag_aa(open_page: Any, report: Path, scheme: str, language: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(report.as_uri(), color_scheme=scheme, bypass_csp=True).page
    if language == "zh":
        page.get_by_role("button", name="中文").click()
    drawn(page)
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
