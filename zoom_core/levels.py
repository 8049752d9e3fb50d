"""Zoom levels: what a person asks for, one entry a scale, outermost first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .geometry import Geometry, snap
from .wording import quoted

MIN_ZOOM = 1.25
MAX_ZOOM = 16.0
MAX_LEVELS = 64
# An inset may overhang its parent by this fraction of the frame: rounding of decimal input, not geometry.
EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ZoomLevel:
    """One scale of a zoom stack.

    zoom: magnification relative to the level before it, 1.25 to 16 (level 0: 1.0, or in an endless zoom
    relative to the innermost level, which comes before it).
    center: (x, y) midpoint in the frame of the level before it, 0..1, y downwards.
    """

    prompt: str = ""
    negative: str = ""
    zoom: float = 2.0
    center: tuple[float, float] = (0.5, 0.5)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, got {quoted(value)}.")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must be a number of ordinary size, got {quoted(value)}.") from error


def _checked(level: ZoomLevel, index: int, first: bool) -> ZoomLevel:
    """The level with plain types; raises ValueError naming the level and the field."""
    where = f"level {index}"
    if not isinstance(level, ZoomLevel):
        raise ValueError(f"{where} must be a ZoomLevel, got {type(level).__name__}.")
    for name in ("prompt", "negative"):
        if not isinstance(getattr(level, name), str):
            raise ValueError(f"{where}: {name} must be text, got {quoted(getattr(level, name))}.")
    zoom = _number(level.zoom, f"{where}: zoom")
    if not (MIN_ZOOM <= zoom <= MAX_ZOOM) and not (first and zoom == 1.0):
        raise ValueError(f"{where}: zoom must be from {MIN_ZOOM:g} to {MAX_ZOOM:g}, got {zoom:g}.")
    if isinstance(level.center, str) or not isinstance(level.center, Sequence) or len(level.center) != 2:
        raise ValueError(f"{where}: center must be two numbers (x, y) in 0..1, got {quoted(level.center)}.")
    x, y = (_number(value, f"{where}: center {axis}") for value, axis in zip(level.center, "xy"))
    for value, axis in ((x, "x"), (y, "y")):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{where}: center {axis} must be in 0..1, got {value:g}.")
    if first:
        return replace(level, zoom=1.0, center=(0.5, 0.5))
    half = 0.5 / zoom
    for value, axis in ((x, "x"), (y, "y")):
        if value - half < -EDGE_TOLERANCE or value + half > 1.0 + EDGE_TOLERANCE:
            outer = "level before it" if index else "innermost level, which holds it in a loop"
            raise ValueError(
                f"{where}: center {axis} = {value:g} puts part of the inset outside the {outer}; "
                f"at zoom {zoom:g} it must be from {half:.4g} to {1 - half:.4g}."
            )
    return replace(level, zoom=zoom, center=(x, y))


class ZoomLevels(Sequence):
    """Immutable sequence of 1 to 64 `ZoomLevel`s, outermost first, checked on creation.

    loop: the innermost level holds level 0 again (an endless zoom), at level 0's own zoom and center.
    Otherwise level 0 has no level before it: its zoom is always 1.0 and its center (0.5, 0.5).
    `geometry` is None until the levels were sampled, then the resolved insets.
    Raises ValueError naming the level, what was expected and what came.
    """

    def __init__(self, levels: Iterable[ZoomLevel], geometry: Geometry | None = None, loop: bool = False):
        levels = tuple(levels)
        if not 1 <= len(levels) <= MAX_LEVELS:
            raise ValueError(f"levels must hold 1 to {MAX_LEVELS} levels, got {len(levels)}.")
        if loop and len(levels) < 2:
            raise ValueError("loop needs at least 2 levels, got 1.")
        self._loop = bool(loop)
        self._levels = tuple(_checked(level, i, i == 0 and not loop) for i, level in enumerate(levels))
        if geometry is not None and len(geometry) != len(levels):
            raise ValueError(f"geometry has {len(geometry)} levels, levels has {len(levels)}: they must agree.")
        if geometry is not None and geometry.closed != self._loop:
            raise ValueError(f"loop is {self._loop}, the geometry is {'closed' if geometry.closed else 'open'}.")
        self._geometry = geometry

    @classmethod
    def uniform(cls, n: int, zoom: float = 2.0, loop: bool = False) -> ZoomLevels:
        """n levels without prompts, each `zoom` deeper than the one before it, centred."""
        return cls((ZoomLevel(zoom=zoom) for _ in range(n)), loop=loop)

    @property
    def loop(self) -> bool:
        """Whether the innermost level holds level 0 again."""
        return self._loop

    @property
    def geometry(self) -> Geometry | None:
        """The insets as they were resolved on the sampling grid; None before sampling."""
        return self._geometry

    def with_geometry(self, geometry: Geometry | None) -> ZoomLevels:
        """The same levels carrying `geometry`."""
        return ZoomLevels(self._levels, geometry, self._loop)

    def resolve(self, height: int, width: int) -> Geometry:
        """The insets snapped to a grid of height x width pixels (or latent pixels).

        Edges are rounded to whole pixels, symmetrically, so that a centred inset stays
        centred; an inset keeps at least one pixel.
        """
        for name, size in (("height", height), ("width", width)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}.")
        first, *rest = (snap(height, width, level.zoom, level.center) for level in self._levels)
        return Geometry(height, width, tuple(rest), first if self._loop else None)

    def __len__(self) -> int:
        return len(self._levels)

    def __getitem__(self, index):
        return self._levels[index]

    def __iter__(self) -> Iterator[ZoomLevel]:
        return iter(self._levels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZoomLevels) and self._key() == other._key()

    def _key(self) -> tuple:
        return self._levels, self._geometry, self._loop

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"ZoomLevels({list(self._levels)!r}, geometry={self._geometry!r}, loop={self._loop})"

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, text and numbers, for a file's metadata."""
        levels = [
            {"prompt": each.prompt, "negative": each.negative, "zoom": each.zoom, "center": list(each.center)}
            for each in self._levels
        ]
        data = {"levels": levels, "geometry": self._geometry.to_json() if self._geometry else None}
        return {**data, "loop": True} if self._loop else data

    @classmethod
    def from_json(cls, data: Any) -> ZoomLevels:
        """What `to_json` gave; raises ValueError for anything else."""
        if not isinstance(data, dict) or not isinstance(data.get("levels"), list):
            raise ValueError("levels must be an object with a list 'levels'.")
        if len(data["levels"]) > MAX_LEVELS:
            raise ValueError(f"levels must hold 1 to {MAX_LEVELS} levels, got {len(data['levels'])}.")
        levels = []
        for i, entry in enumerate(data["levels"]):
            if not isinstance(entry, dict) or not set(entry) <= {"prompt", "negative", "zoom", "center"}:
                raise ValueError(f"level {i} must be an object of prompt, negative, zoom, center, got {quoted(entry)}.")
            own: dict[str, Any] = dict(entry)
            if isinstance(own.get("center"), list):
                own["center"] = tuple(own["center"])
            levels.append(ZoomLevel(**own))
        geometry, loop = data.get("geometry"), data.get("loop", False)
        if not isinstance(loop, bool):
            raise ValueError(f"loop must be true or false, got {loop!r}.")
        return cls(levels, Geometry.from_json(geometry) if geometry is not None else None, loop)
