"""Where each level lies inside the one before it, in plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from .wording import quoted

# What a file may say. Snapped to few latent pixels, the inset of a zoom of 16 comes out at up to 1/32.
MAX_INSETS = 64
SMALLEST = 64


class Inset(NamedTuple):
    """Where level i+1 lies in level i, in pixels of level i's grid.

    Whole numbers on the grid where it was snapped, possibly fractions on a finer one.
    """

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class Geometry:
    """N levels of height x width pixels; insets[i] is where level i+1 lies in level i.

    Raises ValueError when an inset does not lie inside its parent.
    """

    height: int
    width: int
    insets: tuple[Inset, ...]

    def __post_init__(self) -> None:
        for i, inset in enumerate(self.insets):
            fits = all(math.isfinite(v) for v in inset) and inset.height > 0 and inset.width > 0
            # A fraction's rounding (1e-6 px) is not an overhang.
            fits = fits and inset.top >= -1e-6 and inset.left >= -1e-6
            fits = fits and inset.top + inset.height <= self.height + 1e-6
            fits = fits and inset.left + inset.width <= self.width + 1e-6
            if not fits:
                raise ValueError(f"inset {i} must lie inside {self.height} x {self.width} pixels, got {tuple(inset)}.")

    def __len__(self) -> int:
        return len(self.insets) + 1

    def scaled(self, height: int, width: int) -> Geometry:
        """The same geometry on a grid of height x width pixels, not snapped again.

        Snapping twice would round the insets of the finer grid differently from those that
        the levels were sampled with, and shift the levels against each other.
        """
        if (height, width) == (self.height, self.width):
            return self
        fy, fx = height / self.height, width / self.width
        insets = tuple(Inset(i.top * fy, i.left * fx, i.height * fy, i.width * fx) for i in self.insets)
        return Geometry(height, width, insets)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, for a file's metadata."""
        return {"height": self.height, "width": self.width, "insets": [list(i) for i in self.insets]}

    @classmethod
    def from_json(cls, data: Any) -> Geometry:
        """What `to_json` gave; raises ValueError for anything else."""
        try:
            if len(data["insets"]) > MAX_INSETS:
                raise ValueError(f"geometry must hold at most {MAX_INSETS} insets, got {len(data['insets'])}.")
            insets = tuple(Inset(*map(float, entry)) for entry in data["insets"])
            geometry = cls(int(data["height"]), int(data["width"]), insets)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(
                f"geometry must hold height, width and insets of 4 numbers, got {quoted(data)} ({error})."
            ) from error
        for i, inset in enumerate(insets):
            if inset.height * SMALLEST < geometry.height or inset.width * SMALLEST < geometry.width:
                raise ValueError(
                    f"inset {i} must be at least 1/{SMALLEST} of {geometry.height} x {geometry.width} pixels, "
                    f"got {tuple(inset)}."
                )
        return geometry


def _snap_axis(size: int, zoom: float, center: float) -> tuple[int, int]:
    """(start, length) in whole pixels; the two edges round towards each other at .5, so that a
    centred inset stays exactly centred whatever the parity of `size`."""
    start = math.floor(center * size - 0.5 * size / zoom + 0.5)
    end = math.ceil(center * size + 0.5 * size / zoom - 0.5)
    start, end = max(start, 0), min(end, size)
    if end <= start:
        start = min(max(math.floor(center * size), 0), size - 1)
        end = start + 1
    return start, end - start


def snap(height: int, width: int, zoom: float, center: tuple[float, float]) -> Inset:
    """The inset of a level of `zoom` around `center` (x, y in 0..1), on whole pixels."""
    top, inset_height = _snap_axis(height, zoom, center[1])
    left, inset_width = _snap_axis(width, zoom, center[0])
    return Inset(top, left, inset_height, inset_width)
