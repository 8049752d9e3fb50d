"""How the bundled workflows lie on the canvas, in both renderers of ComfyUI's real frontend."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from viewer_pages import wait_until_ready

FOLDER = Path(__file__).resolve().parent.parent / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
WIDTH, HEIGHT, TITLE = 2050, 1150, 30
# A sampler grows by its preview, and keeps the room.
PREVIEW = dict.fromkeys(("KSampler", "MultiScaleJointKSampler", "SamplerCustomAdvanced"), 215)
BOXES = """async (workflow) => {
    await window.app.loadGraphData(workflow, true, true)
    await new Promise((done) => setTimeout(done, 1500))
    return window.app.graph._nodes.map((node) => {
        const element = document.querySelector(`[data-node-id="${node.id}"]`)
        const collapsed = Boolean(node.flags.collapsed)
        return {
            name: `${node.type} ${node.id}`,
            type: node.type,
            left: node.pos[0],
            top: node.pos[1] - 30,
            width: collapsed ? 150 : Math.max(node.size[0], element?.offsetWidth ?? 0),
            height: collapsed ? 30 : Math.max(node.size[1] + 30, element?.offsetHeight ?? 0),
        }
    })
}"""


def read(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def nulls(value, path: str = "") -> list[str]:
    """Where a value holds null."""
    if value is None:
        return [path]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, member in members for place in nulls(member, f"{path}/{key}")]


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_holds_no_nulls_and_keeps_its_seed(name):
    workflow = read(name)
    assert nulls(workflow) == []
    values = [value for node in workflow["nodes"] for value in node.get("widgets_values", [])]
    assert not {"randomize", "increment", "decrement"} & {value for value in values if isinstance(value, str)}


@pytest.mark.parametrize("name", NAMES)
def test_the_film_is_saved_large(name):
    (film,) = (node for node in read(name)["nodes"] if node["type"] == "SaveVideo")
    assert film["size"][1] + TITLE >= 560


@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "vue"])
def test_nothing_overlaps_and_all_fits_a_window(vue, comfy, comfy_page):
    for file in (FOLDER / "input").iterdir():
        comfy.put_input(file.name, file.read_bytes())
    page = comfy_page
    page.evaluate(
        """async (vue) => {
            const {setting} = window.app.extensionManager
            await setting.set("Comfy.TutorialCompleted", true)
            await setting.set("Comfy.VueNodes.Enabled", vue)
        }""",
        vue,
    )
    page.reload()
    wait_until_ready(page, timeout=120_000)
    for name in NAMES:
        boxes = page.evaluate(BOXES, read(name))
        for box in boxes:
            box["height"] += PREVIEW.get(box["type"], 0)
            box["right"], box["bottom"] = box["left"] + box["width"], box["top"] + box["height"]
        assert max(box["right"] for box in boxes) - min(box["left"] for box in boxes) <= WIDTH, name
        assert max(box["bottom"] for box in boxes) - min(box["top"] for box in boxes) <= HEIGHT, name
        overlaps = [
            (one["name"], other["name"])
            for one, other in combinations(boxes, 2)
            if one["left"] < other["right"]
            and other["left"] < one["right"]
            and one["top"] < other["bottom"]
            and other["top"] < one["bottom"]
        ]
        assert overlaps == [], name
    page.evaluate("window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")
