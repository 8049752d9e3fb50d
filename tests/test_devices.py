"""Paths that only a GPU takes, on a second device that is the CPU under another name; the room asked for there."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from zoom_core import ZoomLevel, ZoomLevels, ZoomStack
from zoom_core.path import CameraPath
from zoom_core.view import StackRenderer

OTHER = torch.device("cpu", 0)
COUNT = 6


@pytest.fixture(scope="module")
def stack() -> ZoomStack:
    levels = ZoomLevels.uniform(COUNT)
    layers = torch.rand(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return ZoomStack(layers, levels.resolve(32, 32), levels)


@pytest.mark.parametrize("zooms", [[0, 0.5, 1, 1.5, 2.5, 3.5, 4.5, 5], [5, 4.4, 3.3, 2.2, 1.1, 0.2]], ids=["in", "out"])
def test_levels_passed_by_are_let_go_on_the_device(stack, zooms):
    """A film of 64 large levels must not end up with all of them on the GPU."""
    assert OTHER != stack.layers.device
    there, here = StackRenderer(stack, 24, 24, device=OTHER), StackRenderer(stack, 24, 24)
    held = set()
    for zoom in zooms:
        assert torch.equal(there.render(zoom), here.render(zoom))
        now = set(there._composer._levels)
        assert len(now) <= 3 and int(min(zoom, COUNT - 1)) in now
        held |= now
    assert held == set(range(COUNT)), "every level was there once"


def test_the_room_asked_for_on_a_gpu(stack, zoom_stack_pack, monkeypatch):
    import comfy.model_management
    from zoom_stack_pack.nodes.devices import render_device

    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(comfy.model_management, "get_torch_device", lambda: gpu)
    # Two levels and a frame twice (as drawn and as given), in float32, four times over.
    needed = 4 * 4 * 3 * (2 * 32 * 32 + 2 * 100 * 50)
    for free, expected in ((needed, gpu), (needed - 1, torch.device("cpu")), (0, torch.device("cpu"))):
        monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device, free=free: free)
        assert render_device(stack, 50, 100) == expected
    # A stack that lies on a device of its own is rendered there, whatever room the other one has.
    elsewhere = copy.copy(stack)
    elsewhere.layers = stack.layers.to("meta")
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device: needed)
    assert render_device(elsewhere, 50, 100) == torch.device("meta")
    monkeypatch.setattr(comfy.model_management, "get_torch_device", lambda: torch.device("cpu"))
    assert render_device(stack, 50, 100) == torch.device("cpu")


def test_the_aim_at_a_level_lies_between_those_of_its_neighbours(winding):
    path = CameraPath(winding)
    size = winding.width
    # The point that stands still in a plain zoom onto an inset alone.
    fixed = [n.left / size / (1 - n.width / size) for n in winding.insets]
    for level in range(1, len(fixed)):
        assert math.isclose(path.aim(level)[0], (fixed[level - 1] + fixed[level]) / 2, abs_tol=1e-9)
        assert math.isclose(path.aim(level - 1e-9)[0], path.aim(level)[0], abs_tol=1e-6), "no jump at a level"
    assert math.isclose(path.aim(0)[0], fixed[0]) and math.isclose(path.aim(len(fixed))[0], fixed[-1])
    assert len({round(point, 3) for point in fixed}) == len(fixed)


@pytest.fixture(scope="module")
def winding():
    places = (0.35, 0.6, 0.45, 0.55)
    return ZoomLevels([ZoomLevel(), *(ZoomLevel(zoom=4.0, center=(x, 0.5)) for x in places)]).resolve(128, 128)
