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
    """[count, size] float64: row j holds the weights of the block under parent pixel j.

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
    """[count, size] float64 with orthonormal rows, the nearest such matrix to `reduction`.

    White noise stays white with unit variance exactly. For whole zooms this is the weights
    divided by their norm; for fractional ones neighbouring footprints share a pixel, and the
    symmetric orthogonalisation (A A^T)^(-1/2) A (Loewdin 1950) removes the correlation.
    """
    rows = reduction(axis)
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
    smooth = cubic(axis)
    return torch.linalg.solve((reduction(axis) @ smooth).T, smooth.T).T


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


class Tile(NamedTuple):
    """Rows [begin, end) of a matrix: all zeros outside its columns [low, high), `block` inside."""

    begin: int
    end: int
    low: int
    high: int
    block: torch.Tensor


@lru_cache(maxsize=256)
def _tiles(build: Callable[[Axis], torch.Tensor], axis: Axis, dtype: torch.dtype) -> tuple[Tile, ...]:
    """The banded matrix that `build` makes, in small dense tiles, on the CPU.

    Cached: a sampler asks for the same few small matrices at every step. They stay in main memory
    (a model's device has no room for what nobody asks for again) and are ordinary tensors, also
    when the first to ask is in inference mode: the next one may want gradients.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        matrix = build(axis)
        matrix = torch.where(matrix.abs() > NEGLIGIBLE, matrix, 0.0).to(dtype)
        tiles = []
        for begin in range(0, matrix.shape[0], TILE):
            rows = matrix[begin : begin + TILE]
            used = torch.nonzero(rows.any(0))
            low, high = int(used.min()), int(used.max()) + 1
            tiles.append(Tile(begin, begin + rows.shape[0], low, high, rows[:, low:high].contiguous()))
    return tuple(tiles)


def _apply(
    build: Callable[[Axis], torch.Tensor], image: torch.Tensor, vertical: Axis, horizontal: Axis
) -> torch.Tensor:
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


def reduce_noise(noise: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    """[.., H, W] -> [.., H', W'], float32 or float64: white stays white (`noise_reduction`)."""
    return _apply(noise_reduction, noise, vertical, horizontal)


def expand(image: torch.Tensor, vertical: Axis, horizontal: Axis) -> torch.Tensor:
    """[.., H', W'] -> [.., H, W], float32 or float64: the smooth inverse of `reduce` (`expansion`)."""
    return _apply(expansion, image, vertical, horizontal)
