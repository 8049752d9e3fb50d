"""Views of a zoom stack at any real zoom: the one renderer for pictures, videos and thumbnails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from .path import CameraPath, View
from .resample import Tile, Workspace, axis_tiles, draw

if TYPE_CHECKING:
    from .stack import ZoomStack

FITS = ("crop", "fit")
# The inner level fades in over this share of the way from the border of its frame to the middle,
# but over no more than a share of what is visible around it: at a crossing the fade is gone.
FADE = 0.04
FADE_OF_MARGIN = 0.5


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


def _cropped(start: float, size: float, share: float) -> tuple[float, float]:
    """The middle `share` of [start, start + size)."""
    return start + 0.5 * size * (1 - share), size * share


class _Inner:
    """Where the next level lies along one axis of the output, and how it fades in."""

    def __init__(self, view: tuple[float, float], start: float, extent: float, count: int):
        """view, start and extent: the view and the next level in the frame of this one, 0..1;
        count: output pixels."""
        edge, size = (start - view[0]) / view[1] * count, extent / view[1] * count
        margins = max(edge, 0.0), max(count - edge - size, 0.0)
        widths = [min(FADE * size, FADE_OF_MARGIN * margin) for margin in margins]
        center = np.arange(count) + 0.5
        # A fade narrower than a pixel is the pixel's coverage.
        rise = [(max(w, 1.0), 0.5 * w - 0.5 * max(w, 1.0)) for w in widths]
        low = np.clip((center - edge - rise[0][1]) / rise[0][0], 0, 1)
        high = np.clip((edge + size - center - rise[1][1]) / rise[1][0], 0, 1)
        weight = np.minimum(low, high)
        self.weight = (weight * weight * (3 - 2 * weight)).astype(np.float32)
        self.begin, self.end = _span(weight > 0)
        self.full_begin, self.full_end = _span(weight >= 1)


def _span(mask: np.ndarray) -> tuple[int, int]:
    used = np.flatnonzero(mask)
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)


class StackRenderer:
    """Renders views of one stack at one output size, frame after frame.

    stack: the levels. height, width: output pixels. fit: "crop" fills the output and cuts what
    does not fit its aspect ratio, "fit" shows everything between black bars.
    device: where to compute; the stack's own by default. Levels are brought there two at a time.
    Raises ValueError naming the input.
    """

    def __init__(
        self,
        stack: ZoomStack,
        height: int,
        width: int,
        fit: str = "crop",
        device: torch.device | str | None = None,
    ):
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
        self._levels: dict[int, torch.Tensor] = {}
        self._workspace = Workspace(self.device)
        # A strip (whole tiles) stays in a core's cache; a GPU wants few, large products.
        on_cpu = self.device.type == "cpu"
        self._tile, self._strip = (32, 128) if on_cpu else (256, 512)

    @one_thread()
    def frame(self, zoom: float, bits: int = 8) -> np.ndarray:
        """The view at `zoom` as [height, width, C], for an encoder or an image file: uint8, or
        uint16 for `bits` = 16."""
        dtype, peak = (np.uint16, 65535.0) if bits == 16 else (np.uint8, 255.0)
        channels = self.stack.layers.shape[1]
        out = np.zeros((self.height, self.width, channels), dtype=dtype)
        top, left, _, width = self._canvas
        for begin, strip in self._strips(self.path.view(zoom)):
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
        for begin, strip in self._strips(self.path.view(zoom)):
            target = out[:, top + begin : top + begin + strip.shape[1], left : left + width]
            target.copy_(strip.clamp_(0, 1))
        return out

    def _layer(self, level: int) -> torch.Tensor:
        """A level on the computing device; the ones passed by are let go."""
        layers = self.stack.layers
        if layers.device == self.device:
            return layers[level]
        if level not in self._levels:
            for other in [k for k in self._levels if abs(k - level) > 1]:
                del self._levels[other]
            self._levels[level] = layers[level].to(self.device)
        return self._levels[level]

    def _part(
        self,
        level: int,
        vertical: tuple[float, float],
        horizontal: tuple[float, float],
        rows: tuple[int, int],
        columns: tuple[int, int],
    ) -> _Part:
        """A level seen through a view (start, size) of its frame per axis, for spans of the output."""
        return _Part(
            self._layer(level),
            self._tiles(vertical, 0, rows),
            self._tiles(horizontal, 1, columns),
            self._strip,
            self._workspace,
        )

    def _tiles(self, view: tuple[float, float], axis: int, span: tuple[int, int]) -> list[Tile]:
        """The tiles of one axis (0 rows, 1 columns)."""
        start, size = view
        pixels = self.stack.layers.shape[2 + axis]
        step = size * pixels / self._canvas[2 + axis]
        offset = start * pixels + 0.5 * step - 0.5
        return axis_tiles(offset, step, pixels, span, self._tile, self.device, axis == 1)

    def _strips(self, view: View) -> Iterator[tuple[int, torch.Tensor]]:
        """(first row, [C, rows, canvas width] float32) from top to bottom; a strip is reused."""
        _, _, height, width = self._canvas
        horizontal = _cropped(view.left, view.width, self._share[0])
        vertical = _cropped(view.top, view.height, self._share[1])
        outer = self._part(view.level, vertical, horizontal, (0, height), (0, width))
        inner = None
        if view.level + 1 < len(self.stack):
            left, top, inset_width, inset_height = self.path.insets[view.level]
            columns = _Inner(horizontal, left, inset_width, width)
            rows = _Inner(vertical, top, inset_height, height)
            if rows.end > rows.begin and columns.end > columns.begin:
                inner = self._part(
                    view.level + 1,
                    ((vertical[0] - top) / inset_height, vertical[1] / inset_height),
                    ((horizontal[0] - left) / inset_width, horizontal[1] / inset_width),
                    (rows.begin, rows.end),
                    (columns.begin, columns.end),
                )
        channels = self.stack.layers.shape[1]
        for begin in range(0, height, self._strip):
            end = min(begin + self._strip, height)
            strip = self._workspace.take("strip", channels, end - begin, width)
            if inner is None or not inner.covers(begin):
                outer.draw(begin, strip, (0, width))
            else:
                self._compose(outer, inner, rows, columns, begin, strip)
            yield begin, strip

    def _compose(
        self, outer: _Part, inner: _Part, rows: _Inner, columns: _Inner, begin: int, strip: torch.Tensor
    ) -> None:
        """The outer level with the inner one faded in over it, in the strip from output row `begin`."""
        channels, height, width = strip.shape
        # Where the inner level alone shows, in whole tiles, the outer one need not be drawn.
        alone = (0, 0)
        if rows.full_begin <= begin and begin + height <= rows.full_end:
            tile = self._tile
            last = columns.full_end if columns.full_end == width else columns.full_end // tile * tile
            alone = (-(-columns.full_begin // tile) * tile, last)
        if alone[1] <= alone[0]:
            alone = (0, 0)
        else:
            inner.draw(begin, strip, alone)
        low, high = inner.rows_in(begin)
        weight = np.multiply.outer(rows.weight[begin + low : begin + high], columns.weight)
        for first, last in ((0, alone[0]), (alone[1], width)):
            if last <= first:
                continue
            outer.draw(begin, strip, (first, last))
            first, last = max(first, columns.begin), min(last, columns.end)
            if last <= first:
                continue
            spare = self._workspace.take("inner", channels, high - low, width)
            inner.draw(begin, spare, (first, last))
            share = torch.from_numpy(weight[:, first:last]).to(self.device)
            strip[:, low:high, first:last].lerp_(spare[..., first:last], share)


class _Part:
    """One level's share of a view: its tiles for the output rows and columns that it covers."""

    def __init__(self, layer: torch.Tensor, rows: list[Tile], columns: list[Tile], strip: int, workspace: Workspace):
        self._layer, self._columns, self._strip, self._workspace = layer, columns, strip, workspace
        self._rows: dict[int, list[Tile]] = {}
        for tile in rows:
            self._rows.setdefault(tile.begin // strip, []).append(tile)

    def covers(self, begin: int) -> bool:
        """Whether any row of the strip that starts at output row `begin` belongs to this level."""
        return begin // self._strip in self._rows

    def rows_in(self, begin: int) -> tuple[int, int]:
        """Which rows of the strip that starts at output row `begin` belong to this level."""
        rows = self._rows[begin // self._strip]
        return rows[0].begin - begin, rows[-1].end - begin

    def draw(self, begin: int, out: torch.Tensor, span: tuple[int, int]) -> None:
        """Draws the level's rows of the strip at output row `begin` into out [C, rows, width],
        at least in the output columns of `span`."""
        columns = [tile for tile in self._columns if tile.begin < span[1] and tile.end > span[0]]
        draw(self._layer, self._rows[begin // self._strip], columns, out, self._workspace)


def render_view(stack: ZoomStack, zoom: float, height: int, width: int, fit: str = "crop") -> torch.Tensor:
    """The view of a stack at a real zoom: [C, height, width] float32 in 0..1, on the stack's device.

    zoom: in levels; 0 shows level 0 whole, N - 1 the innermost level whole, 1.5 lies halfway in
    log zoom. fit: see `StackRenderer`. For many views of one size keep a `StackRenderer`.
    Raises ValueError naming the input.
    """
    return StackRenderer(stack, height, width, fit).render(zoom)
