"""The blend at the borders: whose word holds where, how far it is carried, and what it keeps."""

from __future__ import annotations

import math

import pytest
import torch
from scenes import GEOMETRIES, consistent_levels, random_levels, uniform

from zoom_core import blend, consolidate, downscale
from zoom_core.blending import correlation_length

SIZE, ZOOM = 64, 4
INSET = slice(24, 40)
STRIPES = (torch.arange(SIZE) % 4 < 2).double() - 0.5
WAVES = torch.cos(2 * math.pi * torch.arange(SIZE, dtype=torch.float64) / 16)


def disagreeing(seed: int = 0) -> torch.Tensor:
    """[2, 3, 64, 64] of unlike pictures."""
    return random_levels(uniform(2, ZOOM, SIZE, SIZE), seed=seed)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_blended_layers_are_rendered_and_the_blend_is_linear(geometry):
    a, b = random_levels(geometry, seed=1), random_levels(geometry, seed=2)
    together = blend(a + 2 * b, geometry, "border", 5.0)
    torch.testing.assert_close(together, blend(a, geometry, "border", 5.0) + 2 * blend(b, geometry, "border", 5.0))
    torch.testing.assert_close(consolidate(a, geometry, "border", length=5.0), blend(a, geometry, "border", 5.0))


def test_the_inner_level_keeps_its_own_contrast():
    """The outer level of a pair knows nothing: the mean halves what they share, the border blend keeps it."""
    geometry = uniform(2, ZOOM, SIZE, SIZE)
    images = disagreeing()
    images[0] = 0.5
    own = downscale(images[1], 16, 16) - 0.5

    def kept(method: str, length: float = 4.0) -> torch.Tensor:
        layers = blend(images, geometry, method, length)
        return (downscale(layers[1], 16, 16) - 0.5)[:, 4:12, 4:12]

    def energy(picture: torch.Tensor) -> float:
        return float((picture - picture.mean((-2, -1), keepdim=True)).square().mean())

    middle = energy(own[:, 4:12, 4:12])
    assert energy(kept("border")) > 0.8 * middle
    assert energy(kept("border", 0.1)) > 0.8 * middle  # where what the outer level shows counts in full
    assert energy(kept("multi-resolution")) < 0.3 * middle


def test_what_the_inner_level_shows_is_carried_on_around_its_inset():
    """A difference in colour is met outside by exp(-distance / length) along each axis, and by nothing inside."""
    geometry = uniform(2, ZOOM, SIZE, SIZE)
    images = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.float64)
    images[1] = 1
    length = 3.0
    outer, inner = blend(images, geometry, "border", length)[:, 0]
    step = outer[32, INSET]
    torch.testing.assert_close(outer[INSET, INSET], downscale(inner[None], 16, 16)[0])
    distance = torch.arange(24, 0, -1, dtype=torch.float64)
    torch.testing.assert_close(outer[32, :24], step[0] * torch.exp(-distance / length))
    torch.testing.assert_close(outer[40:, 32], outer[39, 32] * torch.exp(-distance.flip(0) / length))
    corner = outer[39, 39] * math.exp(-(3 + 5) / length)
    assert float(outer[42, 44]) == pytest.approx(float(corner), abs=1e-12)
    # Without a length nothing around an inset changes.
    still = blend(images, geometry, "border")[0, 0]
    assert float(still[:24].abs().max()) == 0.0 and float(still[:, 40:].abs().max()) == 0.0


def taken_by_the_inner_level(pattern: torch.Tensor, length: float) -> torch.Tensor:
    """[16, 16]: what a grey inner level takes of an outer one's stripes `pattern` [64], as a part of them."""
    geometry = uniform(2, ZOOM, SIZE, SIZE)
    images = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.float64)
    images[0] = pattern
    return downscale(blend(images, geometry, "border", length)[1], 16, 16)[0] / pattern[INSET]


def test_the_step_at_the_border_is_shared_and_fades_inside():
    """Near its border the inner level takes up a part of what goes on around it, in its middle it does so only
    by the little that the coarsest band holds."""
    share = taken_by_the_inner_level(STRIPES, 0.0)
    assert float(share[8, 0]) == pytest.approx(0.3, abs=0.05)
    assert float(share[8, 1]) == pytest.approx(0.15, abs=0.02) and abs(float(share[8, 2])) < 0.02
    assert float(share[4:12, 4:12].abs().max()) < 0.02


def test_while_sampling_the_corners_are_the_outer_levels():
    """Fine stripes and coarse waves alike, where there is little noise; of the frame's mean they take what all of it
    takes. Finished pictures keep theirs."""
    for pattern in (STRIPES, WAVES):
        taken, finished = (taken_by_the_inner_level(pattern, length) for length in (0.1, 0.0))
        corners = [0, 0, -1, -1], [0, -1, 0, -1]
        assert float(taken[corners].min()) > 0.75 and float(taken[corners].max()) < 1.1
        assert float(finished[corners].max()) < 0.6
        assert float(taken[6:10, 6:10].abs().max()) < 0.3
        torch.testing.assert_close(taken[6:10, 6:10], finished[6:10, 6:10], atol=0.03, rtol=0)
    # 15/16 half sides off the middle the rounding holds 28 % of what the border's 0.3 leave.
    share = float(taken_by_the_inner_level(STRIPES, 0.1)[8, 0])
    assert share == pytest.approx(0.3 + 0.7 * 0.28, abs=0.05)
    images = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.float64)
    images[0] = 1
    blended = blend(images, uniform(2, ZOOM, SIZE, SIZE), "border", 4.0)
    torch.testing.assert_close(blended[1], torch.full_like(images[1], 0.3))


def test_under_noise_the_outer_level_counts_as_far_as_it_knows_a_band():
    """Of waves of 4 pixels it knows 1 / (1 + (2 pi length / 4)^2.6), the Wiener weight; of longer ones more."""
    for length in (0.5, 1.0, 2.0):
        known = 1 / (1 + (2 * math.pi * length / 4) ** 2.6)
        taken = taken_by_the_inner_level(STRIPES, length)
        corner, border = 1 - (1 - 0.3 * known) * (1 - known), 1 - (1 - 0.3 * known) * (1 - 0.28 * known)
        assert float(taken[0, 0]) == pytest.approx(corner, abs=0.01)
        assert float(taken[8, 0]) == pytest.approx(border, abs=0.02)
    # Waves of 16 pixels are known when fine stripes are not, and not at any noise.
    assert float(taken_by_the_inner_level(WAVES, 1.0)[0, 0]) > 0.8
    assert float(taken_by_the_inner_level(WAVES, 16.0)[0, 0]) < 0.05


def test_drawn_out_by_every_level_inside():
    """What an inner level shows reaches the surroundings of every level around it."""
    geometry = uniform(3, 2, 32, 32)
    images = torch.zeros(3, 1, 32, 32)
    images[2] = 1
    outermost = blend(images, geometry, "border", 4.0)[0, 0]
    assert float(outermost[16, 7]) > 0.02


def test_length_follows_the_noise_and_ends_at_a_quarter_of_the_frame():
    lengths = [correlation_length(sigma, 64, 96) for sigma in (0.0, 0.1, 0.5, 1, 4, 30, math.inf)]
    assert lengths == sorted(lengths) and lengths[0] == 0
    assert lengths[3] == pytest.approx(2.5, rel=0.05)
    assert lengths[-1] == pytest.approx(16)
    # Twice the noise reaches 2^0.75 times as far, as long as the frame is large.
    ratio = correlation_length(2, 10_000, 10_000) / correlation_length(1, 10_000, 10_000)
    assert ratio == pytest.approx(2**0.75, rel=1e-3)


def test_error_is_like_the_length_says():
    """Wiener estimates of pictures of spectrum 1 / f^2.6: their errors are alike over about so many pixels."""
    size = 128
    frequency = torch.fft.fftfreq(size, dtype=torch.float64)
    radius = (frequency[:, None] ** 2 + frequency**2).sqrt().clamp_min(1 / size)
    spectrum = radius**-2.6
    spectrum /= spectrum.mean()
    for sigma in (0.5, 1.0, 2.0, 4.0):
        error = spectrum * sigma**2 / (spectrum + sigma**2)
        covariance = torch.fft.ifft2(error).real[0]
        along = covariance / covariance[0]
        length = float((along < math.exp(-1)).nonzero()[0])
        assert 0.25 < length / correlation_length(sigma, 64, 64) < 2.5


@pytest.mark.parametrize("length", [-1.0, math.nan])
def test_refuses_a_length_that_is_none(length):
    geometry = uniform(2, 2, 16, 16)
    with pytest.raises(ValueError, match="length must be a number of pixels from 0 on"):
        blend(torch.rand(2, 1, 16, 16), geometry, "border", length)


def test_true_stacks_pass_unchanged():
    geometry = GEOMETRIES["off-centre"]
    images = consistent_levels(geometry)
    torch.testing.assert_close(blend(images, geometry, "border", 7.0), images, atol=1e-5, rtol=0)
