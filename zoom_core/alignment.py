"""Whether neighbouring levels show the same place, and making them: shift, scale, rotation, colour."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import get_rotation_matrix2d, warp_affine

from .geometry import Geometry, Inset
from .operators import check_finite, check_levels
from .pairs import Pair, pair
from .threads import one_thread

# Correlation of the two views of one place: from GOOD on nothing needs doing, below POOR they do
# not show the same thing and no shift or colour will help.
GOOD, POOR = 0.95, 0.5
MIN_SIDE = 16
MAX_SHIFT, MAX_SCALE, MAX_ROTATION = 0.15, 1.2, 10.0
# Pixels of the level around: less is noise of the registration, not worth moving a level for.
STILL = 0.25
# Views are registered at no more pixels a side: a shift is found to a hundredth of one, more take time only.
REGISTERED_SIDE = 512
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)


@dataclass(frozen=True)
class PairComparison:
    """How level `inner` lies in the level around it, `outer`.

    shift: (x, y) by which inner's picture is off, in pixels of the level around it.
    scale, rotation: by how much inner is too large, and turned (degrees, clockwise).
    colour: mean difference, inner minus outer, per channel in 0..1.
    likeness, aligned: correlation of the two as they are, and once shift, scale and rotation are undone.
    """

    outer: int
    inner: int
    shift: tuple[float, float]
    scale: float
    rotation: float
    colour: tuple[float, ...]
    likeness: float
    aligned: float

    @property
    def verdict(self) -> str:
        """ "fits", "off" (alignment helps), "loose" (blending will hide it) or "does not fit"."""
        if self.likeness >= GOOD:
            return "fits"
        if max(self.likeness, self.aligned) < POOR:
            return "does not fit"
        return "off" if self.aligned > self.likeness + 0.02 else "loose"

    def describe(self) -> str:
        """One line for people."""
        colour = ", ".join(f"{255 * c:+.0f}" for c in self.colour)
        return (
            f"level {self.outer} and {self.inner}: {self.verdict} "
            f"(likeness {self.likeness:.2f}, aligned {self.aligned:.2f}; shift {self.shift[0]:+.1f}, "
            f"{self.shift[1]:+.1f} px, scale {self.scale:.3f}, rotation {self.rotation:+.1f} degrees; "
            f"colour {colour} of 255)"
        )


def _near(images: torch.Tensor, both: Pair, device: torch.device | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The outer and the inner level of a pair as float32 on a device."""
    outer, inner = (images[level].to(device, torch.float32) for level in (both.outer, both.inner))
    return outer, inner


def _views(outer: torch.Tensor, inner: torch.Tensor, both: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    """The inset as the outer level shows it, and as the inner one does: both [C, h, w]."""
    height, width = both.size
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"level {both.inner} covers only {width} x {height} pixels of the level before it, "
            f"at least {MIN_SIDE} x {MIN_SIDE} are needed to compare them: use larger pictures or a smaller zoom."
        )
    return both.crop(outer), both.reduce(inner)


def _flattened(grey: np.ndarray) -> np.ndarray:
    """[h, w] float32 with zero mean and unit contrast, very coarse shades taken out: colour
    steps and light must not pass for motion."""
    grey = cv2.GaussianBlur(grey, (0, 0), 0.7) - cv2.GaussianBlur(grey, (0, 0), max(min(grey.shape) / 8, 2))
    return grey / max(float(grey.std()), 1e-6)


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(math.sqrt(float((a * a).sum() * (b * b).sum())), 1e-12))


def _register(still: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """[2, 3] float64: similarity that takes pixels of `still` to where `moving` shows the same.

    Phase correlation for the shift, then enhanced correlation maximisation (Evangelidis and
    Psarakis 2008) from coarse to fine. The identity where neither finds a better match.
    """
    window = cv2.createHanningWindow(still.shape[::-1], cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(still, moving, window)
    best, score = np.eye(2, 3, dtype=np.float32), _likeness(still, moving)
    for guess in (np.array([[1, 0, dx], [0, 1, dy]], np.float32), np.eye(2, 3, dtype=np.float32)):
        warp: np.ndarray = guess
        for sigma in (3.0, 1.0, 0.0):
            a, b = (cv2.GaussianBlur(v, (0, 0), sigma) if sigma else v for v in (still, moving))
            try:
                # OpenCV's stubs do not know that there need be no mask.
                _, warp = cv2.findTransformECC(a, b, warp.copy(), cv2.MOTION_AFFINE, _STEPS, None, 3)  # type: ignore
            except cv2.error:
                # It did not converge: what is known so far stands.
                break
            warp = _similarity(warp, still.shape)
        found = _likeness(still, _moved(moving, warp))
        if found > score and _plausible(warp, still.shape):
            best, score = warp, found
    return best.astype(np.float64)


def _similarity(warp: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The nearest map of shift, scale and rotation that agrees with an affine one at the centre."""
    center = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    place = warp[:, :2] @ center + warp[:, 2]
    a, b = (warp[0, 0] + warp[1, 1]) / 2, (warp[1, 0] - warp[0, 1]) / 2
    linear = np.array([[a, -b], [b, a]])
    return np.concatenate([linear, (place - linear @ center)[:, None]], axis=1).astype(np.float32)


def _parameters(warp: np.ndarray, shape: tuple[int, ...]) -> tuple[tuple[float, float], float, float]:
    """(shift of the centre, scale, rotation in degrees)."""
    center = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    shift = warp[:, :2] @ center + warp[:, 2] - center
    scale = math.hypot(warp[0, 0], warp[1, 0])
    return (float(shift[0]), float(shift[1])), scale, math.degrees(math.atan2(warp[1, 0], warp[0, 0]))


def _plausible(warp: np.ndarray, shape: tuple[int, int]) -> bool:
    shift, scale, rotation = _parameters(warp, shape)
    return (
        math.hypot(*shift) <= MAX_SHIFT * min(shape)
        and 1 / MAX_SCALE <= scale <= MAX_SCALE
        and abs(rotation) <= MAX_ROTATION
    )


def _moved(moving: np.ndarray, warp: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(
        moving,
        warp.astype(np.float32),
        moving.shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _compare(outer: torch.Tensor, inner: torch.Tensor, both: Pair) -> tuple[PairComparison, np.ndarray]:
    """How a pair of levels [C, H, W] compares, and the map that aligns it on the outer grid."""
    outer_view, inner_view = _views(outer, inner, both)
    (still, moving), pixel = _registered_views(outer_view, inner_view)
    small = _register(still, moving)
    warp = pixel @ np.vstack([small, [0, 0, 1]]) @ np.linalg.inv(pixel)
    warp = warp[:2]
    shift, scale, rotation = _parameters(warp, outer_view.shape[-2:])
    colour = (inner_view.mean((1, 2)) - outer_view.mean((1, 2))).tolist()
    found = PairComparison(
        both.outer,
        both.inner,
        shift,
        scale,
        rotation,
        tuple(colour),
        _likeness(still, moving),
        _likeness(still, _moved(moving, small)),
    )
    return found, warp


def _registered_views(*views: torch.Tensor) -> tuple[list[np.ndarray], np.ndarray]:
    """Views [C, h, w] in grey, small enough to register in a moment; [3, 3] the map from their pixels to the views'."""
    height, width = views[0].shape[-2:]
    times = max(max(height, width) / REGISTERED_SIDE, 1.0)
    size = max(round(width / times), 1), max(round(height / times), 1)
    factor = np.array([width / size[0], height / size[1]])
    pixel = np.diag([*factor, 1.0])
    # Middles of pixels lie at whole numbers on both grids.
    pixel[:2, 2] = 0.5 * factor - 0.5
    greys = (view.mean(0).cpu().numpy().astype(np.float32) for view in views)
    return [_flattened(cv2.resize(grey, size, interpolation=cv2.INTER_AREA)) for grey in greys], pixel


def _movement(warp: np.ndarray, shape: tuple[float, float]) -> float:
    """The furthest that a map moves a corner, in pixels."""
    height, width = shape
    corners = np.array([[x, y, 1.0] for x in (0, width - 1) for y in (0, height - 1)])
    return float(np.linalg.norm(corners @ warp.T - corners[:, :2], axis=1).max())


def _turned(inner: torch.Tensor, degrees: float) -> torch.Tensor:
    """The level [C, H, W] turned back about its middle by a rotation that `_compare` found."""
    height, width = inner.shape[-2:]
    center = torch.tensor([[(width - 1) / 2, (height - 1) / 2]])
    matrix = get_rotation_matrix2d(center, torch.tensor([degrees]), torch.ones(1, 2)).to(inner)
    turned = warp_affine(
        inner[None], matrix, (height, width), mode="bicubic", padding_mode="border", align_corners=True
    )
    return turned[0].clamp(0, 1)


def _moved_inset(warp: np.ndarray, geometry: Geometry, both: Pair) -> Inset:
    """The inner level's inset where, and as large as, the level around it shows the same thing; as far
    as that lies inside the frame."""
    inset = geometry.steps[both.outer]
    # Middle of the whole inset on the grid of its whole pixels, where the map is known.
    origin = np.array([both.horizontal.start + 0.5, both.vertical.start + 0.5])
    middle = np.array([inset.left + inset.width / 2, inset.top + inset.height / 2]) - origin
    middle = np.linalg.solve(warp[:, :2], middle - warp[:, 2]) + origin
    scale = math.hypot(warp[0, 0], warp[1, 0])
    scale = max(scale, inset.width / geometry.width, inset.height / geometry.height)
    width, height = inset.width / scale, inset.height / scale
    left = min(max(middle[0] - width / 2, 0.0), geometry.width - width)
    top = min(max(middle[1] - height / 2, 0.0), geometry.height - height)
    return Inset(float(top), float(left), float(height), float(width))


def _matched(outer: torch.Tensor, inner: torch.Tensor, both: Pair) -> torch.Tensor:
    """The level with each channel's mean and contrast (within bounds) as the level around it has them."""
    # Fine detail is blurred away: how much of it a level shows depends on its sharpness.
    outer_view, inner_view = (
        gaussian_blur2d(view[None], (13, 13), (3.0, 3.0))[0].flatten(1) for view in _views(outer, inner, both)
    )
    gain = (outer_view.std(1) / inner_view.std(1).clamp_min(1e-4)).clamp(0.8, 1.25)
    offset = outer_view.mean(1) - gain * inner_view.mean(1)
    return (inner * gain[:, None, None] + offset[:, None, None]).clamp(0, 1)


@one_thread()
def compare_levels(
    images: torch.Tensor,
    geometry: Geometry,
    on_pair: Callable[[], None] | None = None,
    device: torch.device | None = None,
) -> list[PairComparison]:
    """How every level of N pictures [N, C, H, W] lies in the one around it.

    on_pair: called before every pair, for progress; what it raises stops the work. device: where to compute, the
    pictures' own by default; two at a time are brought there. (What finds the shift runs on the processor.)
    Raises ValueError where they do not match the geometry, are too small to compare, or hold NaN or infinity.
    """
    check_levels(images, geometry, "images")
    check_finite(images, "images")
    found = []
    for step in range(len(geometry.steps)):
        if on_pair:
            on_pair()
        both = pair(geometry, step)
        found.append(_compare(*_near(images, both, device), both)[0])
    return found


@one_thread()
def align_levels(
    images: torch.Tensor,
    geometry: Geometry,
    align: bool = True,
    match_colour: bool = True,
    on_pair: Callable[[], None] | None = None,
    device: torch.device | None = None,
) -> tuple[torch.Tensor, Geometry, list[PairComparison]]:
    """Makes N pictures [N, C, H, W] show the same places, from the outermost inwards.

    Returns the pictures, the geometry in which they do, and how each pair compared before it was aligned.
    align: undo shift and scale by moving a level's inset to where the level around it shows the
    same; the pictures stay as they are, so that levels further in keep their places. Only a
    rotation turns the picture itself. Pairs that do not show the same thing are left alone, and
    their PairComparison says so.
    match_colour: give each level the mean and contrast of what the level around it shows there.
    on_pair, device: as for `compare_levels`. Raises ValueError as that does.
    """
    check_levels(images, geometry, "images")
    check_finite(images, "images")
    result, compared = images.to(torch.float32, copy=True), []
    for step in range(len(geometry.steps)):
        if on_pair:
            on_pair()
        both = pair(geometry, step)
        # All others follow level 0, so that where it closes a circle it stays as it is.
        first = both.inner == 0
        outer, inner = _near(result, both, device)
        found, warp = _compare(outer, inner, both)
        compared.append(found)
        if found.verdict == "does not fit":
            continue
        inset = geometry.steps[step]
        shape = (inset.height, inset.width)
        if align and found.aligned > found.likeness and _movement(warp, shape) > STILL:
            if not first and math.radians(abs(found.rotation)) * math.hypot(*shape) / 2 > STILL:
                inner = _turned(inner, found.rotation)
                _, warp = _compare(outer, inner, both)
            geometry = geometry.with_step(step, _moved_inset(warp, geometry, both))
        if match_colour and not first:
            inner = _matched(outer, inner, pair(geometry, step))
        if not first:
            result[both.inner] = inner
    return result, geometry, compared


@one_thread()
def comparison_picture(
    images: torch.Tensor, geometry: Geometry, side: int = 192, device: torch.device | None = None
) -> np.ndarray:
    """[rows, 3 * side, 3] uint8, a row a pair: the inset as the outer level shows it, as the inner
    one does, and their difference four times as strong (grey: none). device: see `compare_levels`."""
    rows = []
    for step in range(len(geometry.steps)):
        both = pair(geometry, step)
        views = _views(*_near(images, both, device), both)
        outer, inner = (view[:3].movedim(0, -1).cpu().numpy() for view in views)
        height = max(round(side * outer.shape[0] / outer.shape[1]), 1)
        cells = [
            cv2.resize(v, (side, height), interpolation=cv2.INTER_AREA)
            for v in (outer, inner, 0.5 + 2 * (inner - outer))
        ]
        row = np.rint(np.clip(np.concatenate(cells, axis=1), 0, 1) * 255).astype(np.uint8)
        if row.shape[2] == 1:
            row = np.repeat(row, 3, axis=2)
        for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            text = f"{both.outer} > {both.inner}"
            cv2.putText(row, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thick, cv2.LINE_AA)
        rows.append(row)
    return np.concatenate(rows) if rows else np.zeros((side, 3 * side, 3), np.uint8)
