"""Making clean estimates agree: one step of joint sampling (Generative Powers of Ten, algorithm 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import axes
from .blending import blend
from .geometry import Geometry
from .operators import check_levels, compute_dtype, inset_axes, inset_view, render_image
from .photograph import PhotoFit

UPDATES = ("joint", "iterative")


def consolidate(
    images: torch.Tensor,
    geometry: Geometry,
    method: str = "multi-resolution",
    fits: Sequence[PhotoFit] = (),
) -> torch.Tensor:
    """N clean estimates [N, C, H, W] -> N consistent ones [N, C, H, W]: blend, then render.

    method: as for `blend`; "none" only renders. fits: pictures that hold some of the levels.
    Images that already agree come back unchanged.
    Raises ValueError for an unknown method, or where images and geometry do not fit.
    """
    for fit in fits:
        images = fit.before_blending(images)
    layers = blend(images, geometry, method)
    for fit in fits:
        layers = fit.after_blending(layers)
    return render_image(layers, geometry)


class IterativeUpdate:
    """The paper's ablation: every level is updated by itself, inside a render of the others.

    Level i is its own new estimate, with the inset taken from the stack as the evaluation
    before left it. Nothing flows outwards within an evaluation, so that levels meet at visible edges
    (figure 10). One object serves one sampling run.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        self._rendered: torch.Tensor | None = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] clean estimates -> [N, C, H, W]; remembers them for the next evaluation."""
        check_levels(images, self._geometry, "images")
        previous = images if self._rendered is None else self._rendered
        result = images.to(compute_dtype(images), copy=True)
        for i, inset in enumerate(self._geometry.insets):
            vertical, horizontal = inset_axes(inset, self._geometry.height, self._geometry.width)
            if vertical.count and horizontal.count:
                inner = previous[i + 1].to(result.dtype)
                inset_view(result[i], vertical, horizontal).copy_(axes.apply("reduce", inner, vertical, horizontal))
        self._rendered = result
        return result.to(images.dtype)
