"""Making clean estimates agree: one step of joint sampling (Generative Powers of Ten, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .blending import DEFAULT, METHODS, blend
from .geometry import Geometry
from .operators import check_levels, compute_dtype, render_image
from .pairs import pairs
from .photograph import LevelConstraint

UPDATES = ("joint", "iterative")
# At most so many steps, or until one changes the levels by less than this part of them.
_ROUNDS, _SETTLED = 16, 1e-6
# What the steps before may take in memory; the last two are always kept.
_BYTES = 2**28


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
    rendered = blend(images, geometry, method, length)
    if METHODS[method].outwards is None:  # else they are rendered already
        rendered = render_image(rendered, geometry)
    if not constraints:
        return rendered

    def held(levels: torch.Tensor) -> torch.Tensor:
        for constraint in constraints:
            levels = constraint.after_rendering(levels)
        return render_image(levels, geometry)

    # One picture is met at once. Several that hold what lies between them, and one that holds itself on the other
    # side of a circle, come together.
    alone = len(constraints) == 1 and not geometry.closed
    return held(rendered) if alone else _settled(held, rendered)


def _settled(step: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> torch.Tensor:
    """Where an affine `step` leads to in the end, in a few of them (Anderson 1965; here that equals GMRES).

    Between two held levels plain repetition would take a hundred: a pixel at an inset's border that sees little
    of the level in between is corrected little at a time.
    """
    now, results, changes = start, [], []
    kept = max(2, _BYTES // (2 * start.nbytes))
    for _ in range(_ROUNDS):
        after = step(now)
        results = [*results[1 - kept :], after]
        changes = [*changes[1 - kept :], (after - now).flatten()]
        if changes[-1].norm() <= _SETTLED * after.norm():
            break
        now = after
        if len(changes) > 1:
            # The combination of all steps so far, of sum 1, whose own change is the least.
            differences = torch.stack(changes[:-1]) - changes[-1]
            gram = (differences @ differences.T).double()
            gram.diagonal().add_(1e-12 * gram.diagonal().mean())
            shares = torch.linalg.solve(gram, -(differences @ changes[-1]).double())
            for share, earlier in zip(shares.tolist(), results):
                now = now + share * (earlier - after)
    return after


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
