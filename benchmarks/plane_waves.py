"""A scene whose picture at every zoom is known in closed form: a sum of plane waves.

A pixel sees a wave of frequency f (cycles a pixel) through its Gaussian of sigma 0.5, that is
exp(-(pi f)^2 / 2) of it. Waves are spread evenly over all octaves and directions with equal
energy an octave, as in natural pictures, down to four times finer than the innermost pixels.
"""

from __future__ import annotations

import numpy as np

from zoom_core.geometry import Geometry

WAVES_PER_OCTAVE = 24
# Contrast (rms) of one octave; a picture of 512 pixels shows nine of them, together 0.15.
OCTAVE_CONTRAST = 0.05


class PlaneWaves:
    """A grey scene around 0.5 over the frame of level 0.

    depth: magnification of the innermost level against level 0; size: pixels along its side.
    """

    def __init__(self, depth: float, size: int, seed: int = 1):
        generator = np.random.default_rng(seed)
        count = int(np.log2(2.0 * size * depth) * WAVES_PER_OCTAVE)
        frequency = 2.0 ** ((np.arange(count) + generator.random(count)) / WAVES_PER_OCTAVE)
        direction = generator.random(count) * 2 * np.pi
        self._fx, self._fy = frequency * np.cos(direction), frequency * np.sin(direction)
        self._phase = generator.random(count) * 2 * np.pi
        self._amplitude = OCTAVE_CONTRAST * np.sqrt(2 / WAVES_PER_OCTAVE)

    def picture(
        self, left: float, top: float, width: float, height: float, columns: int, rows: int, roll: float = 0.0
    ) -> np.ndarray:
        """[rows, columns] float64: exactly what a camera with that many pixels sees of a rectangle
        of level 0's frame (fractions of it), turned clockwise by `roll` degrees about its middle."""
        pixel_width, pixel_height = width / columns, height / rows
        seen = np.exp(-0.5 * np.pi**2 * ((self._fx * pixel_width) ** 2 + (self._fy * pixel_height) ** 2))
        used = seen > 1e-8
        fx, fy = self._fx[used], self._fy[used]
        # Cycles a pixel along the output's own axes, and the phase in its middle.
        cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
        across = fx * pixel_width * cosine - fy * pixel_height * sine
        down = fx * pixel_width * sine + fy * pixel_height * cosine
        phase = self._phase[used] + 2 * np.pi * (fx * (left + 0.5 * width) + fy * (top + 0.5 * height))
        x, y = np.arange(columns) - 0.5 * (columns - 1), np.arange(rows) - 0.5 * (rows - 1)
        waves_across = np.exp(2j * np.pi * np.outer(across, x))
        waves_down = np.exp(1j * (2 * np.pi * np.outer(y, down) + phase))
        return 0.5 + ((waves_down * (self._amplitude * seen[used])) @ waves_across).real

    def levels(self, geometry: Geometry, shifts: list[tuple[float, float]] | None = None) -> np.ndarray:
        """[N, H, W]: the levels of a geometry; shifts: (x, y) in each level's pixels, as a fault."""
        pictures = []
        for i, (left, top, width, height) in enumerate(frames(geometry)):
            dx, dy = shifts[i] if shifts else (0.0, 0.0)
            pictures.append(
                self.picture(
                    left + dx * width / geometry.width,
                    top + dy * height / geometry.height,
                    width,
                    height,
                    geometry.width,
                    geometry.height,
                )
            )
        return np.stack(pictures)


def frames(geometry: Geometry) -> list[tuple[float, float, float, float]]:
    """(left, top, width, height) of every level in fractions of level 0's frame (few levels only:
    absolute places run out of precision after fifty octaves)."""
    left, top, width, height = 0.0, 0.0, 1.0, 1.0
    result = [(left, top, width, height)]
    for inset in geometry.insets:
        left += width * inset.left / geometry.width
        top += height * inset.top / geometry.height
        width *= inset.width / geometry.width
        height *= inset.height / geometry.height
        result.append((left, top, width, height))
    return result
