"""The zoom at every frame of a video, in plain numbers."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from .curves import Curve, smooth_step
from .geometry import Geometry
from .path import CameraPath, View
from .sound import Listening

MAX_ROLL = 3600
DIRECTIONS = ("in", "out", "in-out", "out-in")
MAX_FRAMES = 1_000_000
# How much of the way "soft ends" spends speeding up, and again slowing down.
_RAMP = 0.15
# Progress this close to a level (in log zoom) is that level: rounding, far below one pixel.
_SNAP = 1e-9
# Parts of a frame's time over which a speed curve is summed.
_PARTS = 16


def _linear(u: float) -> float:
    return u


def _ease_in(u: float) -> float:
    return u * u


def _ease_out(u: float) -> float:
    return u * (2 - u)


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
    "ease in-out": smooth_step,
    "ease in": _ease_in,
    "ease out": _ease_out,
}


def _calm(heard: np.ndarray, fps: float) -> np.ndarray:
    """What is heard, smoothed over a second: a place that follows every syllable would shake."""
    window = np.hanning(max(int(fps) | 1, 3) + 2)[1:-1]
    reach = len(window) // 2
    return np.convolve(np.pad(heard, reach, mode="edge"), window / window.sum(), "valid")


class Shot(NamedTuple):
    """One frame: the zoom in levels, and the degrees by which the picture is turned clockwise."""

    zoom: float
    roll: float = 0.0


@dataclass(frozen=True)
class Motion:
    """What moves the camera beyond an easing, for every film alike.

    speed: relative speed over the time of each way, 0 or more. place: how much of the way is done,
        0..1, over that time; it may turn back. One of the two at most.
    roll: degrees that the picture turns clockwise on the way through one level, on average; one way round
        an endless zoom it comes out at whole turns.
    rolled: how much of the whole roll is done over the time of the film; without it the roll follows the zoom.
    listening: a sound that sets the speed, or the place if `follows` is "place" (as a fraction of the
        way, by how loud it is). strength: how much of the speed is the sound's, 0..1.
    Raises ValueError naming the input.
    """

    speed: Curve | None = None
    place: Curve | None = None
    roll: float = 0.0
    rolled: Curve | None = None
    listening: Listening | None = None
    follows: str = "speed"
    strength: float = 0.8

    def __post_init__(self) -> None:
        if self.speed is not None and self.place is not None:
            raise ValueError("speed and place both say where the camera is: give one of them.")
        if self.speed is not None and self.speed.y.min() < 0:
            raise ValueError(f"speed must be 0 or more everywhere, got {self.speed.y.min():g}.")
        if self.speed is not None and self.speed.y.max() <= 0:
            raise ValueError("speed must be more than 0 somewhere, or the camera never leaves.")
        if self.place is not None and not (self.place.y.min() >= 0 and self.place.y.max() <= 1):
            raise ValueError(f"place must lie in 0..1, got {self.place.y.min():g} to {self.place.y.max():g}.")
        if not math.isfinite(self.roll) or abs(self.roll) > MAX_ROLL:
            raise ValueError(f"roll must be from {-MAX_ROLL} to {MAX_ROLL} degrees a level, got {self.roll:g}.")
        if self.follows not in ("speed", "place"):
            raise ValueError(f"follows must be speed or place, got {self.follows!r}.")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must be from 0 to 1, got {self.strength:g}.")
        if self.listening is not None and self.place is not None:
            raise ValueError("place is set by a curve: a sound can change the speed of easings and speed curves only.")
        if self.listening is not None and self.speed is not None and self.follows == "place":
            raise ValueError("place is set by the sound: give no speed, or let the sound change the speed.")


class Camera:
    """A zoom through a geometry as frames: frame i is seen at time i / fps.

    geometry: the levels to travel through.
    fps: frames a second. seconds_per_level: the whole way takes N - 1 times this, N times round an endless zoom.
    direction: "in", "out", "in-out", "out-in". One way shows both ends whole; there and back is
        one period of a loop: its last frame is one step before its first. Of an endless zoom one way is
        one round, and a period too.
    easing: a name in EASINGS. "linear" zooms at a constant rate in log zoom, so that every part
        of the way looks equally fast; a level of zoom 4 then takes twice as long as one of zoom 2.
    hold_start, hold_end: seconds to rest where the camera starts, and at the other end.
    motion: curves, roll and sound; what it says replaces the easing.
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
        motion: Motion | None = None,
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
        # Of an endless zoom one round: the frame after the last is the first.
        seconds = seconds_per_level * len(self.path.log_zooms)
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
            self.frame_count = self._steps + (not self.path.closed) + sum(self._rest)

        self.motion = motion or Motion()
        self._progress = self._follow(self.motion)

    def __len__(self) -> int:
        return self.frame_count

    def _follow(self, motion: Motion) -> np.ndarray | None:
        """Progress 0..1 at every frame as curves and sound have it; None where the easing alone does."""
        heard = motion.listening.frames(self.fps, self.frame_count) if motion.listening else None
        if self._steps == 0 or (motion.speed is None and motion.place is None and heard is None):
            return None
        progress = np.zeros(self.frame_count)
        there = self._way(motion, heard, self._rest[0], False)
        first, turn = self._rest[0], self._rest[0] + self._steps
        progress[:first] = there[0]
        progress[first : turn + 1] = there[: len(progress) - first]
        if not self._returns:
            progress[turn + 1 :] = there[-1]
            return progress
        back = turn + self._rest[1]
        progress[turn + 1 : back] = there[-1]
        progress[back:] = self._way(motion, heard, back, True)[: len(progress) - back]
        return progress

    def _way(self, motion: Motion, heard: np.ndarray | None, first: int, back: bool) -> np.ndarray:
        """[steps + 1] progress on the way there, or back, that begins at frame `first`."""
        time = np.arange(self._steps + 1) / self._steps
        if heard is not None and motion.follows == "place":
            frames = np.minimum(first + np.arange(self._steps + 1), len(heard) - 1)
            return _calm(heard, self.fps)[frames]
        if motion.place is not None:
            way = motion.place(time)
        elif motion.speed is not None:
            # Midpoints of parts far shorter than a frame; the sum is the way done.
            middle = (np.arange(self._steps * _PARTS) + 0.5) / (self._steps * _PARTS)
            way = np.concatenate([[0.0], np.cumsum(motion.speed(middle))])[::_PARTS]
            if not way[-1] > 0:
                raise ValueError("speed must be more than 0 somewhere, or the camera never leaves.")
            way = way / way[-1]
        else:
            way = np.array([self._ease(u) for u in time])
        if back:
            way = way[::-1]
        if heard is None:
            return way
        steps = np.diff(way)
        sound = heard[first : first + self._steps]
        steps = steps * (1 - motion.strength + motion.strength * sound)
        whole = steps.sum()
        if whole == 0:
            return way
        way = way[0] + np.concatenate([[0.0], np.cumsum(steps)]) * ((way[-1] - way[0]) / whole)
        return np.clip(way, 0.0, 1.0)

    def _checked(self, frame: int) -> int:
        if not 0 <= frame < self.frame_count:
            raise IndexError(f"frame must be from 0 to {self.frame_count - 1}, got {frame}.")
        return frame

    def _done(self, frame: int) -> float:
        """How much of the way is done at a frame, 0..1."""
        if self._progress is not None:
            return float(self._progress[frame])
        # Steps from where the camera started; there and back passes the same places exactly.
        step = min(max(frame - self._rest[0], 0), self._steps)
        step -= max(frame - self._rest[0] - self._steps - self._rest[1], 0) if self._returns else 0
        return self._ease(step / self._steps) if self._steps else 0.0

    def roll(self, frame: int) -> float:
        """The degrees by which the picture is turned clockwise at a frame."""
        if self.motion.roll == 0:
            return 0.0
        whole = self.motion.roll * len(self.path.log_zooms)
        if self.path.closed and not self._returns and self.motion.rolled is None:
            # Whole turns: the next round begins as this one did.
            whole = math.copysign(max(round(abs(whole) / 360), 1) * 360, whole)
        if self.motion.rolled is not None:
            return whole * float(self.motion.rolled(self._checked(frame) / max(self.frame_count - 1, 1)))
        done = self._done(self._checked(frame))
        return whole * (1 - done if self._outward else done)

    def shot(self, frame: int) -> Shot:
        """What `StackRenderer` needs to know of a frame."""
        return Shot(self.zoom(frame), self.roll(frame))

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frame_count / self.fps

    def zoom(self, frame: int) -> float:
        """The zoom at a frame, in levels. Raises IndexError outside the video."""
        return self._level_at(self._done(self._checked(frame)))

    def _level_at(self, progress: float) -> float:
        """Progress 0..1 of the way, in log zoom, as a zoom in levels."""
        last = len(self.path.log_zooms)
        if last == 0:
            return 0.0
        passed = self._passed[-1] * (1 - progress if self._outward else progress)
        level = min(bisect_right(self._passed, passed) - 1, last - 1)
        t = (passed - self._passed[level]) / self.path.log_zooms[level]
        if t < _SNAP or t > 1 - _SNAP:
            level, t = level + round(t), 0.0
        return float(level % self.path.levels) + t

    def view(self, frame: int) -> View:
        """The rectangle that a frame shows, in the frame of its level."""
        return self.path.view(self.zoom(frame))
