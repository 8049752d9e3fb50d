"""How a level fades in over the one around it: measured on detail that the outer level does not hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoom_core import ZoomLevels, ZoomStack
from zoom_core.view import StackRenderer

SIZE, ZOOM = 128, 4
OUTPUT = 512


def weights(zoom: float, ramp: float) -> np.ndarray:
    """[OUTPUT] how much of the inner level's fine detail a view between two levels shows, along its middle row."""
    levels = ZoomLevels.uniform(2, ZOOM)
    layers = torch.full((2, 1, SIZE, SIZE), 0.5)
    # Stripes along the row, two inner pixels each: nothing of them is left on the outer level's pixels.
    layers[1] += 0.25 * (1 - 2 * (torch.arange(SIZE) % 4 < 2).float())[:, None]
    stack = ZoomStack(layers, levels.resolve(SIZE, SIZE), levels)
    inner = StackRenderer(stack, OUTPUT, OUTPUT, ramp=ramp).render(zoom)[0] - 0.5
    # The most that any row near the middle shows of them, against the middle of the view.
    rows = inner[OUTPUT // 2 - 16 : OUTPUT // 2 + 16].abs().amax(0)
    return (rows / rows[OUTPUT // 2]).numpy()


def smooth(u: np.ndarray) -> np.ndarray:
    u = np.clip(u, 0, 1)
    return u * u * (3 - 2 * u)


def depths(zoom: float) -> tuple[np.ndarray, float, float]:
    """How deep every column lies inside the inner level, how wide that is, and how wide the margin around it."""
    size = OUTPUT * ZOOM ** (zoom - 1)
    margin = (OUTPUT - size) / 2
    return np.arange(OUTPUT) + 0.5 - margin, size, margin


@pytest.mark.parametrize("zoom", [0.5, 0.6])
def test_fine_detail_fades_in_over_the_ramp_where_the_outer_level_is_magnified(zoom):
    depth, size, margin = depths(zoom)
    assert 0.3 * size < margin
    # By octaves of energy: slower at first than a smooth step.
    expected = smooth(depth / (0.3 * size)) ** 1.5
    half = slice(0, OUTPUT // 2)
    np.testing.assert_allclose(weights(zoom, 0.3)[half], expected[half], atol=1e-3)
    np.testing.assert_allclose(weights(zoom, 0.3)[::-1][half], expected[half], atol=1e-3)


def test_the_ramp_is_no_wider_than_what_is_visible_around_the_level():
    depth, size, margin = depths(0.85)
    assert margin < 0.15 * size
    half = slice(0, OUTPUT // 2)
    np.testing.assert_allclose(weights(0.85, 0.3)[half], smooth(depth / margin)[half] ** 1.5, atol=1e-3)


@pytest.mark.parametrize("zoom", [0.5, 0.9])
def test_without_a_ramp_it_fades_in_over_a_25th_of_its_side_or_half_of_the_margin(zoom):
    depth, size, margin = depths(zoom)
    width = 0.04 * size if zoom == 0.5 else 0.5 * margin
    assert width == min(0.04 * size, 0.5 * margin)
    half = slice(0, OUTPUT // 2)
    np.testing.assert_allclose(weights(zoom, 0.0)[half], smooth(depth / width)[half], atol=1e-3)


def test_a_fade_narrower_than_a_pixel_is_the_pixels_coverage():
    levels = ZoomLevels.uniform(2, ZOOM)
    layers = torch.stack([torch.zeros(1, SIZE, SIZE), torch.ones(1, SIZE, SIZE)])
    view = StackRenderer(ZoomStack(layers, levels.resolve(SIZE, SIZE), levels), 20, 20, ramp=0.0).render(0.5)
    row = view[0, 10].numpy()
    # The level covers pixels 5 to 14 and fades in over 0.4 of one. What it does not cover shows the level around it,
    # which holds the same through its own pixels: beyond the border as much as is missing within.
    first = 1 - (1 - smooth(0.8)) * row[4]
    assert 0.05 < row[4] < 0.3
    np.testing.assert_allclose(row[[5, 6, 13, 14, 15]], [first, 1, 1, first, row[4]], atol=1e-5)


def test_the_usual_ramp_is_three_tenths_of_a_side():
    levels = ZoomLevels.uniform(2, ZOOM)
    layers = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    stack = ZoomStack(layers, levels.resolve(SIZE, SIZE), levels)
    usual, said, other = (
        StackRenderer(stack, OUTPUT, OUTPUT, **ramp).render(0.5) for ramp in ({}, {"ramp": 0.3}, {"ramp": 0.2})
    )
    assert torch.equal(usual, said) and not torch.equal(usual, other)
