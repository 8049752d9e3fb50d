"""Blending and consolidation: fixed points, bands, and what plain averaging gets wrong."""

from __future__ import annotations

import math

import pytest
import torch
from scenes import GEOMETRIES, centroid, consistent_levels, dot, random_levels, uniform

from zoom_core import IterativeUpdate, ZoomLevel, ZoomLevels, axes, blend, consolidate, downscale, render_image
from zoom_core.axes import Axis
from zoom_core.blending import METHODS

PAPER = "multi-resolution"
geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


def fine_band(image: torch.Tensor, zoom: int) -> torch.Tensor:
    """What an image holds beyond its own downscaled version."""
    coarse = downscale(image, image.shape[-2] // zoom, image.shape[-1] // zoom)
    return image - coarse.repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)


@pytest.mark.parametrize("method", ["border", PAPER])
@geometries
def test_consistent_levels_are_a_fixed_point(geometry, method):
    images = consistent_levels(geometry)
    torch.testing.assert_close(render_image(blend(images, geometry, method, 6.0), geometry), images, atol=1e-5, rtol=0)
    result = images
    for _ in range(50):
        result = consolidate(result, geometry, method, length=6.0)
    torch.testing.assert_close(result, images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["border", PAPER])
@geometries
def test_consolidated_levels_agree_at_once(geometry, method):
    """One step is enough: a second one finds nothing to change."""
    once = consolidate(random_levels(geometry), geometry, method, length=6.0)
    torch.testing.assert_close(consolidate(once, geometry, method, length=6.0), once, atol=1e-5, rtol=0)


@pytest.mark.parametrize("zoom", [2, 4])
def test_averaging_blurs_where_blending_does_not(zoom):
    """Band energy of perfectly good levels: ours keeps all of it, the average loses most of it."""
    geometry = uniform(4, zoom, 64, 64)
    images = consistent_levels(geometry)
    ours = blend(images, geometry, PAPER)
    average = blend(images, geometry, "average")
    for level in range(1, 4):
        energy, kept, lost = (fine_band(x[level], zoom).square().mean() for x in (images, ours, average))
        assert float(kept / energy) == pytest.approx(1, abs=1e-4)
        # The mean over level + 1 observations, of which only one has this band (its expansion predicts some).
        assert float(lost / energy) < 0.85 / (level + 1)


@pytest.mark.parametrize("zoom", [2, 3, 4])
def test_low_bands_meet_between_and_the_finest_is_the_fine_levels_alone(zoom):
    geometry = uniform(2, zoom, 48, 48)
    coarse, fine = random_levels(geometry, seed=1)[0], random_levels(geometry, seed=2)[1]
    top, left, height, width = map(int, geometry.insets[0])
    layers = blend(torch.stack([coarse, fine]), geometry, PAPER)
    low = downscale(layers[1], height, width)
    seen = coarse[:, top : top + height, left : left + width]
    torch.testing.assert_close(low, (seen + downscale(fine, height, width)) / 2, atol=1e-5, rtol=0)
    # A dot that no pixel further out sees: it lies in the finest band alone.
    detail = torch.randn(48, 48, generator=torch.Generator().manual_seed(5))
    detail -= axes.expand(downscale(detail[None], height, width), *(Axis.of_resize(48, n) for n in (height, width)))[0]
    with_detail = blend(torch.stack([coarse, fine + detail]), geometry, PAPER)[1]
    torch.testing.assert_close(with_detail - layers[1], detail.expand(3, 48, 48), atol=1e-5, rtol=0)


def test_a_constant_band_is_the_mean_of_all_levels_that_see_it():
    geometry = uniform(4, 2, 32, 32)
    values = torch.tensor([0.1, 0.9, 0.4, 0.2])
    images = values[:, None, None, None].expand(4, 1, 32, 32).contiguous()
    layers = blend(images, geometry, PAPER)
    for i in range(4):
        inner = layers[i, 0, 8:24, 8:24] if i == 0 else layers[i, 0]
        torch.testing.assert_close(inner, values[: i + 1].mean().expand_as(inner), atol=1e-5, rtol=0)
    average = blend(images, geometry, "average")
    torch.testing.assert_close(average[3, 0], values.mean().expand(32, 32), atol=1e-5, rtol=0)


def test_levels_that_see_less_than_a_pixel_do_not_count():
    geometry = uniform(12, 2, 16, 16)
    images = torch.zeros(12, 1, 16, 16)
    images[11] = 1
    # Level 11 is 16 pixels wide in itself, then 8, 4, 2 and 1 further out: five levels see it.
    torch.testing.assert_close(blend(images, geometry, PAPER)[11, 0], torch.full((16, 16), 1 / 5), atol=1e-5, rtol=0)


def test_bands_count_the_levels_that_resolve_them():
    """Detail of one octave on the innermost of three levels: its finest octave is its own alone, the next
    is shared by two, the coarsest by three."""
    geometry = uniform(3, 2, 64, 64)
    weights = []
    for block in (1, 2, 4):
        # Of one frequency; what the outer levels' pixels lose of a checkerboard's edges is the fine level's own.
        wave = torch.cos(math.pi / block * (torch.arange(64) + 0.5 - block / 2))
        wave /= wave.square().mean().sqrt()
        checker = wave[:, None] * wave
        images = torch.zeros(3, 1, 64, 64)
        images[2, 0] = checker
        result = blend(images, geometry, PAPER)[2, 0]
        # Share of the pattern that is left, away from the borders.
        inner = slice(16, 48)
        weights.append(float((result * checker)[inner, inner].mean()))
    assert weights[0] == pytest.approx(1, abs=1e-4)
    assert weights[1] == pytest.approx(1 / 2, abs=0.02)
    assert weights[2] == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("zoom", [1.25, 1.7, 2, 2.5, 3, 4])
@pytest.mark.parametrize("scaled", [False, True])
def test_what_an_outer_level_adds_lands_where_the_geometry_says(zoom, scaled):
    levels = ZoomLevels([ZoomLevel(), ZoomLevel(zoom=zoom, center=(0.5, 0.5) if zoom < 1.5 else (0.45, 0.55))])
    geometry = levels.resolve(120, 120)
    if scaled:
        geometry = geometry.scaled(143, 131)
    inset = geometry.insets[0]
    y, x = inset.top + 0.45 * inset.height + 0.2, inset.left + 0.53 * inset.width - 0.1
    images = torch.zeros(2, 1, geometry.height, geometry.width, dtype=torch.float64)
    images[0, 0] = dot(geometry.height, geometry.width, y, x, sigma=2)
    row, column = centroid(blend(images, geometry, PAPER)[1, 0])
    scale_y, scale_x = geometry.height / inset.height, geometry.width / inset.width
    # 0.01 of the outer level's pixels.
    assert row / scale_y == pytest.approx((y - inset.top), abs=0.01)
    assert column / scale_x == pytest.approx((x - inset.left), abs=0.01)


def test_no_blending_only_renders():
    geometry = GEOMETRIES["whole 2"]
    images = random_levels(geometry)
    assert torch.equal(blend(images, geometry, "none"), images)
    assert torch.equal(consolidate(images, geometry, "none"), render_image(images, geometry))


def test_one_level_comes_back_as_it_is():
    geometry = uniform(1, 2, 9, 7)
    images = random_levels(geometry)
    for method in METHODS:
        assert torch.equal(consolidate(images, geometry, method, length=3.0), images)


def test_sixty_four_levels():
    geometry = uniform(64, 1.5, 24, 24)
    images = random_levels(geometry)
    result = consolidate(images, geometry)
    assert result.isfinite().all()
    torch.testing.assert_close(consolidate(result, geometry), result, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    geometry = GEOMETRIES["fractional 2.5"]
    images = random_levels(geometry).to(dtype)
    assert torch.equal(blend(images, geometry), blend(images.float(), geometry).to(dtype))
    assert IterativeUpdate(geometry)(images).dtype == dtype


def test_inputs_are_left_as_they_were():
    geometry = GEOMETRIES["off-centre"]
    images = random_levels(geometry)
    before = images.clone()
    for method in METHODS:
        consolidate(images, geometry, method)
    IterativeUpdate(geometry)(images)
    assert torch.equal(images, before)


def test_iterative_updates_leave_the_levels_in_disagreement():
    geometry = uniform(3, 2, 32, 32)
    update = IterativeUpdate(geometry)
    first = update(random_levels(geometry))
    second = update(random_levels(geometry, seed=1))
    inset = slice(8, 24)
    seen = downscale(second[1], 16, 16)
    assert float((second[0][:, inset, inset] - seen).abs().max()) > 0.05
    # The inset is the render of the evaluation before.
    torch.testing.assert_close(second[0][:, inset, inset], downscale(first[1], 16, 16), atol=1e-6, rtol=0)


def test_what_does_not_fit_is_named():
    geometry = uniform(3, 2, 16, 16)
    with pytest.raises(ValueError, match="blending must be one of border, multi-resolution, average, none, got 'mean'"):
        blend(torch.rand(3, 1, 16, 16), geometry, "mean")
    with pytest.raises(ValueError, match="images has 2 levels, the geometry has 3"):
        consolidate(torch.rand(2, 1, 16, 16), geometry)
    with pytest.raises(ValueError, match=r"images is 8 x 16 .*the geometry is 16 x 16"):
        IterativeUpdate(geometry)(torch.rand(3, 1, 8, 16))
