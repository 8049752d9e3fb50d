"""Holding levels to a picture of one of them: Generative Powers of Ten, section 4.4.

The same constraint serves a person's photograph and finished levels that must not change: what
is known of level g fixes the coarse bands of every level inside it and the inset of every level
around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch.nn.functional import interpolate

from .axes import Axis, cubic, reduction
from .geometry import Geometry, Inset
from .operators import check_levels, compute_dtype

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

    start: first pixel of the outer level that lies wholly inside. matrix: [count, size], the
    reductions of all steps between them in one. axis: the same as one step, for expansions.
    """

    start: int
    matrix: torch.Tensor
    axis: Axis


def _footprint(insets: list[tuple[float, float]], size: int) -> Footprint | None:
    """How a level is seen through `insets` ((start, length) from the outermost in), or None where it
    is smaller than a pixel. All levels have `size` pixels."""
    start, matrix = 0, torch.eye(size, dtype=torch.float64)
    origin, length = 0.0, float(size)
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
        scale = inset_length / size
        origin, length = inset_start + origin * scale, length * scale
    zoom = size / length
    return Footprint(start, matrix, Axis(start, matrix.shape[0], (start - origin) * zoom, zoom, size))


def _region(footprints: tuple[Footprint, Footprint]) -> tuple:
    """The pixels of an outer level [C, H, W] that lie wholly inside, as an index."""
    return (..., *(slice(f.start, f.start + f.matrix.shape[0]) for f in footprints))


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
        self._terms = []
        picture = picture.to(compute_dtype(picture))
        where = None if where is None else where.to(picture)
        for i in range(len(geometry)) if only is None else only:
            inwards, outwards = i - level, level - i
            if geometry.closed:
                inwards, outwards = inwards % len(geometry), outwards % len(geometry)
            # A level of a closed geometry lies both inside the picture's and around it. What it shows of
            # the picture's level counts last, and so holds exactly.
            terms = []
            if inwards > 0:
                terms.append(self._inside(picture, where, list(islice(geometry.inwards(level), inwards))))
            if outwards >= 0:
                terms.append(self._around(picture, where, list(islice(geometry.inwards(i), outwards))))
            self._terms += [(i, *term) for term in terms if term is not None]

    def _footprints(self, chain: list[Inset]) -> tuple[Footprint, Footprint] | None:
        vertical = _footprint([(n.top, n.height) for n in chain], self._geometry.height)
        horizontal = _footprint([(n.left, n.width) for n in chain], self._geometry.width)
        return None if vertical is None or horizontal is None else (vertical, horizontal)

    def _around(self, picture: torch.Tensor, where: torch.Tensor | None, chain: list[Inset]):
        """What a level shows that holds the picture's level through `chain`: the region and what it shows."""
        footprints = self._footprints(chain)
        if footprints is None:
            return None
        region, down = _region(footprints), [f.matrix.to(picture) for f in footprints]
        weight = None if where is None else down[0] @ where @ down[1].mT
        return region, None, None, down[0] @ picture @ down[1].mT, weight

    def _inside(self, picture: torch.Tensor, where: torch.Tensor | None, chain: list[Inset]):
        """What the picture fixes of a level that lies inside its own through `chain`: its coarse bands."""
        footprints = self._footprints(chain)
        if footprints is None:
            return None
        up = []
        for footprint in footprints:
            smooth = cubic(footprint.axis)
            up.append(torch.linalg.solve((footprint.matrix @ smooth).T, smooth.T).T.to(picture))
        region = _region(footprints)
        weight = None if where is None else where[region]
        return (...,), [f.matrix.to(picture) for f in footprints], up, picture[region], weight

    @staticmethod
    def _residual(image, region, down, target, weight):
        seen = image[region] if down is None else down[0] @ image @ down[1].mT
        return target - seen if weight is None else (target - seen) * weight

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C, H, W]: the smoothest correction after which every level shows exactly
        what the picture fixes (closed form)."""
        check_levels(images, self._geometry, "images")
        result = images.to(compute_dtype(images), copy=True)
        for i, region, down, up, target, weight in self._terms:
            residual = self._residual(result[i], region, down, target, weight)
            result[i][region] += residual if up is None else up[0] @ residual @ up[1].mT
        return result.to(images.dtype)

    def adam(self, images: torch.Tensor, steps: int = 5, learning_rate: float = 0.1) -> torch.Tensor:
        """[N, C, H, W] -> [N, C, H, W]: the paper's way, `steps` of Adam (Kingma and Ba 2015) on
        sum_i || D_i(x_i) - M_i * picture ||^2, its gradient written out."""
        check_levels(images, self._geometry, "images")
        result = images.to(compute_dtype(images), copy=True)
        gradient, mean, square = (torch.zeros_like(result) for _ in range(3))
        for step in range(1, steps + 1):
            gradient.zero_()
            for i, region, down, _, target, weight in self._terms:
                residual = self._residual(result[i], region, down, target, weight)
                pulled = residual if down is None else down[0].mT @ residual @ down[1]
                gradient[i][region] -= 2 * pulled
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

    def after_blending(self, layers: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] layers: the projection holds exactly once more, since blending with levels that
        reach beyond the picture moved them a little. Adam is left as the paper has it."""
        if self._guide is not None and self._guide.method == "adam":
            return layers
        return self.project(layers)
