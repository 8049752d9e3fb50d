"""Geometries and level images that the tests of zoom_core share."""

from __future__ import annotations

import torch

from zoom_core import Geometry, ZoomLevel, ZoomLevels, render_image


def uniform(count: int, zoom: float, height: int, width: int) -> Geometry:
    """A centred zoom."""
    return ZoomLevels.uniform(count, zoom).resolve(height, width)


def _off_centre(height: int, width: int) -> Geometry:
    levels = [
        ZoomLevel(),
        ZoomLevel(zoom=2, center=(0.3, 0.7)),
        ZoomLevel(zoom=3, center=(0.6, 0.25)),
        ZoomLevel(zoom=2, center=(0.75, 0.75)),
    ]
    return ZoomLevels(levels).resolve(height, width)


GEOMETRIES = {
    "whole 2": uniform(5, 2, 48, 48),
    "whole 3": uniform(4, 3, 54, 54),
    "whole 4": uniform(4, 4, 64, 64),
    "whole 10": uniform(3, 10, 40, 40),
    "fractional 2.5": uniform(4, 2.5, 50, 40),
    "fractional 1.25": uniform(6, 1.25, 40, 40),
    "fractional 1.7": uniform(5, 1.7, 37, 53),
    "off-centre": _off_centre(48, 48),
    "odd": uniform(5, 2, 45, 33),
    "72 x 128": uniform(6, 2, 72, 128),
    "scaled": uniform(4, 2.5, 9, 9).scaled(41, 41),
    "scaled off-centre": _off_centre(9, 16).scaled(50, 83),
    "wider than high": uniform(4, 4, 16, 64),
    "deep": uniform(12, 2, 16, 16),
}


def random_levels(geometry: Geometry, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """[N, C, H, W] independent images in 0..1 with energy in every octave."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(geometry), channels, geometry.height, geometry.width
    image = torch.zeros(shape)
    size = 1
    while size <= max(shape[-2:]):
        coarse = torch.randn(*shape[:2], min(size, shape[2]), min(size, shape[3]), generator=generator)
        image += torch.nn.functional.interpolate(coarse, shape[-2:], mode="bilinear", align_corners=False)
        size *= 2
    return torch.sigmoid(image)


def consistent_levels(geometry: Geometry, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """[N, C, H, W] levels that show one scene: what rendering a random stack gives."""
    return render_image(random_levels(geometry, channels, seed), geometry)


def dot(height: int, width: int, y: float, x: float, sigma: float) -> torch.Tensor:
    """A Gaussian dot at (y, x), pixel edges being whole numbers."""
    rows = torch.exp(-0.5 * ((torch.arange(height, dtype=torch.float64) + 0.5 - y) / sigma) ** 2)
    columns = torch.exp(-0.5 * ((torch.arange(width, dtype=torch.float64) + 0.5 - x) / sigma) ** 2)
    return rows[:, None] * columns


def centroid(image: torch.Tensor) -> tuple[float, float]:
    """(y, x) of an image's centre of mass, pixel edges being whole numbers."""
    total = image.sum()
    rows = (image.sum(-1) * (torch.arange(image.shape[-2]) + 0.5)).sum() / total
    columns = (image.sum(-2) * (torch.arange(image.shape[-1]) + 0.5)).sum() / total
    return float(rows), float(columns)
