"""Downscaling, rendering and noise: properties that a wrong kernel, offset or factor breaks."""

from __future__ import annotations

import math

import pytest
import torch
from scenes import GEOMETRIES, centroid, consistent_levels, dot, random_levels, uniform

from zoom_core import Geometry, Inset, ZoomLevel, ZoomLevels, downscale, render_image, render_noise

geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
WHOLE = ["whole 2", "whole 3", "whole 4", "whole 10", "off-centre", "deep"]


def inset_pixels(image: torch.Tensor, inset: Inset) -> torch.Tensor:
    top, left, height, width = (int(v) for v in inset)
    return image[..., top : top + height, left : left + width]


@pytest.mark.parametrize("zoom", [2, 3, 4, 10])
def test_the_papers_block_is_had_by_its_name(zoom):
    image = torch.randn(3, 4 * zoom, 5 * zoom, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    offset = torch.arange(zoom, dtype=torch.float64) - (zoom - 1) / 2
    weights = torch.exp(-0.5 * (offset / (zoom / 2)) ** 2)
    weights /= weights.sum()
    blocks = image.reshape(3, 4, zoom, 5, zoom)
    expected = torch.einsum("cyaxb,a,b->cyx", blocks, weights, weights)
    torch.testing.assert_close(downscale(image, 4, 5, operator="block"), expected)
    geometry = uniform(2, 2, 16, 16)
    layers = random_levels(geometry)
    rendered = render_image(layers, geometry, operator="block")
    torch.testing.assert_close(rendered[0][:, 4:12, 4:12], downscale(layers[1], 8, 8, operator="block"))
    for function in (lambda name: downscale(image, 4, 5, name), lambda name: render_image(layers, geometry, name)):
        with pytest.raises(ValueError, match="operator must be one of pixel, block, got 'box'"):
            function("box")


@pytest.mark.parametrize("zoom", [1.25, 1.6, 2, 2.5, 4, 10])
def test_downscale_sees_a_scene_through_the_coarser_pixel(zoom):
    """A wave that was seen through pixels of width 1 comes out as pixels of width `zoom` see it: weaker by
    exp(-(k zoom)^2 / 8) in place of exp(-k^2 / 8), and nowhere else."""
    count = 40
    size = round(count * zoom)
    for per_pixel in (0.02, 0.1, 0.2):  # cycles of a coarse pixel
        k = 2 * math.pi * per_pixel / zoom
        fine, coarse = torch.arange(size) + 0.5, (torch.arange(count, dtype=torch.float64) + 0.5) * zoom
        image = (math.exp(-(k**2) / 8) * torch.cos(k * fine.double())).expand(1, 8, size)
        expected = math.exp(-((k * zoom) ** 2) / 8) * torch.cos(k * coarse)
        seen = downscale(image, 8, count)[0, 0]
        middle = slice(4, -4)
        # Between whole steps a kernel as narrow as a pixel cannot be had from samples.
        tolerance = 1e-3 if zoom >= 2 else 0.05
        torch.testing.assert_close(seen[middle], expected[middle], atol=tolerance, rtol=0)


@pytest.mark.parametrize("size, count", [(12, 5), (9, 7), (17, 5)])
def test_downscale_by_a_fraction_is_the_same_gaussian_over_the_footprint(size, count):
    """The middle pixel's footprint is symmetric: pixels count by how much of them lies inside."""
    zoom, middle = size / count, size / 2
    pixel = torch.arange(size, dtype=torch.float64)
    inside = (
        torch.minimum(pixel + 1, torch.tensor(middle + zoom / 2)) - (pixel.clamp_min(middle - zoom / 2))
    ).clamp_min(0)
    weights = inside * torch.exp(-0.5 * ((pixel + 0.5 - middle) / (zoom / 2)) ** 2)
    weights /= weights.sum()
    impulses = torch.eye(size, dtype=torch.float64)[:, None, :, None].expand(-1, 1, -1, size)
    seen = downscale(impulses, count, count, "block")[:, 0, count // 2, count // 2]
    torch.testing.assert_close(seen, weights)


@pytest.mark.parametrize("sizes", [(40, 16), (40, 39), (37, 5), (41, 32), (7, 1), (30, 30)])
@pytest.mark.parametrize("operator", ["pixel", "block"])
def test_downscale_keeps_constants_and_the_place_of_ramps(sizes, operator):
    size, count = sizes
    centres = (torch.arange(count) + 0.5) * size / count
    ramp = torch.arange(size) + 0.5
    image = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), torch.ones(size, size)])
    across, down, constant = downscale(image, count, count, operator)
    # The centroid of what a pixel sees is the pixel's own centre.
    torch.testing.assert_close(across, centres.expand(count, count), atol=1e-4, rtol=0)
    torch.testing.assert_close(down, centres[:, None].expand(count, count), atol=1e-4, rtol=0)
    torch.testing.assert_close(constant, torch.ones(count, count), atol=1e-6, rtol=0)


def test_downscale_takes_any_leading_axes_and_refuses_to_enlarge():
    image = torch.rand(2, 5, 3, 12, 8)
    assert downscale(image, 4, 4).shape == (2, 5, 3, 4, 4)
    torch.testing.assert_close(downscale(image, 12, 8), image)
    for size in ((13, 8), (12, 9), (0, 4), (4, 0)):
        with pytest.raises(ValueError, match=r"(height|width) must be from 1 to (12|8).*got (13|9|0)"):
            downscale(image, *size)


@pytest.mark.parametrize("name", [*WHOLE, "fractional 2.5", "odd", "72 x 128", "wider than high"])
def test_rendered_levels_agree(name):
    geometry = GEOMETRIES[name]
    images = render_image(random_levels(geometry), geometry)
    for i, inset in enumerate(geometry.insets):
        small = downscale(images[i + 1], int(inset.height), int(inset.width))
        torch.testing.assert_close(small, inset_pixels(images[i], inset), atol=1e-6, rtol=0)


@geometries
def test_rendering_leaves_what_no_inner_level_shows(geometry):
    layers = random_levels(geometry)
    images = render_image(layers, geometry)
    assert torch.equal(images[-1], layers[-1])
    for i, inset in enumerate(geometry.insets):
        changed = (images[i] != layers[i]).any(0).nonzero()
        if len(changed):
            (top, left), (bottom, right) = changed.min(0).values.tolist(), changed.max(0).values.tolist()
            assert top >= inset.top - 1e-6 and bottom + 1 <= inset.top + inset.height + 1e-6
            assert left >= inset.left - 1e-6 and right + 1 <= inset.left + inset.width + 1e-6


def test_an_inset_below_one_pixel_changes_nothing_further_out():
    geometry = Geometry(8, 8, (Inset(3.2, 3.4, 0.5, 0.5), Inset(2, 2, 4, 4)))
    layers = random_levels(geometry)
    images = render_image(layers, geometry)
    assert torch.equal(images[0], layers[0])
    assert not torch.equal(images[1], layers[1])
    noise = torch.randn(3, 2, 8, 8)
    assert torch.equal(render_noise(noise, geometry)[0], noise[0])
    snapped = uniform(3, 16, 8, 8)
    assert snapped.insets[0].height == snapped.insets[0].width
    assert render_image(random_levels(snapped), snapped).isfinite().all()


@pytest.mark.parametrize("zoom", [1.25, 1.7, 2, 2.5, 3, 4])
@pytest.mark.parametrize("center", [(0.5, 0.5), (0.4, 0.55)])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_dot_stays_where_the_geometry_says(zoom, center, scaled):
    if zoom == 1.25:
        center = (0.45, 0.55)
    geometry = ZoomLevels([ZoomLevel(), ZoomLevel(zoom=zoom, center=center)]).resolve(120, 96)
    if scaled:
        geometry = geometry.scaled(143, 131)
    inset = geometry.insets[0]
    y, x = 0.52 * geometry.height + 0.3, 0.47 * geometry.width - 0.2
    layers = torch.zeros(2, 1, geometry.height, geometry.width, dtype=torch.float64)
    # Two pixels of the outer level wide: a smaller dot's centroid moves with the phase of any sampling.
    layers[1, 0] = dot(geometry.height, geometry.width, y, x, sigma=2 * zoom)
    row, column = centroid(render_image(layers, geometry)[0, 0])
    assert row == pytest.approx(inset.top + y * inset.height / geometry.height, abs=0.01)
    assert column == pytest.approx(inset.left + x * inset.width / geometry.width, abs=0.01)


def noise_operator(geometry: Geometry) -> torch.Tensor:
    """[N, H * W, N * H * W]: rendered noise as a matrix over all independent numbers that go in."""
    count, pixels = len(geometry), geometry.height * geometry.width
    basis = torch.eye(count * pixels).reshape(count * pixels, count, geometry.height, geometry.width)
    return render_noise(basis.transpose(0, 1).contiguous(), geometry).flatten(2).transpose(1, 2)


NOISE_GEOMETRIES = {
    "2": uniform(4, 2, 16, 16),
    "3": uniform(3, 3, 18, 18),
    "4": uniform(3, 4, 16, 16),
    "10": uniform(3, 10, 20, 20),
    "2.5": uniform(4, 2.5, 20, 15),
    "1.7 odd": uniform(3, 1.7, 17, 21),
    "1.25": uniform(3, 1.25, 16, 16),
    "scaled": uniform(3, 2, 6, 6).scaled(17, 17),
    "off-centre": (
        ZoomLevels([ZoomLevel(), ZoomLevel(zoom=2, center=(0.3, 0.7)), ZoomLevel(zoom=2.5, center=(0.6, 0.4))]).resolve(
            20, 20
        )
    ),
    "deep": uniform(8, 2, 8, 8),
}


@pytest.mark.parametrize("geometry", NOISE_GEOMETRIES.values(), ids=NOISE_GEOMETRIES.keys())
def test_noise_of_every_level_is_white(geometry):
    """The covariance of a level is the identity: unit variance on every ring, and no two pixels correlate.

    Exact, not sampled: the operator is linear. The bound holds for fractional zooms too.
    """
    for level in noise_operator(geometry):
        covariance = level @ level.T
        assert float((covariance - torch.eye(len(covariance))).abs().max()) < 2e-5


@pytest.mark.parametrize("zoom", [2, 3, 4, 2.5])
def test_noise_of_neighbouring_levels_shows_the_same_scene(zoom):
    """An inset holds what D makes of the next level's noise, at unit variance."""
    size = 50 if zoom == 2.5 else 48
    geometry = uniform(3, zoom, size, size)
    noise = render_noise(torch.randn(3, 16, size, size, generator=torch.Generator().manual_seed(2)), geometry)
    for i, inset in enumerate(geometry.insets):
        seen = downscale(noise[i + 1], int(inset.height), int(inset.width), operator="block")
        shown = inset_pixels(noise[i], inset)
        correlation = torch.corrcoef(torch.stack([seen.flatten(), shown.flatten()]))[0, 1]
        assert float(correlation) > (0.9999 if zoom == int(zoom) else 0.99)


def test_sampled_noise_is_white_at_every_lag_and_ring():
    """The same on drawn numbers at a real size, with the noise as a sampler would get it."""
    geometry = uniform(6, 2, 64, 64)
    noise = render_noise(torch.randn(6, 64, 64, 64, generator=torch.Generator().manual_seed(4)), geometry)
    for level in noise:
        for margin in (0, 16, 24, 28):
            ring = level[:, margin : 64 - margin, margin : 64 - margin]
            for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
                product = ring[:, dy:, dx:] * ring[:, : ring.shape[1] - dy, : ring.shape[2] - dx]
                assert abs(float(product.mean())) < 5 / math.sqrt(product.numel())
            assert abs(float(ring.var()) - 1) < 5 * math.sqrt(2 / ring.numel())
            # Normal, not only of unit variance: the fourth moment of N(0, 1) is 3.
            assert abs(float((ring**4).mean()) - 3) < 5 * math.sqrt(96 / ring.numel())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", [render_image, render_noise])
def test_half_precision_goes_in_and_comes_out(dtype, function):
    geometry = GEOMETRIES["fractional 2.5"]
    layers = random_levels(geometry).to(dtype)
    result = function(layers, geometry)
    assert result.dtype == dtype
    # Computed in float32, rounded once.
    assert torch.equal(result, function(layers.float(), geometry).to(dtype))
    assert torch.equal(downscale(layers, 20, 16), downscale(layers.float(), 20, 16).to(dtype))


def test_sixty_four_levels_and_one():
    geometry = uniform(64, 2, 16, 16)
    images = render_image(random_levels(geometry), geometry)
    assert images.isfinite().all() and images.shape == (64, 3, 16, 16)
    alone = uniform(1, 2, 7, 5)
    layers = random_levels(alone)
    for function in (render_image, render_noise):
        result = function(layers, alone)
        assert torch.equal(result, layers) and result.data_ptr() != layers.data_ptr()


def test_inputs_are_left_as_they_were():
    geometry = GEOMETRIES["whole 2"]
    layers = random_levels(geometry)
    before = layers.clone()
    render_image(layers, geometry)
    render_noise(layers, geometry)
    assert torch.equal(layers, before)


@pytest.mark.parametrize("function, name", [(render_image, "layers"), (render_noise, "noise")])
def test_tensors_that_do_not_fit_are_named(function, name):
    geometry = uniform(3, 2, 16, 12)
    for tensor, message in [
        (torch.rand(3, 16, 12), rf"{name} must be \[N, C, H, W\], got 3 dimensions"),
        (torch.zeros(3, 1, 16, 12, dtype=torch.int64), f"{name} must hold floating point.*int64"),
        (torch.rand(2, 1, 16, 12), f"{name} has 2 levels, the geometry has 3"),
        (torch.rand(3, 1, 12, 16), f"{name} is 12 x 16.*geometry is 16 x 12.*geometry.scaled"),
    ]:
        with pytest.raises(ValueError, match=message):
            function(tensor, geometry)


def test_rendering_consistent_levels_changes_nothing():
    for geometry in GEOMETRIES.values():
        images = consistent_levels(geometry)
        torch.testing.assert_close(render_image(images, geometry), images, atol=2e-6, rtol=0)
