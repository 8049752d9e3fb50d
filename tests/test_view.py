"""Views against the exact picture of a scene that is known at every zoom."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks import measure
from benchmarks.plane_waves import PlaneWaves, frames
from benchmarks.world_scene import WorldScene
from zoom_core import Geometry, ZoomLevel, ZoomLevels
from zoom_core.compose import RAMP
from zoom_core.path import CameraPath
from zoom_core.resample import TAPS, Workspace, axis_tiles, draw, kernel
from zoom_core.stack import ZoomStack
from zoom_core.stream import stream_frames
from zoom_core.view import StackRenderer, render_view


def scene_stack(levels: ZoomLevels, height: int, width: int, channels: int = 1) -> tuple[PlaneWaves, ZoomStack]:
    geometry = levels.resolve(height, width)
    depth = 1 / frames(geometry)[-1][2]
    scene = PlaneWaves(depth, max(height, width))
    layers = torch.from_numpy(scene.levels(geometry)).float()[:, None].repeat(1, channels, 1, 1)
    return scene, ZoomStack(layers, geometry, levels)


def exact_view(
    scene: PlaneWaves | WorldScene, geometry: Geometry, zoom: float, height: int, width: int, **turned
) -> np.ndarray:
    """The crop that fills height x width, from the scene itself."""
    view = CameraPath(geometry).view(zoom)
    left, top, wide, high = frames(geometry)[view.level]
    left, top = left + view.left * wide, top + view.top * high
    wide, high = view.width * wide, view.height * high
    aspect = (width * geometry.height) / (height * geometry.width)
    share_x, share_y = min(1, aspect), min(1, 1 / aspect)
    return scene.picture(
        left + wide * (1 - share_x) / 2,
        top + high * (1 - share_y) / 2,
        wide * share_x,
        high * share_y,
        width,
        height,
        **turned,
    )


OFF_CENTRE = ZoomLevels(
    [ZoomLevel(), ZoomLevel(zoom=2, center=(0.3, 0.7)), ZoomLevel(zoom=2.5, center=(0.65, 0.3)), ZoomLevel(zoom=2)]
)


@pytest.fixture(scope="module")
def centred() -> tuple[PlaneWaves, ZoomStack]:
    return scene_stack(ZoomLevels.uniform(4), 256, 256)


@pytest.mark.parametrize("size, mean, worst", [(256, 40, 36), (128, 43, 40)])
def test_quality_on_a_known_scene(centred, size, mean, worst):
    scene, stack = centred
    values = [
        measure.psnr(
            render_view(stack, z, size, size)[0].numpy(), exact_view(scene, stack.geometry, z, size, size).clip(0, 1)
        )
        for z in np.linspace(0, 3, 37)
    ]
    assert np.mean(values) > mean and min(values) > worst


@pytest.fixture(scope="module")
def world() -> tuple[WorldScene, ZoomStack]:
    levels = ZoomLevels.uniform(4)
    geometry = levels.resolve(128, 128)
    scene = WorldScene(4, 2.0, 128, seed=3, start=6.0)
    return scene, ZoomStack(torch.from_numpy(scene.levels(geometry)).float().movedim(-1, 1), geometry, levels)


@pytest.mark.parametrize("size, mean, worst", [(128, 40, 36), (64, 43, 40)])
def test_quality_on_the_procedural_world(world, size, mean, worst):
    scene, stack = world
    assert stack.layers.std() > 0.15  # a scene with something in it
    values = [
        measure.psnr(
            render_view(stack, z, size, size).movedim(0, -1).numpy(),
            exact_view(scene, stack.geometry, z, size, size).clip(0, 1),
        )
        for z in np.linspace(0, 3, 37)
    ]
    assert np.mean(values) > mean and min(values) > worst


def test_motion_is_smooth_to_a_hundredth_of_a_pixel(centred):
    scene, stack = centred
    zooms = np.arange(0.5, 2.5, 0.05)
    places = np.array(
        [
            measure.displacements(
                render_view(stack, z, 256, 256)[0].numpy().astype(np.float64),
                exact_view(scene, stack.geometry, z, 256, 256),
            )
            for z in zooms
        ]
    )
    figures = measure.motion(places, 256, np.log(2) * 0.05)
    assert figures["speed p99/p1"] < 1.02
    assert figures["corner jitter px"] < 0.02
    assert figures["centre step px"] < 0.02


def test_displacements_are_measured():
    """The measure itself: a picture moved by a known fraction of a pixel is found to be."""
    scene = PlaneWaves(2, 256)
    exact = scene.picture(0.2, 0.2, 0.5, 0.5, 256, 256)
    moved = scene.picture(0.2 - 0.1 * 0.5 / 256, 0.2 + 0.05 * 0.5 / 256, 0.5, 0.5, 256, 256)
    assert np.allclose(measure.displacements(moved, exact), [0.1, -0.05], atol=0.01)


def test_crossing_a_level_shows_no_step(centred):
    stack = centred[1]
    assert measure.crossing_change(lambda z: render_view(stack, z, 256, 256).numpy(), 2, 1 / 60) < 0.03


@pytest.fixture(scope="module")
def steep() -> ZoomStack:
    """Zoom 4: between two levels the outer one lacks up to two octaves of what the inner one shows."""
    return scene_stack(ZoomLevels.uniform(3, 4.0), 256, 256)[1]


def square_step(stack: ZoomStack, t: float, ramp: float) -> float:
    """Bits by which the finest detail rises across the border of level 1, `t` beyond level 0."""
    picture = StackRenderer(stack, 256, 256, ramp=ramp).render(t)[0].numpy()
    inner = 4 ** (t - 1)
    return measure.border_step(picture, 128 * (1 - inner), 128 * (1 + inner))


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_a_level_is_no_square_of_sharper_detail(steep, t):
    assert abs(square_step(steep, t, RAMP)) < 0.6


def test_without_the_ramp_it_would_be(steep):
    assert square_step(steep, 0.75, 0.0) > 1.5


def test_the_ramp_leaves_no_pop_at_a_level(steep):
    def change(ramp: float) -> float:
        renderer = StackRenderer(steep, 256, 256, ramp=ramp)
        return measure.crossing_change(lambda z: renderer.render(z).numpy(), 1, 1 / 60)

    assert change(RAMP) < max(1.3 * change(0.0), 0.03)


def test_the_ramp_is_off_where_levels_have_pixels_enough(steep):
    """A quarter of the levels' size: the outer level resolves all that the output shows, at every zoom."""
    with_ramp, without = (StackRenderer(steep, 64, 64, ramp=ramp) for ramp in (RAMP, 0.0))
    for zoom in (0.0, 0.3, 0.9, 1.5):
        assert torch.equal(with_ramp.render(zoom), without.render(zoom))


def test_the_ramp_changes_fine_detail_alone(steep):
    """Means over blocks as wide as two of the outer level's pixels stay what they are."""
    with_ramp, without = (StackRenderer(steep, 256, 256, ramp=ramp).render(0.5) for ramp in (RAMP, 0.0))
    difference = with_ramp - without
    assert difference.abs().max() > 0.02
    coarse = torch.nn.functional.avg_pool2d(difference[None], 8)
    assert coarse.std() < 0.12 * difference[difference != 0].std()


@pytest.mark.parametrize("height, width", [(256, 320), (144, 256), (300, 200)])
def test_off_centre_fractional_zooms_and_other_aspect_ratios(height, width):
    scene, stack = scene_stack(OFF_CENTRE, 256, 320)
    for zoom in (0, 0.4, 0.95, 1.0, 1.3, 1.8, 2.5, 3.0):
        value = measure.psnr(
            render_view(stack, zoom, height, width)[0].numpy(),
            exact_view(scene, stack.geometry, zoom, height, width).clip(0, 1),
        )
        assert value > 34, (zoom, value)


@pytest.mark.parametrize("zoom_factor", [1.333, 2.5, 10])
def test_any_zoom_factor(zoom_factor):
    scene, stack = scene_stack(ZoomLevels.uniform(3, zoom_factor), 240, 240)
    for zoom in (0.02, 0.3, 1.0, 1.2):
        value = measure.psnr(
            render_view(stack, zoom, 240, 240)[0].numpy(), exact_view(scene, stack.geometry, zoom, 240, 240).clip(0, 1)
        )
        assert value > (25 if zoom_factor == 10 else 36), (zoom, value)


def test_whole_zooms_show_the_levels_themselves(centred):
    stack = centred[1]
    for level in range(4):
        view = render_view(stack, level, 256, 256)
        assert (view - stack.layers[level].clamp(0, 1)).abs().max() < 2e-3
    assert (render_view(stack, 3, 256, 256) - stack.layers[3].clamp(0, 1)).abs().mean() < 1e-4


def test_level_60_of_a_zoom_by_4_is_like_level_1():
    """The same picture at every level: only lost precision could tell them apart."""
    geometry = ZoomLevels.uniform(64, 4).resolve(64, 64)
    generator = torch.Generator().manual_seed(0)
    layer = torch.rand(1, 3, 64, 64, generator=generator)
    stack = ZoomStack(layer.repeat(64, 1, 1, 1), geometry, ZoomLevels.uniform(64, 4))
    for t in (0.0, 0.37, 0.9):
        assert (render_view(stack, 58 + t, 96, 96) - render_view(stack, 1 + t, 96, 96)).abs().max() < 1e-4


def test_flat_colours_stay_flat():
    levels = ZoomLevels.uniform(3, 2.5)
    colour = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    stack = ZoomStack(colour.expand(3, 3, 50, 70), levels.resolve(50, 70), levels)
    for zoom in np.linspace(0, 2, 9):
        assert (render_view(stack, zoom, 64, 64) - colour[0]).abs().max() < 1e-5


def test_frames_are_the_views_rounded(centred):
    stack = scene_stack(ZoomLevels.uniform(3), 128, 128, channels=3)[1]
    for fit in ("crop", "fit"):
        renderer = StackRenderer(stack, 90, 160, fit)
        for zoom in (0.0, 0.7, 1.0, 1.9, 2.0):
            view = renderer.render(zoom).movedim(0, -1).numpy()
            assert np.abs(renderer.frame(zoom) / 255 - view).max() <= 0.5 / 255 + 1e-6
            assert np.abs(renderer.frame(zoom, bits=16) / 65535 - view).max() <= 0.5 / 65535 + 1e-6


@pytest.mark.parametrize("roll", [7.0, -45.0, 90.0, 200.0])
@pytest.mark.parametrize("height, width", [(256, 256), (128, 200)])
def test_a_turned_view_is_what_a_turned_camera_sees(centred, roll, height, width):
    """Its corners too, which lie in the level around: nothing is left black or repeated."""
    scene, stack = centred
    renderer = StackRenderer(stack, height, width, ramp=0.0)
    for zoom in (1.0, 1.3, 2.8):
        exact = exact_view(scene, stack.geometry, zoom, height, width, roll=roll).clip(0, 1)
        assert measure.psnr(renderer.render(zoom, roll=roll)[0].numpy(), exact) > 36, zoom


def test_turning_a_little_changes_a_little(centred):
    """The upright renderer and the turning one meet: no step where a roll begins."""
    renderer = StackRenderer(centred[1], 200, 200)
    for zoom in (0.0, 0.6, 1.0, 1.7):
        upright, turned = renderer.render(zoom), renderer.render(zoom, roll=1e-4)
        assert measure.psnr(turned.numpy(), upright.numpy()) > 46, zoom


def test_turning_is_steady_across_a_level(centred):
    renderer = StackRenderer(centred[1], 160, 160)
    change = measure.crossing_change(lambda z: renderer.render(z, roll=20 * z).numpy(), 2, 1 / 60)
    assert change < 0.03


def test_a_turned_view_of_the_outermost_level_stays_inside_it():
    """A frame of bright pixels around dark ones: at a corner that stuck out, they would be repeated."""
    layer = torch.full((1, 1, 100, 140), 0.25)
    layer[:, :, 3:-3, 3:-3] = 0.75
    levels = ZoomLevels.uniform(1)
    stack = ZoomStack(layer, levels.resolve(100, 140), levels)
    for roll in (3.0, 30.0, 90.0, 135.0):
        view = StackRenderer(stack, 100, 140).render(0.0, roll=roll)[0]
        dark = (view < 0.5).float()
        assert dark.mean() < 0.1 and 0 < dark.sum(), roll
        assert dark[20:-20, 20:-20].sum() == 0, roll


def test_off_centre_levels_turn_about_the_middle_of_the_view():
    scene, stack = scene_stack(OFF_CENTRE, 256, 320)
    for zoom in (1.2, 1.8, 2.5):
        exact = exact_view(scene, stack.geometry, zoom, 160, 200, roll=-25.0).clip(0, 1)
        view = StackRenderer(stack, 160, 200, ramp=0.0).render(zoom, roll=-25.0)[0].numpy()
        assert measure.psnr(view, exact) > 34, zoom


def test_blocks_of_a_turned_view_do_not_show(centred, monkeypatch):
    whole = StackRenderer(centred[1], 150, 220).render(1.4, roll=33)
    monkeypatch.setattr("zoom_core.view._BLOCK", 64)
    blocks = StackRenderer(centred[1], 150, 220).render(1.4, roll=33)
    assert measure.psnr(blocks.numpy(), whole.numpy()) > 46
    assert torch.equal(
        StackRenderer(centred[1], 150, 220).render(1.4, roll=360), render_view(centred[1], 1.4, 150, 220)
    )


def dome_exact(scene: PlaneWaves, geometry: Geometry, zoom: float, size: int) -> np.ndarray:
    """What points of a dome's picture show: the scene where a stereographic projection puts them, through
    the mean of the pixel's own footprint there."""
    view = CameraPath(geometry).view(zoom)
    left, top, wide, high = frames(geometry)[view.level]
    centre = left + (view.left + view.width / 2) * wide, top + (view.top + view.height / 2) * high
    pixel = view.width * wide / size
    x = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(x, x)
    angle = np.hypot(x, y) / size * np.pi  # from the zenith, 90 degrees at the rim
    radius = size / 2 * np.tan(angle / 2)
    u, v = (axis / np.maximum(np.hypot(x, y), 1e-9) * radius for axis in (x, y))
    along = np.pi / 4 / np.cos(angle / 2) ** 2
    across = radius / np.maximum(np.hypot(x, y), 1e-9)
    fx, fy = scene._fx * pixel, scene._fy * pixel
    picture = np.full(x.shape, 0.5)
    for wave in np.flatnonzero(np.hypot(fx, fy) < 2.5):
        cosine = (fx[wave] * x + fy[wave] * y) / np.maximum(np.hypot(x, y), 1e-9)
        power = fx[wave] ** 2 + fy[wave] ** 2
        seen = np.exp(-0.5 * np.pi**2 * ((along * cosine) ** 2 + across**2 * (power - cosine**2)))
        phase = 2 * np.pi * (fx[wave] * u + fy[wave] * v + scene._fx[wave] * centre[0] + scene._fy[wave] * centre[1])
        picture += scene._amplitude * seen * np.cos(phase + scene._phase[wave])
    return np.where(np.hypot(x, y) < size / 2 - 1, picture, np.nan)


def test_a_dome_shows_the_view_up_to_the_horizon(centred):
    scene, stack = centred
    size = 160
    renderer = StackRenderer(stack, size, size, "dome", ramp=0.0)
    for zoom in (0.0, 1.4):
        exact = dome_exact(scene, stack.geometry, zoom, size).clip(0, 1)
        inside = ~np.isnan(exact)
        assert inside.mean() > 0.75
        assert measure.psnr(renderer.render(zoom)[0].numpy()[inside], exact[inside]) > 34, zoom
    picture = renderer.render(1.4)
    x = np.arange(size) + 0.5 - size / 2
    distance = np.hypot(x, x[:, None])
    assert (picture[:, distance > size / 2 + 0.5] == 0).all() and (picture[:, distance < size / 2 - 0.5] > 0).all()


def test_a_dome_turns_about_its_middle_and_fits_any_output(centred, monkeypatch):
    renderer = StackRenderer(centred[1], 100, 160, "dome")
    picture = renderer.render(1.3)
    assert (picture[:, :, :30] == 0).all() and (picture[:, :, -30:] == 0).all()
    turned = renderer.render(1.3, roll=90)
    middle = slice(30, 130)
    assert (turned[:, :, middle].rot90(1, (1, 2)) - picture[:, :, middle]).abs().mean() < 2e-3
    monkeypatch.setattr("zoom_core.view._BLOCK", 48)
    assert (StackRenderer(centred[1], 100, 160, "dome").render(1.3) - picture).abs().mean() < 2e-3


@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("fit", ["crop", "fit", "dome"])
def test_tiny_levels_and_outputs_give_pictures(side, fit):
    """Also where a place lies a rounding error below a sample, as for some of these."""
    levels = ZoomLevels.uniform(2 if side > 1 else 1)
    layers = torch.rand(len(levels), 3, side, side, generator=torch.Generator().manual_seed(0))
    stack = ZoomStack(layers, levels.resolve(side, side), levels)
    for height, width in ((1, 1), (2, 7), (64, 64), (3, 200)):
        renderer = StackRenderer(stack, height, width, fit)
        for roll in (0.0, 30.0, 90.0, -179.9):
            view = renderer.render(0.4 * (len(levels) - 1), roll=roll)
            assert view.shape == (3, height, width) and 0 <= view.min() and view.max() <= 1
            assert view.amax() > 0.1


def test_tiles_do_not_show(centred):
    """Large tiles, as on a GPU, give the same picture as the small ones of a processor."""
    stack = centred[1]
    small, large = StackRenderer(stack, 200, 200), StackRenderer(stack, 200, 200)
    large._composer._tile, large._composer._strip = 256, 512
    for zoom in (0.0, 0.2, 0.93, 1.5, 2.999):
        assert (small.render(zoom) - large.render(zoom)).abs().max() < 1e-5


def test_fit_shows_all_between_bars(centred):
    stack = centred[1]
    view = render_view(stack, 0.5, 100, 200, fit="fit")
    assert (view[:, :, :50] == 0).all() and (view[:, :, 150:] == 0).all()
    assert (view[:, :, 50:150] - render_view(stack, 0.5, 100, 100)).abs().max() < 1e-6


def test_stream_gives_the_frames_in_order_and_holds_them_once(centred):
    stack = centred[1]
    zooms = [0.0, 0.0, 0.3, 0.6, 0.6, 0.9, 1.2, 1.5]
    renderer = StackRenderer(stack, 64, 64)
    streamed = list(stream_frames(stack, iter(zooms), 64, 64, workers=3))
    assert all(np.array_equal(a, renderer.frame(z)) for a, z in zip(streamed, zooms, strict=True))
    assert streamed[0] is streamed[1] and streamed[3] is streamed[4]


def test_stream_renders_only_a_little_ahead(centred):
    taken = []

    def zooms():
        for i in range(1000):
            taken.append(i)
            yield i / 1000

    frames_ = stream_frames(centred[1], zooms(), 32, 32, workers=2)
    for _ in range(10):
        next(frames_)
    frames_.close()
    assert len(taken) <= 14


def test_stream_hands_on_errors(centred):
    with pytest.raises(ValueError, match="zoom must be from 0 to 3"):
        list(stream_frames(centred[1], [0.0, 9.0], 32, 32))


def test_rendering_leaves_torch_threads_as_they_were(centred):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(stream_frames(centred[1], [0.0, 0.5, 1.0], 32, 32, workers=2))
        render_view(centred[1], 0.5, 32, 32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("step", [0.05, 0.3, 0.5, 0.71, 0.9, 1.0, 1.4, 1.999, 2.0, 3.7, 16.0])
def test_kernel_keeps_place_and_brightness(step):
    weights = kernel(step).astype(np.float64)
    taps = weights.shape[1]
    phase = np.arange(len(weights)) / (len(weights) - 1)
    offset = np.arange(taps) - (taps // 2 - 1)
    assert np.allclose(weights.sum(1), 1, atol=1e-6)
    assert np.abs(weights @ offset - phase).max() < 0.03
    assert np.allclose(weights[-1][1:], weights[0][:-1], atol=0.02 if taps == TAPS else 1e-3), (
        "no jump from pixel to pixel"
    )


def test_kernel_blurs_by_what_the_pixels_lack():
    for step in (2.0, 4.0, 9.5):
        weights = kernel(step)[0].astype(np.float64)
        offset = np.arange(len(weights)) - (len(weights) // 2 - 1)
        assert weights @ offset**2 == pytest.approx(0.25 * (step**2 - 1), rel=0.02)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"zoom": 3.5}, "zoom must be from 0 to 3"),
        ({"height": 0}, "height must be a whole number of at least 1, got 0"),
        ({"width": 7.5}, "width must be a whole number"),
        ({"fit": "stretch"}, "fit must be one of crop, fit, dome"),
        ({"roll": math.inf}, "roll must be a finite number of degrees, got inf"),
        ({"ramp": 0.6}, "ramp must be from 0 to 0.5, got 0.6"),
        ({"ramp": float("nan")}, "ramp must be from 0 to 0.5, got nan"),
    ],
)
def test_refuses(centred, given, message):
    arguments = {"zoom": 0.0, "height": 8, "width": 8} | given
    with pytest.raises(ValueError, match=message):
        zoom, roll = arguments.pop("zoom"), arguments.pop("roll", 0.0)
        StackRenderer(centred[1], **arguments).render(zoom, roll=roll)


def test_taps_enter_and_leave_without_a_jump():
    for step in (0.2, 0.5, 1.0):
        assert np.abs(np.diff(kernel(step), axis=0))[:, [0, -1]].max() < 2e-4


def test_what_the_samples_cannot_tell_is_not_guessed():
    assert np.array_equal(kernel(0.1), kernel(0.5)) and not np.array_equal(kernel(0.5), kernel(0.6))


def test_a_slow_camera_moves_at_every_frame():
    """Places between two rows of the table of weights are places, too."""
    layer = torch.arange(64.0).expand(1, 8, 64).contiguous()
    step, cpu = 1 / 320, torch.device("cpu")
    rows, columns = axis_tiles(3.0, 1.0, 8, (0, 1), 64, cpu, False), axis_tiles(20.3, step, 64, (0, 200), 64, cpu, True)
    row = torch.zeros(1, 1, 200)
    draw(layer, rows, columns, row, Workspace(cpu))
    moved = np.diff(row.numpy().ravel()) / step
    assert 0.8 < moved.min() and moved.max() < 1.2
