"""The one thing that only ComfyUI's own frontend can do: turn a workflow into what the server takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .console import Problem
from .workflow import Graph, Workflow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_PATIENCE = 120_000  # ms
_CONVERT = """async (workflow) => {
    await window.app.loadGraphData(workflow, true, true)
    return (await window.app.graphToPrompt()).output
}"""
_ADVICE = (
    "The workflow is saved as the browser shows it, and only a browser can turn it into what the server takes. Open it "
    "in ComfyUI, choose File, Export (API), and give that file; or have Chromium or Chrome on the PATH and Playwright "
    "in ComfyUI's Python (python -m pip install playwright)."
)


def find_browser() -> str | None:
    """The path of a Chromium-like browser, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def frontend(url: str) -> Iterator[Any]:
    """A Playwright page with the frontend of the server at `url`; Problem where there is no browser."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise Problem(_ADVICE) from error
    settings = {"executable_path": find_browser(), "args": ["--disable-gpu", "--no-sandbox"]}
    try:
        with sync_playwright() as driver, driver.chromium.launch(**settings) as browser:
            page = browser.new_page()
            page.set_default_timeout(_PATIENCE)
            page.goto(url, wait_until="domcontentloaded")
            page.wait_for_function("window.app?.graph && window.app.vueAppReady")
            yield page
    except Error as error:
        said = error.message.splitlines()[0]
        raise Problem(f"ComfyUI's frontend cannot read the workflow: {said}\n{_ADVICE}") from error


def convert(page: Any, workflow: Workflow) -> Graph:
    """The API format of a graph-format workflow, made by the frontend that `page` shows."""
    graph = page.evaluate(_CONVERT, workflow)
    if not graph:
        raise Problem("the workflow has no node that could run")
    return graph
