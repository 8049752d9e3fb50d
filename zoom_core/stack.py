"""A zoom stack: N consistent levels at full resolution."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from . import files, stack_file
from .geometry import Geometry
from .insets import fill_insets
from .levels import ZoomLevels
from .operators import check_finite, check_levels


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
