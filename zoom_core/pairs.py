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


# A frame that spans less than this of a pixel adds less than 1e-6 to what the pixel shows.
_GONE = 1e-3


def pair(geometry: Geometry, step: int) -> Pair:
    """Level `step` and the one inside it, whose inset may be too small to hold a whole pixel."""
    inset = geometry.steps[step]
    return Pair(
        step,
        (step + 1) % len(geometry),
        Axis.of_inset(inset.top, inset.height, geometry.height),
        Axis.of_inset(inset.left, inset.width, geometry.width),
    )


def pairs(geometry: Geometry) -> list[Pair]:
    """Every level with the one inside it, outermost first; an inset that holds no whole pixel is left out.

    The last pair of a closed geometry is the innermost level and level 0.
    """
    found = (pair(geometry, step) for step in range(len(geometry.steps)))
    return [each for each in found if all(each.size)]


def _round(geometry: Geometry, steps: range) -> list[Pair]:
    known = {each.outer: each for each in pairs(geometry)}
    return [known[step % len(geometry)] for step in steps if step % len(geometry) in known]


def inwards(geometry: Geometry) -> list[Pair]:
    """The pairs in the order in which what the outer levels show is passed on inwards.

    Of a closed geometry those come first, for a start, whose levels still see level 0; then every pair
    once more, so that no level is without the ones around it.
    """
    lead = geometry.resolved(geometry.outwards(0), _GONE) + 1 if geometry.closed else 0
    return _round(geometry, range(-lead, len(geometry) - 1))


def outwards(geometry: Geometry) -> list[Pair]:
    """The pairs in the order in which what the inner levels show is passed on outwards.

    Of a closed geometry those come first, for a start, that the innermost level still shows.
    """
    last = len(geometry) - 1
    tail = geometry.resolved(geometry.inwards(last), _GONE) + 1 if geometry.closed else 0
    return _round(geometry, range(last + tail - 1, -1, -1))
