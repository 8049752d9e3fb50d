"""From N images that disagree to one zoom stack: Generative Powers of Ten, section 4.2."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch.nn.functional import pad

from . import axes
from .axes import Axis
from .curves import smooth_step
from .geometry import Geometry
from .operators import check_levels, compute_dtype
from .pairs import Pair, inwards, outwards

# Levels [C, H, W] by number.
Levels = torch.Tensor | dict[int, torch.Tensor]

DEFAULT = "border"
# At the border of its frame a level gives so much of its own to the level around it: enough that it takes up
# what goes on across the border, little enough that prompts do not bleed into each other.
_SHARE = 0.3
# How far that reaches in, in pixels of each band's own grid, and the step from one band to the next.
_DEPTH = 2.0
_BAND_STEP = 4
# While sampling, its corners are the outer level's: its own word begins to fade at so many half sides from the middle
# and is gone from so many on. A prompt tells what is in the middle, and a picture has corners only because its frame
# does: without this, what fills a level stands in the one around it as a square.
_ROUND = 0.8, 1.2
# Errors of natural pictures' estimates: pixels at a noise as strong as the signal, the power by which that grows
# with the noise, and the part of the frame that it never exceeds (pictures have no scale beyond).
_LENGTH_AT_ONE, _LENGTH_POWER, _LENGTH_OF_FRAME = 2.5, 0.75, 0.25
# By which power of the frequency the power of natural pictures falls.
_FALL = 2.6


def correlation_length(sigma: float, height: int, width: int) -> float:
    """How far the error of a clean estimate is alike from pixel to pixel, in pixels of the grid sampled.

    sigma: noise over signal, from 0 on (for flow models t / (1 - t)). A picture of spectrum S under white noise
    of spectrum N is estimated (Wiener) with an error of spectrum S N / (S + N): white where the picture
    shows through, and like the picture itself below the frequency at which S = N. For the 1 / f^2.6 of pictures
    that frequency falls by sigma^0.75.
    """
    longest = _LENGTH_OF_FRAME * min(height, width)
    if sigma <= 0:
        return 0.0
    return ((_LENGTH_AT_ONE * sigma**_LENGTH_POWER) ** -2 + longest**-2) ** -0.5


def _pyramid_axes(geometry: Geometry, outer: int, height: int, width: int) -> list[tuple[Axis, Axis]]:
    """The steps from a frame's size at the resolution of level `outer`, which shows it, down to level 0's.

    One step per level of zoom; it ends where the frame would be smaller than one pixel, since
    levels further out no longer resolve it.
    """
    steps = []
    for inset in geometry.outwards(outer):
        size = height * inset.height / geometry.height, width * inset.width / geometry.width
        if min(size) < 1 - axes.ROUNDING:
            break
        coarse = [int(length + 0.5) for length in size]
        steps.append((Axis.of_resize(height, coarse[0]), Axis.of_resize(width, coarse[1])))
        height, width = coarse
    return steps


def _band_weighted(difference: torch.Tensor, steps: list[tuple[Axis, Axis]]) -> torch.Tensor:
    """Sum of k / (k + 1) times band k of a Laplacian pyramid, k = 1 the finest.

    With bands B_k = G_k - U(G_{k+1}) the sum telescopes to
    G_1 / 2 + U(G_2 / 6 + U(G_3 / 12 + ...)), so that no band is ever formed.
    """
    reduced = [difference]
    for vertical, horizontal in steps:
        reduced.append(axes.reduce(reduced[-1], vertical, horizontal))
    result = reduced[-1] / (len(reduced) * (len(reduced) + 1))
    for k in range(len(steps), 0, -1):
        expanded = axes.expand(result, *steps[k - 1])
        result = expanded.add_(reduced[k - 1], alpha=1 / (k * (k + 1)))
    return result


def _mean_of_bands(layers: Levels, pair: Pair, geometry: Geometry, length: float) -> torch.Tensor:
    """Every band of the inner level becomes the mean over the levels that resolve it, in place.

    Returns what that adds, on the inset's grid.
    """
    difference = pair.crop(layers[pair.outer]) - pair.reduce(layers[pair.inner])
    correction = _band_weighted(difference, _pyramid_axes(geometry, pair.outer, *pair.size))
    layers[pair.inner] += pair.expand(correction)
    return correction


def _mean_of_pictures(layers: Levels, pair: Pair, geometry: Geometry, length: float) -> None:
    """The inner level becomes the mean over all levels around it at its own size, in place."""
    expanded = pair.expand(pair.crop(layers[pair.outer]))
    around = pair.inner
    if geometry.closed:
        around = min(geometry.resolved(geometry.outwards(pair.inner)), len(geometry) - 1)
    layers[pair.inner] += (expanded - layers[pair.inner]) * (around / (around + 1))


def _known(length: float, band: int) -> float:
    """The part of band `band` (0 the finest) of an outer level that its clean estimate shows: the Wiener weight.

    The band's middle is a wave of `_BAND_STEP`^(band + 1) pixels; an error alike over `length` pixels is that of an
    estimate whose signal and noise are equal at waves of 2 pi length pixels. What is missing must not count: it would
    take from the inner level, which sees this band through zoom^2 times less noise, what that has found already.
    """
    return 1 / (1 + (2 * math.pi * length / _BAND_STEP ** (band + 1)) ** _FALL)


@lru_cache(maxsize=128)
def _shares(height: int, width: int, dtype: torch.dtype, length: float, band: int) -> torch.Tensor:
    """[height, width]: `_SHARE` at the border, smoothly 0 from `_DEPTH` pixels inside on. While sampling (length > 0)
    also 1 from `_ROUND`[1] half sides off the middle on, and both as far as band `band` is known. An ordinary tensor
    on the CPU, also when the first to ask is in inference mode."""
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        inside, off = [], []
        for size in (height, width):
            pixel = torch.arange(size, dtype=dtype)
            inside.append(smooth_step((torch.minimum(pixel, size - 1 - pixel) / _DEPTH).clamp(0, 1)))
            off.append((pixel + 0.5) / size * 2 - 1)
        # The product leaves no crease along the diagonals of the corners.
        border = _SHARE * (1 - inside[0][:, None] * inside[1])
        if length == 0:
            return border
        begin, end = _ROUND
        distance = torch.hypot(off[0][:, None], off[1])
        corners = smooth_step(((distance - begin) / (end - begin)).clamp(0, 1))
        known = _known(length, band)
        return 1 - (1 - known * border) * (1 - known * corners)


@lru_cache(maxsize=128)
def _fade(vertical: Axis, horizontal: Axis, length: float, dtype: torch.dtype) -> torch.Tensor:
    """[H, W] of the outer level: 1 on the inset, exp(-distance / length) around it along each axis; an ordinary
    tensor on the CPU."""
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        fades = []
        for axis in (vertical, horizontal):
            pixel = torch.arange(axis.size, dtype=dtype)
            distance = (pixel - pixel.clamp(axis.start, axis.start + axis.count - 1)).abs()
            fades.append(torch.exp(-distance / length))
        fade = fades[0][:, None] * fades[1]
        # Denormal numbers slow a processor down.
        return torch.where(fade > axes.NEGLIGIBLE, fade, 0.0)


def _share_at_border(layers: Levels, pair: Pair, geometry: Geometry, length: float) -> torch.Tensor:
    """The inner level meets the one around it near its border, in place; inside it keeps its own.

    Every band of a Laplacian pyramid fades over pixels of its own (Burt and Adelson 1983), and counts as far as the
    outer level knows it (`_known`). Returns what that adds, on the inset's grid.
    """
    difference = pair.crop(layers[pair.outer]) - pair.reduce(layers[pair.inner])
    reduced, steps = [difference], []
    while max(reduced[-1].shape[-2:]) > 1:
        height, width = reduced[-1].shape[-2:]
        coarse = -(-height // _BAND_STEP), -(-width // _BAND_STEP)
        steps.append((Axis.of_resize(height, coarse[0]), Axis.of_resize(width, coarse[1])))
        reduced.append(axes.reduce_block(reduced[-1], *steps[-1]))
    correction = _SHARE * reduced[-1]
    for band in reversed(range(len(steps))):
        finer = reduced[band]
        correction, below = axes.expand_block(torch.stack([correction, reduced[band + 1]]), *steps[band])
        shares = _shares(*finer.shape[-2:], finer.dtype, length, band).to(finer.device)
        correction = torch.addcmul(correction, finer - below, shares)
    layers[pair.inner] += pair.expand(correction)
    return correction


def _continue_outwards(layers: torch.Tensor, pair: Pair, length: float) -> None:
    """The outer level's inset becomes what the inner level shows there, and what is around it follows, in place.

    Inside its inset the outer level has seen the inner one's content with zoom^2 times the noise, so the inner
    level's word holds there. What that says about the outer level's error is carried on around it by simple
    kriging: for a covariance exp(-|y| / length) exp(-|x| / length), which is Markov along each axis, the error
    expected outside is that of the nearest pixel of the inset times exp(-distance / length).
    """
    inset = pair.crop(layers[pair.outer])
    seen = pair.reduce(layers[pair.inner])
    if length > 0:
        height, width = layers.shape[-2:]
        top, left = pair.vertical.start, pair.horizontal.start
        margins = left, width - left - pair.horizontal.count, top, height - top - pair.vertical.count
        around = pad(seen - inset, margins, mode="replicate")
        fade = _fade(pair.vertical, pair.horizontal, length, seen.dtype).to(seen.device)
        layers[pair.outer].addcmul_(around, fade)
    inset.copy_(seen)


class Method(NamedTuple):
    """How levels are brought to agree, pair by pair; without functions they stay as they are.

    Both are given how far errors reach, in pixels; 0 for finished pictures.
    inwards: updates the inner level of a pair in place, the one around it being finished, and returns what it
        added on the inset's grid, where that says all. It needs these two levels only.
    outwards: then updates the outer level of a pair in place, the one inside it being finished. Layers that it
        leaves are rendered.
    """

    inwards: Callable[[Levels, Pair, Geometry, float], torch.Tensor | None] | None = None
    outwards: Callable[[torch.Tensor, Pair, float], None] | None = None


METHODS = {
    "border": Method(_share_at_border, _continue_outwards),
    "multi-resolution": Method(_mean_of_bands),
    "average": Method(_mean_of_pictures),
    "none": Method(),
}


def blend_inwards(
    images: torch.Tensor, geometry: Geometry, method: str, device: torch.device | None = None, length: float = 0.0
) -> tuple[torch.Tensor, list[tuple[Pair, torch.Tensor]]]:
    """What a method of `METHODS` makes of images [N, C, H, W], from the outermost inwards: layers in float32 or
    float64, and what it added to the inner level of each pair, on the grid of the inset.

    The list is empty for methods that change more than the level outside resolves. device: where to compute, the
    images' own by default; two levels at a time are brought there, and all that is given lies where the images do.
    length: as for `blend`.
    Raises ValueError for an unknown method, or where images and geometry do not fit.
    """
    if method not in METHODS:
        raise ValueError(f"blending must be one of {', '.join(METHODS)}, got {method!r}.")
    check_levels(images, geometry, "images")
    layers, update = images.to(compute_dtype(images), copy=True), METHODS[method].inwards
    if update is None:
        return layers, []
    device = images.device if device is None else device
    corrections: dict[int, tuple[Pair, torch.Tensor]] = {}
    for pair in inwards(geometry):
        # Of a closed geometry the inner level may have been here before: what it became then was for the levels
        # inside it.
        own = images[pair.inner].to(device, layers.dtype, copy=True)
        near = {pair.outer: layers[pair.outer].to(device), pair.inner: own}
        correction = update(near, pair, geometry, length)
        layers[pair.inner] = near[pair.inner]
        if correction is not None:
            corrections[pair.inner] = pair, correction.to(layers.device)
    return layers, list(corrections.values())


def blend(images: torch.Tensor, geometry: Geometry, method: str = DEFAULT, length: float = 0.0) -> torch.Tensor:
    """The layers of the zoom stack that best explains N images: [N, C, H, W] -> [N, C, H, W].

    "border": what several levels show is the innermost one's, who sees it with zoom^2 times the signal; near
    its border it takes over `_SHARE` of what the level around it shows, band by band, and around its inset
    the outer level takes up what the inner one shows. The layers are rendered already. length: how
    far that reaches, in pixels: `correlation_length` for estimates on the way, 0 for finished pictures. On the way
    the inner level takes over all of each band but the coarsest towards its corners, and all that it takes over it
    takes as far as the outer level can know it under that much noise.

    "multi-resolution", the paper's: layer i is seen by level i and by every level further out, each resolving
    bands of its frame up to its own pixel size. A band is the mean over the levels that resolve
    it: band 0 is level i's alone, band k the mean of k + 1 levels. From the outermost
    inwards, layer i-1 already holds the mean over the k levels before it, so that

        L_i = x_i + U( sum_k  k / (k + 1) * band_k( inset of L_{i-1} - P(x_i) ) )

    takes one pyramid a level. At one noise level the outer levels' estimates of what they share are weaker
    by zoom^2 in power, so that while sampling this mean loses contrast, more with every level.

    "average": the mean over all of them at full size, coarse or not (the paper's ablation; it blurs).
    "none": the images themselves.

    All are linear, and images that already agree come back unchanged whatever the geometry.
    Round a closed geometry every level has others around it, of which each counts as long as it
    resolves it.
    Raises ValueError for an unknown method, a length below 0, or where images and geometry do not fit.
    """
    if not length >= 0:
        raise ValueError(f"length must be a number of pixels from 0 on, got {length}.")
    layers, _ = blend_inwards(images, geometry, method, length=length)
    if (update := METHODS[method].outwards) is not None:
        for pair in outwards(geometry):
            update(layers, pair, length)
    return layers.to(images.dtype)
