"""A browser: Debian's chromium, driven by Playwright, with nothing of its own to say to the network."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from harness.picturing import browser as a_browser


@dataclass
class Opened:
    """A page, and what it did that it ought not to do."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)  # why a request came to nothing


class Reader:
    """Opens pages, each in a context of its own."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser, self._folder = browser, folder
        self._contexts: list[BrowserContext] = []

    def open(self, html: str, *, width: int = 1280, dark: bool = False, script: bool = True) -> Opened:
        """Open a page as from a mail: a file."""
        path = self._folder / f"{len(self._contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = self._browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            offline=True,
        )
        self._contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("requestfailed", lambda request: opened.failures.update({request.url: request.failure or ""}))
        opened.page.goto(path.as_uri())
        return opened

    def close(self) -> None:
        """Close all that was opened."""
        for context in self._contexts:
            context.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests; it ends with them."""
    if shutil.which("chromium") is None:
        pytest.skip("there is no chromium: apt-get install --no-install-recommends chromium")
    with a_browser() as made:
        yield made


@pytest.fixture
def reader(browser: Browser, tmp_path: Path) -> Iterator[Reader]:
    """Opens pages, and closes them after the test."""
    made = Reader(browser, tmp_path)
    try:
        yield made
    finally:
        made.close()
