"""Frame times of the viewer in a browser, and sizes of pages: `python run.py bench viewer`.

A saved page of 16 levels of 1024 x 1024 (the demo model's painted world) is opened from disk in headless Chromium with
WebGL in software, its picture 900 x 600 pixels. Times are the distances of animation frames, in milliseconds: while the
page loads its levels, and while it plays along the whole path.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

PACK = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PACK))

from demo_model.world.scene import STEP, draw  # noqa: E402
from launcher.browser import find_browser  # noqa: E402
from zoom_core import ZoomLevels, ZoomStack  # noqa: E402
from zoom_core.page import DEFAULT_QUALITY, page, viewer_script  # noqa: E402
from zoom_core.web_levels import describe, level_webp  # noqa: E402

# The rail of levels without prompts, the title and the bar beside a picture of 900 x 600.
WINDOW = {"width": 900 + 64, "height": 600 + 90}
WATCH = """
window.frames_ = []; let before = performance.now();
const tick = (now) => { frames_.push(now - before); before = now; requestAnimationFrame(tick); };
requestAnimationFrame(tick);
"""


def world_stack(count: int, size: int, folder: Path | None) -> ZoomStack:
    """`count` levels of zoom 2; drawing takes seconds a level, so they are kept in `folder`."""
    step, pictures = math.log(2) / math.log(STEP), []
    for level in range(count):
        kept = folder / f"world_{level:02}.npy" if folder else None
        if kept and kept.is_file():
            picture = np.load(kept)
        else:
            picture = (draw(7, step * level, size) * 65535).round().astype(np.uint16)
            if kept:
                np.save(kept, picture)
        pictures.append(torch.from_numpy(picture.astype(np.float32) / 65535).movedim(-1, 0))
    levels = ZoomLevels.uniform(count, 2.0)
    return ZoomStack(torch.stack(pictures), levels.resolve(size, size), levels)


def summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "frames": len(ordered),
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "longest": round(ordered[-1], 1),
    }


def measure(address: str, seconds: float) -> dict[str, dict[str, float]]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        tab = browser.new_page(viewport=WINDOW)
        tab.add_init_script(WATCH)
        tab.goto(address)
        tab.wait_for_selector(".zs-root[data-rest] .zs-stage[aria-busy=false]", timeout=120_000)
        loading = tab.evaluate("frames_.splice(0)")
        shown = tab.evaluate(
            "(() => { const c = document.querySelector('.zs-stage canvas'); return [c.width, c.height] })()"
        )
        tab.keyboard.press("Space")
        tab.wait_for_timeout(1000)
        tab.evaluate("frames_.splice(0)")
        tab.wait_for_timeout(1000 * seconds)
        playing = tab.evaluate("frames_.splice(0)")
        browser.close()
    return {"picture": shown, "loading": summary(loading[1:]), "playing": summary(playing)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to play")
    parser.add_argument("--quality", type=int, default=DEFAULT_QUALITY)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder for the drawn levels")
    given = parser.parse_args()
    stack = world_stack(given.levels, given.size, given.keep)
    script = viewer_script(PACK / "web")
    levels = [level_webp(layer, given.quality) for layer in stack.layers]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zoom.html"
        path.write_text(page(describe(stack), levels, script, "Frame times"), "utf-8")
        print(
            json.dumps({"page": path.stat().st_size, "script": len(script), "levels": [len(data) for data in levels]})
        )
        for _ in range(given.runs):
            print(json.dumps(measure(path.as_uri(), given.seconds)), flush=True)


if __name__ == "__main__":
    main()
