"""A browser without network, and a page open in it with what it logged and requested."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mergekit_calib import Frontier
from mergekit_calib.report.page import report_html

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
_HOW = (
    "no browser: these tests take playwright (`pip install -e .[dev]`) and a Chromium (Debian's and Ubuntu's package "
    "`chromium`, or a Chrome), found by its name or given in MERGEKIT_CALIB_BROWSER"
)


def _executable() -> str | None:
    return os.environ.get("MERGEKIT_CALIB_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    executable = _executable()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        executable = None
    if executable is None:
        if os.environ.get("MERGEKIT_CALIB_REQUIRE_BROWSER") == "1":
            pytest.fail(f"MERGEKIT_CALIB_REQUIRE_BROWSER=1, but {_HOW}")
        pytest.skip(_HOW)
    # Chromium refuses its sandbox to root, which containers run as.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = ["--no-sandbox"] if root else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=executable, args=[*arguments, "--disable-gpu", "--disable-background-networking"]
        )
        yield opened
        opened.close()


class Opened:
    """A report that is open in a browser from disk, with its messages and requests."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.messages: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("dialog", lambda dialog: (self.messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))

    def text(self, selector: str) -> str:
        return " ".join(self.page.locator(selector).inner_text().split())

    @property
    def picked(self) -> str:
        return self.page.locator("#points-table tr.picked").get_attribute("data-point")

    @property
    def chosen(self) -> str:
        return self.page.locator("#points-table tr.selected").get_attribute("data-point")


@pytest.fixture
def open_report(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Return a function that opens a page; afterwards, check that pages logged nothing and fetched only themselves."""
    contexts, opened = [], []

    def open_(frontier: Frontier | str, **options: Any) -> Opened:
        path = tmp_path / f"report{len(opened)}.html"
        path.write_text(frontier if isinstance(frontier, str) else report_html(frontier), encoding="utf-8")
        context = browser.new_context(offline=True, **{"viewport": {"width": 1200, "height": 900}, **options})
        context.set_default_timeout(90_000)  # a busy machine is no defect of the page
        contexts.append(context)
        result = Opened(context.new_page())
        opened.append(result)
        result.page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            result.page.evaluate(
                "() => new Promise((laid) => requestAnimationFrame(() => requestAnimationFrame(laid)))"
            )
        return result

    yield open_
    for context in contexts:
        context.close()
    for result in opened:
        assert result.messages == []
        assert {url.split(":")[0] for url in result.requests} <= {"file", "data", "blob"}
        assert len({url.split("#")[0] for url in result.requests if url.startswith("file:")}) == 1
