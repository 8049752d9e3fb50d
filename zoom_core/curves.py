"""Curves over the time of a film: numbers from an editor or a script."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

import numpy as np

MAX_POINTS = 100_000
_NUMBER = re.compile(r"[^\s,;]+")


def smooth_step(u):
    """From 0 at u = 0 to 1 at u = 1, level at both ends; u in 0..1: a number, an array or a tensor."""
    return u * u * (3 - 2 * u)


class Curve:
    """Values y over x in 0..1, smooth between the points and never beyond neighbouring ones.

    points: (x, y) with x rising from point to point; before the first and after the last the curve
        keeps their value. smooth: monotone cubic (Fritsch and Butland 1984) or, if False, straight.
    name: what messages call it.
    Raises ValueError for no points, numbers that are not finite, and x that is outside 0..1 or does not rise.
    """

    def __init__(self, points: Sequence[tuple[float, float]], smooth: bool = True, name: str = "curve"):
        if not 1 <= len(points) <= MAX_POINTS:
            raise ValueError(f"{name} must have from 1 to {MAX_POINTS} points, got {len(points)}.")
        for number, point in enumerate(points):
            if not all(math.isfinite(value) for value in point):
                raise ValueError(f"{name} must hold finite numbers, point {number + 1} is {point[0]:g} {point[1]:g}.")
        self.x, self.y = np.array(points, dtype=np.float64).T
        if self.x[0] < 0 or self.x[-1] > 1:
            raise ValueError(
                f"{name} must lie in 0..1 along x (the time), its points go from {self.x[0]:g} to {self.x[-1]:g}."
            )
        backwards = np.flatnonzero(np.diff(self.x) <= 0)
        if len(backwards):
            at = int(backwards[0])
            raise ValueError(
                f"{name} must go forward in x (the time), point {at + 2} at {self.x[at + 1]:g} does not come after "
                f"{self.x[at]:g}."
            )
        self._slopes = _monotone_slopes(self.x, self.y) if smooth and len(points) > 1 else None

    def __call__(self, x: np.ndarray | float) -> np.ndarray:
        """The values at x, a number or an array of any shape."""
        if self._slopes is None:
            return np.interp(x, self.x, self.y)
        x = np.clip(x, self.x[0], self.x[-1])
        i = np.clip(np.searchsorted(self.x, x, side="right") - 1, 0, len(self.x) - 2)
        step = self.x[i + 1] - self.x[i]
        t = (x - self.x[i]) / step
        rise = smooth_step(t)
        bend = step * t * (1 - t)
        inner = bend * ((1 - t) * self._slopes[i] - t * self._slopes[i + 1])
        return self.y[i] + rise * (self.y[i + 1] - self.y[i]) + inner

    @classmethod
    def parse(cls, text: str, name: str = "curve") -> Curve | None:
        """A curve from text: pairs "x y, x y, ..." with one pair a comma, semicolon or line, or a JSON
        list of pairs, or a JSON list of values at even steps. None for an empty text.

        Raises ValueError where it is none of these, or no curve.
        """
        text = text.strip()
        if not text:
            return None
        if text.startswith("["):
            return cls(_from_json(text, name), name=name)
        pairs = [_NUMBER.findall(part) for part in re.split(r"[,;\n]", text) if part.strip()]
        for pair in pairs:
            if len(pair) != 2:
                raise ValueError(f'{name} must be pairs like "0 0.2, 0.5 1, 1 0.2", got {" ".join(pair)[:40]!r}.')
        return cls([(_number(x, name), _number(y, name)) for x, y in pairs], name=name)


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must hold numbers, got {text[:40]!r}.") from None


def _from_json(text: str, name: str) -> list[tuple[float, float]]:
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{name} begins like JSON and is none: {error}") from None
    if values and all(_is_number(value) for value in values):
        last = max(len(values) - 1, 1)
        return [(i / last, float(value)) for i, value in enumerate(values)]
    for value in values:
        if not (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))):
            raise ValueError(f"{name} must be a list of numbers or of pairs [x, y], got {json.dumps(value)[:40]}.")
    return [(float(x), float(y)) for x, y in values]


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 10**300
    return isinstance(value, float)


def _monotone_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slopes at the points that let a cubic rise where the points rise and nowhere else."""
    secant = np.diff(y) / np.diff(x)
    before, after = secant[:-1], secant[1:]
    total = before + after
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = np.where(before * after > 0, 2 * before * after / np.where(total == 0, 1, total), 0.0)
    return np.concatenate([secant[:1], inner, secant[-1:]])
