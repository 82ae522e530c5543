"""A headless Chromium for tests of pages; they skip where there is none, or no playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parent / "axe" / "axe.min.js"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Opened:
    """A page in the browser, and what went wrong in it.

    Attributes:
        page: playwright's.
        problems: errors on the console, exceptions, and requests that left the disk.
    """

    page: Any
    problems: list[str] = field(default_factory=list)


@contextmanager
def launched() -> Iterator[Any]:
    """The browser; skips the test where it or playwright is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install 'latte-cli[browser]'")
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, path: Path, width: int = 1400, scheme: str = "light", **settings: Any
) -> Iterator[Opened]:
    """A page from disk in a window of its own; at the end, nothing may have gone wrong in it."""
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme, **settings
    )
    found = Opened(page)
    page.on("console", lambda said: _note(found, said.type, said.text))
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("request", lambda request: _check(found, request.url))
    page.goto(path.resolve().as_uri())
    page.wait_for_load_state()
    yield found
    page.close()
    assert not found.problems


def _note(found: Opened, kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        found.problems.append(text)


def _check(found: Opened, url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        found.problems.append(f"asked for {url}")


def violations(page: Any) -> list[str]:
    """What axe-core finds that is serious or critical, with the elements."""
    page.evaluate(f"{AXE.read_text(encoding='utf-8')};0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{each['id']}: {[node['html'] for node in each['nodes']]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
