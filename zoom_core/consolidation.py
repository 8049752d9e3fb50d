"""Making clean estimates agree: one step of joint sampling (Generative Powers of Ten, algorithm 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .blending import DEFAULT, blend
from .geometry import Geometry
from .operators import check_levels, compute_dtype, render_image
from .pairs import pairs
from .photograph import LevelConstraint

UPDATES = ("joint", "iterative")


def consolidate(
    images: torch.Tensor,
    geometry: Geometry,
    method: str = DEFAULT,
    constraints: Sequence[LevelConstraint] = (),
    length: float = 0.0,
) -> torch.Tensor:
    """N clean estimates [N, C, H, W] -> N consistent ones [N, C, H, W]: blend, then render.

    method, length: as for `blend`; "none" only renders. constraints: pictures that hold some of the
    levels.
    Images that already agree come back unchanged.
    Raises ValueError for an unknown method, or where images and geometry do not fit.
    """
    for constraint in constraints:
        images = constraint.before_blending(images)
    layers = blend(images, geometry, method, length)
    for constraint in constraints:
        layers = constraint.after_blending(layers)
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
        for pair in pairs(self._geometry):
            pair.crop(result[pair.outer]).copy_(pair.reduce(previous[pair.inner].to(result.dtype)))
        self._rendered = result
        return result.to(images.dtype)
