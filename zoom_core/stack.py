"""A zoom stack: N consistent levels at full resolution."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from . import files, stack_file
from .geometry import Geometry, Inset
from .levels import ZoomLevels
from .operators import check_finite, check_levels
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


class ZoomStack:
    """N levels that show one scene, ready to be viewed at any zoom.

    layers: [N, C, H, W] float32 in 0..1, copied; inside its inset a layer is replaced by what
        the deeper ones show (`fill_insets`), so what it held there does not matter.
    geometry: the insets on the layers' own grid (`geometry.scaled` brings a coarser one there).
    levels: prompts and zooms, `ZoomLevels` of the same length.
    device: where insets are filled, level by level; the layers' own by default. They stay where they are.
    Raises ValueError where they do not fit together, or layers hold NaN or infinity.
    """

    def __init__(
        self, layers: torch.Tensor, geometry: Geometry, levels: ZoomLevels, device: torch.device | None = None
    ):
        check_levels(layers, geometry, "layers")
        if len(levels) != len(geometry):
            raise ValueError(f"levels has {len(levels)} entries, layers has {len(geometry)} levels.")
        if levels.loop != geometry.closed:
            raise ValueError(
                f"loop of levels is {levels.loop}, the geometry is {'closed' if geometry.closed else 'open'}."
            )
        check_finite(layers, "layers")
        self.geometry, self.levels = geometry, levels
        own = layers.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        self.layers = fill_insets(own, geometry, device)

    def __len__(self) -> int:
        return len(self.geometry)

    @property
    def height(self) -> int:
        return self.geometry.height

    @property
    def width(self) -> int:
        return self.geometry.width

    def save(self, path: str | os.PathLike) -> None:
        """Writes the stack to `path` in place of what is there, whole or not at all; see `stack_file.write`."""
        path = Path(path)
        with files.part_in(path.parent) as part:
            stack_file.write(self, part)
            os.replace(part, path)

    @classmethod
    def load(cls, path: str | os.PathLike, device: torch.device | str = "cpu") -> ZoomStack:
        """Reads what `save` wrote; see `stack_file.read`."""
        layers, geometry, levels = stack_file.read(path, device)
        stack = cls.__new__(cls)
        stack.geometry, stack.levels, stack.layers = geometry, levels, layers
        return stack
