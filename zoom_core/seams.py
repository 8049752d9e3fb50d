"""From pictures that do not quite fit to levels without a visible border."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from kornia.filters import gaussian_blur2d
from torch.nn import functional

from .axes import exact_products
from .blending import DEFAULT, blend_inwards
from .curves import smooth_step
from .geometry import Geometry
from .operators import check_finite
from .pairs import inwards
from .threads import one_thread

DEFAULT_FEATHER = 20.0
MAX_FEATHER = 50.0
# Each band of a misfit dies away over this many of its own pixels: long enough not to show as an
# edge, short enough that two unlike details are not seen through each other.
_BAND_REACH = 4.0
# Likeness of a band before and after blending (1 the same, 0 unrelated): from _ALIKE on the mean
# is taken in full, below _UNLIKE not at all. The mean of two unrelated pictures scores 0.67, of two
# correlated by 0.9 it scores 0.97.
_ALIKE, _UNLIKE = 0.99, 0.94


def _half(image: torch.Tensor) -> torch.Tensor:
    """[C, h, w] to about half the size, by kornia's Gaussian and area resampling.

    Sizes here are whatever insets have; kornia's own pyrdown wants even ones.
    """
    size = [-(-s // 2) for s in image.shape[-2:]]
    blurred = gaussian_blur2d(image[None], (5, 5), (1.0, 1.0), border_type="replicate")
    return functional.interpolate(blurred, size=size, mode="bilinear", align_corners=False)[0]


def _double(image: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return functional.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]


def _border_weight(height: int, width: int, reach: tuple[float, float], device: torch.device) -> torch.Tensor:
    """[height, width]: 1 at the border, 0 from `reach` (rows, columns) pixels inside on, smooth."""
    ramps = []
    for size, length in ((height, reach[0]), (width, reach[1])):
        center = torch.arange(size, device=device, dtype=torch.float32) + 0.5
        depth = torch.minimum(center, size - center) - 0.5
        ramps.append((depth / max(length, 1e-6)).clamp(0, 1))
    # The product leaves no crease along the diagonals of the corners.
    inside = [smooth_step(ramp) for ramp in ramps]
    return 1 - inside[0][:, None] * inside[1][None, :]


def _bands(image: torch.Tensor, count: int) -> list[torch.Tensor]:
    """[C, h, w] as `count` Laplacian bands, finest first, and what remains."""
    bands = []
    for _ in range(count):
        smaller = _half(image)
        bands.append(image - _double(smaller, image.shape[-2:]))
        image = smaller
    return [*bands, image]


def _collapse(bands: list[torch.Tensor]) -> torch.Tensor:
    """The image that `_bands` took apart."""
    image = bands[-1]
    for band in reversed(bands[:-1]):
        image = band + _double(image, band.shape[-2:])
    return image


def _near_border(misfit: torch.Tensor, feather: float) -> torch.Tensor:
    """The part of a misfit [C, h, w] to correct: all of it at the border, none deep inside.

    The bands of a pyramid fade each over their own distance (Burt and Adelson 1983), fine ones
    over a few pixels, the coarsest over `feather` (share of each side).
    """
    # Bands coarser than the feather would not get to fade.
    count = int(math.log2(max(feather * min(misfit.shape[-2:]) / _BAND_REACH, 1)))
    bands = _bands(misfit, count)
    for level, band in enumerate(bands):
        height, width = band.shape[-2:]
        reach = feather * height, feather * width
        if level < count:
            reach = min(_BAND_REACH, reach[0]), min(_BAND_REACH, reach[1])
        bands[level] = band * _border_weight(height, width, reach, band.device)
    return _collapse(bands)


def _agreeing(correction: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """The part of a blend's correction [C, h, w] to keep, given the level's own picture `own`.

    The mean of details that show the same thing is right; the mean of details that do not (two
    pictures shifted against each other, or drawn independently) is a blur. Where a band of the
    picture before and after the correction is not alike, locally, the level keeps its own.
    """
    count = int(math.log2(max(min(own.shape[-2:]) / 8, 1)))
    corrections, bands = _bands(correction, count), _bands(own, count)
    for level in range(count):
        change, before = corrections[level], bands[level]
        after = before + change
        energies = torch.stack([(change**2).sum(0), (before**2 + after**2).sum(0)])
        energies = gaussian_blur2d(energies[None], (13, 13), (3.0, 3.0), border_type="replicate")[0]
        alike = 1 - energies[0] / energies[1].clamp_min(1e-12)
        keep = ((alike - _UNLIKE) / (_ALIKE - _UNLIKE)).clamp(0, 1)
        corrections[level] = change * keep
    return _collapse(corrections)


def blend_agreeing(
    images: torch.Tensor,
    geometry: Geometry,
    method: str,
    on_level: Callable[[], None] | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """`blend` for pictures that may not fit: [N, C, H, W] float32 -> [N, C, H, W].

    As `blend`, but with "multi-resolution" a band is averaged only where the levels agree on it, and with
    "border" every level keeps its own picture: what is left to do at the borders, `feather_seams` does.
    Nothing changes for levels that agree; sampling has to use the linear `blend`.
    on_level: called after every level but the first. device: see `fuse`.
    Raises ValueError for an unknown method, or where images and geometry do not fit.
    """
    device = images.device if device is None else device
    layers, corrections = blend_inwards(images, geometry, "none" if method == "border" else method, device)
    for pair, correction in corrections:
        own, correction = images[pair.inner].to(device), correction.to(device)
        kept = _agreeing(correction, pair.reduce(own)) - correction
        layers[pair.inner] += pair.expand(kept).to(layers.device)
        if on_level:
            on_level()
    return layers


def feather_seams(
    layers: torch.Tensor,
    geometry: Geometry,
    feather: float = DEFAULT_FEATHER,
    on_level: Callable[[], None] | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Makes every level meet the one around it at its border, in place: [N, C, H, W] float32.

    From the outermost inwards, the difference between what level i-1 holds inside its inset and
    what level i shows there is added to level i near its border, and fades towards its middle.
    Detail finer than level i-1's pixels is level i's alone throughout. Levels that agree do not
    change. Since the correction stays with the level, nothing changes when the camera passes it.

    feather: how far a difference in colour reaches in, in percent of the inset's side, 0 to 50
    (0: no correction). on_level: called after every level but the first. device: see `fuse`.
    Raises ValueError for a feather outside its range.
    """
    if not 0 <= feather <= MAX_FEATHER:
        raise ValueError(f"feather must be from 0 to {MAX_FEATHER:g} (percent), got {feather:g}.")
    if feather == 0:
        return layers
    device = layers.device if device is None else device
    own = layers.clone() if geometry.closed else layers
    for pair in inwards(geometry):
        inner = own[pair.inner].to(device)
        misfit = pair.crop(layers[pair.outer]).to(device) - pair.reduce(inner)
        layers[pair.inner] = inner + pair.expand(_near_border(misfit, feather / 100))
        if on_level:
            on_level()
    return layers


@one_thread()
def fuse(
    images: torch.Tensor,
    geometry: Geometry,
    blending: str = DEFAULT,
    feather: float = DEFAULT_FEATHER,
    on_level: Callable[[], None] | None = None,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Layers for a `ZoomStack` from N pictures of one scene: [N, C, H, W] -> [N, C, H, W], clamped to 0..1.

    blending: see `blend_agreeing`. feather: see `feather_seams`. on_level: called up to 2 (N - 1)
    times on the way, for progress; what it raises stops the work. device: where to compute, the pictures'
    own by default; two levels at a time are brought there, and the layers lie where the pictures do.
    Raises ValueError where pictures and geometry do not fit, or pictures hold NaN or infinity.
    """
    check_finite(images, "images")
    device = images.device if device is None else device
    with exact_products(device):
        layers = blend_agreeing(images.to(torch.float32), geometry, blending, on_level, device)
        return feather_seams(layers, geometry, feather, on_level, device).clamp_(0, 1)
