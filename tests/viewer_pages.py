"""Browser and stacks for the viewer's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from launcher.browser import NAMES, find_browser
from zoom_core import ZoomLevel, ZoomLevels, ZoomStack
from zoom_core.page import page, viewer_script
from zoom_core.seams import fuse
from zoom_core.web_levels import describe, level_webp

PACK = Path(__file__).resolve().parent.parent
PICTURES = sorted((PACK / "workflows" / "input").glob("zoom-*.jpg"))
# Software WebGL: without a graphics card there is no other.
ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader"]
SLOW = 180_000  # ms, of waits for what comes soon on a machine that has nothing else to do
# What software WebGL says about itself, and the browser about a file that is gone, whatever we do.
# The frontend cannot read its list of jobs once somebody has queued a NaN.
NOT_OURS = ("GL Driver Message", "Failed to load resource", "[Jobs API]")


def wait_until_ready(page, timeout: float | None = None) -> None:
    """Wait until the frontend has its graph and the server has given the page its number: a prompt that is queued
    before that has its results told to nobody. timeout: ms, the page's own by default."""
    page.wait_for_function("window.app?.graph && window.app.vueAppReady", timeout=timeout)
    page.wait_for_function("window.app.api.socket?.readyState === 1 && window.app.api.clientId", timeout=timeout)


@contextmanager
def browser(arguments: list[str] = ARGUMENTS) -> Iterator:
    """A headless Chromium with WebGL; skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: run `python run.py test`")
    found = find_browser()
    with api.sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=found, args=arguments)
        except api.Error as error:
            pytest.skip(f"needs a Chromium browser ({', '.join(NAMES)}): {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


def new_page(chromium, width: int, height: int):
    """An empty page, on which everything may take its time: a machine can be busy."""
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(SLOW)
    return page


def hold_still(page, selector: str) -> None:
    """Waits until an element stays where it is: the graph moves what stands on it with its next frame."""
    page.locator(selector).first.evaluate(
        """async (element) => {
            const place = () => { const {x, y, width, height} = element.getBoundingClientRect();
                return [x, y, width, height].join() };
            for (let same = 0, before = ""; same < 3; same = place() === before ? same + 1 : 0) {
                before = place();
                await new Promise(requestAnimationFrame);
            }
        }"""
    )


def watched(page, ours=("zs-", "zoom", "viewer", ".mjs", "file:")) -> list[str]:
    """What goes wrong on a page from now on: uncaught errors, and errors and warnings of our modules."""
    problems: list[str] = []

    def on_console(message) -> None:
        place = message.location.get("url", "") + message.text
        foreign = any(words in message.text for words in NOT_OURS)
        if message.type in ("error", "warning") and not foreign and any(part in place for part in ours):
            problems.append(f"{message.type}: {message.text}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems


def picture_stack(prompts: list[str] | None = None, size: int | None = None) -> ZoomStack:
    """The six pictures that come with the pack, fused to one stack of zoom 4."""
    images = []
    for path in PICTURES:
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            if size:
                picture = picture.resize((size, size), Image.Resampling.LANCZOS)
            images.append(torch.from_numpy(np.asarray(picture, np.float32) / 255).movedim(-1, 0))
    layers = torch.stack(images)
    prompts = prompts or [path.stem for path in PICTURES]
    levels = ZoomLevels(ZoomLevel(prompt, zoom=4.0) for prompt in prompts)
    geometry = levels.resolve(*layers.shape[-2:])
    return ZoomStack(fuse(layers, geometry, "multi-resolution", 20.0), geometry, levels)


def write_page(path: Path, stack: ZoomStack, quality: int = 90, **words: str) -> str:
    """A page of a stack at `path`; gives its address."""
    levels = [level_webp(layer, quality) for layer in stack.layers]
    path.write_text(page(describe(stack), levels, viewer_script(PACK / "web"), **words), "utf-8")
    return path.as_uri()
