"""What the deeper levels show, written into the insets of those around them, as the renderer sees it."""

from __future__ import annotations

import math

import torch

from .geometry import Geometry, Inset
from .pairs import outwards
from .resample import Workspace, axis_tiles, draw
from .threads import one_thread

_TILE = 64


def _fill(parent: torch.Tensor, child: torch.Tensor, inset: Inset) -> None:
    """Overwrites the parent's pixels that lie wholly inside the inset with what its own camera
    would see of the child, both [C, H, W]."""
    tiles = []
    for start, length, size, columns in (
        (inset.top, inset.height, child.shape[1], False),
        (inset.left, inset.width, child.shape[2], True),
    ):
        step = size / length
        span = math.ceil(start - 1e-6), math.floor(start + length + 1e-6)
        offset = (0.5 - start) * step - 0.5
        tiles.append(axis_tiles(offset, step, size, span, _TILE, child.device, columns))
    left, right = span
    workspace = Workspace(child.device)
    for rows in tiles[0]:
        strip = workspace.take("strip", child.shape[0], rows.end - rows.begin, parent.shape[2])
        draw(child, [rows], tiles[1], strip, workspace)
        parent[:, rows.begin : rows.end, left:right] = strip[..., left:right]


@one_thread()
def fill_insets(layers: torch.Tensor, geometry: Geometry, device: torch.device | None = None) -> torch.Tensor:
    """Writes every deeper level into the insets of those around it, in place: [N, C, H, W] float32.

    As `render_image`, but by the renderer's own kernels, which also reach pixels that an inset covers in part, and
    below a zoom of 2 undo the samples' blur: this is what views are resampled from, and a view of level i within its
    frame must see through level i+1's inset the same picture at every zoom. Doing it again changes nothing.
    device: where to compute, the layers' own by default; one level at a time is brought there.
    """
    device = layers.device if device is None else device
    for pair in outwards(geometry):
        _fill(layers[pair.outer], layers[pair.inner].to(device), geometry.steps[pair.outer])
    return layers
