"""Where the camera looks at every real zoom of a stack, in plain numbers.

Nothing here is ever expressed in the frame of a far-away level: a view is a rectangle in the
frame of the level just outside it, so that level 60 of a zoom by 4 (10^36) is as exact as level 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .geometry import Geometry

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
# Rounding, not a view outside its frame.
_TOLERANCE = 1e-9
# A fixed point this close to the border leaves no room to turn before the segment ends.
_BORDER = 1e-3


class View(NamedTuple):
    """A rectangle in the frame of `level`, in fractions of that frame (0..1), y downwards."""

    level: int
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class _Segment:
    """One axis of the way from a frame [0, 1] to its inset [fixed * (1 - scale), + scale].

    The size of the view is scale^t. Its start obeys d start = -aim * d size, where `aim` is the
    point of the view (0..1) that stands still at that moment. A constant aim is the plain zoom
    about the fixed point of the map between the levels; here the aim glides from `enter` through
    `cruise` to `leave`, so that the camera never turns on the spot at a level.
    """

    scale: float
    fixed: float
    enter: float
    leave: float
    cruise: float
    turn: float

    @classmethod
    def solve(cls, scale: float, fixed: float, enter: float, leave: float) -> _Segment:
        """The cruise aim that ends on the inset exactly, with turns as long as the frame allows."""
        if enter == fixed == leave:
            return cls(scale, fixed, enter, leave, fixed, 0.5)
        turn = 0.5
        for _ in range(40):
            # The aim is linear in cruise: one pull of each kind over the whole way.
            by_enter = _pull(scale, turn, 1.0, True)
            by_leave = _pull(scale, turn, 1.0, False)
            whole = 1 - scale
            cruise = (fixed * whole - enter * by_enter - leave * by_leave) / (whole - by_enter - by_leave)
            segment = cls(scale, fixed, enter, leave, cruise, turn)
            starts = np.array([segment._free_start(t) for t in np.linspace(0, 1, 65)])
            sizes = scale ** np.linspace(0, 1, 65)
            if starts.min() >= -_TOLERANCE and (starts + sizes).max() <= 1 + _TOLERANCE:
                return segment
            turn *= 0.75
        return segment

    def start(self, t: float) -> float:
        """Where the view starts at t in 0..1, inside the frame to the last bit."""
        return min(max(self._free_start(t), 0.0), 1 - self.scale**t)

    def _free_start(self, t: float) -> float:
        size = self.scale**t
        start = self.cruise * (1 - size)
        start += (self.enter - self.cruise) * _pull(self.scale, self.turn, t, True)
        start += (self.leave - self.cruise) * _pull(self.scale, self.turn, t, False)
        return start

    def aim(self, t: float) -> float:
        """The point of the view that stands still at t, in fractions of the view."""
        return (
            self.cruise
            + (self.enter - self.cruise) * _fade(t / self.turn)
            + (self.leave - self.cruise) * _fade((1 - t) / self.turn)
        )


def _fade(s):
    """1 at s = 0 and 0 from s = 1 on, with a level slope at both."""
    s = np.clip(s, 0.0, 1.0)
    return (1 - s) ** 2 * (1 + 2 * s)


def _pull(scale: float, turn: float, t: float, entering: bool) -> float:
    """Integral from 0 to t of -d(scale^u) times the weight of the enter (or leave) aim.

    16-point Gauss-Legendre on a smooth piece: exact to rounding.
    """
    low, high = (0.0, min(t, turn)) if entering else (1 - turn, t)
    if high <= low:
        return 0.0
    u = 0.5 * (high - low) * _NODES + 0.5 * (high + low)
    weight = _fade(u / turn) if entering else _fade((1 - u) / turn)
    rate = -math.log(scale) * scale**u
    return float(0.5 * (high - low) * (_WEIGHTS * rate * weight).sum())


def _knots(fixed: list[float], closed: bool) -> list[float]:
    """The aim at every level: halfway between the segments that meet there.

    A segment that ends at its frame's border can only come to it with its own aim.
    """
    ends = [0.5 * (fixed[0] + fixed[-1])] * 2 if closed else [fixed[0], fixed[-1]]
    knots = [ends[0], *(0.5 * (a + b) for a, b in zip(fixed, fixed[1:])), ends[1]]
    for i, point in enumerate(fixed):
        if not _BORDER < point < 1 - _BORDER:
            knots[i + 1] = point
    if closed:
        knots[0] = knots[-1]
    return knots


def _fixed_point(start: float, scale: float) -> float:
    """The point of a frame that its inset [start, start + scale] shows at the same place."""
    return start / (1 - scale) if scale < 1 else 0.5


class CameraPath:
    """The way through the insets of a geometry, from level 0 whole to level N - 1 whole; through a closed
    one round and round, level N being level 0 again.

    log_zooms: ln of each inset's magnification (geometric mean of both axes).
    """

    def __init__(self, geometry: Geometry):
        self.levels, self.closed = len(geometry), geometry.closed
        sizes = [(i.width / geometry.width, i.height / geometry.height) for i in geometry.steps]
        starts = [(i.left / geometry.width, i.top / geometry.height) for i in geometry.steps]
        self.log_zooms = [-0.5 * (math.log(width) + math.log(height)) for width, height in sizes]
        self.insets = [(*start, *size) for start, size in zip(starts, sizes)]
        self._axes = []
        for axis in (0, 1):
            scales = [size[axis] for size in sizes]
            fixed = [_fixed_point(start[axis], scale) for start, scale in zip(starts, scales)]
            knots = _knots(fixed, self.closed) if fixed else []
            self._axes.append([_Segment.solve(*values) for values in zip(scales, fixed, knots, knots[1:])])

    @property
    def ways(self) -> list[list[tuple[float, float, float, float]]]:
        """(enter, cruise, leave, turn) of every step inwards, across and down: what `view` follows."""
        return [[(way.enter, way.cruise, way.leave, way.turn) for way in axis] for axis in self._axes]

    def view(self, zoom: float) -> View:
        """What the camera sees at `zoom`, in levels: 0 is level 0 whole, N - 1 the innermost whole.

        The view lies inside the frame of level floor(zoom), and is that whole frame where
        zoom is a whole number. The position is smooth in between and across levels.
        Raises ValueError outside 0..N-1; round a closed geometry any zoom leads somewhere.
        """
        if self.closed:
            if not math.isfinite(zoom):
                raise ValueError(f"zoom must be a finite number of levels, got {zoom:g}.")
            zoom = zoom % self.levels
        elif not 0 <= zoom <= self.levels - 1:
            raise ValueError(f"zoom must be from 0 to {self.levels - 1} (levels), got {zoom:g}.")
        level = min(int(zoom), self.levels - 1)
        t = zoom - level
        if t == 0:
            return View(level, 0.0, 0.0, 1.0, 1.0)
        horizontal, vertical = (axis[level] for axis in self._axes)
        return View(level, horizontal.start(t), vertical.start(t), horizontal.scale**t, vertical.scale**t)

    def inward(self, view: View) -> View:
        """The same rectangle in the frame of the next level; after the innermost of a closed geometry that
        is level 0, which counts as level N here."""
        left, top, width, height = self.insets[view.level % self.levels]
        place = ((view.left - left) / width, (view.top - top) / height, view.width / width, view.height / height)
        return View(view.level + 1, *place)

    def outward(self, view: View) -> View:
        """The same rectangle in the frame of the level before; before level 0 of a closed geometry that is
        the innermost, which counts as level -1 here."""
        left, top, width, height = self.insets[(view.level - 1) % self.levels]
        place = (left + view.left * width, top + view.top * height, view.width * width, view.height * height)
        return View(view.level - 1, *place)

    def aim(self, zoom: float) -> tuple[float, float]:
        """The point (x, y) of the picture, 0..1, that stands still while zooming through `zoom`."""
        if not self.log_zooms:
            return (0.5, 0.5)
        zoom = zoom % self.levels if self.closed else zoom
        level = min(int(zoom), len(self.log_zooms) - 1)
        return tuple(axis[level].aim(zoom - level) for axis in self._axes)
