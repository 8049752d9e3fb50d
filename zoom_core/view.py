"""Views of a zoom stack at any real zoom: the one renderer for pictures, videos and thumbnails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from .compose import MAX_RAMP, RAMP, Composer
from .path import CameraPath, View
from .threads import one_thread

if TYPE_CHECKING:
    from .stack import ZoomStack

FITS = ("crop", "fit", "dome")
# A turned picture is interpolated (bicubic) from samples this much denser than its pixels: errors of
# 53 dB, a tenth of what the levels' own resampling leaves. Lanczos would take four times as long.
_DENSE = 1.5
_PAD = 3
# ... block by block (output pixels a side), so that memory does not grow with the picture.
_BLOCK = 1024
_ROUNDING = 1e-9


def _canvas(height: int, width: int, frame_height: int, frame_width: int, fit: str) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the picture in the output, in pixels."""
    if fit == "crop":
        return 0, 0, height, width
    if fit == "dome":
        frame_height = frame_width = 1
    scale = min(height / frame_height, width / frame_width)
    inner_height = min(max(round(frame_height * scale), 1), height)
    inner_width = min(max(round(frame_width * scale), 1), width)
    return (height - inner_height) // 2, (width - inner_width) // 2, inner_height, inner_width


def _bounds(width: float, height: float, cosine: float, sine: float) -> tuple[float, float]:
    """(width, height) of the upright box around a turned rectangle."""
    return width * abs(cosine) + height * abs(sine), width * abs(sine) + height * abs(cosine)


def _samples(sides: tuple[float, float], dense: float) -> tuple[int, int]:
    """(columns, rows) of a rectangle of sides (width, height) in pixels, `dense` samples a pixel, with a margin."""
    return math.ceil(sides[0] * dense) + 2 * _PAD, math.ceil(sides[1] * dense) + 2 * _PAD


def _around(level: int, middle: tuple[float, float], pixel: tuple[float, float], sides: tuple[float, float]) -> View:
    """The view of sides (width, height) in pixels of the given size around a point of a level's frame."""
    width, height = pixel[0] * sides[0], pixel[1] * sides[1]
    return View(level, middle[0] - 0.5 * width, middle[1] - 0.5 * height, width, height)


# How wide the pixels of a dome's picture are in those of the view that lies on it: in the middle and, as the
# mean of both directions, at the horizon.
_FOOTPRINTS = (math.pi / 4, math.sqrt(math.pi / 2))


def _stereographic(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For distances 0..1 from the middle of a dome's picture: by what to multiply them for the place in the
    view, and how wide a pixel is there."""
    angle = 0.25 * math.pi * distance
    place = np.where(distance > 1e-6, np.tan(angle) / np.maximum(distance, 1e-6), 0.25 * math.pi)
    return place, np.sqrt(place * 0.25 * math.pi / np.cos(angle) ** 2)


def _holds(view: View, across: float, down: float) -> bool:
    """Whether a frame holds a view's surroundings, across and down times the view's own size."""
    wide, high = 0.5 * view.width * (across - 1), 0.5 * view.height * (down - 1)
    return (
        view.left - wide >= -_ROUNDING
        and view.top - high >= -_ROUNDING
        and view.left + view.width + wide <= 1 + _ROUNDING
        and view.top + view.height + high <= 1 + _ROUNDING
    )


class StackRenderer:
    """Renders views of one stack at one output size, frame after frame.

    stack: the levels. height, width: output pixels. fit: "crop" fills the output and cuts what
        does not fit its aspect ratio, "fit" shows everything between black bars, "dome" is a fisheye
        picture of 180 degrees, round between black corners, for a planetarium.
    device: where to compute; the stack's own by default. Levels are brought there as they are needed.
    ramp: how far into a level its fine detail fades in where the level around it is magnified, as a
        share of its side, 0 to 0.5. What is magnified lacks that detail, and it would begin at the
        level's border as a visible square. 0: as sharp as the levels are, up to that border.
    Raises ValueError naming the input.
    """

    def __init__(
        self,
        stack: ZoomStack,
        height: int,
        width: int,
        fit: str = "crop",
        device: torch.device | str | None = None,
        ramp: float = RAMP,
    ):
        if not 0 <= ramp <= MAX_RAMP:
            raise ValueError(f"ramp must be from 0 to {MAX_RAMP:g}, got {ramp:g}.")
        for name, size in (("height", height), ("width", width)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}.")
        if fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, got {fit!r}.")
        self.stack, self.height, self.width = stack, height, width
        self.path = CameraPath(stack.geometry)
        self.device = torch.device(device) if device is not None else stack.layers.device
        geometry = stack.geometry
        self._lens = "dome" if fit == "dome" else "flat"
        self._canvas = _canvas(height, width, geometry.height, geometry.width, fit)
        aspect = (self._canvas[3] * geometry.height) / (self._canvas[2] * geometry.width)
        self._share = min(1.0, aspect), min(1.0, 1 / aspect)
        self._composer = Composer(stack.layers, self.path, self.device, ramp)

    @one_thread()
    def frame(self, zoom: float, bits: int = 8, roll: float = 0.0) -> np.ndarray:
        """The view at `zoom` as [height, width, C], for an encoder or an image file: uint8, or
        uint16 for `bits` = 16. roll: see `render`."""
        dtype, peak = (np.uint16, 65535.0) if bits == 16 else (np.uint8, 255.0)
        channels = self.stack.layers.shape[1]
        out = np.zeros((self.height, self.width, channels), dtype=dtype)
        top, left, _, width = self._canvas
        for begin, strip in self._strips(zoom, roll):
            rows = strip.shape[1]
            flat = strip.relu_().cpu().numpy().reshape(channels * rows, width)
            if bits == 16:
                planes = np.rint(np.minimum(flat * peak, peak)).astype(dtype)
            else:
                # OpenCV rounds, saturates and interleaves in a sixth of the time that torch takes.
                planes = cv2.convertScaleAbs(flat, alpha=peak)
            target = out[top + begin : top + begin + rows, left : left + width]
            target[...] = cv2.merge(list(planes.reshape(channels, rows, width))).reshape(target.shape)
        return out

    @one_thread()
    def render(self, zoom: float, out: torch.Tensor | None = None, roll: float = 0.0) -> torch.Tensor:
        """The view at `zoom` as [C, height, width] float32 in 0..1, on the stack's device.

        out: a tensor of that shape (any strides) to write into. roll: degrees by which the picture
        is turned clockwise about its middle. Corners show what the levels around hold; at the
        outermost level the view is moved, and made smaller where it has to be, so that it stays inside.
        """
        if out is None:
            out = self.stack.layers.new_empty(self.stack.layers.shape[1], self.height, self.width)
        top, left, height, width = self._canvas
        if (height, width) != (self.height, self.width):
            out.zero_()
        for begin, strip in self._strips(zoom, roll):
            target = out[:, top + begin : top + begin + strip.shape[1], left : left + width]
            target.copy_(strip.clamp_(0, 1))
        return out

    def _strips(self, zoom: float, roll: float) -> Iterator[tuple[int, torch.Tensor]]:
        """(first row, [C, rows, canvas width] float32) from top to bottom; a strip is reused."""
        _, _, height, width = self._canvas
        view = self._cropped(self.path.view(zoom))
        innermost = view.level + 1 if self.path.closed else min(view.level + 1, self.path.levels - 1)
        if not math.isfinite(roll):
            raise ValueError(f"roll must be a finite number of degrees, got {roll:g}.")
        if self._lens == "dome":
            yield from self._dome(view, innermost, math.radians(roll))
        elif roll % 360 == 0:
            yield from self._composer.strips(view, innermost, height, width)
        else:
            yield from self._turned(view, innermost, math.radians(roll))

    def _turned(self, view: View, innermost: int, angle: float) -> Iterator[tuple[int, torch.Tensor]]:
        """As `_strips`, turned clockwise by an angle in radians.

        The pixel model's Gaussian is the same in all directions, so a turned picture is the unturned
        one sampled elsewhere. That is drawn `_DENSE` times denser than the output's pixels, through
        pixels of their size, and smooth enough then to be interpolated.
        """
        _, _, height, width = self._canvas
        cosine, sine = math.cos(angle), math.sin(angle)
        view = self._inside(view, *_bounds(width, height, cosine, sine))
        middle = view.left + 0.5 * view.width, view.top + 0.5 * view.height
        pixel = view.width / width, view.height / height
        visible = _around(view.level, middle, pixel, _bounds(width, height, cosine, sine))
        for top in range(0, height, _BLOCK):
            rows = min(_BLOCK, height - top)
            strip = np.empty((self.stack.layers.shape[1], rows, width), np.float32)
            for left in range(0, width, _BLOCK):
                columns = min(_BLOCK, width - left)
                # The block's middle, from the middle of the picture, turned back.
                x, y = left + 0.5 * (columns - width), top + 0.5 * (rows - height)
                away = (x * cosine + y * sine) * pixel[0], (y * cosine - x * sine) * pixel[1]
                source = _samples(_bounds(columns, rows, cosine, sine), _DENSE)
                sides = source[0] / _DENSE, source[1] / _DENSE
                part = _around(view.level, (middle[0] + away[0], middle[1] + away[1]), pixel, sides)
                turn = _DENSE * np.array([[cosine, sine], [-sine, cosine]])
                shift = 0.5 * (np.array(source) - 1) - turn @ (0.5 * np.array([columns - 1, rows - 1]))
                turned = cv2.warpAffine(
                    self._dense(part, innermost, source, visible),
                    np.column_stack([turn, shift]),
                    (columns, rows),
                    flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                    borderMode=cv2.BORDER_REPLICATE,
                )
                strip[:, :, left : left + columns] = turned.reshape(rows, columns, -1).transpose(2, 0, 1)
            yield top, torch.from_numpy(strip)

    def _dense(self, part: View, innermost: int, source: tuple[int, int], visible: View) -> np.ndarray:
        """[rows, columns, C] float32: a part of what is visible in source (columns, rows) samples, `_DENSE` of
        which make one of the pixels that it is seen through."""
        dense = np.empty((self.stack.layers.shape[1], source[1], source[0]), np.float32)
        strips = self._composer.strips(part, innermost, source[1], source[0], 1 / _DENSE, visible)
        for begin, drawn in strips:
            dense[:, begin : begin + drawn.shape[1]] = drawn.cpu().numpy()
        return cv2.merge(list(dense))

    def _dome(self, view: View, innermost: int, angle: float) -> Iterator[tuple[int, torch.Tensor]]:
        """As `_turned`, on a dome of 180 degrees as a fisheye lens sees it from its middle.

        The distance from the middle is the angle from the zenith (equidistant). The view is laid on the
        dome by stereographic projection, which keeps shapes and reaches the horizon with the view's border.
        """
        size = self._canvas[2]
        middle = view.left + 0.5 * view.width, view.top + 0.5 * view.height
        pixel = view.width / size, view.height / size
        cosine, sine = math.cos(angle), math.sin(angle)
        for top in range(0, size, _BLOCK):
            rows = min(_BLOCK, size - top)
            strip = np.empty((self.stack.layers.shape[1], rows, size), np.float32)
            for left in range(0, size, _BLOCK):
                columns = min(_BLOCK, size - left)
                x = np.arange(left, left + columns) - 0.5 * (size - 1)
                y = np.arange(top, top + rows)[:, None] - 0.5 * (size - 1)
                distance = np.hypot(x, y)
                place, footprint = _stereographic(np.minimum(distance / (0.5 * size), 1.0))
                u, v = (x * cosine + y * sine) * place, (y * cosine - x * sine) * place
                centre = 0.5 * (u.min() + u.max()), 0.5 * (v.min() + v.max())
                spot = middle[0] + centre[0] * pixel[0], middle[1] + centre[1] * pixel[1]
                drawn = []
                for width in _FOOTPRINTS:
                    dense = _DENSE / width
                    source = _samples((np.ptp(u), np.ptp(v)), dense)
                    part = _around(view.level, spot, pixel, (source[0] / dense, source[1] / dense))
                    places = ((u - centre[0], source[0]), (v - centre[1], source[1]))
                    x_of, y_of = ((axis * dense + 0.5 * (count - 1)).astype(np.float32) for axis, count in places)
                    picture = self._dense(part, innermost, source, view)
                    seen = cv2.remap(picture, x_of, y_of, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                    drawn.append(seen.reshape(rows, columns, -1))
                fine, coarse = _FOOTPRINTS
                share = np.clip((footprint - fine) / (coarse - fine), 0, 1)[..., None]
                inside = np.clip(0.5 * size - distance + 0.5, 0, 1)[..., None]
                mixed = (drawn[0] + share * (drawn[1] - drawn[0])) * inside
                strip[:, :, left : left + columns] = mixed.transpose(2, 0, 1)
            yield top, torch.from_numpy(strip)

    def _inside(self, view: View, across: float, down: float) -> View:
        """A view whose surroundings of across x down output pixels show no more than the levels hold:
        seen from a level further out where there is one, else moved and made smaller."""
        _, _, height, width = self._canvas
        across, down = across / width, down / height
        # Once round the circle at most: where every level touches the same border, none holds it.
        outermost = view.level - self.path.levels if self.path.closed else 0
        while not _holds(view, across, down):
            if view.level <= outermost:
                break
            view = self.path.outward(view)
        else:
            return view
        scale = min(1.0, 1 / (view.width * across), 1 / (view.height * down))

        def start(start: float, size: float, share: float) -> float:
            room = 0.5 * size * scale * share
            middle = min(max(start + 0.5 * size, room), 1 - room)
            return middle - 0.5 * size * scale

        left, top = start(view.left, view.width, across), start(view.top, view.height, down)
        return View(view.level, left, top, view.width * scale, view.height * scale)

    def _cropped(self, view: View) -> View:
        """The middle of a view, in the shape of the canvas."""
        across, down = self._share
        return View(
            view.level,
            view.left + 0.5 * view.width * (1 - across),
            view.top + 0.5 * view.height * (1 - down),
            view.width * across,
            view.height * down,
        )


def render_view(stack: ZoomStack, zoom: float, height: int, width: int, fit: str = "crop") -> torch.Tensor:
    """The view of a stack at a real zoom: [C, height, width] float32 in 0..1, on the stack's device.

    zoom: in levels; 0 shows level 0 whole, N - 1 the innermost level whole, 1.5 lies halfway in
    log zoom; of an endless zoom any number, N showing level 0 again. fit: see `StackRenderer`. For
    many views of one size keep a `StackRenderer`.
    Raises ValueError naming the input.
    """
    return StackRenderer(stack, height, width, fit).render(zoom)
