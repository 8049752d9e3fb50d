"""One axis of an inset as small banded matrices.

Every operator between two neighbouring levels is separable and depends only on where the inset
lies, so it is built once per axis in float64 and applied as (tiles of) matrix products. That
serves whole and fractional zooms alike, and on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from kornia.filters import get_gaussian_kernel1d

# A weight below this is rounding noise in float32. Dropping it makes tiles narrow, and keeps the
# exponential tails out of the denormal numbers, which slow a processor down twentyfold.
NEGLIGIBLE = 1e-8
TILE = 64
# Fractions of a pixel that come from rounding, not from geometry.
ROUNDING = 1e-6
# Where the Gaussian of a picture's pixel is cut off, in sigmas.
_REACH = 4.0
# Between samples a Gaussian of this sigma is linear interpolation.
_NARROWEST = 0.1
# An expansion's weights die away within so many parent pixels, to less than float64 can tell.
_FADE = 40


@dataclass(frozen=True)
class Axis:
    """How `count` pixels of a parent level see `size` pixels of its child, along one axis.

    start: first parent pixel that lies wholly inside the inset.
    first: where the footprint of that pixel starts in the child, in child pixels.
    zoom: child pixels per parent pixel.
    """

    start: int
    count: int
    first: float
    zoom: float
    size: int

    @classmethod
    def of_inset(cls, start: float, length: float, size: int) -> Axis:
        """The axis of an inset that covers [start, start + length) parent pixels and shows a
        child of `size` pixels. Parent pixels only partly covered keep what the parent shows."""
        begin = math.ceil(start - ROUNDING)
        end = math.floor(start + length + ROUNDING)
        zoom = size / length
        first = (begin - start) * zoom
        if abs(first) < ROUNDING:
            first = 0.0
        return cls(begin, max(end - begin, 0), first, zoom, size)

    @classmethod
    def of_resize(cls, size: int, count: int) -> Axis:
        """The axis that brings `size` pixels to `count` pixels of the same frame."""
        return cls(0, count, 0.0, size / count, size)

    @property
    def is_whole(self) -> bool:
        """Whether every footprint is a whole number of pixels (the paper's case)."""
        return self.first == 0.0 and self.zoom == round(self.zoom)


def reduction(axis: Axis) -> torch.Tensor:
    """[count, size] float64: row j holds what the camera's pixel at parent pixel j sees of the child: the operator P.

    A pixel is the scene through a Gaussian of half its width. The child's pixels have been seen through theirs
    already, so that a parent's adds sigma^2 = (zoom / 2)^2 - 1 / 4 child pixels^2; what lies beyond 4 sigma is
    cut off, and what lies beyond the frame. Where that, or a Gaussian narrower than the samples, would shift a
    row's centroid off the parent pixel's centre, the Gaussian is moved until it lies there: levels stay where they
    are, to a straight line, and within the range of their pixels.
    """
    centre = axis.first + axis.zoom * (torch.arange(axis.count, dtype=torch.float64)[:, None] + 0.5)
    offset = torch.arange(axis.size, dtype=torch.float64) + 0.5 - centre
    sigma = max(math.sqrt(max(axis.zoom**2 - 1, 0) / 4), _NARROWEST)
    reach = max(_REACH * sigma, 1.0)
    exponent = torch.where(offset.abs() <= reach, -0.5 * (offset / sigma) ** 2, -math.inf)
    rows = exponent.softmax(1)
    moved = ((rows * offset).sum(1).abs() > 1e-12).nonzero().flatten()
    if len(moved):
        rows[moved] = _centred(exponent[moved], offset[moved], reach / sigma**2)
    return rows


def _centred(exponent: torch.Tensor, offset: torch.Tensor, slope: float) -> torch.Tensor:
    """Rows exp(exponent + s offset) of sum 1 whose mean offset is 0, with s in -slope..slope found by bisection.

    For a Gaussian that is the same one, moved. Where all offsets have one sign it is as near as can be.
    """
    low, high = torch.full_like(offset[:, :1], -slope), torch.full_like(offset[:, :1], slope)
    for _ in range(60):
        middle = (low + high) / 2
        beyond = ((exponent + middle * offset).softmax(1) * offset).sum(1, keepdim=True) > 0
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return (exponent + low * offset).softmax(1)


def block_reduction(axis: Axis) -> torch.Tensor:
    """[count, size] float64: row j holds the weights of the block under parent pixel j: the paper's operator D.

    A Gaussian of sigma = zoom / 2 truncated to the block and centred on it (Generative Powers of
    Ten, section 4.1). Where a footprint cuts a pixel, the pixel counts by the part that lies
    inside, and the row is tilted so that its centroid is the centre of the footprint: without
    that, fractional zooms would shift the picture by up to a twentieth of a pixel.
    """
    if axis.is_whole:
        zoom = int(axis.zoom)
        kernel = get_gaussian_kernel1d(zoom, zoom / 2, force_even=True, dtype=torch.float64)[0]
        rows = torch.zeros(axis.count, axis.count, zoom, dtype=torch.float64)
        rows.diagonal(dim1=0, dim2=1).copy_(kernel[:, None])
        return torch.nn.functional.pad(rows.flatten(1), (0, axis.size - axis.count * zoom))
    pixel = torch.arange(axis.size, dtype=torch.float64)
    begin = axis.first + axis.zoom * torch.arange(axis.count, dtype=torch.float64)[:, None]
    inside = (torch.minimum(pixel + 1, begin + axis.zoom) - torch.maximum(pixel, begin)).clamp(0, 1)
    inside = torch.where(inside < ROUNDING, 0.0, inside)
    offset = pixel + 0.5 - (begin + 0.5 * axis.zoom)
    rows = inside * torch.exp(-0.5 * (offset / (0.5 * axis.zoom)) ** 2)
    first, second = ((rows * offset**power).sum(1, keepdim=True) for power in (1, 2))
    rows = rows * (1 - offset * torch.where(second > 1e-12, first / second.clamp_min(1e-12), 0.0))
    return rows / rows.sum(1, keepdim=True)


def noise_reduction(axis: Axis) -> torch.Tensor:
    """[count, size] float64 with orthonormal rows, the nearest such matrix to `block_reduction`.

    White noise stays white with unit variance exactly. For whole zooms this is the weights
    divided by their norm; for fractional ones neighbouring footprints share a pixel, and the
    symmetric orthogonalisation (A A^T)^(-1/2) A (Loewdin 1950) removes the correlation.
    """
    rows = block_reduction(axis)
    if axis.is_whole:
        return rows / rows.norm(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    return (vectors * values.rsqrt()) @ vectors.T @ rows


def cubic(axis: Axis) -> torch.Tensor:
    """[size, count] float64: Catmull-Rom interpolation of the parent's samples at the child's
    pixel centres, continued linearly beyond the first and the last sample."""
    position = (torch.arange(axis.size, dtype=torch.float64) + 0.5 - axis.first) / axis.zoom - 0.5
    matrix = torch.zeros(axis.size, axis.count, dtype=torch.float64)
    if axis.count == 1:
        return matrix + 1
    base = position.floor()
    row = torch.arange(axis.size)
    last = axis.count - 1
    for tap in range(-1, 3):
        distance = (position - (base + tap)).abs()
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weight = torch.where(distance <= 1, near, far)
        index = (base + tap).long()
        edge = index.clamp(0, last)
        beyond = (index - edge).abs().double()
        inner = torch.where(index < 0, 1, torch.where(index > last, last - 1, edge))
        matrix.index_put_((row, edge), weight * (1 + beyond), accumulate=True)
        matrix.index_put_((row, inner), -weight * beyond, accumulate=True)
    return matrix


def expansion(axis: Axis) -> torch.Tensor:
    """[size, count] float64: a smooth expansion that `reduction` undoes exactly.

    Catmull-Rom interpolation B corrected to B (A B)^-1, so that reducing what was expanded
    gives it back: a band added at a coarse step changes no finer band. Kornia's 5-tap pyramid
    expansion blurs instead, and its reduction is not the operator of the zoom stack.
    """
    return _inverse(reduction(axis), cubic(axis))


def block_expansion(axis: Axis) -> torch.Tensor:
    """[size, count] float64: the same for `block_reduction`."""
    return _inverse(block_reduction(axis), cubic(axis))


def _inverse(down: torch.Tensor, smooth: torch.Tensor) -> torch.Tensor:
    """[size, count]: `smooth` [size, count] corrected to a right inverse of `down` [count, size]."""
    return torch.linalg.solve((down @ smooth).T, smooth.T).T


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Products of float32 in float32, whatever the caller has set: under autocast (half precision) or
    with TF32 levels that agree would differ by up to 1e-2 afterwards."""
    with ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(_no_tf32())
        yield


@contextmanager
def _no_tf32() -> Iterator[None]:
    """Whole float32 in products on CUDA, and afterwards what was set before."""
    products = torch.backends.cuda.matmul
    # Newer torch raises where the older flag is read after the newer setting was made.
    name, exact = ("fp32_precision", "ieee") if hasattr(products, "fp32_precision") else ("allow_tf32", False)
    before = getattr(products, name)
    if before in ("tf32", True):
        setattr(products, name, exact)
    try:
        yield
    finally:
        if before in ("tf32", True):
            setattr(products, name, before)


# Makes a matrix of an axis.
Build = Callable[[Axis], torch.Tensor]


class Tile(NamedTuple):
    """Rows [begin, end) of a matrix: all zeros outside its columns [low, high), `block` inside."""

    begin: int
    end: int
    low: int
    high: int
    block: torch.Tensor


def _crop_axis(axis: Axis, begin: int, end: int) -> tuple[Axis, int]:
    """The axis of parent pixels [begin, end) alone, and the first child pixel that it takes in.

    It takes in all that their Gaussians reach, so that only the frame's own ends are ends.
    """
    reach = _REACH * axis.zoom / 2 + 2
    low = max(math.floor(axis.first + axis.zoom * begin - reach), 0)
    high = min(math.ceil(axis.first + axis.zoom * end + reach), axis.size)
    return Axis(axis.start + begin, end - begin, axis.first + axis.zoom * begin - low, axis.zoom, high - low), low


def _rows_down(build: Build, axis: Axis, begin: int, end: int) -> tuple[torch.Tensor, int]:
    """Rows [begin, end) of a reduction, and the column at which they start."""
    part, low = _crop_axis(axis, begin, end)
    return build(part), low


def _rows_up(build: Build, axis: Axis, begin: int, end: int) -> tuple[torch.Tensor, int]:
    """Rows [begin, end) of an expansion, and the column at which they start."""
    first = max(math.floor((begin - axis.first) / axis.zoom) - _FADE, 0)
    last = min(math.ceil((end - axis.first) / axis.zoom) + _FADE, axis.count)
    # At a frame's ends child pixels may lie beyond every parent pixel.
    first, last = min(first, axis.count - 1), max(last, 1)
    part, low = _crop_axis(axis, first, last)
    if first == 0:
        part, low = Axis(part.start, part.count, part.first + low, part.zoom, part.size + low), 0
    if last == axis.count:
        part = Axis(part.start, part.count, part.first, part.zoom, axis.size - low)
    return build(part)[begin - low : end - low], first


def _rows_whole(build: Build, axis: Axis, begin: int, end: int) -> tuple[torch.Tensor, int]:
    """Rows [begin, end) of a matrix that cannot be had in parts."""
    return build(axis)[begin:end], 0


@lru_cache(maxsize=256)
def _tiles(build: Build, axis: Axis, dtype: torch.dtype) -> tuple[Tile, ...]:
    """The banded matrix that `build` makes, in small dense tiles, on the CPU; work and memory grow with its length.

    Cached: a sampler asks for the same few small matrices at every step. They stay in main memory
    (a model's device has no room for what nobody asks for again) and are ordinary tensors, also
    when the first to ask is in inference mode: the next one may want gradients.
    """
    if build is noise_reduction:
        # One part, which cannot be cut.
        part, count, length = _rows_whole, axis.count, axis.count
    elif build in (reduction, block_reduction):
        part, count, length = _rows_down, axis.count, TILE
    else:
        part, count, length = _rows_up, axis.size, TILE
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        tiles = []
        for start in range(0, count, length):
            matrix, left = part(build, axis, start, min(start + length, count))
            matrix = torch.where(matrix.abs() > NEGLIGIBLE, matrix, 0.0).to(dtype)
            for begin in range(0, matrix.shape[0], TILE):
                rows = matrix[begin : begin + TILE]
                used = torch.nonzero(rows.any(0))
                low, high = int(used.min()), int(used.max()) + 1
                block = rows[:, low:high].contiguous()
                tiles.append(Tile(start + begin, start + begin + len(rows), left + low, left + high, block))
    return tuple(tiles)


def _apply(build: Build, image: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    with exact_products(image.device):
        rows = [
            tile.block.to(image.device, non_blocking=True) @ image[..., tile.low : tile.high, :]
            for tile in _tiles(build, vertical, image.dtype)
        ]
        image = rows[0] if len(rows) == 1 else torch.cat(rows, dim=-2)
        columns = [
            image[..., tile.low : tile.high] @ tile.block.to(image.device, non_blocking=True).mT
            for tile in _tiles(build, horizontal, image.dtype)
        ]
        return columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)


def reduce(image: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    """[.., H, W] -> [.., H', W'], float32 or float64: what the parent's pixels see (`reduction`)."""
    return _apply(reduction, image, vertical, horizontal)


def reduce_block(image: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    """The same by the paper's blocks (`block_reduction`)."""
    return _apply(block_reduction, image, vertical, horizontal)


def reduce_noise(noise: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    """[.., H, W] -> [.., H', W'], float32 or float64: white stays white (`noise_reduction`)."""
    return _apply(noise_reduction, noise, vertical, horizontal)


def expand(image: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    """[.., H', W'] -> [.., H, W], float32 or float64: the smooth inverse of `reduce` (`expansion`)."""
    return _apply(expansion, image, vertical, horizontal)


def expand_block(image: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    """The same for `reduce_block` (`block_expansion`)."""
    return _apply(block_expansion, image, vertical, horizontal)
