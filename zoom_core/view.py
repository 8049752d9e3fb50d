"""Views of a zoom stack at any real zoom: the one renderer for pictures, videos and thumbnails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from .compose import MAX_RAMP, RAMP, Composer
from .path import CameraPath, View

if TYPE_CHECKING:
    from .stack import ZoomStack

FITS = ("crop", "fit")


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to the calling thread: a strip's products are too small to share, and beside
    other work waiting for each other takes a hundred times as long as computing them."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    # Holds for this thread only; the process-wide default for new threads is put back below.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _canvas(height: int, width: int, frame_height: int, frame_width: int, fit: str) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the picture in the output, in pixels."""
    if fit == "crop":
        return 0, 0, height, width
    scale = min(height / frame_height, width / frame_width)
    inner_height = min(max(round(frame_height * scale), 1), height)
    inner_width = min(max(round(frame_width * scale), 1), width)
    return (height - inner_height) // 2, (width - inner_width) // 2, inner_height, inner_width


class StackRenderer:
    """Renders views of one stack at one output size, frame after frame.

    stack: the levels. height, width: output pixels. fit: "crop" fills the output and cuts what
    does not fit its aspect ratio, "fit" shows everything between black bars.
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
        self._canvas = _canvas(height, width, geometry.height, geometry.width, fit)
        aspect = (self._canvas[3] * geometry.height) / (self._canvas[2] * geometry.width)
        self._share = min(1.0, aspect), min(1.0, 1 / aspect)
        self._composer = Composer(stack.layers, self.path, self.device, ramp)

    @one_thread()
    def frame(self, zoom: float, bits: int = 8) -> np.ndarray:
        """The view at `zoom` as [height, width, C], for an encoder or an image file: uint8, or
        uint16 for `bits` = 16."""
        dtype, peak = (np.uint16, 65535.0) if bits == 16 else (np.uint8, 255.0)
        channels = self.stack.layers.shape[1]
        out = np.zeros((self.height, self.width, channels), dtype=dtype)
        top, left, _, width = self._canvas
        for begin, strip in self._strips(zoom):
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
    def render(self, zoom: float, out: torch.Tensor | None = None) -> torch.Tensor:
        """The view at `zoom` as [C, height, width] float32 in 0..1, on the stack's device.

        out: a tensor of that shape (any strides) to write into.
        """
        if out is None:
            out = self.stack.layers.new_empty(self.stack.layers.shape[1], self.height, self.width)
        top, left, height, width = self._canvas
        if (height, width) != (self.height, self.width):
            out.zero_()
        for begin, strip in self._strips(zoom):
            target = out[:, top + begin : top + begin + strip.shape[1], left : left + width]
            target.copy_(strip.clamp_(0, 1))
        return out

    def _strips(self, zoom: float) -> Iterator[tuple[int, torch.Tensor]]:
        """(first row, [C, rows, canvas width] float32) from top to bottom; a strip is reused."""
        _, _, height, width = self._canvas
        view = self._cropped(self.path.view(zoom))
        innermost = min(view.level + 1, self.path.levels - 1)
        return self._composer.strips(view, innermost, height, width)

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
    log zoom. fit: see `StackRenderer`. For many views of one size keep a `StackRenderer`.
    Raises ValueError naming the input.
    """
    return StackRenderer(stack, height, width, fit).render(zoom)
