"""Paths that only a GPU takes, on a second device that is made up; the room asked for there."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scenes import random_levels
from second_device import GPU, SecondDevice

from zoom_core import ZoomLevel, ZoomLevels, ZoomStack
from zoom_core.alignment import align_levels, compare_levels, comparison_picture
from zoom_core.insets import fill_insets
from zoom_core.path import CameraPath, _pull, _Segment
from zoom_core.seams import fuse
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


@pytest.mark.parametrize("zoom", [1.2, 2.2])
def test_levels_of_a_turned_view_stay_on_the_device(stack, zoom):
    there = StackRenderer(stack, 24, 24, device=OTHER)
    for angle in (20.0, 45.0):
        there.render(zoom, roll=angle)
        assert set(there._composer._levels) == {int(zoom) - 1, int(zoom), int(zoom) + 1}


def test_the_second_device_refuses_what_a_gpu_refuses():
    with SecondDevice() as device:
        there = torch.ones(4).to(GPU)
        assert there.device == GPU and torch.equal((there[1:] + 1).cpu(), torch.full((3,), 2.0))
        with pytest.raises(RuntimeError, match="expected all tensors on one device"):
            there + torch.ones(4)
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
    assert 16 <= device.peak <= 64


def at_zoom(zoom: float, count: int) -> tuple[torch.Tensor, object]:
    geometry = ZoomLevels.uniform(count, zoom).resolve(80, 96)
    # Levels that nearly fit, one of them moved: so that there is something to align.
    images = fill_insets(random_levels(geometry), geometry)
    images[1] = 0.9 * images[1].roll((2, -2), (-2, -1))
    return images, geometry


def aligned(images, geometry, device=None):
    images, geometry, fits = align_levels(images, geometry, device=device)
    return images, torch.tensor([list(inset) for inset in geometry.steps]), torch.tensor([f.colour for f in fits])


LEVEL_BY_LEVEL = {
    "fuse at borders": lambda images, geometry, device=None: fuse(images, geometry, device=device),
    "fuse as the paper": lambda images, geometry, device=None: fuse(
        images, geometry, "multi-resolution", device=device
    ),
    "fuse, average": lambda images, geometry, device=None: fuse(images, geometry, "average", device=device),
    "fill": lambda images, geometry, device=None: fill_insets(images.clone(), geometry, device),
    "stack": lambda images, geometry, device=None: (
        ZoomStack(images, geometry, ZoomLevels.uniform(len(images)), device).layers
    ),
    "align": aligned,
    "check": lambda images, geometry, device=None: torch.tensor(
        [[*fit.shift, fit.scale, fit.likeness, *fit.colour] for fit in compare_levels(images, geometry, device=device)]
    ),
    "picture": lambda images, geometry, device=None: torch.from_numpy(
        comparison_picture(images, geometry, device=device)
    ),
}


@pytest.mark.parametrize("zoom", [1.25, 2.0, 2.7])
@pytest.mark.parametrize("name", LEVEL_BY_LEVEL)
def test_levels_are_worked_on_one_by_one_on_a_gpu(name, zoom, zoom_stack_pack):
    """The same result as on the processor, where the pictures are, and no more on the device for more levels."""
    from zoom_stack_pack.nodes.devices import LEVELS_AT_ONCE

    peaks = []
    for count in (3, 6):
        images, geometry = at_zoom(zoom, count)
        here = LEVEL_BY_LEVEL[name](images, geometry)
        with SecondDevice() as device:
            there = LEVEL_BY_LEVEL[name](images, geometry, GPU)
        torch.testing.assert_close(there, here, rtol=0, atol=0)
        peaks.append(device.peak / (4 * images[0].numel()))
    assert 1 <= peaks[1] <= peaks[0] + 0.1 and max(peaks) <= LEVELS_AT_ONCE


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_circles_are_fused_on_a_gpu(closed):
    levels = ZoomLevels.uniform(5, 2.0, closed)
    geometry = levels.resolve(48, 48)
    images = random_levels(geometry)
    for method in ("border", "multi-resolution", "average"):
        here = fuse(images, geometry, method)
        with SecondDevice():
            assert torch.equal(fuse(images, geometry, method, device=GPU), here)


@pytest.mark.parametrize("roll", [0.0, 25.0])
@pytest.mark.parametrize("fit", ["crop", "fit", "dome"])
def test_a_gpu_draws_the_same_views(stack, fit, roll):
    """In the larger tiles that it is given."""
    here = StackRenderer(stack, 40, 56, fit)
    with SecondDevice() as device:
        there = StackRenderer(stack, 40, 56, fit, GPU)
        for zoom in (0.0, 0.6, 2.0, 3.7, 5.0):
            torch.testing.assert_close(there.render(zoom, roll=roll), here.render(zoom, roll=roll), rtol=0, atol=1e-6)
            difference = there.frame(zoom, roll=roll).astype(int) - here.frame(zoom, roll=roll)
            assert np.abs(difference).max() <= 1
    assert device.peak > 0


def test_nodes_fuse_check_and_view_on_the_gpu_with_room(zoom_stack_pack, monkeypatch):
    import comfy.model_management
    from zoom_stack_pack.nodes import alignment as alignment_node
    from zoom_stack_pack.nodes import stack as stack_node

    images = random_levels(ZoomLevels.uniform(3).resolve(64, 64)).movedim(1, -1)

    def run_all() -> list[torch.Tensor]:
        stack, shown = stack_node.ZoomStackRender.execute([images], ["border"], [20.0], [2.0]).args
        picture = stack_node.ZoomStackView.execute(stack, 1.3, 40, 40).args[0]
        checked = alignment_node.ZoomStackFit.execute([images], [2.0], [True], [True]).args
        return [shown, picture, checked[0], checked[2]]

    here = run_all()
    monkeypatch.setattr(comfy.model_management, "get_torch_device", lambda: GPU)
    for free, used in ((2**40, True), (0, False)):
        monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device, free=free: free)
        with SecondDevice() as device:
            there = run_all()
        assert (device.peak > 0) == used
        for a, b in zip(there, here):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_the_room_asked_for_on_a_gpu(stack, zoom_stack_pack, monkeypatch):
    import comfy.model_management
    from zoom_stack_pack.nodes.devices import LEVELS_AT_ONCE, levels_device, render_device

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
    needed = LEVELS_AT_ONCE * 4 * 3 * 32 * 32
    for free, expected in ((needed, gpu), (needed - 1, torch.device("cpu"))):
        monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device, free=free: free)
        assert levels_device(stack.layers) == expected
    monkeypatch.setattr(comfy.model_management, "get_torch_device", lambda: torch.device("cpu"))
    assert render_device(stack, 50, 100) == levels_device(stack.layers) == torch.device("cpu")


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


def test_the_aim_turns_without_a_kink(winding):
    path = CameraPath(winding)
    for level in range(1, len(winding.insets)):
        for before, after in ((level - 1e-3, level - 1e-9), (level, level + 1e-3)):
            assert abs(path.aim(after)[0] - path.aim(before)[0]) < 2e-5


def test_turns_are_as_long_as_the_frame_allows():
    scale, fixed, enter, leave = 0.25, 0.02, 0.6, 0.9

    def leaves_the_frame(turn: float) -> bool:
        by_enter, by_leave = (_pull(scale, turn, 1.0, entering) for entering in (True, False))
        whole = 1 - scale
        cruise = (fixed * whole - enter * by_enter - leave * by_leave) / (whole - by_enter - by_leave)
        segment = _Segment(scale, fixed, enter, leave, cruise, turn)
        return any(not -1e-9 <= segment._free_start(t) <= 1 - scale**t + 1e-9 for t in np.linspace(0, 1, 65))

    longest = next(turn for turn in np.linspace(0.5, 0.001, 500) if not leaves_the_frame(turn))
    assert longest < 0.5
    assert 0.74 * longest < _Segment.solve(scale, fixed, enter, leave).turn < 1.01 * longest


@pytest.fixture(scope="module")
def winding():
    places = (0.35, 0.6, 0.45, 0.55)
    return ZoomLevels([ZoomLevel(), *(ZoomLevel(zoom=4.0, center=(x, 0.5)) for x in places)]).resolve(128, 128)
