"""Pictures that do not quite fit become levels without a visible border."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import GEOMETRIES, consistent_levels, random_levels

from benchmarks import measure
from benchmarks.plane_waves import PlaneWaves
from zoom_core import ZoomLevel, ZoomLevels, blend, downscale, render_image
from zoom_core.pairs import pair
from zoom_core.seams import blend_agreeing, feather_seams, fuse
from zoom_core.stack import ZoomStack
from zoom_core.view import render_view

SIZE, COUNT = 256, 4


def misfitting(zoom: float = 2.0) -> tuple[PlaneWaves, torch.Tensor, ZoomLevels]:
    """[N, 3, H, W] with colour steps of 16/255 and shifts of 2 px between neighbours."""
    levels = ZoomLevels.uniform(COUNT, zoom)
    geometry = levels.resolve(SIZE, SIZE)
    scene = PlaneWaves(zoom ** (COUNT - 1), SIZE)
    angles = np.random.default_rng(3).random(COUNT) * 2 * np.pi
    shifts = [(2 * np.cos(a), 2 * np.sin(a)) for a in angles]
    grey = torch.from_numpy(scene.levels(geometry, shifts)).float()[:, None]
    tint = torch.tensor([8.0, -8.0, 8.0]) / 255 * (-1.0) ** torch.arange(COUNT)[:, None]
    return scene, grey + tint[:, :, None, None], levels


def worst_step(stack: ZoomStack, scene: PlaneWaves, zoom_factor: float) -> float:
    """Largest step across the moving border on the way, in 1/255."""
    steps = []
    for zoom in np.arange(0.1, COUNT - 1, 0.15):
        width = zoom_factor**-zoom
        exact = scene.picture((1 - width) / 2, (1 - width) / 2, width, width, SIZE, SIZE)
        inner = SIZE * zoom_factor ** (zoom - int(zoom) - 1)
        error = render_view(stack, zoom, SIZE, SIZE).movedim(0, -1).numpy() - exact[..., None]
        steps.append(measure.colour_step(error, (SIZE - inner) / 2, (SIZE + inner) / 2))
    return 255 * max(steps)


@pytest.mark.parametrize("blending", ["border", "multi-resolution"])
def test_no_edge_is_left_where_colours_and_places_differ(blending):
    scene, images, levels = misfitting()
    geometry = levels.resolve(SIZE, SIZE)
    assert worst_step(ZoomStack(images, geometry, levels), scene, 2.0) > 14
    stack = ZoomStack(fuse(images, geometry, blending), geometry, levels)
    assert worst_step(stack, scene, 2.0) < 2


@pytest.mark.parametrize("blending", ["border", "multi-resolution"])
def test_detail_is_kept(blending):
    _, images, levels = misfitting()
    layers = fuse(images, levels.resolve(SIZE, SIZE), blending)

    def energy(pictures: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.fft2(pictures).abs() ** 2
        frequency = torch.fft.fftfreq(SIZE).abs()
        return (spectrum * (torch.maximum(frequency[:, None], frequency) >= 0.25)).sum((1, 2, 3))

    assert (energy(layers) / energy(images)).min() > 0.95


def test_no_flash_where_the_camera_passes_a_level():
    _, images, levels = misfitting()
    geometry = levels.resolve(SIZE, SIZE)
    stack = ZoomStack(fuse(images, geometry), geometry, levels)
    for level in (1, 2):
        assert measure.crossing_change(lambda z: render_view(stack, z, SIZE, SIZE).numpy(), level, 1 / 60) < 0.03


@pytest.mark.parametrize("name", [name for name in GEOMETRIES if name != "deep"])
def test_levels_that_agree_do_not_change(name):
    geometry = GEOMETRIES[name]
    images = consistent_levels(geometry)
    assert (fuse(images, geometry) - images).abs().max() < 1e-5


@pytest.mark.parametrize("name", GEOMETRIES)
def test_any_geometry_gives_finite_levels(name):
    geometry = GEOMETRIES[name]
    layers = fuse(random_levels(geometry), geometry)
    assert torch.isfinite(layers).all() and layers.min() >= 0 and layers.max() <= 1


def test_levels_meet_at_the_border_of_an_off_centre_inset():
    levels = ZoomLevels([ZoomLevel(), ZoomLevel(zoom=2.5, center=(0.3, 0.65))])
    geometry = levels.resolve(200, 300)
    images = random_levels(geometry)
    images[1] = images[1] * 0.5
    layers = feather_seams(images.clone(), geometry)
    inset = geometry.insets[0]
    shown = render_image(layers, geometry)[0]
    jump = (
        shown[:, inset.top, inset.left : inset.left + inset.width]
        - images[0, :, inset.top, inset.left : inset.left + inset.width]
    )
    assert jump.abs().mean() < 0.02
    centre = slice(80, 120)
    assert (layers[1, :, centre, centre] - images[1, :, centre, centre]).abs().max() < 0.01, (
        "the middle stays as it was"
    )
    assert torch.equal(layers[0], images[0])


def test_agreeing_details_are_averaged_and_others_kept():
    """Two noisy observations of one scene average to less noise; two unlike scenes do not mix."""
    levels = ZoomLevels.uniform(2)
    geometry = levels.resolve(SIZE, SIZE)
    scene = PlaneWaves(2, SIZE)
    true = render_image(torch.from_numpy(scene.levels(geometry)).float()[:, None], geometry)
    noise = 0.004 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    seen = downscale(noise, SIZE // 2, SIZE // 2)[1]
    noise[0] *= seen.std() / 0.004  # As much on the outer level's pixels as the inner level leaves there.
    agreed = blend_agreeing(true + noise, geometry, "multi-resolution")
    inner = downscale(agreed[1] - true[1], SIZE // 2, SIZE // 2)
    assert inner.std() < 0.85 * seen.std()
    unlike = torch.stack([true[0], torch.from_numpy(PlaneWaves(2, SIZE, seed=9).levels(geometry)).float()[1][None]])

    def fine_detail(change: torch.Tensor) -> float:
        coarse = torch.nn.functional.avg_pool2d(change, 9, 1, 4, count_include_pad=False)
        return float((change - coarse).std())

    changed = fine_detail(blend_agreeing(unlike, geometry, "multi-resolution")[1] - unlike[1])
    mixed = fine_detail(blend(unlike, geometry, "multi-resolution")[1] - unlike[1])
    assert changed < 0.15 * mixed


def correction(misfit: torch.Tensor, feather: float) -> torch.Tensor:
    """What feathering adds to a level for a misfit [h, w] with the one around it, as that one's pixels see it."""
    height, width = misfit.shape
    geometry = ZoomLevels.uniform(2).resolve(2 * height, 2 * width)
    layers = torch.zeros(2, 1, geometry.height, geometry.width)
    pair(geometry, 0).crop(layers[0]).copy_(misfit)
    return pair(geometry, 0).reduce(feather_seams(layers, geometry, feather)[1])[0]


def test_fine_misfits_fade_over_four_pixels_and_colour_over_the_feather():
    smooth = lambda u: 1 - u * u * (3 - 2 * u)
    checked = 1.0 - 2 * ((torch.arange(64)[:, None] + torch.arange(96)) % 2)
    fine = correction(checked, 25.0) * checked
    expected = smooth((torch.arange(10) / 4).clamp(0, 1))
    torch.testing.assert_close(fine[:10, 48], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(fine[32, -10:].flip(0), expected, atol=1e-3, rtol=0)
    # A colour over a quarter of each side, whatever the other: half of it is left halfway.
    colour = correction(torch.ones(64, 96), 25.0)
    for line in (colour[:, 48], colour[32]):
        reach = len(line) // 4
        torch.testing.assert_close(line[:2], torch.ones(2), atol=0.02, rtol=0)
        assert line[reach // 2 - 1] > 0.5 > line[reach // 2 + 3]
        assert (line[reach + 4 : len(line) // 2] < 1e-4).all()


def test_without_a_feather_nothing_changes():
    geometry = GEOMETRIES["off-centre"]
    images = random_levels(geometry)
    assert torch.equal(feather_seams(images.clone(), geometry, 0.0), images)


def test_details_are_averaged_by_how_much_they_are_alike():
    geometry = ZoomLevels.uniform(2).resolve(128, 128)
    inset, inside = pair(geometry, 0), (0, slice(8, 56), slice(8, 56))
    generator = torch.Generator().manual_seed(0)
    taken = {}
    for alike in (1.0, 0.98, 0.9, 0.7):
        own, else_ = torch.randn(2, 1, 64, 64, generator=generator)
        images = torch.zeros(2, 1, 128, 128)
        inset.crop(images[0]).copy_(alike * own + (1 - min(alike, 0.999) ** 2) ** 0.5 * else_)
        images[1] = inset.expand(own)
        mean, kept = (
            (inset.reduce(method(images, geometry, "multi-resolution")[1]) - own)[inside]
            for method in (blend, blend_agreeing)
        )
        taken[alike] = float((kept * mean).sum() / (mean * mean).sum())
    assert taken[1.0] > 0.99 and taken[0.98] > 0.99, "noise of single pixels averages out"
    assert 0.5 < taken[0.9] < 0.8 and taken[0.7] < 0.05


def test_progress_is_told_level_by_level_and_can_stop_the_work():
    geometry = GEOMETRIES["whole 2"]
    calls = []
    fuse(random_levels(geometry), geometry, "multi-resolution", on_level=lambda: calls.append(1))
    assert len(calls) == 2 * (len(geometry) - 1)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse(random_levels(geometry), geometry, on_level=stop)


def test_refuses():
    geometry = GEOMETRIES["whole 2"]
    images = random_levels(geometry)
    with pytest.raises(ValueError, match="feather must be from 0 to 50"):
        fuse(images, geometry, feather=60)
    with pytest.raises(ValueError, match="blending must be one of"):
        fuse(images, geometry, "mean")
    images[3, 1, 2, 2] = torch.nan
    with pytest.raises(ValueError, match="picture 3 holds NaN"):
        fuse(images, geometry)
    with pytest.raises(ValueError, match="images is"):
        fuse(random_levels(geometry)[..., :-1], geometry)


def test_fusing_leaves_torch_threads_as_they_were():
    geometry = ZoomLevels.uniform(2).resolve(32, 32)
    seen, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fuse(torch.rand(2, 3, 32, 32), geometry, on_level=on_level_of(seen))
        assert torch.get_num_threads() == 2 and set(seen) == {1}
    finally:
        torch.set_num_threads(before)


def on_level_of(seen: list[int]):
    def on_level() -> None:
        seen.append(torch.get_num_threads())

    return on_level


def test_pictures_keep_what_they_show_where_only_borders_are_shared():
    """blend_agreeing leaves them as they are; the borders are the seams' work."""
    _, images, levels = misfitting()
    geometry = levels.resolve(SIZE, SIZE)
    assert torch.equal(blend_agreeing(images, geometry, "border"), images)
    assert not torch.equal(blend_agreeing(images, geometry, "multi-resolution"), images)
