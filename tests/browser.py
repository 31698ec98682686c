"""A browser for pages to be tried in: the Chromium that is installed, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """Playwright's browser, started with command line arguments; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is missing")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=list(arguments),
            ignore_default_args=["--hide-scrollbars"],  # a page is looked at as readers see it
        )
        yield browser
        browser.close()


# What of a page is cut off or runs out of its place: elements beyond the page's edge, text beyond the block it is in or
# beyond what cuts it, but for fields, whose text may be long. What may be scrolled sideways, ``.wide``, is not; but in
# print nothing may be.
CUT_OFF = """printed => {
    const found = [], edge = document.documentElement.clientWidth + 1;
    const told = element => `${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`;
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (const element of document.querySelectorAll("body :not(input)")) {
        if (!element.checkVisibility() || (!printed && element.closest(".wide table"))) continue;
        if (element.getBoundingClientRect().right > edge) found.push(`beyond the page: ${told(element)}`);
        const cuts = getComputedStyle(element).overflowX !== "visible" && !(element.matches(".wide") && !printed);
        if (cuts && element.scrollWidth > element.clientWidth + 1) found.push(`cut: ${told(element)}`);
    }
    while (texts.nextNode()) {
        const text = texts.currentNode, parent = text.parentElement;
        const block = parent.closest("td, th, p, li, h1, h2, h3, figcaption, summary");
        if (block === null || !text.data.trim() || !block.checkVisibility()) continue;
        const range = document.createRange();
        range.selectNodeContents(text);
        const [end, limit] = [range, block].map(each => each.getBoundingClientRect().right);
        if (end > limit + 1) found.push(`out of its block: ${told(block)}`);
    }
    return found;
}"""
