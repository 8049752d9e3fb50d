"""The procedural world as a scene whose picture is known at every zoom.

Drawn for a view, the world has the detail that the view's pixels can show, so that views of different
zooms are not of one and the same scene. Here every place has one detail for good: that of the last level
whose frame shows it at the border, and a smooth mix of two levels' in between. The scene is a nest of
squares, one a level, each a grid of `DENSITY` samples a level pixel; what a camera sees is the sum over all
samples through its pixels' Gaussian, for the levels and for the frames in between alike.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.plane_waves import frames
from demo_model.world import paint
from demo_model.world.noise import smooth
from zoom_core.geometry import Geometry

DENSITY = 4
PIXEL_SIGMA = 0.5  # of the contract's pixel, in its own width
_MARGIN = 3  # level pixels around the outermost square


class WorldScene:
    """A colour scene around the middle of level 0's frame.

    depth: number of levels; zoom: between neighbours; size: pixels along a level's side;
    start: the world's scale at level 0.
    """

    def __init__(self, depth: int, zoom: float, size: int, seed: int = 1, start: float = 4.0):
        self._grids = []
        step = math.log(zoom, 4)
        for level in range(depth):
            margin = _MARGIN * DENSITY if level == 0 else 0
            count = size * DENSITY
            # Within this level's frame, widths of that frame from its middle.
            place = (np.arange(-margin, count + margin) + 0.5) / count - 0.5
            u, v = np.meshgrid(place.astype(np.float32), place.astype(np.float32))
            color = paint(seed, start + step * level, size, u, v)
            last = level == depth - 1
            if not last:
                finer = paint(seed, start + step * (level + 1), size, u * np.float32(zoom), v * np.float32(zoom))
                radius = np.maximum(np.abs(u), np.abs(v)) * 2
                share = smooth(0.0, math.log(zoom), -np.log(np.maximum(radius, 1e-6)))
                color = color + (finer - color) * share[..., None]
            width = zoom**-level
            cell = np.full(u.shape, (width / count) ** 2, np.float32)
            if not last:
                cell[radius < 1 / zoom] = 0  # the next square's
            self._grids.append((0.5 + place * width, color, cell))

    def picture(self, left: float, top: float, width: float, height: float, columns: int, rows: int) -> np.ndarray:
        """[rows, columns, 3]: what a camera with that many pixels sees of a rectangle of level 0's frame."""
        total, weight = np.zeros((rows, columns, 3)), np.zeros((rows, columns))
        for place, color, cell in self._grids:
            across, used_x, seen_x = _pixels(place, left, width, columns)
            down, used_y, seen_y = _pixels(place, top, height, rows)
            area = cell[used_y, used_x]
            if not area.any():
                continue
            weight[seen_y, seen_x] += down @ area @ across.T
            for channel in range(3):
                total[seen_y, seen_x, channel] += down @ (color[used_y, used_x, channel] * area) @ across.T
        return total / weight[..., None]

    def levels(self, geometry: Geometry) -> np.ndarray:
        """[N, H, W, 3]: the levels of a geometry."""
        return np.stack([self.picture(*frame, geometry.width, geometry.height) for frame in frames(geometry)])


def _pixels(place: np.ndarray, begin: float, extent: float, count: int) -> tuple[np.ndarray, slice, slice]:
    """Gaussian weights [pixels, samples] of a row of pixels; which samples and which pixels of the row those are."""
    pixel = extent / count
    reach = 6 * PIXEL_SIGMA * pixel
    middles = begin + pixel * (np.arange(count) + 0.5)
    samples = slice(*np.searchsorted(place, (begin - reach, begin + extent + reach)))
    pixels = slice(*np.searchsorted(middles, (place[0] - reach, place[-1] + reach)))
    distance = (place[samples] - middles[pixels, None]) / (PIXEL_SIGMA * pixel)
    return np.exp(-0.5 * distance**2).astype(np.float32), samples, pixels
