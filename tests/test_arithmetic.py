"""The operators give the same numbers whatever the caller's torch is set to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scenes import GEOMETRIES, random_levels

from zoom_core import ZoomLevels, ZoomStack, axes, blend, consolidate, render_noise, render_view
from zoom_core.axes import Axis
from zoom_core.seams import fuse

GEOMETRY = GEOMETRIES["fractional 1.7"]


def everything(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a run makes of N pictures, from noise to a view."""
    levels = ZoomLevels.uniform(len(GEOMETRY), 1.7)
    stack = ZoomStack(fuse(images, GEOMETRY), GEOMETRY, levels)
    return {
        "noise": render_noise(images, GEOMETRY),
        "average": blend(images, GEOMETRY, "average"),
        "consolidated": consolidate(images, GEOMETRY),
        "stack": stack.layers,
        "view": render_view(stack, 1.4, 30, 40),
    }


@pytest.fixture
def images() -> torch.Tensor:
    return random_levels(GEOMETRY)


@pytest.fixture
def expected(images):
    axes._tiles.cache_clear()
    return everything(images)


def test_autocast_does_not_reach_the_operators(images, expected):
    with torch.autocast("cpu", torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        results = everything(images)
    for name, result in results.items():
        assert result.dtype == torch.float32, name
        torch.testing.assert_close(result, expected[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_default_dtype_does_not_matter(images, expected, dtype):
    axes._tiles.cache_clear()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        results = everything(images)
    finally:
        torch.set_default_dtype(before)
    for name, result in results.items():
        assert result.dtype == torch.float32, name
        torch.testing.assert_close(result, expected[name], atol=1e-6, rtol=0, msg=name)


def test_a_first_call_in_inference_mode_leaves_gradients_possible(images):
    axes._tiles.cache_clear()
    both = [axes.Axis.of_resize(size, 20) for size in images.shape[-2:]]
    with torch.inference_mode():
        inferred = consolidate(images, GEOMETRY)
        axes.reduce(images[0], *both)
    wanted = images.clone().requires_grad_()
    seen = axes.reduce(wanted[0], *both)
    seen.sum().backward()
    assert float(wanted.grad.sum()) == pytest.approx(3 * 20 * 20, rel=1e-4)
    torch.testing.assert_close(consolidate(images, GEOMETRY), inferred)


def test_what_is_kept_between_calls_lives_in_main_memory():
    axes._tiles.cache_clear()
    with torch.device("meta"):
        tiles = axes._tiles(axes.reduction, axes.Axis.of_resize(40, 13), torch.float32)
    assert all(tile.block.device.type == "cpu" for tile in tiles)


SWITCHES = ("flag", "precision", "setting")


def test_reduced_float32_products_are_switched_off_and_on_again():
    """Whichever of torch's three ways a program has used; the settings exist without a GPU too."""
    code = """
import os, sys, torch
from zoom_core.axes import _no_tf32


def check(switch):
    products = torch.backends.cuda.matmul
    if switch == "flag":
        products.allow_tf32 = True
    elif switch == "setting":
        torch.set_float32_matmul_precision("high")
    elif hasattr(products, "fp32_precision"):
        products.fp32_precision = "tf32"
    else:
        return
    name = "fp32_precision" if hasattr(products, "fp32_precision") else "allow_tf32"
    reduced = getattr(products, name)
    assert reduced in ("tf32", True), (switch, reduced)
    with _no_tf32():
        assert getattr(products, name) in ("ieee", False), (switch, getattr(products, name))
    assert getattr(products, name) == reduced, (switch, getattr(products, name))


first, *others = sys.argv[1:]
for switch in others:
    child = os.fork()
    if not child:
        first = switch
        break
    assert os.waitpid(child, 0)[1] == 0, switch
check(first)
"""
    root = Path(__file__).resolve().parent.parent
    # A process of its own for each: torch remembers which way was used. Importing it takes longer than the rest.
    for switches in [SWITCHES] if hasattr(os, "fork") else [(switch,) for switch in SWITCHES]:
        done = subprocess.run([sys.executable, "-c", code, *switches], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("build", [axes.reduction, axes.expansion, axes.block_reduction, axes.block_expansion])
@pytest.mark.parametrize("axis", [Axis.of_resize(700, 350), Axis.of_resize(701, 263), Axis.of_inset(30.4, 140.7, 700)])
def test_long_axes_are_built_in_parts(build, axis):
    """Each part of a matrix is made by itself, and is what the whole matrix has there."""
    whole = build(axis)
    parts = torch.zeros_like(whole)
    for tile in axes._tiles(build, axis, torch.float64):
        parts[tile.begin : tile.end, tile.low : tile.high] = tile.block
    torch.testing.assert_close(parts, whole, atol=2 * axes.NEGLIGIBLE, rtol=0)


def test_pixels_see_no_more_than_there_is():
    """What a coarser pixel shows lies within the range of the pixels that it sees, at the frame's ends too."""
    for axis in (Axis.of_resize(64, 16), Axis.of_resize(41, 32), Axis.of_resize(40, 39), Axis.of_inset(3.3, 20.5, 64)):
        assert float(axes.reduction(axis).min()) >= 0
