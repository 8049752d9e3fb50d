"""The zoom at every frame of a video, in plain numbers."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from .geometry import Geometry
from .path import CameraPath, View

DIRECTIONS = ("in", "out", "in-out", "out-in")
MAX_FRAMES = 1_000_000
# How much of the way "soft ends" spends speeding up, and again slowing down.
_RAMP = 0.15
# Progress this close to a level (in log zoom) is that level: rounding, far below one pixel.
_SNAP = 1e-9


def _linear(u: float) -> float:
    return u


def _ease_in(u: float) -> float:
    return u * u


def _ease_out(u: float) -> float:
    return u * (2 - u)


def _ease_in_out(u: float) -> float:
    return u * u * (3 - 2 * u)


def _soft_ends(u: float) -> float:
    """Constant speed with a short start and stop; the speed itself rises along a cosine."""
    if u > 0.5:
        return 1 - _soft_ends(1 - u)
    speed = 1 / (1 - _RAMP)
    if u >= _RAMP:
        return speed * (u - _RAMP / 2)
    return speed * (u / 2 - _RAMP / (2 * math.pi) * math.sin(math.pi * u / _RAMP))


EASINGS: dict[str, Callable[[float], float]] = {
    "linear": _linear,
    "soft ends": _soft_ends,
    "ease in-out": _ease_in_out,
    "ease in": _ease_in,
    "ease out": _ease_out,
}


class Camera:
    """A zoom through a geometry as frames: frame i is seen at time i / fps.

    geometry: the levels to travel through.
    fps: frames a second. seconds_per_level: the whole way takes N - 1 times this.
    direction: "in", "out", "in-out", "out-in". One way shows both ends whole; there and back is
        one period of a loop: its last frame is one step before its first.
    easing: a name in EASINGS. "linear" zooms at a constant rate in log zoom, so that every part
        of the way looks equally fast; a level of zoom 4 then takes twice as long as one of zoom 2.
    hold_start, hold_end: seconds to rest where the camera starts, and at the other end.
    Raises ValueError naming the input.
    """

    def __init__(
        self,
        geometry: Geometry,
        fps: float = 30.0,
        seconds_per_level: float = 2.0,
        direction: str = "in",
        easing: str = "linear",
        hold_start: float = 0.0,
        hold_end: float = 0.0,
    ):
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be a positive number, got {fps:g}.")
        if not (math.isfinite(seconds_per_level) and seconds_per_level > 0):
            raise ValueError(f"seconds_per_level must be a positive number, got {seconds_per_level:g}.")
        for name, seconds in (("hold_start", hold_start), ("hold_end", hold_end)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{name} must be 0 or more seconds, got {seconds:g}.")
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}.")
        if easing not in EASINGS:
            raise ValueError(f"easing must be one of {', '.join(EASINGS)}, got {easing!r}.")
        self.path = CameraPath(geometry)
        self.fps = fps
        self._outward = direction.startswith("out")
        self._ease = EASINGS[easing]
        self._passed = [0.0, *accumulate(self.path.log_zooms)]
        seconds = seconds_per_level * (self.path.levels - 1)
        self._returns = "-" in direction
        if (seconds * (1 + self._returns) + hold_start + hold_end) * fps > MAX_FRAMES:
            raise ValueError(
                f"this video would have more than {MAX_FRAMES} frames: lower fps, seconds_per_level or the holds."
            )
        self._steps = max(round(seconds * fps), 1) if seconds else 0
        self._rest = (round(hold_start * fps), round(hold_end * fps))
        if self._returns:
            self.frame_count = max(2 * self._steps + sum(self._rest), 1)
        else:
            self.frame_count = self._steps + 1 + sum(self._rest)

    def __len__(self) -> int:
        return self.frame_count

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frame_count / self.fps

    def zoom(self, frame: int) -> float:
        """The zoom at a frame, in levels. Raises IndexError outside the video."""
        if not 0 <= frame < self.frame_count:
            raise IndexError(f"frame must be from 0 to {self.frame_count - 1}, got {frame}.")
        # Steps from where the camera started; there and back passes the same places exactly.
        step = min(max(frame - self._rest[0], 0), self._steps)
        step -= max(frame - self._rest[0] - self._steps - self._rest[1], 0) if self._returns else 0
        return self._level_at(self._ease(step / self._steps) if self._steps else 0.0)

    def _level_at(self, progress: float) -> float:
        """Progress 0..1 of the way, in log zoom, as a zoom in levels."""
        last = self.path.levels - 1
        if last == 0:
            return 0.0
        passed = self._passed[-1] * (1 - progress if self._outward else progress)
        level = min(bisect_right(self._passed, passed) - 1, last - 1)
        t = (passed - self._passed[level]) / self.path.log_zooms[level]
        if t < _SNAP:
            return float(level)
        return float(level + 1) if t > 1 - _SNAP else level + t

    def view(self, frame: int) -> View:
        """The rectangle that a frame shows, in the frame of its level."""
        return self.path.view(self.zoom(frame))
