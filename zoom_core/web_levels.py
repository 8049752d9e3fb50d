"""A stack as a browser shows it: a description in plain numbers, and one WebP picture a level."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch

from .geometry import Geometry
from .levels import ZoomLevels
from .operators import downscale
from .path import CameraPath
from .stack import ZoomStack

DEFAULT_QUALITY = 95
LOSSLESS = 100
# What WebP can hold is 16383; no browser's graphics take more than this.
MAX_SIDE = 8192


def _reduced(height: int, width: int, largest_side: int) -> tuple[int, int]:
    """(height, width) with no side longer than largest_side."""
    share = min(1.0, largest_side / max(height, width))
    return max(1, math.floor(height * share + 1e-6)), max(1, math.floor(width * share + 1e-6))


def describe_levels(levels: ZoomLevels, geometry: Geometry) -> dict[str, Any]:
    """Sizes in pixels, prompts, insets [left, top, width, height] in fractions of the level around them, and the
    camera's ways through them; those of an endless zoom are one more, and `closed`."""
    path = CameraPath(geometry)
    return {
        "version": 1,
        "width": geometry.width,
        "height": geometry.height,
        "closed": geometry.closed,
        "insets": path.insets,
        "ways": path.ways,
        "levels": [{"prompt": level.prompt} for level in levels],
    }


def describe(stack: ZoomStack, largest_side: int = MAX_SIDE) -> dict[str, Any]:
    """`describe_levels` of a stack, with the sizes of the pictures that `level_webp` gives."""
    height, width = _reduced(stack.height, stack.width, largest_side)
    return {**describe_levels(stack.levels, stack.geometry), "width": width, "height": height}


def level_pixels(layer: torch.Tensor, largest_side: int) -> np.ndarray:
    """A level [C, H, W] in 0..1 as bytes [h, w, 3]; C is 1 (grey), 3, or 4 (the fourth is left out).

    largest_side: a larger level is reduced to it.
    """
    height, width = layer.shape[-2:]
    if max(height, width) > largest_side:
        layer = downscale(layer, *_reduced(height, width, largest_side))
    picture = layer.detach().to("cpu", torch.float32).clamp(0, 1).mul(255).round().to(torch.uint8)
    return picture[:3].expand(3, -1, -1).movedim(0, -1).numpy()


def level_webp(layer: torch.Tensor, quality: int = DEFAULT_QUALITY, largest_side: int = MAX_SIDE) -> bytes:
    """A level [C, H, W] in 0..1 as a WebP file; C is 1 (grey), 3, or 4 (the fourth is left out).

    quality: 1 to 99, or 100 for lossless. largest_side: a larger level is reduced to it.
    Raises ValueError naming the input.
    """
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= LOSSLESS:
        raise ValueError(f"quality must be a whole number from 1 to {LOSSLESS}, got {quality!r}.")
    if isinstance(largest_side, bool) or not isinstance(largest_side, int) or not 16 <= largest_side <= MAX_SIDE:
        raise ValueError(f"largest_side must be a whole number from 16 to {MAX_SIDE} pixels, got {largest_side!r}.")
    pixels = np.ascontiguousarray(level_pixels(layer, largest_side)[..., ::-1])
    # OpenCV takes any quality above 100 as lossless.
    done, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality if quality < LOSSLESS else 101])
    if not done:
        raise ValueError(f"a level of {layer.shape[-1]} x {layer.shape[-2]} pixels could not be written as WebP.")
    return data.tobytes()
