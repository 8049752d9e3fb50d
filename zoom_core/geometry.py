"""Where each level lies inside the one before it, in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle
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

    closing: where level 0 lies in level N-1, of an endless zoom; None for a zoom with two ends.
    Raises ValueError when an inset does not lie inside its parent, or a single level is closed.
    """

    height: int
    width: int
    insets: tuple[Inset, ...]
    closing: Inset | None = None

    def __post_init__(self) -> None:
        if self.closed and not self.insets:
            raise ValueError("an endless zoom needs at least 2 levels, got 1.")
        for i, inset in enumerate(self.steps):
            fits = all(math.isfinite(v) for v in inset) and inset.height > 0 and inset.width > 0
            # A fraction's rounding (1e-6 px) is not an overhang.
            fits = fits and inset.top >= -1e-6 and inset.left >= -1e-6
            fits = fits and inset.top + inset.height <= self.height + 1e-6
            fits = fits and inset.left + inset.width <= self.width + 1e-6
            if not fits:
                raise ValueError(f"inset {i} must lie inside {self.height} x {self.width} pixels, got {tuple(inset)}.")

    def __len__(self) -> int:
        return len(self.insets) + 1

    @property
    def closed(self) -> bool:
        """Whether the innermost level holds level 0 again."""
        return self.closing is not None

    @property
    def steps(self) -> tuple[Inset, ...]:
        """Every inset: the one of step i shows level i+1, and that of step N-1 of a closed geometry level 0."""
        return self.insets if self.closing is None else (*self.insets, self.closing)

    def inwards(self, level: int) -> Iterator[Inset]:
        """The insets from `level` on, each in the one before it; without end where the geometry is closed."""
        return chain(self.steps[level:], cycle(self.steps) if self.closed else ())

    def outwards(self, level: int) -> Iterator[Inset]:
        """The inset that shows `level`, the one that shows the level around it, and so on outwards; without
        end where the geometry is closed."""
        return chain(reversed(self.steps[:level]), cycle(reversed(self.steps)) if self.closed else ())

    def resolved(self, insets: Iterable[Inset], smallest: float = 1.0) -> int:
        """How many of `insets`, each in the one before it, still span `smallest` pixels of the first level."""
        height, width, count = float(self.height), float(self.width), 0
        for inset in insets:
            height, width = height * inset.height / self.height, width * inset.width / self.width
            if max(height, width) < smallest * (1 - 1e-9):
                break
            count += 1
        return count

    def scaled(self, height: int, width: int) -> Geometry:
        """The same geometry on a grid of height x width pixels, not snapped again.

        Snapping twice would round the insets of the finer grid differently from those that
        the levels were sampled with, and shift the levels against each other.
        """
        if (height, width) == (self.height, self.width):
            return self
        fy, fx = height / self.height, width / self.width
        steps = [Inset(i.top * fy, i.left * fx, i.height * fy, i.width * fx) for i in self.steps]
        return Geometry(height, width, tuple(steps[: len(self) - 1]), steps[-1] if self.closed else None)

    def with_step(self, step: int, inset: Inset) -> Geometry:
        """The same geometry with another inset at `step`."""
        steps = [*self.steps[:step], inset, *self.steps[step + 1 :]]
        return Geometry(self.height, self.width, tuple(steps[: len(self) - 1]), steps[-1] if self.closed else None)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, for a file's metadata."""
        data = {"height": self.height, "width": self.width, "insets": [list(i) for i in self.insets]}
        return data if self.closing is None else {**data, "closing": list(self.closing)}

    @classmethod
    def from_json(cls, data: Any) -> Geometry:
        """What `to_json` gave; raises ValueError for anything else."""
        try:
            if len(data["insets"]) > MAX_INSETS:
                raise ValueError(f"geometry must hold at most {MAX_INSETS} insets, got {len(data['insets'])}.")
            insets = tuple(Inset(*map(float, entry)) for entry in data["insets"])
            closing = data.get("closing")
            closing = None if closing is None else Inset(*map(float, closing))
            geometry = cls(int(data["height"]), int(data["width"]), insets, closing)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(
                f"geometry must hold height, width and insets of 4 numbers, got {quoted(data)} ({error})."
            ) from error
        for i, inset in enumerate(geometry.steps):
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
