"""What the viewer's node writes for the browser, and that the browser's geometry is zoom_core's."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import GEOMETRIES, consistent_levels

from zoom_core import ZoomLevel, ZoomLevels, ZoomStack
from zoom_core.path import CameraPath
from zoom_core.web_levels import MAX_SIDE, describe, level_webp

VIEWER = Path(__file__).resolve().parent.parent / "web" / "viewer"
VIEWS = """
import {StackGeometry} from %s;
const cases = JSON.parse(await new Promise((done) => {
    let text = ""; process.stdin.on("data", (part) => text += part).on("end", () => done(text)); }));
console.log(JSON.stringify(cases.map(({stack, zooms}) => {
    const geometry = new StackGeometry(stack);
    return zooms.map((zoom) => {
        const {level, middle: [x, y], size: [width, height]} = geometry.filled(geometry.onPath(zoom), geometry.pixels);
        return {level, left: x - width / 2, top: y - height / 2, width, height};
    });
})));
"""


def stack_of(geometry, prompts=None) -> ZoomStack:
    prompts = prompts or [f"level {i}" for i in range(len(geometry))]
    return ZoomStack(consistent_levels(geometry), geometry, ZoomLevels(ZoomLevel(prompt) for prompt in prompts))


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32) / 255


def test_lossless_levels_are_the_layers_to_the_bit():
    layer = stack_of(GEOMETRIES["72 x 128"]).layers[2]
    np.testing.assert_array_equal(decoded(level_webp(layer, 100)) * 255, layer.mul(255).round().movedim(0, -1).numpy())


def test_the_default_quality_is_near_the_layer_and_much_smaller():
    with Image.open(VIEWER.parents[1] / "workflows" / "input" / "zoom-3-coast.jpg") as picture:
        layer = torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32) / 255).movedim(-1, 0)
    data = level_webp(layer)
    assert abs(decoded(data) - layer.movedim(0, -1).numpy()).mean() < 2 / 255
    assert len(data) < 0.5 * len(level_webp(layer, 100))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_and_alpha_become_colour(channels):
    layer = torch.rand(channels, 8, 12)
    expected = layer.expand(3, -1, -1) if channels == 1 else layer[:3]
    np.testing.assert_allclose(decoded(level_webp(layer, 100)), expected.movedim(0, -1), atol=0.5 / 255 + 1e-6)


def test_large_levels_are_reduced_and_keep_their_shape():
    layer = torch.full((3, 100, 400), 0.25)
    assert decoded(level_webp(layer, 100, 64)).shape == (16, 64, 3)
    assert decoded(level_webp(torch.zeros(3, 2, 400), 90, 64)).shape == (1, 64, 3)


@pytest.mark.parametrize(("quality", "side"), [(0, 64), (101, 64), (90.0, 64), (90, 8), (90, MAX_SIDE + 1)])
def test_bad_settings_name_the_input(quality, side):
    with pytest.raises(ValueError, match="quality" if side == 64 else "largest_side"):
        level_webp(torch.zeros(3, 8, 8), quality, side)


def test_the_description_holds_sizes_insets_and_any_prompt():
    strange = ["<script>alert(1)</script>", "\"quotes\" & 'more'", "🌌 مرحبا", "x" * 10_000]
    stack = stack_of(GEOMETRIES["off-centre"], strange)
    description = json.loads(json.dumps(describe(stack)))
    assert [level["prompt"] for level in description["levels"]] == strange
    assert (description["width"], description["height"]) == (48, 48)
    assert [tuple(inset) for inset in description["insets"]] == CameraPath(stack.geometry).insets
    assert describe(stack, 24)["width"] == 24


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs Node.js to run the viewer's geometry (the browser tests run it as well)")
    return found


def test_the_browser_sees_what_the_camera_path_sees(node):
    random_ = random.Random(5)
    stacks = [stack_of(geometry) for geometry in GEOMETRIES.values()]
    # An endless zoom goes round: beyond its last level comes the first again.
    circle = ZoomLevels([ZoomLevel(zoom=3, center=(0.4, 0.55)), ZoomLevel(zoom=2), ZoomLevel(zoom=4)], loop=True)
    stacks.append(ZoomStack(torch.rand(3, 3, 48, 48), circle.resolve(48, 48), circle))
    zooms = [[random_.uniform(0, len(s) - 1) for _ in range(20)] + list(range(len(s))) for s in stacks]
    zooms[-1] += [2.1, 2.5, 2.999]
    cases = [{"stack": describe(stack), "zooms": values} for stack, values in zip(stacks, zooms)]
    script = VIEWS % json.dumps((VIEWER / "geometry.mjs").as_uri())
    done = subprocess.run(
        [node, "--input-type=module", "-e", script], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    for stack, values, views in zip(stacks, zooms, json.loads(done.stdout)):
        path = CameraPath(stack.geometry)
        for zoom, view in zip(values, views):
            expected = path.view(zoom)._asdict()
            assert view["level"] == expected["level"]
            assert all(math.isclose(view[key], expected[key], abs_tol=1e-12) for key in expected), (zoom, view)


def test_a_node_writes_its_levels_and_then_says_where(comfy):
    picture = np.linspace(0, 1, 32 * 48 * 3, dtype=np.float32).reshape(32, 48, 3)
    name = comfy.put_input("viewer.png", picture)
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 3}},
        "3": {
            "class_type": "ZoomStackRender",
            "inputs": {"images": ["2", 0], "blending": "none", "feather": 0.0, "zoom": 2.0},
        },
        "4": {"class_type": "ZoomStackViewer", "inputs": {"stack": ["3", 0], "quality": 100}},
        "5": {"class_type": "ZoomStackView", "inputs": {"stack": ["4", 0], "zoom": 2.0, "width": 48, "height": 32}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "seen"}},
    }
    result = comfy.run(graph)
    (shown,) = result.outputs["4"]["zoom_stack"]
    assert shown["type"] == "temp"
    description = json.loads(comfy.client.view(shown))
    assert [description["width"], description["height"], len(description["levels"])] == [48, 32, 3]
    pictures = [decoded(comfy.client.view({**shown, "filename": level["file"]})) for level in description["levels"]]
    np.testing.assert_allclose(pictures[2], result.images("6")[0], atol=1.01 / 255)
    assert abs(pictures[0] - picture).max() < 1, "the levels are pictures of the input"


def test_another_run_gets_another_name(comfy):
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 7}},
        "2": {
            "class_type": "ZoomStackRender",
            "inputs": {"images": ["1", 0], "blending": "none", "feather": 0.0, "zoom": 2.0},
        },
        "3": {"class_type": "ZoomStackViewer", "inputs": {"stack": ["2", 0], "quality": 80}},
    }
    first = comfy.run(graph).outputs["3"]["zoom_stack"][0]
    graph["3"]["inputs"]["quality"] = 81
    assert comfy.run(graph).outputs["3"]["zoom_stack"][0]["subfolder"] != first["subfolder"]
