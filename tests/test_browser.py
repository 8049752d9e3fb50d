"""The bundled workflows and the help pages in ComfyUI's real frontend, driven in a headless Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import workflow as workflows
from launcher.browser import NAMES as BROWSER_NAMES
from launcher.browser import find_browser

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: run `python run.py test`")

pytestmark = pytest.mark.browser
FOLDER = Path(__file__).resolve().parent.parent / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
PACK_NAME = "zoom-stack"
SLOW = 180_000  # ms
# What the frontend warns with: a toast, a dialog, an overlay of errors.
WARNINGS = ".p-toast-message, .p-dialog, [data-testid='error-overlay']"
OPEN = """async (workflow) => {
    await window.app.loadGraphData(workflow, true, true)
    const {output} = await window.app.graphToPrompt()
    const nodes = window.app.graph._nodes
    return {
        prompt: output,
        marked: nodes.filter((n) => n.has_errors || n.last_serialization?.unknown).map((n) => n.type),
        links: Object.keys(window.app.graph.serialize().links).length,
        nodes: nodes.length,
    }
}"""


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium, closed after the last test."""
    found = find_browser()
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=found, args=["--disable-gpu", "--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(
                f"needs a Chromium browser ({', '.join(BROWSER_NAMES)}), or `playwright install chromium`:"
                f" {error.message.splitlines()[0]}"
            )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(chromium, comfy):
    """The frontend, opened on the template text-to-zoom as its address says."""
    for file in (FOLDER / "input").iterdir():
        comfy.put_input(file.name, file.read_bytes())
    page = chromium.new_page(viewport={"width": 1600, "height": 900})
    page.set_default_timeout(SLOW)
    page.errors = []
    page.goto(
        f"{comfy.url}/?template={workflows.find('text-to-zoom').stem}&source={PACK_NAME}", wait_until="domcontentloaded"
    )
    page.wait_for_function("window.app?.graph?._nodes?.some((n) => n.type === 'ZoomStackRender')")
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    return page


def test_the_templates_browser_lists_them_with_their_pictures(comfy, page):
    assert sorted(comfy.client.get("/api/workflow_templates")[PACK_NAME]) == NAMES
    # As the frontend does it: fetched, and shown from a blob of the type that the server gives. Some are films.
    shown = page.evaluate(
        """async ([pack, names]) => Promise.all(names.map(async (name) => {
            const answer = await fetch(`/api/workflow_templates/${pack}/${name}.jpg`)
            const image = new Image()
            image.src = URL.createObjectURL(await answer.blob())
            await image.decode()
            return Math.min(image.naturalWidth, image.naturalHeight)
        }))""",
        [PACK_NAME, NAMES],
    )
    assert min(shown) >= 240


def test_the_address_opens_a_template(page):
    titles = page.evaluate("window.app.graph._nodes.map((n) => n.title)")
    saved = workflows.read(workflows.find("text-to-zoom"))["nodes"]
    assert len(titles) == len(saved)
    assert "Prompts, one a level" in titles


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_opens_without_a_warning_and_queues_what_the_launcher_queues(name, comfy, page):
    workflow = workflows.read(FOLDER / f"{name}.json")
    page.errors.clear()
    opened = page.evaluate(OPEN, workflow)
    assert opened["marked"] == []
    assert (opened["nodes"], opened["links"]) == (len(workflow["nodes"]), len(workflow["links"]))
    assert opened["prompt"] == comfy.to_api(workflow), workflows.STALE
    # Warnings about missing models and pictures come a moment after the graph.
    page.wait_for_timeout(1500)
    assert page.locator(WARNINGS).all_inner_texts() == []
    assert page.errors == []


def test_a_missing_picture_would_have_been_noticed(page):
    workflow = workflows.read(workflows.find("photo-to-zoom"))
    (load,) = (node for node in workflow["nodes"] if node["type"] == "LoadImage")
    load["widgets_values"][0] = "nowhere.jpg"
    page.evaluate(OPEN, workflow)
    page.locator(WARNINGS).first.wait_for()
    assert "missing" in page.locator(WARNINGS).first.inner_text()


def test_the_help_page_of_a_node_shows_its_text_and_picture(page):
    page.evaluate(OPEN, workflows.read(workflows.find("text-to-zoom")))
    page.evaluate("window.app.canvas.selectNode(window.app.graph._nodes.find((n) => n.type === 'ZoomVideoFrames'))")
    page.locator("[data-testid='info-button']").click()
    help_page = page.locator(".node-help-content")
    help_page.get_by_text("seconds_per_level").first.wait_for()
    picture = help_page.locator("img").first
    picture.wait_for(state="attached")
    source = picture.get_attribute("src")
    assert source == f"/extensions/{PACK_NAME}/docs/ZoomVideoFrames/frames.jpg"
    page.wait_for_function("(source) => document.querySelector(`img[src='${source}']`)?.naturalWidth > 300", arg=source)
