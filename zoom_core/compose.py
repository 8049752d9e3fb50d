"""Views of several levels at once: every level drawn over the one around it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from .curves import smooth_step
from .path import CameraPath, View
from .resample import Tile, Workspace, axis_tiles, draw

# The inner level fades in over this share of its side: against a step where levels do not quite fit.
FADE = 0.04
# ... and over this share where the level around it is magnified. That level holds the inner one's
# coarse content already, so what fades in is fine detail alone, and the border is no step in sharpness.
RAMP = 0.3
MAX_RAMP = 0.5
# Neither is wider than what is visible around the inner level: at a crossing the fade is gone.
FADE_OF_MARGIN = 0.5
RAMP_OF_MARGIN = 1.0
# Eyes tell sharpness by octaves of energy: the ramp begins slower than a smooth step.
RAMP_POWER = 1.5


def _span(mask: np.ndarray) -> tuple[int, int]:
    used = np.flatnonzero(mask)
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)


class _Placed:
    """Where a level lies along one axis of the output, and how it fades in over the one around it."""

    def __init__(
        self,
        view: tuple[float, float],
        visible: tuple[float, float],
        count: int,
        within: tuple[int, int],
        magnified: float,
        ramp: float,
    ):
        """view, visible: the output, and all that is seen, as (start, size) in the frame of this level;
        count: output samples; within: those that the level around it covers; magnified: 0 where that
        level has pixels enough, 1 from twofold on."""
        edge, size = -view[0] / view[1] * count, count / view[1]
        widths = []
        for margin in (max(-visible[0], 0.0) * size, max(visible[0] + visible[1] - 1, 0.0) * size):
            fade = min(FADE * size, FADE_OF_MARGIN * margin)
            wide = min(max(ramp, FADE) * size, RAMP_OF_MARGIN * margin)
            widths.append(fade + (wide - fade) * magnified)
        center = np.arange(count) + 0.5
        # A fade narrower than a pixel is the pixel's coverage.
        rise = [(max(w, 1.0), 0.5 * w - 0.5 * max(w, 1.0)) for w in widths]
        low = np.clip((center - edge - rise[0][1]) / rise[0][0], 0, 1)
        high = np.clip((edge + size - center - rise[1][1]) / rise[1][0], 0, 1)
        weight = smooth_step(np.minimum(low, high)) ** (1 + (RAMP_POWER - 1) * magnified)
        self.weight = weight.astype(np.float32)
        self.weight[: within[0]] = 0
        self.weight[within[1] :] = 0
        self.begin, self.end = _span(self.weight > 0)
        self.full_begin, self.full_end = _span(self.weight >= 1)


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


class Composer:
    """Draws any rectangle of a stack, with the level after the rectangle's own and all between.

    layers: [N, C, H, W] float32, filled (`fill_insets`). path: where they lie.
    device: where to compute; levels are brought there as they are needed.
    ramp: share of a level's side over which its detail fades in where the level around it is
        magnified; 0 for none (`FADE` remains).
    """

    def __init__(self, layers: torch.Tensor, path: CameraPath, device: torch.device, ramp: float = RAMP):
        self.layers, self.path, self.device, self.ramp = layers, path, device, ramp
        self._levels: dict[int, torch.Tensor] = {}
        self._workspace = Workspace(device)
        # A strip (whole tiles) stays in a core's cache; a GPU wants few, large products.
        self._tile, self._strip = (32, 128) if device.type == "cpu" else (256, 512)

    def strips(
        self,
        view: View,
        innermost: int,
        height: int,
        width: int,
        spacing: float = 1.0,
        visible: View | None = None,
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """(first row, [C, rows, width] float32) of a view from top to bottom; a strip is reused.

        view: a rectangle in the frame of its level; beyond that frame its border is repeated.
        innermost: the last level to draw. spacing: the distance of samples in widths of the pixels
        that the scene is seen through. visible: all that is seen, where the view is a part of it.
        """
        parts, places = self._place(view, visible or view, innermost, height, width, spacing)
        for begin in range(0, height, self._strip):
            rows = min(self._strip, height - begin)
            strip = self._workspace.take("strip", self.layers.shape[1], rows, width)
            self._compose(parts, places, begin, strip, (0, width))
            yield begin, strip

    def _place(
        self, view: View, visible: View, innermost: int, height: int, width: int, spacing: float
    ) -> tuple[list[_Part], list[tuple[_Placed, _Placed]]]:
        """The levels to draw, outermost first, and where each but the first lies: (rows, columns)."""
        parts = [self._part(view, (0, height), (0, width), (height, width), spacing)]
        places: list[tuple[_Placed, _Placed]] = []
        rows, columns = (0, height), (0, width)
        while view.level < innermost:
            pixel = view.width * self.layers.shape[3] / (width * spacing)
            magnified = float(smooth_step(min(max(-math.log2(pixel), 0.0), 1.0))) if self.ramp else 0.0
            view, visible = self.path.inward(view), self.path.inward(visible)
            seen = (visible.top, visible.height), (visible.left, visible.width)
            down = _Placed((view.top, view.height), seen[0], height, rows, magnified, self.ramp)
            across = _Placed((view.left, view.width), seen[1], width, columns, magnified, self.ramp)
            rows, columns = (down.begin, down.end), (across.begin, across.end)
            if rows[0] == rows[1] or columns[0] == columns[1]:
                break
            parts.append(self._part(view, rows, columns, (height, width), spacing))
            places.append((down, across))
        return parts, places

    def _part(
        self, view: View, rows: tuple[int, int], columns: tuple[int, int], size: tuple[int, int], spacing: float
    ) -> _Part:
        """A level seen through a view of its frame, for spans of an output of `size` (rows, columns)."""
        layer = self._layer(view.level)

        def tiles(axis: int, start: float, extent: float, span: tuple[int, int]) -> list[Tile]:
            pixels = layer.shape[1 + axis]
            step = extent * pixels / size[axis]
            offset = start * pixels + 0.5 * step - 0.5
            return axis_tiles(offset, step, pixels, span, self._tile, self.device, axis == 1, step / spacing)

        down, across = tiles(0, view.top, view.height, rows), tiles(1, view.left, view.width, columns)
        return _Part(layer, down, across, self._strip, self._workspace)

    def _layer(self, level: int) -> torch.Tensor:
        """A level on the computing device; the ones passed by are let go."""
        level %= len(self.layers)
        if self.layers.device == self.device:
            return self.layers[level]
        if level not in self._levels:
            # The three that a turned view may show stay.
            for other in list(self._levels)[:-2]:
                del self._levels[other]
            self._levels[level] = self.layers[level].to(self.device)
        return self._levels[level]

    def _compose(
        self,
        parts: list[_Part],
        places: list[tuple[_Placed, _Placed]],
        begin: int,
        out: torch.Tensor,
        span: tuple[int, int],
    ) -> None:
        """The first part with the next ones faded in over it, in the output columns of `span`.

        out: [C, rows, width], the first part's rows of the strip from output row `begin`.
        """
        outer, inner = parts[0], parts[1] if len(parts) > 1 else None
        if inner is None or not inner.covers(begin):
            outer.draw(begin, out, span)
            return
        rows, columns = places[0]
        channels, height, width = out.shape
        top = begin + outer.rows_in(begin)[0]
        # Where the inner level alone shows, in whole tiles, the outer one need not be drawn.
        alone = (0, 0)
        if rows.full_begin <= top and top + height <= rows.full_end:
            tile = self._tile
            last = columns.full_end if columns.full_end == width else columns.full_end // tile * tile
            alone = max(-(-columns.full_begin // tile) * tile, span[0]), min(last, span[1])
        if alone[1] <= alone[0]:
            alone = (span[0], span[0])
        else:
            self._compose(parts[1:], places[1:], begin, out, alone)
        low, high = (begin + row - top for row in inner.rows_in(begin))
        weight = np.multiply.outer(rows.weight[top + low : top + high], columns.weight)
        for first, last in ((span[0], alone[0]), (alone[1], span[1])):
            if last <= first:
                continue
            outer.draw(begin, out, (first, last))
            first, last = max(first, columns.begin), min(last, columns.end)
            if last <= first:
                continue
            spare = self._workspace.take(f"inner {len(parts)}", channels, high - low, width)
            self._compose(parts[1:], places[1:], begin, spare, (first, last))
            share = torch.from_numpy(weight[:, first:last]).to(self.device)
            out[:, low:high, first:last].lerp_(spare[..., first:last], share)
