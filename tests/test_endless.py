"""Endless zooms: the innermost level holds level 0 again, and everything works round the circle."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors import safe_open
from scenes import consistent_levels, random_levels

from zoom_core import (
    Geometry,
    Inset,
    LevelConstraint,
    ZoomLevel,
    ZoomLevels,
    ZoomStack,
    blend,
    consolidate,
    parse_prompts,
    render_image,
    render_noise,
)
from zoom_core.alignment import align_levels, compare_levels
from zoom_core.pairs import pairs
from zoom_core.seams import feather_seams, fuse

PLACES = [(0.3, 0.6), (0.55, 0.45), (0.68, 0.4), (0.5, 0.5)]


def circle(count: int, zoom: float, height: int, width: int, off_centre: bool = False) -> Geometry:
    places = PLACES if off_centre else PLACES[-1:]
    levels = [ZoomLevel(zoom=zoom, center=places[i % len(places)]) for i in range(count)]
    return ZoomLevels(levels, loop=True).resolve(height, width)


GEOMETRIES = {
    "whole 4": circle(4, 4, 64, 64),
    "whole 2": circle(6, 2, 64, 64),
    "three levels": circle(3, 4, 48, 64),
    "off-centre": circle(8, 2, 48, 48, True),
    "fractional": circle(8, 1.7, 33, 40, True),
    "scaled": circle(6, 2.5, 16, 16, True).scaled(50, 41),
    "shows itself": circle(3, 2, 64, 64),
}
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


def unrolled(geometry: Geometry, turns: int) -> Geometry:
    """The circle as an open stack of so many turns."""
    return Geometry(geometry.height, geometry.width, (geometry.steps * turns)[:-1])


def turned(geometry: Geometry, by: int) -> Geometry:
    """The same circle told from another level on."""
    steps = geometry.steps[by:] + geometry.steps[:by]
    return Geometry(geometry.height, geometry.width, steps[:-1], steps[-1])


def misfit(images: torch.Tensor, geometry: Geometry) -> float:
    """The largest difference between an inset and what is to be seen in it, closing step included."""
    steps = pairs(geometry)
    assert [(p.outer, p.inner) for p in steps] == [(i, (i + 1) % len(geometry)) for i in range(len(geometry))]
    return max(float((p.crop(images[p.outer]) - p.reduce(images[p.inner])).abs().max()) for p in steps)


def test_level_zero_says_where_it_lies_in_the_innermost_level():
    levels = ZoomLevels([ZoomLevel(zoom=4, center=(0.25, 0.5)), ZoomLevel(zoom=2)], loop=True)
    geometry = levels.resolve(32, 64)
    assert (levels.loop, levels[0].zoom, levels[0].center) == (True, 4.0, (0.25, 0.5))
    assert geometry.closing == Inset(12, 8, 8, 16) and geometry.closed
    assert geometry.insets == (Inset(8, 16, 16, 32),) and len(geometry) == 2
    assert geometry.scaled(64, 128).closing == Inset(24, 16, 16, 32)
    assert ZoomLevels.uniform(3, 3, loop=True)[0].zoom == 3
    assert not ZoomLevels.uniform(3).loop and not ZoomLevels.uniform(3).resolve(8, 8).closed


def test_prompts_describe_the_closing_step():
    plain = parse_prompts("a\nb\nc", zoom=3, loop=True)
    assert [(level.zoom, level.center) for level in plain] == [(3.0, (0.5, 0.5))] * 3
    own = parse_prompts('[{"prompt": "a", "zoom": 5, "center": [0.2, 0.8]}, "b"]', zoom=3, loop=True)
    assert (own[0].zoom, own[0].center) == (5.0, (0.2, 0.8))
    assert parse_prompts('[{"prompt": "a", "zoom": 5, "center": [0.2, 0.8]}, "b"]', zoom=3)[0].zoom == 1.0


@pytest.mark.parametrize(
    "levels, message",
    [
        ([ZoomLevel()], "loop needs at least 2 levels, got 1"),
        ([ZoomLevel(zoom=1.0), ZoomLevel()], "level 0: zoom must be from 1.25 to 16, got 1"),
        (
            [ZoomLevel(zoom=2, center=(0.1, 0.5)), ZoomLevel()],
            "level 0: center x = 0.1 puts part of the inset outside the innermost level, which holds it in a loop",
        ),
    ],
)
def test_a_closing_step_that_does_not_fit_is_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        ZoomLevels(levels, loop=True)


def test_open_and_closed_are_not_mixed():
    levels = ZoomLevels.uniform(3, loop=True)
    with pytest.raises(ValueError, match="loop is True, the geometry is open"):
        levels.with_geometry(ZoomLevels.uniform(3).resolve(16, 16))
    with pytest.raises(ValueError, match="loop of levels is False, the geometry is closed"):
        ZoomStack(torch.zeros(3, 3, 16, 16), levels.resolve(16, 16), ZoomLevels.uniform(3))
    with pytest.raises(ValueError, match="an endless zoom needs at least 2 levels"):
        Geometry(8, 8, (), Inset(2, 2, 4, 4))
    with pytest.raises(ValueError, match="inset 1 must lie inside 8 x 8"):
        Geometry(8, 8, (Inset(2, 2, 4, 4),), Inset(6, 2, 4, 4))


def test_json_keeps_the_circle():
    levels = ZoomLevels([ZoomLevel("a", zoom=3, center=(0.4, 0.6)), ZoomLevel("b")], loop=True)
    for given in (levels, levels.with_geometry(levels.resolve(9, 16).scaled(40, 77))):
        again = ZoomLevels.from_json(json.loads(json.dumps(given.to_json())))
        assert again == given and again.loop
    assert again != ZoomLevels(list(levels))
    with pytest.raises(ValueError, match="loop must be true or false, got 1"):
        ZoomLevels.from_json({**levels.to_json(), "loop": 1})


@every_geometry
def test_rendered_levels_agree_all_the_way_round(geometry):
    layers = random_levels(geometry)
    images = render_image(layers, geometry)
    assert misfit(layers, geometry) > 0.1
    assert misfit(images, geometry) < 1e-5
    torch.testing.assert_close(render_image(images, geometry), images, atol=1e-5, rtol=0)


@every_geometry
def test_a_circle_is_an_open_stack_that_goes_on(geometry):
    turns, count = 4 + 20 // len(geometry), len(geometry)
    layers = random_levels(geometry)
    long = render_image(layers.repeat(turns, 1, 1, 1), unrolled(geometry, turns))
    torch.testing.assert_close(render_image(layers, geometry), long[:count], atol=1e-5, rtol=0)


@every_geometry
@pytest.mark.parametrize("method", ["multi-resolution", "none"])
def test_levels_that_agree_are_left_alone(geometry, method):
    images = consistent_levels(geometry)
    torch.testing.assert_close(consolidate(images, geometry, method), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(blend(images, geometry, method), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["border", "average"])
@pytest.mark.parametrize("name", ["whole 4", "whole 2", "off-centre"])
def test_no_level_is_special(name, method):
    """Blended from whichever level on, the circle gives the same pictures but for traces of the start."""
    geometry = GEOMETRIES[name]
    images, by = random_levels(geometry), len(geometry) // 2
    change = (blend(images, geometry, method) - images).abs().max()
    again = blend(images.roll(-by, 0), turned(geometry, by), method).roll(by, 0)
    assert float((again - blend(images, geometry, method)).abs().max()) < 0.06 * float(change)
    rendered = render_image(images.roll(-by, 0), turned(geometry, by)).roll(by, 0)
    torch.testing.assert_close(rendered, render_image(images, geometry), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "geometry",
    [
        circle(4, 2, 16, 16),
        circle(3, 4, 16, 12),
        circle(6, 2, 12, 16, True),
        circle(5, 2.5, 13, 16, True),
        circle(7, 1.7, 12, 12),
        circle(5, 2.5, 4, 4, True).scaled(10, 11),
    ],
    ids=["whole 2", "whole 4", "off-centre", "fractional", "small steps", "scaled"],
)
def test_noise_of_every_level_is_exactly_white(geometry):
    """As an operator: the covariance of each level's pixels is the identity."""
    count, height, width = len(geometry), geometry.height, geometry.width
    size = height * width
    # One channel for every independent number that goes in.
    inputs = torch.eye(count * size, dtype=torch.float64).view(count * size, count, height, width).movedim(0, 1)
    outputs = render_noise(inputs, geometry).flatten(2)
    for level in outputs:
        torch.testing.assert_close(level.T @ level, torch.eye(size, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["whole 4", "whole 2", "off-centre", "fractional"])
def test_noise_agrees_round_the_circle_but_for_the_pixels_that_hold_everything(name):
    geometry = GEOMETRIES[name]
    noise = torch.randn(len(geometry), 4, geometry.height, geometry.width, generator=torch.Generator().manual_seed(3))
    rendered = render_noise(noise, geometry)
    for p in pairs(geometry):
        off = (p.crop(rendered[p.outer]) - p.reduce_noise(rendered[p.inner])).abs().amax(0) > 0.02
        assert int(off.sum()) <= 16 < off.numel() / 10


def test_noise_goes_round_as_far_as_it_shows():
    """What is left out of a pixel is less than 1/1024 of its variance."""
    geometry = circle(16, 2, 16, 16)
    noise = torch.randn(16, 1000, 16, 16, generator=torch.Generator().manual_seed(4))
    rendered = render_noise(noise, geometry)
    for p in pairs(geometry):
        off = (p.crop(rendered[p.outer]) - p.reduce_noise(rendered[p.inner])).square().mean(0)
        assert float(off.max()) < 1 / 1024


@pytest.mark.parametrize(
    "count, zoom, size, wanted", [(3, 2, 64, 6), (5, 2, 64, 6), (2, 4, 64, 3), (5, 2.5, 128, 6), (4, 1.25, 16, 10)]
)
def test_noise_needs_levels_enough(count, zoom, size, wanted):
    noise = torch.zeros(count, 1, size, size)
    message = f"endless zoom of {count} levels .* the {size} pixels .* at least {wanted} levels"
    with pytest.raises(ValueError, match=message):
        render_noise(noise, circle(count, zoom, size, size))
    enough = circle(wanted, zoom, size, size)
    if zoom in (2, 4):
        assert render_noise(torch.zeros(wanted, 1, size, size), enough).shape[0] == wanted


def test_fused_pictures_meet_at_the_closing_step_too():
    geometry = circle(4, 4, 64, 64, True)
    images = consistent_levels(geometry)
    torch.testing.assert_close(fuse(images, geometry), images, atol=2e-5, rtol=0)
    tinted = images.clone()
    tinted[0] += 0.2

    def border_step(levels: torch.Tensor, outer: int) -> float:
        p = pairs(geometry)[outer]
        difference = (p.crop(levels[outer]) - p.reduce(levels[p.inner])).mean(0).abs()
        return float(torch.cat([difference[0], difference[-1], difference[:, 0], difference[:, -1]]).mean())

    fused = fuse(tinted.clamp(0, 1), geometry)
    assert border_step(tinted, 3) > 0.15 and border_step(tinted, 0) > 0.15
    for outer in range(4):
        assert border_step(fused, outer) < 0.015


@pytest.mark.parametrize("name", ["whole 4", "whole 2", "off-centre"])
def test_seams_have_no_special_level_either(name):
    geometry = GEOMETRIES[name]
    images, by = random_levels(geometry), len(geometry) // 2
    feathered = feather_seams(images.clone(), geometry)
    again = feather_seams(images.roll(-by, 0), turned(geometry, by)).roll(by, 0)
    assert (feathered - images).abs().max() > 0.1
    torch.testing.assert_close(again, feathered, atol=1e-5, rtol=0)


def test_a_photograph_is_seen_in_the_levels_before_and_after_it():
    geometry = GEOMETRIES["whole 4"]
    truth = consistent_levels(geometry, seed=1)
    estimates = random_levels(geometry, seed=2)
    for level in (0, 2):
        images = LevelConstraint(truth[level], geometry, level).project(estimates)
        around, inside = pairs(geometry)[level - 1], pairs(geometry)[level]
        torch.testing.assert_close(images[level], truth[level], atol=1e-5, rtol=0)
        torch.testing.assert_close(around.crop(images[around.outer]), around.reduce(truth[level]), atol=1e-5, rtol=0)
        seen, shown = inside.reduce(images[inside.inner]), inside.crop(truth[level])
        assert float((seen - shown).abs().mean()) < 0.01
        kept = LevelConstraint(truth[level], geometry, level).project(truth)
        torch.testing.assert_close(kept, truth, atol=1e-5, rtol=0)


def test_stack_files_keep_the_circle(tmp_path):
    levels = ZoomLevels([ZoomLevel(f"level {i}", zoom=2, center=PLACES[i]) for i in range(4)], loop=True)
    geometry = levels.resolve(32, 32)
    stack = ZoomStack(random_levels(geometry), geometry, levels)
    stack.save(tmp_path / "circle.safetensors")
    again = ZoomStack.load(tmp_path / "circle.safetensors")
    assert again.geometry == geometry and again.levels == levels and again.levels.loop
    assert float((again.layers - stack.layers).abs().max()) < 1 / 2000
    with safe_open(tmp_path / "circle.safetensors", framework="pt") as file:
        assert file.metadata()["format_version"] == "2"
    plain = ZoomLevels.uniform(2)
    ZoomStack(torch.zeros(2, 3, 8, 8), plain.resolve(8, 8), plain).save(tmp_path / "open.safetensors")
    with safe_open(tmp_path / "open.safetensors", framework="pt") as file:
        assert file.metadata()["format_version"] == "1"


def test_the_layers_of_a_stack_agree_at_the_closing_step():
    levels = ZoomLevels.uniform(4, 4, loop=True)
    geometry = levels.resolve(64, 64)
    stack = ZoomStack(random_levels(geometry), geometry, levels)
    last = pairs(geometry)[3]
    shown, seen = last.crop(stack.layers[3]), last.reduce(stack.layers[0])
    # Two pixel models: alike, not equal.
    assert float(torch.corrcoef(torch.stack([shown.flatten(), seen.flatten()]))[0, 1]) > 0.95
    again = ZoomStack(stack.layers, geometry, levels).layers
    torch.testing.assert_close(again, stack.layers, atol=1e-5, rtol=0)


def test_the_closing_step_is_checked_and_aligned():
    levels = ZoomLevels.uniform(3, 2, loop=True)
    geometry = levels.resolve(96, 96)
    wrong = Geometry(96, 96, geometry.insets, Inset(28, 24, 48, 48))
    images = render_image(random_levels(geometry, seed=5), geometry)
    assert [(fit.outer, fit.inner, fit.verdict) for fit in compare_levels(images, geometry)] == [
        (0, 1, "fits"),
        (1, 2, "fits"),
        (2, 0, "fits"),
    ]
    found = compare_levels(images, wrong)[2]
    assert math.hypot(found.shift[0], found.shift[1] - 4) < 0.5
    pictures, aligned, _ = align_levels(images, wrong, match_colour=False)
    assert aligned.closing == pytest.approx(geometry.closing, abs=0.3)
    torch.testing.assert_close(pictures[0], images[0])
