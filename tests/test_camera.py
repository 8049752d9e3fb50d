"""The camera: where it is at every frame, checked without a pixel."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from zoom_core import Geometry, Inset, ZoomLevel, ZoomLevels
from zoom_core.camera import DIRECTIONS, EASINGS, Camera
from zoom_core.path import CameraPath

CENTRED = ZoomLevels.uniform(6).resolve(512, 512)
WANDERING = ZoomLevels(
    [
        ZoomLevel(),
        ZoomLevel(zoom=2, center=(0.3, 0.7)),
        ZoomLevel(zoom=4, center=(0.8, 0.2)),
        ZoomLevel(zoom=1.333, center=(0.45, 0.6)),
        ZoomLevel(zoom=10, center=(0.06, 0.93)),
        ZoomLevel(zoom=2.5, center=(0.5, 0.5)),
    ]
).resolve(480, 640)
CORNERS = ZoomLevels(
    [
        ZoomLevel(),
        *(ZoomLevel(zoom=2, center=c) for c in [(0.25, 0.25), (0.75, 0.75), (0.75, 0.25), (0.5, 0.5), (0.26, 0.74)]),
    ]
).resolve(512, 512)
DEEP = ZoomLevels([ZoomLevel()] + [ZoomLevel(zoom=4, center=(0.4, 0.65))] * 63).resolve(1024, 1024)
ALL = {"centred": CENTRED, "wandering": WANDERING, "corners": CORNERS, "deep": DEEP}


def place_in(path: CameraPath, zoom: float, level: int) -> np.ndarray:
    """(left, top, width, height) of the view at `zoom` in the frame of a level at most its own."""
    view = path.view(zoom)
    place = np.array(view[1:])
    for i in range(view.level - 1, level - 1, -1):
        left, top, width, height = path.insets[i]
        place = np.array([left + place[0] * width, top + place[1] * height, place[2] * width, place[3] * height])
    return place


@pytest.mark.parametrize("name", ALL)
def test_view_is_the_whole_level_at_whole_zooms_and_arrives_there(name):
    geometry = ALL[name]
    path = CameraPath(geometry)
    for level in range(len(geometry)):
        assert path.view(level)[1:] == (0.0, 0.0, 1.0, 1.0)
    for level in range(len(geometry) - 1):
        assert np.allclose(path.view(level + 1 - 1e-9)[1:], path.insets[level], atol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_view_stays_inside_its_level(name):
    path = CameraPath(ALL[name])
    for zoom in np.linspace(0, path.levels - 1, 1500):
        view = path.view(zoom)
        assert view.level == min(int(zoom), path.levels - 1)
        assert view.left >= 0 and view.top >= 0
        assert view.left + view.width <= 1 + 1e-12 and view.top + view.height <= 1 + 1e-12


@pytest.mark.parametrize("name", ALL)
def test_velocity_is_continuous_through_all_levels(name):
    """The drift of the view, in views per unit of log zoom, from finite differences of its place."""
    path = CameraPath(ALL[name])

    def drift(zoom: float, step: float) -> np.ndarray:
        level = min(int(min(zoom, zoom + step)), path.levels - 2)
        a, b = place_in(path, zoom, level), place_in(path, zoom + step, level)
        middle = 0.5 * ((a[:2] + 0.5 * a[2:]) - (b[:2] + 0.5 * b[2:])) / (0.5 * (a[2:] + b[2:]))
        return 2 * middle / (math.copysign(1, step) * abs(np.log(a[2:] / b[2:])))

    for level in range(1, path.levels - 1):
        assert np.allclose(drift(level, -1e-4), drift(level, 1e-4), atol=2e-3), level


def test_wandering_camera_would_jump_without_its_turns():
    """The fixed points of neighbouring segments differ: the test above has something to find."""
    path = CameraPath(WANDERING)
    fixed = [(left / (1 - width), top / (1 - height)) for left, top, width, height in path.insets]
    assert max(math.dist(a, b) for a, b in zip(fixed, fixed[1:])) > 0.5


def test_centred_camera_only_scales():
    path = CameraPath(CENTRED)
    for zoom in np.linspace(0, 4.99, 77):
        view = path.view(zoom)
        assert view.left == pytest.approx((1 - view.width) / 2, abs=1e-14)
        assert view.width == pytest.approx(2.0 ** -(zoom - view.level), rel=1e-14)


def test_deep_levels_lose_no_precision():
    """Every level of this zoom looks alike, so 10^36 deep the view must be what it was at the top."""
    path = CameraPath(DEEP)
    for t in (0.1, 0.5, 0.93):
        assert path.view(60 + t)[1:] == pytest.approx(path.view(30 + t)[1:], abs=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_linear_speed_is_constant_in_log_zoom(name):
    camera = Camera(ALL[name], fps=30, seconds_per_level=1)
    passed = np.concatenate([[0], np.cumsum(camera.path.log_zooms)])
    depth = [np.interp(camera.zoom(i), np.arange(len(passed)), passed) for i in range(len(camera))]
    steps = np.diff(depth)
    assert steps.max() / steps.min() < 1 + 1e-6


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_one_way_begins_and_ends_on_the_levels(direction, easing):
    camera = Camera(WANDERING, 24, 0.5, direction, easing, hold_start=0.25, hold_end=0.5)
    zooms = [camera.zoom(i) for i in range(len(camera))]
    assert len(zooms) == 6 + 5 * 12 + 1 + 12
    ends = (0.0, 5.0) if direction == "in" else (5.0, 0.0)
    assert zooms[:7] == [ends[0]] * 7 and zooms[-13:] == [ends[1]] * 13
    steps = np.diff(zooms) * (1 if direction == "in" else -1)
    assert (steps >= -1e-12).all() and (steps[6:-12] > 0).all()


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("direction", ["in-out", "out-in"])
@pytest.mark.parametrize("holds", [(0, 0), (0.5, 0.25)])
def test_there_and_back_is_one_period(direction, easing, holds):
    camera = Camera(CENTRED, 20, 1, direction, easing, *holds)
    zooms = [camera.zoom(i) for i in range(len(camera))]
    assert len(zooms) == 2 * 100 + 20 * sum(holds)
    looped = zooms + zooms[:1]
    still = sum(a == b for a, b in itertools.pairwise(looped))
    assert still == 20 * sum(holds), "no frame may come twice but in the holds"
    start, turn = int(20 * holds[0]), int(20 * holds[1])
    out, back = zooms[start : start + 101], zooms[start + 100 + turn :] + zooms[:1]
    assert out == back[::-1], "the way back passes the same places"


def test_whole_levels_are_hit_exactly():
    camera = Camera(ZoomLevels.uniform(64, 4.0).resolve(64, 64), fps=30, seconds_per_level=1.1)
    assert [camera.zoom(33 * k) for k in range(64)] == list(range(64))


def test_long_films_are_counted_as_they_are():
    """63 levels of ten minutes at 15 frames a second; there and back would be more than a million frames."""
    geometry = ZoomLevels.uniform(64).resolve(64, 64)
    camera = Camera(geometry, 15, 600)
    assert len(camera) == 567_001 and camera.zoom(567_000) == 63.0 and camera.zoom(9000 * 5) == 5.0
    with pytest.raises(ValueError, match="more than 1000000 frames"):
        Camera(geometry, 15, 600, "in-out")


def test_one_level_is_a_still():
    geometry = ZoomLevels.uniform(1).resolve(64, 64)
    assert len(Camera(geometry)) == 1
    camera = Camera(geometry, fps=10, hold_start=1, hold_end=2, direction="in-out")
    assert [camera.zoom(i) for i in range(len(camera))] == [0.0] * 30


def test_duration_follows_seconds_per_level():
    assert Camera(CENTRED, 30, 2.0).duration == pytest.approx(10 + 1 / 30)
    assert Camera(CENTRED, 30, 2.0, "in-out").duration == pytest.approx(20)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"fps": 0}, "fps must be"),
        ({"fps": math.nan}, "fps must be"),
        ({"seconds_per_level": -1}, "seconds_per_level must be"),
        ({"hold_end": -0.5}, "hold_end must be"),
        ({"direction": "up"}, "direction must be one of in, out"),
        ({"easing": "bouncy"}, "easing must be one of linear"),
        ({"fps": 240, "seconds_per_level": 600, "hold_start": 1e6}, "more than"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        Camera(CENTRED, **given)


def test_refuses_frames_and_zooms_outside():
    camera = Camera(CENTRED)
    with pytest.raises(IndexError):
        camera.zoom(len(camera))
    for zoom in (-0.1, 5.1, math.nan):
        with pytest.raises(ValueError, match="zoom must be from 0 to 5"):
            camera.path.view(zoom)


def test_insets_that_touch_a_border_are_reached_exactly():
    geometry = Geometry(100, 100, (Inset(0, 50, 50, 50), Inset(50, 0, 50, 50), Inset(10, 20, 50, 50)))
    path = CameraPath(geometry)
    for level in (1, 2, 3):
        assert np.allclose(path.view(level - 1e-9)[1:], path.insets[level - 1], atol=1e-7)


def test_directions_and_easings_have_their_ends():
    assert DIRECTIONS == ("in", "out", "in-out", "out-in")
    for ease in EASINGS.values():
        values = [ease(u) for u in np.linspace(0, 1, 101)]
        assert values[0] == pytest.approx(0) and values[-1] == pytest.approx(1)
        assert (np.diff(values) > 0).all()


def test_soft_ends_speed_up_over_a_seventh_of_the_way():
    speed = np.diff([EASINGS["soft ends"](u) for u in np.linspace(0, 1, 1001)])
    full = speed[500]
    assert np.allclose(speed[150:850], full, rtol=1e-9)
    assert speed[0] < 0.01 * full and 0.9 * full < speed[130] < 0.99 * full
