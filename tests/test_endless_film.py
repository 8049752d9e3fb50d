"""Films of endless zooms: once round, and the next round begins without a jump."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks import measure
from benchmarks.plane_waves import OCTAVE_CONTRAST, WAVES_PER_OCTAVE, PlaneWaves, frames
from zoom_core import Geometry, ZoomLevel, ZoomLevels, ZoomStack
from zoom_core.camera import Camera, Motion
from zoom_core.path import CameraPath
from zoom_core.view import StackRenderer

SIZE = 160
PLACES = [(0.35, 0.6), (0.6, 0.42), (0.5, 0.5), (0.64, 0.36)]


def circle(off_centre: bool, zooms=(2.0, 2.0, 2.5, 2.0, 2.5)) -> ZoomLevels:
    levels = [
        ZoomLevel(zoom=zoom, center=PLACES[i % len(PLACES)] if off_centre else (0.5, 0.5))
        for i, zoom in enumerate(zooms)
    ]
    return ZoomLevels(levels, loop=True)


class EndlessWaves(PlaneWaves):
    """A scene that shows itself where a closed geometry's circle comes round: waves of zero phase at the
    point that the circle keeps, whose frequencies repeat with the circle's magnification."""

    def __init__(self, geometry: Geometry, seed: int = 1):
        generator = np.random.default_rng(seed)
        left, top, width, height = 0.0, 0.0, 1.0, 1.0
        for inset in geometry.steps:
            left += width * inset.left / geometry.width
            top += height * inset.top / geometry.height
            width *= inset.width / geometry.width
            height *= inset.height / geometry.height
        self.kept = left / (1 - width), top / (1 - height)
        octaves = -math.log2(width)
        count = int(octaves * WAVES_PER_OCTAVE)
        once = 2.0 ** ((np.arange(count) + generator.random(count)) * octaves / count)
        direction = generator.random(count) * 2 * np.pi
        turns = 2.0 ** (octaves * np.arange(-3, 4))[:, None]
        self._fx, self._fy = ((turns * once * f(direction)).ravel() for f in (np.cos, np.sin))
        self._phase = -2 * np.pi * (self._fx * self.kept[0] + self._fy * self.kept[1]) - np.pi / 2
        self._amplitude = OCTAVE_CONTRAST * np.sqrt(2 / WAVES_PER_OCTAVE)


@pytest.fixture(scope="module", params=[False, True], ids=["centred", "off-centre"])
def endless(request) -> tuple[EndlessWaves, ZoomStack]:
    levels = circle(request.param)
    geometry = levels.resolve(SIZE, SIZE)
    scene = EndlessWaves(geometry)
    layers = torch.from_numpy(scene.levels(geometry)).float()[:, None]
    return scene, ZoomStack(layers, geometry, levels)


@pytest.fixture(scope="module")
def stack(endless) -> ZoomStack:
    return endless[1]


@pytest.mark.parametrize("zoom", [0.0, 0.07, 0.5, 3.6, 4.3, 4.93])
def test_the_film_shows_the_scene_that_goes_round(endless, zoom):
    """Also across the closing step, where level 0 lies in the innermost level."""
    scene, stack = endless
    view = CameraPath(stack.geometry).view(zoom)
    left, top, width, height = frames(stack.geometry)[view.level]
    place = left + view.left * width, top + view.top * height, view.width * width, view.height * height
    exact = scene.picture(*place, SIZE, SIZE).clip(0, 1)
    assert measure.psnr(StackRenderer(stack, SIZE, SIZE, ramp=0.0).render(zoom)[0].numpy(), exact) > 35


@pytest.mark.parametrize("direction", ["in", "out"])
def test_the_first_frame_follows_the_last_as_any_other(stack, direction):
    """The change at the seam is within 3 % of the changes around it."""
    camera = Camera(stack.geometry, 60, 1.0, direction)
    assert len(camera) == 300
    renderer = StackRenderer(stack, SIZE, SIZE)
    around = [renderer.render(camera.zoom(i % 300)).clone() for i in range(296, 305)]
    changes = np.array([float((b - a).square().mean().sqrt()) for a, b in zip(around, around[1:])])
    assert abs(changes[3] / np.mean([changes[1], changes[2], changes[4], changes[5]]) - 1) < 0.03, changes


@pytest.mark.parametrize("direction", ["in", "out"])
def test_speed_is_constant_in_log_zoom_round_the_circle(direction):
    camera = Camera(circle(True).resolve(96, 96), 60, 1.0, direction)
    passed = np.concatenate([[0], np.cumsum(camera.path.log_zooms)])
    depth = np.array([np.interp(camera.zoom(i), np.arange(len(passed)), passed) for i in range(len(camera))])
    steps = np.diff(np.append(depth, depth[0])) % passed[-1]
    steps = steps if direction == "in" else passed[-1] - steps
    assert steps.max() / steps.min() < 1 + 1e-6


def test_velocity_is_continuous_through_the_closing_step():
    """The point that stands still, as the path tells it and as differences of the view's place find it."""
    path = CameraPath(circle(True).resolve(480, 480))

    for level in range(path.levels):
        at, after = (np.array(path.view(zoom)[1:]) for zoom in (float(level), level + 1e-4))
        # start(after) - start(at) = -aim * (size(after) - size(at))
        ahead = (after[:2] - at[:2]) / (at[2:] - after[2:])
        before, at = (np.array(view[1:]) for view in (path.view(level - 1e-4), path.outward(path.view(float(level)))))
        # In the frame outside, where both lie: the point of the view that both see at the same place.
        behind = (at[:2] - before[:2]) / (before[2:] - at[2:])
        assert np.allclose(ahead, behind, atol=2e-3), level
        assert np.allclose(ahead, path.aim(level), atol=2e-3), level


def test_any_zoom_leads_somewhere(stack):
    renderer = StackRenderer(stack, 64, 80)
    for zoom in (0.0, 0.4, 4.7):
        view = renderer.render(zoom)
        for turns in (-2, 1, 40):
            # 200 levels on, a number of levels has 14 digits left behind the point.
            assert (renderer.render(zoom + 5 * turns) - view).abs().max() < 1e-4
    with pytest.raises(ValueError, match="zoom must be a finite number of levels, got inf"):
        renderer.render(math.inf)


def test_the_seam_of_the_circle_is_no_other_than_its_levels(stack):
    """Told from another level on, the same circle shows the same pictures."""
    geometry = stack.geometry
    steps = geometry.steps[2:] + geometry.steps[:2]
    turned_geometry = type(geometry)(SIZE, SIZE, steps[:-1], steps[-1])
    turned = ZoomStack(stack.layers.roll(-2, 0), turned_geometry, circle(False))
    for zoom in (0.3, 2.6, 4.5):
        a, b = StackRenderer(stack, 64, 64).render(zoom), StackRenderer(turned, 64, 64).render((zoom - 2) % 5)
        assert (a - b).abs().max() < 2e-3, zoom


@pytest.mark.parametrize("zoom", [0.0, 0.1, 4.95])
def test_a_turned_view_sees_the_innermost_levels_around_level_0(stack, zoom):
    """Nothing is moved or made smaller to fit, as at the outermost level of an open zoom: turned back
    and forth, the middle is the same."""
    renderer = StackRenderer(stack, 80, 80)
    upright, turned = renderer.render(zoom), renderer.render(zoom, roll=90)
    assert (turned.rot90(1, (1, 2)) - upright).abs().mean() < 8e-3
    assert (turned.rot90(-1, (1, 2)) - upright).abs().mean() > 0.04


def test_roll_comes_out_at_whole_turns():
    geometry = circle(False).resolve(96, 96)
    for roll, whole in ((50, 360), (5, 360), (-110, -720)):
        camera = Camera(geometry, 60, 1.0, motion=Motion(roll=roll))
        assert camera.roll(150) == pytest.approx(whole / 2) and camera.roll(299) == pytest.approx(whole * 299 / 300)
    there_and_back = Camera(geometry, 60, 1.0, "in-out", motion=Motion(roll=10))
    assert there_and_back.roll(300) == pytest.approx(50)


def test_rests_lie_between_rounds():
    camera = Camera(circle(False).resolve(96, 96), 10, 1.0, hold_start=0.5, hold_end=0.3)
    zooms = [camera.zoom(i) for i in range(len(camera))]
    assert len(zooms) == 50 + 5 + 3 and zooms[:6] == [0.0] * 6 and zooms[-3:] == [0.0] * 3
    assert min(zooms[6:-3]) > 0
