"""A report in a real browser, opened from disk: nothing is asked of a network, nothing fails, and all can be read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import SETTINGS, a_browser, a_tab, screenshot, serious_faults
from tests.commanding import command
from tests.walked_garden import Walked, hostile_garden


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> str:
    """The address of a report with every part, from disk."""
    with a_browser():  # without one nothing is walked
        pass
    place = tmp_path_factory.mktemp("page")
    Walked(place).report(place / "report.html")
    hostile = command("report", hostile_garden(place), "--data-only", "--out", place / "hostile.html")
    assert hostile.code == 0, hostile.err
    return (place / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser(report: str) -> Iterator[Browser]:
    """Started when the garden has been walked: Playwright and a scrape each have an event loop of their own."""
    with a_browser() as started:
        yield started


def opened(page: Page, report: str) -> list[str]:
    """Open the report; what is asked of anybody besides the file, and what the console says."""
    told: list[str] = []
    page.on("request", lambda request: told.append(request.url) if not request.url.startswith("data:") else None)
    page.on("console", lambda message: told.append(message.text))
    page.goto(report)
    return told


@pytest.mark.thorough
@pytest.mark.parametrize(("scheme", "width"), SETTINGS)
def test_it_can_be_read_by_all(browser: Browser, report: str, scheme: str, width: int, tmp_path: Path) -> None:
    with a_tab(browser, scheme=scheme, width=width) as page:
        assert opened(page, report) == [report]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the screen"
        loaded = "[...document.images].every((one) => one.complete && one.naturalWidth > 0)"
        assert page.evaluate(loaded)
        screenshot(page, f"report-{scheme}-{width}", tmp_path)
    with a_tab(browser, scheme=scheme, width=width, bypass_csp=True) as page:  # so that axe may be put into it
        page.goto(report)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert serious_faults(page) == []


def test_a_table_is_sorted_by_a_click(browser: Browser, report: str) -> None:
    with a_tab(browser) as page:
        page.goto(report)
        table = page.locator("#errors table", has_text="95% interval")
        numbers = "(rows) => rows.map((row) => Number(row.cells[2].textContent))"
        page.locator("#errors details summary", has_text="Each class").click() if table.is_hidden() else None
        table.get_by_role("button", name="n", exact=True).click()
        first = table.locator("tbody tr").evaluate_all(numbers)
        table.get_by_role("button", name="n", exact=True).click()
        assert first == sorted(first)
        assert table.locator("tbody tr").evaluate_all(numbers) == sorted(first, reverse=True)
        assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
        sums = page.locator("#classes table tbody tr").last
        page.locator("#classes table").get_by_role("button", name="train").click()
        assert sums.locator("th").first.text_content() == "all", "the sum stays last"


def test_it_prints_in_light_colours_with_all_unfolded(browser: Browser, report: str, tmp_path: Path) -> None:
    with a_tab(browser, scheme="dark") as page:
        page.goto(report)
        folded = "document.querySelectorAll('details:not([open])').length"
        assert page.evaluate(folded) > 0
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(folded) == 0
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.evaluate(folded) > 0
        printed = page.pdf(format="A4", print_background=False)
        assert printed.startswith(b"%PDF")
        assert len(printed) > 50_000, "its pictures are in it"
        page.emulate_media(media="print", color_scheme="dark")
        style = "getComputedStyle(document.body)"
        assert page.evaluate(f"{style}.backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate(f"{style}.color") == "rgb(0, 0, 0)"
        screenshot(page, "report-print", tmp_path)


def test_without_scripts_all_is_there(browser: Browser, report: str) -> None:
    with a_tab(browser, java_script_enabled=False) as page:
        page.goto(report)
        assert page.locator("section").count() >= 10
        assert page.locator("#classes table tbody tr").count() == 5


def test_nothing_runs_that_others_wrote(browser: Browser, report: str) -> None:
    """Names and credits with script, markup, quotes and escapes; a dialog would fail the tab."""
    hostile = report.replace("report.html", "hostile.html")
    with a_tab(browser) as page:
        assert opened(page, hostile) == [hostile]
        assert page.locator("main script, main b, [onerror], [onload]").count() == 0
        leads = page.locator("a[href]").evaluate_all("(links) => links.map((one) => one.protocol)")
        assert set(leads) == {"file:", "https:"}
        assert page.get_by_text("<script>alert(1)</script>").count() > 0
