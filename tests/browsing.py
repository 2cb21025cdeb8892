"""A real browser for the tests of pages: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect, sync_playwright

AXE = "FLORILEGIUM_AXE"
"""The environment variable that names another `axe.min.js` than the one of axe-playwright-python."""

SCREENSHOTS = "FLORILEGIUM_SCREENSHOTS"
"""The environment variable that names the folder for screenshots."""

expect.set_options(timeout=20_000)  # a machine that is busy with other tests takes its time

SETTINGS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 390)]


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Chromium, started; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def a_tab(browser: Browser, *, scheme: str = "light", width: int = 1280, **more: Any) -> Iterator[Page]:
    """A page in a context of its own. What its scripts throw, and what its policy stops, fails the test."""
    height = 800 if width > 600 else 844
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{error.name}: {error.message}\n{error.stack}"))

    def asked(dialog: Dialog) -> None:
        if dialog.type == "beforeunload":
            dialog.accept()  # the page is left all the same
        else:
            faults.append(f"a script opened a dialog: {dialog.message}")
            dialog.dismiss()

    def told(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            faults.append(message.text)

    page.on("dialog", asked)
    page.on("console", told)
    try:
        yield page
    finally:
        context.close()
    assert faults == []


def axe_core() -> Path:
    """The script of axe-core; skips the test where it is not at hand."""
    if named := os.environ.get(AXE):
        return Path(named)
    package = find_spec("axe_playwright_python")
    if package is None or not package.submodule_search_locations:
        pytest.skip(f"no axe-core: install axe-playwright-python, or name an axe.min.js in {AXE}")
    return Path(package.submodule_search_locations[0]) / "axe.min.js"


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse, a line each."""
    source = axe_core()
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(source.read_text(encoding="utf-8"))
    told = page.evaluate("() => axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in told["violations"]
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"]
    ]


def screenshot(page: Page, name: str, folder: Path) -> None:
    """Write what is seen into the folder of screenshots, or into `folder` where none is named."""
    target = Path(os.environ.get(SCREENSHOTS) or folder)
    target.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target / f"{name}.png")
