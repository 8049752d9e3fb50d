"""Neighbouring pictures: how well they fit, and making them fit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from benchmarks.plane_waves import PlaneWaves
from zoom_core import ZoomLevels
from zoom_core.alignment import (
    REGISTERED_SIDE,
    PairComparison,
    _registered_views,
    align_levels,
    compare_levels,
    comparison_picture,
)

SIZE = 256
LEVELS = ZoomLevels.uniform(3)
GEOMETRY = LEVELS.resolve(SIZE, SIZE)


def pictures(shifts=None) -> torch.Tensor:
    grey = torch.from_numpy(PlaneWaves(4, SIZE).levels(GEOMETRY, shifts)).float()[:, None]
    return grey.repeat(1, 3, 1, 1)


def turned(picture: torch.Tensor, degrees: float, scale: float) -> torch.Tensor:
    """The picture turned clockwise and made larger about its middle."""
    matrix = cv2.getRotationMatrix2D(((SIZE - 1) / 2,) * 2, -degrees, scale)
    plane = cv2.warpAffine(
        picture[0].numpy(), matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return torch.from_numpy(plane)[None].repeat(3, 1, 1)


def test_pictures_that_fit_are_said_to_and_stay():
    images = pictures()
    assert [fit.verdict for fit in compare_levels(images, GEOMETRY)] == ["fits", "fits"]
    aligned, geometry, _ = align_levels(images, GEOMETRY, match_colour=False)
    assert torch.equal(aligned, images) and geometry == GEOMETRY


def test_what_is_too_little_to_see_is_left_alone():
    """Shifts of a tenth of a pixel are the registration's own noise."""
    geometry = ZoomLevels.uniform(8).resolve(SIZE, SIZE)
    images = (
        torch.from_numpy(PlaneWaves(4, SIZE).levels(geometry, [(0.1, -0.1)] * 8)).float()[:, None].repeat(1, 3, 1, 1)
    )
    aligned, geometry, fits = align_levels(images, geometry, match_colour=False)
    assert {fit.verdict for fit in fits} == {"fits"}
    assert torch.equal(aligned, images)


def test_one_pair_that_is_off_does_not_move_the_levels_further_in():
    """Levels 1 and 2 fit each other, and both lie (4, -2) of level 1's pixels beside the middle of level 0."""
    images = pictures([(0, 0), (4, -2), (8, -4)])
    aligned, geometry, fits = align_levels(images, GEOMETRY, match_colour=False)
    assert [fit.verdict for fit in fits] == ["off", "fits"]
    assert torch.equal(aligned, images)
    assert geometry.insets[1] == GEOMETRY.insets[1]
    assert geometry.insets[0] == pytest.approx((64 - 1, 64 + 2, 128, 128), abs=0.1)


def test_an_inset_is_moved_no_further_than_the_frame():
    levels = ZoomLevels.uniform(2, 1.25)
    geometry = levels.resolve(SIZE, SIZE)
    scene = PlaneWaves(1.25, SIZE)
    images = torch.from_numpy(scene.levels(geometry, [(0, 0), (36, 0)])).float()[:, None]
    _, moved, _ = align_levels(images, geometry, match_colour=False)
    assert moved.insets[0].left + moved.insets[0].width == pytest.approx(SIZE, abs=1e-9)


def test_shifts_are_found_and_undone():
    images = pictures([(0, 0), (6, -4), (-3, 8)])
    aligned, geometry, fits = align_levels(images, GEOMETRY, match_colour=False)
    assert fits[0].shift == pytest.approx((-3, 2), abs=0.1)
    assert [fit.verdict for fit in fits] == ["off", "off"]
    after = compare_levels(aligned, geometry)
    assert all(fit.likeness > 0.98 for fit in after)
    assert all(np.hypot(*fit.shift) < 0.1 for fit in after)


def test_scale_and_rotation_are_found_and_undone():
    images = pictures()
    images[2] = turned(images[2], 3.0, 1.05)
    aligned, geometry, fits = align_levels(images, GEOMETRY, match_colour=False)
    assert fits[1].rotation == pytest.approx(3.0, abs=0.1)
    assert fits[1].scale == pytest.approx(1.05, abs=0.003)
    assert compare_levels(aligned, geometry)[1].likeness > 0.97


def test_colours_are_matched_and_do_not_pass_for_motion():
    images = pictures()
    images[1] = (images[1] - 0.5) * 0.9 + 0.5 + torch.tensor([0.08, -0.05, 0.0])[:, None, None]
    fit = compare_levels(images, GEOMETRY)[0]
    assert np.hypot(*fit.shift) < 0.1 and fit.verdict == "fits"
    assert fit.colour[0] - fit.colour[1] == pytest.approx(0.13, abs=0.005)
    aligned, geometry, _ = align_levels(images, GEOMETRY)
    matched = compare_levels(aligned, geometry)
    assert all(abs(c) < 0.003 for fit in matched for c in fit.colour)
    assert aligned[1].std() == pytest.approx(float(pictures()[1].std()), rel=0.03)


@pytest.mark.parametrize("contrast, gain", [(0.9, 1 / 0.9), (0.5, 1.25), (1.1, 1 / 1.1), (1.6, 0.8)])
def test_contrast_is_matched_within_bounds(contrast, gain):
    """A level much flatter or harsher than the one around it may be meant so, or show something else."""
    images = 0.5 + 0.5 * (pictures() - 0.5)
    images[1] = 0.5 + contrast * (images[1] - 0.5)
    aligned, _, _ = align_levels(images, GEOMETRY, align=False)
    assert float(aligned[1].std() / images[1].std()) == pytest.approx(gain, rel=0.01)
    assert float(aligned[1].mean()) == pytest.approx(float(images[1].mean()), abs=0.01)


@pytest.mark.parametrize(
    "likeness, aligned, verdict",
    [
        (0.951, 0.99, "fits"),
        (0.949, 0.99, "off"),
        (0.90, 0.915, "loose"),
        (0.90, 0.90, "loose"),
        (0.3, 0.51, "off"),
        (0.51, 0.51, "loose"),
        (0.49, 0.49, "does not fit"),
    ],
)
def test_what_is_said_of_a_pair_follows_from_how_alike_it_is(likeness, aligned, verdict):
    assert PairComparison(0, 1, (0.0, 0.0), 1.0, 0.0, (0.0,), likeness, aligned).verdict == verdict


def test_a_pixel_is_worth_moving_a_level_for():
    aligned, geometry, fits = align_levels(pictures([(0, 0), (2, 0), (4, 0)]), GEOMETRY, match_colour=False)
    assert fits[0].shift == pytest.approx((-1, 0), abs=0.05)
    assert geometry.insets[0] == pytest.approx((64, 64 + 1, 128, 128), abs=0.05)


def test_pictures_of_other_places_are_named_and_left_alone():
    images = pictures()
    images[1] = torch.from_numpy(PlaneWaves(4, SIZE, seed=7).levels(GEOMETRY)).float()[1]
    aligned, geometry, fits = align_levels(images, GEOMETRY)
    assert [fit.verdict for fit in fits] == ["does not fit", "does not fit"]
    assert torch.equal(aligned[1], images[1])
    assert "level 0 and 1: does not fit" in fits[0].describe()


def test_the_picture_shows_a_row_a_pair():
    picture = comparison_picture(pictures(), GEOMETRY, side=64)
    assert picture.shape == (128, 192, 3) and picture.dtype == np.uint8
    difference = picture[24:64, 128:].astype(float)
    assert abs(difference.mean() - 127.5) < 3, "pictures that fit differ by nothing: grey"


def test_refuses_insets_too_small_to_compare():
    levels = ZoomLevels.uniform(2, 16)
    geometry = levels.resolve(128, 128)
    with pytest.raises(ValueError, match="level 1 covers only 8 x 8 pixels"):
        compare_levels(torch.rand(2, 3, 128, 128), geometry)


def test_large_pictures_are_registered_as_exactly_as_small_ones():
    """A shift of 2.5 and 1.25 pixels at 2048 x 2048, found where the views of 1024 are registered at 512."""
    geometry = LEVELS.resolve(2048, 2048)
    grey = torch.from_numpy(PlaneWaves(4, 2048).levels(geometry, [(0, 0), (2.5, 1.25), (2.5, 1.25)])).float()
    first = compare_levels(grey[:, None], geometry)[0]
    # In pixels of the level around, which are twice as large.
    assert first.shift == pytest.approx((-1.25, -0.625), abs=0.05)


def test_checking_and_aligning_can_be_stopped_before_any_pair():
    seen = []

    def stop() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        compare_levels(pictures(), GEOMETRY, stop)
    with pytest.raises(InterruptedError):
        seen.clear()
        align_levels(pictures(), GEOMETRY, on_pair=stop)


def test_pictures_with_nan_are_refused():
    images = pictures()
    images[1, 0, 3, 3] = torch.nan
    for work in (compare_levels, align_levels):
        with pytest.raises(ValueError, match="images must hold finite numbers, picture 1 holds NaN"):
            work(images, GEOMETRY)


def test_what_is_registered_small_has_its_middle_in_the_middle():
    height, width = 2 * REGISTERED_SIDE, 3 * REGISTERED_SIDE
    (grey,), pixel = _registered_views(torch.rand(3, height, width))
    middle = [(grey.shape[1] - 1) / 2, (grey.shape[0] - 1) / 2, 1]
    np.testing.assert_allclose(pixel @ middle, [(width - 1) / 2, (height - 1) / 2, 1])
