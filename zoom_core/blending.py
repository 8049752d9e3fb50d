"""From N images that disagree to one zoom stack: Generative Powers of Ten, section 4.2."""

from __future__ import annotations

from collections.abc import Callable

import torch

from . import axes
from .axes import Axis
from .geometry import Geometry
from .operators import check_levels, compute_dtype
from .pairs import Pair, inwards


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


def _mean_of_bands(layers: torch.Tensor, pair: Pair, geometry: Geometry) -> torch.Tensor:
    """Every band of the inner level becomes the mean over the levels that resolve it, in place.

    Returns what that adds, on the inset's grid.
    """
    difference = pair.crop(layers[pair.outer]) - pair.reduce(layers[pair.inner])
    correction = _band_weighted(difference, _pyramid_axes(geometry, pair.outer, *pair.size))
    layers[pair.inner] += pair.expand(correction)
    return correction


def _mean_of_pictures(layers: torch.Tensor, pair: Pair, geometry: Geometry) -> None:
    """The inner level becomes the mean over all levels around it at its own size, in place."""
    expanded = pair.expand(pair.crop(layers[pair.outer]))
    around = pair.inner
    if geometry.closed:
        around = min(geometry.resolved(geometry.outwards(pair.inner)), len(geometry) - 1)
    layers[pair.inner] += (expanded - layers[pair.inner]) * (around / (around + 1))


# Each updates the inner level of a pair in place, the one around it being finished, and returns what it
# added on the inset's grid, where that says all.
METHODS: dict[str, Callable[[torch.Tensor, Pair, Geometry], torch.Tensor | None] | None] = {
    "multi-resolution": _mean_of_bands,
    "average": _mean_of_pictures,
    "none": None,
}


def blend_pairs(
    images: torch.Tensor, geometry: Geometry, method: str = "multi-resolution"
) -> tuple[torch.Tensor, list[tuple[Pair, torch.Tensor]]]:
    """`blend`, and what it added to the inner level of each pair, on the grid of the inset.

    The list is empty for methods that change more than the level outside resolves.
    """
    if method not in METHODS:
        raise ValueError(f"blending must be one of {', '.join(METHODS)}, got {method!r}.")
    check_levels(images, geometry, "images")
    layers = images.to(compute_dtype(images), copy=True)
    update, corrections = METHODS[method], {}
    for pair in inwards(geometry) if update else ():
        if geometry.closed:
            # It may have been here before: what it became then was for the levels inside it.
            layers[pair.inner].copy_(images[pair.inner])
        correction = update(layers, pair, geometry)
        if correction is not None:
            corrections[pair.inner] = pair, correction
    return layers.to(images.dtype), list(corrections.values())


def blend(images: torch.Tensor, geometry: Geometry, method: str = "multi-resolution") -> torch.Tensor:
    """The layers of the zoom stack that best explains N images: [N, C, H, W] -> [N, C, H, W].

    "multi-resolution": layer i is seen by level i and by every level further out, each resolving
    bands of its frame up to its own pixel size. A band is the mean over the levels that resolve
    it: band 0 is level i's alone, band k the mean of k + 1 levels. From the outermost
    inwards, layer i-1 already holds the mean over the k levels before it, so that

        L_i = x_i + U( sum_k  k / (k + 1) * band_k( inset of L_{i-1} - D(x_i) ) )

    takes one pyramid a level, and images that already agree come back unchanged whatever the
    geometry. "average": the mean over all of them at full size, coarse or not (the paper's
    ablation; it blurs). "none": the images themselves.
    Round a closed geometry every level has others around it, of which each counts as long as it
    resolves it.
    Raises ValueError for an unknown method, or where images and geometry do not fit.
    """
    return blend_pairs(images, geometry, method)[0]
