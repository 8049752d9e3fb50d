"""What nodes say on themselves: seen in the real frontend, and in the terminal."""

from __future__ import annotations

import numpy as np
import pytest

NOTE = "$$node-text-preview"
# Rounding is done by the frontend as a person types: widget.callback is what both renderers call.
TYPED = """([type, name, values]) => {
    const node = window.LiteGraph.createNode(type)
    window.app.graph.add(node)
    const widget = node.widgets.find((widget) => widget.name === name)
    const kept = values.map((value) => {
        widget.value = value
        widget.callback?.(value)
        return widget.value
    })
    window.app.graph.remove(node)
    return kept
}"""


def link(graph: dict, key: str, kind: str, **inputs) -> dict:
    graph[key] = {"class_type": kind, "inputs": inputs}
    return graph


def sampled(**stack) -> dict:
    graph = link({}, "list", "ZoomPromptList", zoom=4.0)
    link(graph, "sampler", "MultiScaleJointKSampler", levels=["list", 2], positive=["list", 0])
    link(graph, "decode", "VAEDecode", samples=["sampler", 0])
    return link(graph, "stack", "ZoomStackRender", images=["decode", 0], zoom=2.0, **stack)


@pytest.fixture(scope="module")
def levels_left_out(zoom_stack_pack):
    from zoom_stack_pack.nodes.notes import levels_left_out

    return levels_left_out


def test_levels_that_are_not_connected_are_noticed(levels_left_out):
    said = levels_left_out(sampled(), "stack", False)
    assert said.startswith("levels is not connected") and "centred and 2 times closer" in said
    assert "MultiScaleJointKSampler" in said
    graph = sampled()
    graph["sampler"]["_meta"] = {"title": "All levels"}
    assert "Connect levels of All levels." in levels_left_out(graph, "stack", False)


def test_levels_of_another_list_are_noticed(levels_left_out):
    graph = link(sampled(levels=["other", 2]), "other", "ZoomPromptList", zoom=2.0)
    assert levels_left_out(graph, "stack", False).startswith("levels are not those")
    assert levels_left_out(sampled(levels=["list", 2]), "stack", False) == ""
    assert levels_left_out(sampled(levels=["sampler", 1]), "stack", True) == ""


def test_pictures_of_one_s_own_need_no_levels(levels_left_out):
    graph = link({}, "load", "LoadImage", image="a.png")
    link(graph, "stack", "ZoomStackRender", images=["load", 0], zoom=2.0)
    assert levels_left_out(graph, "stack", False) == ""
    # A circle, or a link to nowhere, is the server's to refuse.
    graph["load"]["inputs"]["image"] = ["stack", 0]
    graph["stack"]["inputs"]["images"] = ["nowhere", 0]
    assert levels_left_out(graph, "stack", False) == ""


def test_words_that_the_demo_model_only_spells_are_named(zoom_stack_pack):
    from zoom_stack_pack.demo_model.text import WordTokenizer

    tokenizer = WordTokenizer.from_pretrained()
    assert tokenizer.unknown("a (zebra:1.2) on blue planets, ZEBRA, 3 galaxies x") == ["zebra"]


def test_reports_and_warnings_stand_on_their_nodes(comfy_page, comfy):
    page = comfy_page
    rng = np.random.default_rng(3)
    names = [comfy.put_input(f"note-{i}.png", rng.random((64, 64, 3))) for i in range(2)]
    graph = {str(i + 1): {"class_type": "LoadImage", "inputs": {"image": name}} for i, name in enumerate(names)}
    inputs = {f"images.image{i}": [str(i + 1), 0] for i in range(2)}
    link(graph, "3", "BatchImagesNode", **inputs)
    link(graph, "4", "ZoomStackFit", images=["3", 0], zoom=2.0, align=False, match_colour=False)
    link(graph, "5", "ZoomStackRender", images=["4", 0], blending="none", feather=0.0, zoom=2.0)
    link(graph, "6", "ZoomStackSave", stack=["5", 0], filename_prefix="note/zoom")
    link(graph, "7", "ZoomDemoModelLoader")
    prompts = {"prompts": "a zebra\na galaxy", "negative": "", "zoom": 2.0, "prefix": "", "suffix": ""}
    link(graph, "8", "ZoomPromptList", clip=["7", 1], **prompts)
    link(graph, "9", "EmptyLatentImage", width=64, height=64, batch_size=1)
    sampling = {"seed": 1, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    sources = {"model": ["7", 0], "positive": ["8", 0], "negative": ["8", 1], "levels": ["8", 2]}
    link(graph, "10", "MultiScaleJointKSampler", latent_image=["9", 0], **sources, **sampling)
    link(graph, "11", "VAEDecode", samples=["10", 0], vae=["7", 2])
    link(graph, "12", "ZoomStackRender", images=["11", 0], blending="none", feather=0.0, zoom=2.0)
    link(graph, "13", "PreviewImage", images=["12", 1])
    page.evaluate(
        """async (graph) => {
            await window.app.loadApiJson(graph, "notes")
            window.note = (type) => window.app.graph._nodes
                .filter((node) => node.type === type)
                .map((node) => node.widgets?.find((widget) => widget.name === "$$node-text-preview")?.value ?? "")
                .join("|")
            await window.app.queuePrompt(0, 1)
        }""",
        graph,
    )
    said = {
        "ZoomStackFit": "does not show the same place",
        "ZoomStackSave": "Saved note/zoom_00001_",
        "ZoomPromptList": "does not know these words: zebra.",
        "ZoomStackRender": "levels is not connected",
    }
    for kind, words in said.items():
        page.wait_for_function(
            "([kind, words]) => window.note(kind).includes(words)", arg=[kind, words], timeout=120_000
        )
    # One's own pictures are not warned about.
    assert page.evaluate("window.note('ZoomStackRender')").startswith("|") or page.evaluate(
        "window.note('ZoomStackRender')"
    ).endswith("|")
    assert "levels is not connected" in comfy.log(200) and "zebra" in comfy.log(200)
    assert page.problems == []


@pytest.mark.parametrize("kind", ["ZoomPromptList", "ZoomStackRender", "ZoomStackFit", "ZoomPromptWriter"])
def test_a_zoom_stays_as_it_was_typed(kind, comfy_page):
    values = [2.25, 1.25, 3.33, 16, 2]
    assert comfy_page.evaluate(TYPED, [kind, "zoom", values]) == values
