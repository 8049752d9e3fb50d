"""Neighbouring levels: the one inside the other, and the operators between the two."""

from __future__ import annotations

from typing import NamedTuple

import torch

from . import axes
from .axes import Axis
from .geometry import Geometry


class Pair(NamedTuple):
    """Level `inner` as it lies inside level `outer`; all images are [.., C, H, W].

    vertical, horizontal: which pixels of the outer level lie wholly inside the inset, and what they see of
    the inner one.
    """

    outer: int
    inner: int
    vertical: Axis
    horizontal: Axis

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the inset in whole pixels of the outer level."""
        return self.vertical.count, self.horizontal.count

    def crop(self, image: torch.Tensor) -> torch.Tensor:
        """The outer level's pixels that lie wholly inside the inset, as a view."""
        top, left = self.vertical.start, self.horizontal.start
        return image[..., top : top + self.vertical.count, left : left + self.horizontal.count]

    def reduce(self, image: torch.Tensor) -> torch.Tensor:
        """The inner level as the outer one's pixels see it."""
        return axes.reduce(image, self.vertical, self.horizontal)

    def reduce_noise(self, noise: torch.Tensor) -> torch.Tensor:
        """The same for noise, which stays white."""
        return axes.reduce_noise(noise, self.vertical, self.horizontal)

    def expand(self, image: torch.Tensor) -> torch.Tensor:
        """The inset's pixels on the inner level's grid; `reduce` gives them back."""
        return axes.expand(image, self.vertical, self.horizontal)


def pair(geometry: Geometry, inner: int) -> Pair:
    """Level `inner` (from 1) and the one around it, whose inset may be too small to hold a whole pixel."""
    inset = geometry.insets[inner - 1]
    return Pair(
        inner - 1,
        inner,
        Axis.of_inset(inset.top, inset.height, geometry.height),
        Axis.of_inset(inset.left, inset.width, geometry.width),
    )


def pairs(geometry: Geometry) -> list[Pair]:
    """Every level with the one around it, outermost first; an inset that holds no whole pixel is left out."""
    found = (pair(geometry, inner) for inner in range(1, len(geometry)))
    return [each for each in found if all(each.size)]
