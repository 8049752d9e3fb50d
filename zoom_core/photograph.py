"""Holding levels to a picture of one of them: Generative Powers of Ten, section 4.4.

The same constraint serves a person's photograph and finished levels that must not change: what
is known of level g fixes the coarse bands of every level inside it and the inset of every level
around it.

A pixel near an inset's border sees both sides of it, so that what is known of level g says nothing final about
one level alone: estimates are only brought near it, and held exactly once the levels agree (`after_rendering`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from typing import NamedTuple

import torch
from torch.nn.functional import interpolate

from .axes import Axis, reduction
from .geometry import Geometry
from .operators import check_levels, compute_dtype
from .pairs import Pair, pairs

METHODS = ("projection", "adam")


@dataclass(frozen=True)
class ZoomGuide:
    """A photograph and the level that it fixes.

    image: [3, H, W] float32 in 0..1, any size. level: counted from 0, negative from the innermost.
    method, steps, learning_rate: see `LevelConstraint`. start_percent, end_percent: the part of sampling
    during which it holds, 0..1.
    """

    image: torch.Tensor
    level: int = 0
    method: str = "projection"
    steps: int = 5
    learning_rate: float = 0.1
    start_percent: float = 0.0
    end_percent: float = 1.0

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] != 3:
            raise ValueError(f"image must be [3, H, W], got {tuple(self.image.shape)}.")
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}.")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}.")

    def index(self, count: int) -> int:
        """The level's number among `count` levels; raises ValueError where there is no such level."""
        if not -count <= self.level < count:
            raise ValueError(f"level {self.level} of the guide does not exist: the levels are 0 to {count - 1}.")
        return self.level % count


def crop_photograph(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[C, H, W] of any size -> [C, height, width]: cropped around its middle to that aspect ratio, then
    resized with antialiasing."""
    scale = min(image.shape[-2] / height, image.shape[-1] / width)
    crop = [max(1, round(size * scale)) for size in (height, width)]
    top, left = ((whole - part) // 2 for whole, part in zip(image.shape[-2:], crop))
    cropped = image[None, :, top : top + crop[0], left : left + crop[1]].to(compute_dtype(image))
    return interpolate(cropped, (height, width), mode="bicubic", antialias=True)[0].clamp(0, 1)


class Footprint(NamedTuple):
    """One axis of how a level is seen from a level around it.

    start: first pixel of the outer level that sees nothing else. matrix: [count, size], the
    reductions of all steps between them in one.
    """

    start: int
    matrix: torch.Tensor


def _footprint(insets: list[tuple[float, float]], size: int) -> Footprint | None:
    """How a level is seen through `insets` ((start, length) from the outermost in), or None where it
    is smaller than a pixel. All levels have `size` pixels."""
    start, matrix = 0, torch.eye(size, dtype=torch.float64)
    for inset_start, inset_length in reversed(insets):
        axis = Axis.of_inset(inset_start, inset_length, size)
        rows = reduction(axis)
        end = start + matrix.shape[0]
        whole = ((rows[:, :start].abs().sum(1) + rows[:, end:].abs().sum(1)) < 1e-12).nonzero().flatten()
        if not len(whole):
            return None
        first, last = int(whole[0]), int(whole[-1]) + 1
        matrix = rows[first:last, start:end] @ matrix
        start = axis.start + first
    return Footprint(start, matrix)


class Term(NamedTuple):
    """What a picture says of one level: `target` is what `down` makes of its pixels in `region`.

    down: matrices for rows and columns, None for the pixels themselves. weight: how far that holds, None for wholly.
    """

    region: tuple
    down: list[torch.Tensor] | None
    target: torch.Tensor
    weight: torch.Tensor | None


def _region(footprints: tuple[Footprint, Footprint]) -> tuple:
    """The pixels of an outer level [C, H, W] that lie wholly inside, as an index."""
    return (..., *(slice(f.start, f.start + f.matrix.shape[0]) for f in footprints))


def _carried_in(missing: torch.Tensor, chain: list[Pair]) -> Iterator[tuple[int, torch.Tensor]]:
    """(level, what to add to it) for the levels inwards, after which all of them show the same of what was `missing` in
    the first inset."""
    for pair, inside in zip_longest(chain, chain[1:]):
        correction = pair.expand(missing)
        yield pair.inner, correction
        if inside is not None:
            missing = inside.crop(correction)


class LevelConstraint:
    """Levels held to a picture of level `level`, for one sampling run.

    picture: [C, H, W] on the grid of `geometry`, in the space of the images to be held (0..1,
    -1..1 or latent). guide: how to hold them (default: by projection). only: the levels to
    change (default all). where: [1, H, W] in 0..1, how far each pixel of the picture holds (default 1).
    """

    def __init__(
        self,
        picture: torch.Tensor,
        geometry: Geometry,
        level: int,
        guide: ZoomGuide | None = None,
        only: list[int] | None = None,
        where: torch.Tensor | None = None,
    ):
        if tuple(picture.shape[-2:]) != (geometry.height, geometry.width):
            raise ValueError(
                f"picture is {picture.shape[-2]} x {picture.shape[-1]}, the levels are "
                f"{geometry.height} x {geometry.width} (height x width)."
            )
        self._geometry = geometry
        self._guide = guide
        self._level = level
        self._picture = picture = picture.to(compute_dtype(picture))
        self._where = None if where is None else where.to(picture)
        self._only = list(range(len(geometry)) if only is None else only)
        found = ((i, self._seen_around(i)) for i in self._only)
        self._around = [(i, term) for i, term in found if term is not None]
        self._chain = self._pairs_inwards(None if only is None else set(only))

    @cached_property
    def _inside(self) -> list[tuple[int, Term]]:
        """What the picture says of each level inside its own; only Adam asks."""
        found = ((i, self._seen_inside(i)) for i in self._only)
        return [(i, term) for i, term in found if term is not None]

    def _pairs_inwards(self, only: set[int] | None) -> list[Pair]:
        """The pairs from the picture's level inwards, as long as the inner one may change."""
        known = {pair.outer: pair for pair in pairs(self._geometry)}
        chain, outer = [], self._level
        while outer in known:
            pair = known[outer]
            if pair.inner == self._level or (only is not None and pair.inner not in only):
                break
            chain.append(pair)
            outer = pair.inner
        return chain

    def _footprints(self, outer: int, inner: int) -> tuple[Footprint, Footprint] | None:
        """How level `inner` is seen from level `outer`; None where it does not lie inside it, or is too small.

        Two levels of a closed geometry lie inside each other.
        """
        steps = (inner - outer) % len(self._geometry) if self._geometry.closed else inner - outer
        if steps < 0:
            return None
        chain = list(islice(self._geometry.inwards(outer), steps))
        vertical = _footprint([(n.top, n.height) for n in chain], self._geometry.height)
        horizontal = _footprint([(n.left, n.width) for n in chain], self._geometry.width)
        return None if vertical is None or horizontal is None else (vertical, horizontal)

    def _seen_around(self, level: int) -> Term | None:
        """What a level shows that is, or holds, the picture's level, where that alone decides it."""
        footprints = self._footprints(level, self._level)
        if footprints is None:
            return None
        region, down = _region(footprints), [f.matrix.to(self._picture) for f in footprints]
        weight = None if self._where is None else down[0] @ self._where @ down[1].mT
        return Term(region, None, down[0] @ self._picture @ down[1].mT, weight)

    def _seen_inside(self, level: int) -> Term | None:
        """What the picture says of a level that lies inside its own, where that level alone decides what the
        picture shows."""
        footprints = self._footprints(self._level, level)
        if footprints is None or level == self._level:
            return None
        region = _region(footprints)
        weight = None if self._where is None else self._where[region]
        down = [f.matrix.to(self._picture) for f in footprints]
        return Term((...,), down, self._picture[region], weight)

    @staticmethod
    def _residual(image: torch.Tensor, term: Term) -> torch.Tensor:
        seen = image[term.region] if term.down is None else term.down[0] @ image @ term.down[1].mT
        difference = term.target - seen
        return difference if term.weight is None else difference * term.weight

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C, H, W]: smooth corrections after which the picture's level sees through every level
        inside it, those in between included, what the picture shows; and levels around it show the picture."""
        check_levels(images, self._geometry, "images")
        result = images.to(compute_dtype(images), copy=True)
        resolved = self._geometry.resolved(self._geometry.inwards(self._level))
        for depth in range(1, min(len(self._chain), resolved) + 1):
            chain = self._chain[:depth]
            inner = chain[-1].inner
            seen = chain[-1].reduce(result[inner])
            for pair, inside in zip(chain[-2::-1], chain[:0:-1]):
                level = result[pair.inner].clone()
                inside.crop(level).copy_(seen)
                seen = pair.reduce(level)
            missing = chain[0].crop(self._picture) - seen
            if self._where is not None:
                missing *= chain[0].crop(self._where)
            *_, (_, correction) = _carried_in(missing, chain)
            result[inner] += correction
        for i, term in self._around:
            result[i][term.region] += self._residual(result[i], term)
        return result.to(images.dtype)

    def after_rendering(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] levels that agree -> [N, C, H, W]: the picture's level is the picture, and the levels inside
        follow, all by the same smooth correction, so that they still agree with it and each other.

        The levels around have to be rendered again. Adam is left as the paper has it.
        """
        if self._guide is not None and self._guide.method == "adam":
            return images
        check_levels(images, self._geometry, "images")
        result = images.to(compute_dtype(images), copy=True)
        weight = 1.0 if self._where is None else self._where
        result[self._level] += (self._picture - result[self._level]) * weight
        if self._chain:
            first = self._chain[0]
            missing = first.crop(result[self._level]) - first.reduce(result[first.inner])
            for inner, correction in _carried_in(missing, self._chain):
                result[inner] += correction
        return result.to(images.dtype)

    def adam(self, images: torch.Tensor, steps: int = 5, learning_rate: float = 0.1) -> torch.Tensor:
        """[N, C, H, W] -> [N, C, H, W]: the paper's way, `steps` of Adam (Kingma and Ba 2015) on
        sum_i || D_i(x_i) - M_i * picture ||^2, its gradient written out."""
        check_levels(images, self._geometry, "images")
        result = images.to(compute_dtype(images), copy=True)
        gradient, mean, square = (torch.zeros_like(result) for _ in range(3))
        terms = [*self._inside, *self._around]
        for step in range(1, steps + 1):
            gradient.zero_()
            for i, term in terms:
                residual = self._residual(result[i], term)
                pulled = residual if term.down is None else term.down[0].mT @ residual @ term.down[1]
                gradient[i][term.region] -= 2 * pulled
            mean.lerp_(gradient, 0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
            result.addcdiv_(mean, scale, value=-learning_rate / (1 - 0.9**step))
        return result.to(images.dtype)

    def before_blending(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] estimates, brought to what the picture fixes by the guide's method."""
        if self._guide is not None and self._guide.method == "adam":
            return self.adam(images, self._guide.steps, self._guide.learning_rate)
        return self.project(images)
