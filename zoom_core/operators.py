"""The operators between levels: Generative Powers of Ten, section 4.1."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice

import torch

from . import axes
from .axes import Axis
from .geometry import Geometry
from .pairs import Pair, outwards, pairs

# Levels whose frame spans less of a pixel are left out of its noise: less than 1/256 of its variance.
_SMALLEST_NOISE = 1 / 16


def compute_dtype(tensor: torch.Tensor) -> torch.dtype:
    """float32, or float64 where the tensor is: half precision loses the fixed point."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def check_levels(tensor: torch.Tensor, geometry: Geometry, name: str) -> None:
    """Raises ValueError unless `tensor` is [N, C, H, W] with the geometry's N, H and W."""
    if tensor.ndim != 4:
        raise ValueError(f"{name} must be [N, C, H, W], got {tensor.ndim} dimensions {tuple(tensor.shape)}.")
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must hold floating point numbers, got {tensor.dtype}.")
    if tensor.shape[0] != len(geometry):
        raise ValueError(f"{name} has {tensor.shape[0]} levels, the geometry has {len(geometry)}.")
    if tuple(tensor.shape[-2:]) != (geometry.height, geometry.width):
        raise ValueError(
            f"{name} is {tensor.shape[-2]} x {tensor.shape[-1]} (height x width), the geometry is "
            f"{geometry.height} x {geometry.width}: use geometry.scaled."
        )


# How a picture goes one level down, by name.
OPERATORS = {"pixel": axes.reduce, "block": axes.reduce_block}


def _operator(name: str) -> Callable[[torch.Tensor, Axis, Axis], torch.Tensor]:
    if name not in OPERATORS:
        raise ValueError(f"operator must be one of {', '.join(OPERATORS)}, got {name!r}.")
    return OPERATORS[name]


def check_finite(images: torch.Tensor, name: str) -> None:
    """Raises ValueError where one of N pictures holds NaN or infinity."""
    for i, image in enumerate(images):
        if not bool(torch.isfinite(image.sum(dtype=torch.float32))):
            raise ValueError(f"{name} must hold finite numbers, picture {i} holds NaN or infinity.")


def downscale(image: torch.Tensor, height: int, width: int, operator: str = "pixel") -> torch.Tensor:
    """One step to a coarser grid: [.., C, H, W] -> [.., C, height, width].

    operator: "pixel", what the camera's pixels of that grid see, a Gaussian of sigma^2 = (zoom / 2)^2 - 1 / 4;
    "block", the paper's D (section 4.1): a mean over each block, weighted with a Gaussian of sigma = zoom / 2
    truncated to it, fractional blocks by their footprint. That is sharper than the pixel which the picture was
    seen through. Samples are centred on the coarser pixels.
    height, width: 1 up to the image's own size, in pixels. Computed in float32.
    Raises ValueError for other sizes, and an unknown operator.
    """
    reduce = _operator(operator)
    for name, size, available in (("height", height, image.shape[-2]), ("width", width, image.shape[-1])):
        if not 1 <= size <= available:
            raise ValueError(f"{name} must be from 1 to {available} (images only get smaller), got {size}.")
    vertical, horizontal = (Axis.of_resize(size, count) for size, count in zip(image.shape[-2:], (height, width)))
    return reduce(image.to(compute_dtype(image)), vertical, horizontal).to(image.dtype)


def _render(
    levels: torch.Tensor, geometry: Geometry, reduce: Callable[[Pair, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    rendered = levels.to(compute_dtype(levels), copy=True)
    for pair in outwards(geometry):
        pair.crop(rendered[pair.outer]).copy_(reduce(pair, rendered[pair.inner]))
    return rendered.to(levels.dtype)


def render_image(layers: torch.Tensor, geometry: Geometry, operator: str = "pixel") -> torch.Tensor:
    """All levels of a zoom stack: [N, C, H, W] -> [N, C, H, W] (section 4.1).

    From the innermost outwards every level is its layer with the inset replaced by the level inside it as its
    pixels see it (`downscale`), in O(N). Afterwards that equals the inset exactly, at every level. Round a
    closed geometry this goes on until a level has become too small to show, so that it does there too.
    operator: as for `downscale`.
    Raises ValueError where layers and geometry do not fit, or for an unknown operator.
    """
    check_levels(layers, geometry, "layers")
    reduce = _operator(operator)
    return _render(layers, geometry, lambda pair, image: reduce(image, pair.vertical, pair.horizontal))


def render_noise(noise: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Zoom-consistent noise: [N, C, H, W] independent N(0, 1) -> [N, C, H, W] (section 4.1).

    As `render_image`, with rows of unit norm that do not overlap: every level of the result is
    white Gaussian noise of unit variance. The paper's factor p_j / p_i reaches that for a box
    filter only.
    Raises ValueError where noise and geometry do not fit, or a closed geometry is so short that a
    level would show itself: a pixel that holds itself at another scale cannot be white.
    """
    check_levels(noise, geometry, "noise")
    if geometry.closed:
        return _render_noise_round(noise, geometry)
    return _render(noise, geometry, Pair.reduce_noise)


def check_round(geometry: Geometry) -> None:
    """Raises ValueError unless the whole circle of a closed geometry magnifies by a level's size in pixels."""
    count = len(geometry)
    if geometry.resolved(islice(geometry.inwards(0), count), 1 + 1e-6) < count:
        return
    ratios = [(geometry.height / inset.height, geometry.width / inset.width) for inset in geometry.steps]
    whole = min(math.prod(axis) for axis in zip(*ratios))
    side = max(geometry.height, geometry.width)
    wanted = math.ceil(count * math.log(side) / math.log(whole) - 1e-9)
    raise ValueError(
        f"this endless zoom of {count} levels magnifies by {whole:.4g} on its way round, less than the {side} "
        "pixels of a level's side, so that a level would show itself: "
        f"with steps like these it needs at least {wanted} levels."
    )


def _render_noise_round(noise: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Every level holds the noise of the levels inside it down to where they are too small to show, and
    never its own: what is N or more levels further in is cut off, in the pixels that would hold it.
    """
    check_round(geometry)
    own = noise.to(compute_dtype(noise))
    deepest = max(geometry.resolved(geometry.inwards(level), _SMALLEST_NOISE) for level in range(len(geometry)))
    rendered = own
    for _ in range(min(deepest + 1, len(geometry) - 1)):
        inner, rendered = rendered, own.clone()
        for pair in pairs(geometry):
            pair.crop(rendered[pair.outer]).copy_(pair.reduce_noise(inner[pair.inner]))
    return rendered.to(noise.dtype)
