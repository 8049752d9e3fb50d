"""Zoom Stack Viewer in ComfyUI's real frontend, in both of its renderers."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
from viewer_pages import PICTURES, browser, hold_still, new_page, wait_until_ready, watched

pytestmark = pytest.mark.browser
STILL = ".zs-root[data-rest] .zs-stage[aria-busy=false]"
# Of its own for each run: what the server still knows it does not make again.
FRESH = itertools.count(50)
# Nodes by their type, at a scale of 1 and with the viewer in sight.
ARRANGE = """() => {
    for (const node of app.graph._nodes) {
        node.pos = node.type === "ZoomStackViewer" ? [700, 60] : node.type === "ZoomStackPage" ? [1240, 60]
            : [-700, 60 * Number(node.id)];
    }
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [-560, 20];
    app.canvas.setDirty(true, true);
}"""


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(params=["canvas", "vue"])
def tab(request, chromium, comfy):
    """The frontend with one of its renderers; at the end none of our modules has complained."""
    for path in PICTURES:
        comfy.put_input(path.name, path.read_bytes())
    page = new_page(chromium, 1300, 800)
    problems = watched(page)
    open_frontend(page, comfy.url, request.param == "vue")
    yield page
    page.close()
    assert problems == []


def open_frontend(page, url: str, vue: bool) -> None:
    page.goto(url, wait_until="domcontentloaded")
    wait_until_ready(page)
    page.evaluate(
        """async (vue) => {
            const { setting } = app.extensionManager;
            await setting.set("Comfy.VueNodes.Enabled", vue);
            await setting.set("Comfy.TutorialCompleted", true);
            await setting.set("Comfy.Execution.PreviewMethod", "auto");
        }""",
        vue,
    )
    # A first visit opens a welcome over the graph; the second does not.
    page.reload(wait_until="domcontentloaded")
    wait_until_ready(page)


def graph_of(*last: tuple[str, dict]) -> dict:
    """The six pictures as a stack (node 11), and what looks at it (nodes 12 and on)."""
    graph = {str(i): {"class_type": "LoadImage", "inputs": {"image": p.name}} for i, p in enumerate(PICTURES, 1)}
    graph["10"] = {
        "class_type": "BatchImagesNode",
        "inputs": {f"images.image{i}": [str(i + 1), 0] for i in range(len(PICTURES))},
    }
    graph["11"] = {
        "class_type": "ZoomStackRender",
        "inputs": {"images": ["10", 0], "blending": "multi-resolution", "feather": 20.0, "zoom": 4.0},
    }
    for number, (kind, inputs) in enumerate(last, 12):
        graph[str(number)] = {"class_type": kind, "inputs": {"stack": ["11", 0], **inputs}}
    return graph


def load(page, graph: dict) -> None:
    page.evaluate("async (graph) => { await app.loadApiJson(graph, 'viewer') }", graph)
    page.evaluate(ARRANGE)


def run(page) -> None:
    page.evaluate("() => app.queuePrompt(0, 1)")
    page.locator(".zs-cell.zs-shown").nth(5).wait_for()
    page.wait_for_selector(STILL)


def rest(page) -> list[float]:
    page.wait_for_selector(STILL)
    return [float(value) for value in page.locator(".zs-root").get_attribute("data-rest").split(",")]


def test_fly_in_the_graph_save_the_workflow_and_open_it_again(tab, comfy):
    quality = next(FRESH)
    load(tab, graph_of(("ZoomStackViewer", {"quality": quality})))
    assert "Run the workflow" in tab.locator(".zs-message").inner_text()
    run(tab)
    hold_still(tab, ".zs-stage")
    box = tab.locator(".zs-stage").bounding_box()
    assert box["width"] > 300 and box["height"] > 250
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    # Until the picture has been clicked, the wheel belongs to the graph.
    tab.mouse.move(*middle)
    tab.mouse.wheel(0, 200)
    tab.wait_for_function("() => app.canvas.ds.scale < 0.99")
    assert rest(tab)[:2] == [0, 0]
    tab.evaluate(ARRANGE)
    tab.wait_for_function(
        "(x) => Math.abs(document.querySelector('.zs-stage').getBoundingClientRect().x - x) < 2", arg=box["x"]
    )
    hold_still(tab, ".zs-stage")
    tab.mouse.click(*middle)
    tab.mouse.wheel(0, -400)
    tab.wait_for_function("() => Number(document.querySelector('.zs-rail').ariaValueNow) > 1")
    assert tab.evaluate("app.canvas.ds.scale") == 1
    tab.keyboard.press("f")
    tab.wait_for_selector("dialog[open] .zs-stage")
    tab.keyboard.press("End")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog", state="detached")
    assert tab.locator(".zs-stage").count() == 1

    saved = tab.evaluate("() => app.graph.serialize()")
    (node,) = (node for node in saved["nodes"] if node["type"] == "ZoomStackViewer")
    assert node["widgets_values"] == [quality, 4096]
    tab.evaluate("async (saved) => { app.graph.clear(); await app.loadGraphData(saved) }", saved)
    tab.locator(".zs-cell.zs-shown").nth(5).wait_for()
    assert rest(tab)[:2] == [0, 0]

    # A level's picture is gone: the others stay. All are gone: the viewer says what to do.
    folder = comfy.server.base / "temp" / node["properties"]["zoom_stack"]["subfolder"]
    (folder / "level-02.webp").unlink()
    tab.evaluate("async (saved) => { app.graph.clear(); await app.loadGraphData(saved) }", saved)
    tab.locator(".zs-note", has_text="Level 3").wait_for()
    assert tab.locator(".zs-cell.zs-missing").count() == 1
    shutil.rmtree(folder)
    tab.evaluate("async (saved) => { app.graph.clear(); await app.loadGraphData(saved) }", saved)
    tab.locator(".zs-message", has_text="Run the workflow again").wait_for()


def test_the_next_level_is_put_here_only_where_a_prompt_list_can_take_it(tab):
    load(tab, graph_of(("ZoomStackViewer", {"quality": next(FRESH)})))
    run(tab)
    hold_still(tab, ".zs-stage")
    put = tab.locator(".zs-bar button[title='Put the next level here']")
    put.wait_for(state="hidden")
    tab.evaluate("""() => {
        const list = LiteGraph.createNode("ZoomPromptList");
        list.pos = [-700, 900];
        app.graph.add(list);
        const prompts = list.widgets.find((widget) => widget.name === "prompts");
        prompts.value = "a galaxy\\na star";
        prompts.callback?.(prompts.value);
        window.read = () => prompts.value;
        const render = app.graph._nodes.find((node) => node.type === "ZoomStackRender");
        window.slot = () => render.inputs.findIndex((input) => input.name === "levels");
        list.connect(2, render, slot());
        window.part = () => render.disconnectInput(slot());
    }""")
    # Asked anew when the mouse comes.
    tab.mouse.move(5, 400)
    tab.locator(".zs-stage").hover()
    put.click()
    tab.wait_for_function("() => read().startsWith('[')")
    assert json.loads(tab.evaluate("read()"))[1] == {"prompt": "a star", "zoom": 1.25}
    tab.evaluate("() => part()")
    tab.mouse.move(5, 400)
    tab.locator(".zs-stage").hover()
    put.wait_for(state="hidden")


def test_a_page_is_offered_as_a_link(tab, comfy):
    load(tab, graph_of(("ZoomStackPage", {"filename_prefix": "page/zoom", "title": "A <b>zoom</b>"})))
    tab.evaluate("() => app.queuePrompt(0, 1)")
    link = tab.locator("a[download$='.html']")
    link.wait_for()
    with tab.expect_download() as download:
        link.click()
    saved = download.value.path().read_text("utf-8")
    (file,) = [f for f in (comfy.output_dir / "page").iterdir() if f.name == download.value.suggested_filename]
    assert saved == file.read_text("utf-8")
    assert "<title>A &lt;b&gt;zoom&lt;/b&gt;</title>" in saved
    assert not list((comfy.output_dir / "page").glob(".*"))


def test_many_viewers_and_nodes_that_go_while_they_load(tab):
    load(tab, graph_of(*[("ZoomStackViewer", {"quality": 50 + i}) for i in range(20)]))
    tab.evaluate("() => app.queuePrompt(0, 1)")
    tab.locator(".zs-root:not(.zs-bare)").first.wait_for()
    # Removed, bypassed and collapsed in the middle of it.
    tab.evaluate("""() => {
        const viewers = app.graph._nodes.filter((node) => node.type === "ZoomStackViewer");
        app.graph.remove(viewers[0]);
        viewers[1].mode = 4;
        viewers[2].collapse();
        app.canvas.setDirty(true, true);
    }""")
    tab.locator(".zs-root:not(.zs-bare)").nth(16).wait_for(state="attached")
    # A browser takes the oldest of 16 contexts away: with one for all, none is lost.
    assert tab.locator(".zs-root:not(.zs-bare) .zs-rail").count() >= 17


def test_a_running_sampler_shows_its_levels_as_a_zoom(tab):
    prompts = "a galaxy\na nebula\na solar system\na planet"
    graph = {
        "1": {"class_type": "ZoomDemoModelLoader", "inputs": {}},
        "2": {
            "class_type": "ZoomPromptList",
            "inputs": {"clip": ["1", 1], "prompts": prompts, "negative": "", "zoom": 4.0, "prefix": "", "suffix": ""},
        },
        "3": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "4": {"class_type": "VAEEncode", "inputs": {"pixels": ["3", 0], "vae": ["1", 2]}},
        "5": {
            "class_type": "MultiScaleJointKSampler",
            "inputs": {
                "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 1], "levels": ["2", 2],
                "latent_image": ["4", 0], "seed": next(FRESH), "steps": 16, "cfg": 3.0,
                "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "11": {
            "class_type": "ZoomStackRender",
            "inputs": {"images": ["6", 0], "levels": ["5", 1], "blending": "none", "feather": 0.0, "zoom": 2.0},
        },
        "12": {"class_type": "ZoomStackViewer", "inputs": {"stack": ["11", 0]}},
    }  # fmt: skip
    load(tab, graph)
    tab.wait_for_selector(".zs-message", state="attached")
    # Written down as it is said: what is seen for a moment only could be missed.
    tab.evaluate("""() => {
        window.said = [];
        new MutationObserver(() => said.push(...[...document.querySelectorAll(".zs-note")].map((e) => e.textContent)))
            .observe(document.querySelector(".zs-message"), {childList: true, attributes: true});
    }""")
    tab.evaluate("() => app.queuePrompt(0, 1)")
    tab.wait_for_function("() => said.includes('Sampling')")
    assert tab.locator(".zs-cell").count() == 4
    assert tab.locator(".zs-prompt").inner_text() == "a galaxy"
    # At the end the finished levels take its place.
    tab.wait_for_function("() => document.querySelector('.zs-message').textContent === ''")
    tab.wait_for_selector(STILL)
    assert tab.locator(".zs-cell.zs-shown").count() == 4
