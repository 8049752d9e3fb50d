"""What happens to the clean estimates of all levels at one evaluation of the model."""

from __future__ import annotations

from collections.abc import Callable

import comfy.utils
import torch

from ..zoom_core import Geometry, IterativeUpdate, LevelConstraint, ZoomLevels, consolidate
from ..zoom_core.photograph import ZoomGuide, crop_photograph
from .pixels import PixelSpace


def resolve(levels: ZoomLevels, latent: torch.Tensor) -> Geometry:
    """The geometry of `levels` on the grid of a latent [N, C, .., H, W]."""
    height, width = latent.shape[-2:]
    if min(height, width) < 2:
        raise ValueError(
            f"latent_image is {width} x {height} latent pixels (width x height): a level needs at least 2 x 2 "
            "to hold another level."
        )
    geometry = levels.geometry
    if geometry is not None:
        return geometry.scaled(height, width)
    return levels.resolve(height, width)


def as_images(function: Callable[[torch.Tensor], torch.Tensor], latent: torch.Tensor) -> torch.Tensor:
    """`function` of [N, C, H, W] applied to a latent that may have a time axis."""
    return function(latent.flatten(1, -3)).reshape(latent.shape)


def held_levels(denoise_mask: torch.Tensor, samples: torch.Tensor) -> list[int]:
    """The levels that a noise mask keeps as they are, whole."""
    mask = denoise_mask
    if mask.shape != samples.shape:
        mask = comfy.utils.reshape_mask(mask, samples.shape)
    return [i for i in range(samples.shape[0]) if not bool(mask[i].any())]


class Agreement:
    """Brings clean estimates to agree, for one sampling run.

    latent_image: [N, C, .., H, W] in the model's space, what a noise mask keeps. sigmas: the
    schedule, of which the last evaluation is always consolidated.
    """

    def __init__(self, model_sampling, geometry, settings, sigmas, latent_image, denoise_mask, pixels=None):
        self._settings = settings
        self._model_sampling = model_sampling
        self._window = self._sigmas(settings)
        self._last = float(sigmas[-2:][0])
        self._held = None if denoise_mask is None else (denoise_mask, latent_image)
        self._latent_image = latent_image
        self._pixels: PixelSpace | None = pixels
        self._geometry: Geometry = geometry if pixels is None else geometry.scaled(*pixels.size(latent_image))
        self._iterative = IterativeUpdate(self._geometry)
        self._evaluations = 0
        self._constraints: list[tuple[LevelConstraint, tuple[float, float]]] = []
        if denoise_mask is not None and settings.blending != "none":
            self._hold_finished(latent_image, held_levels(denoise_mask, latent_image))

    def _sigmas(self, window) -> tuple[float, float]:
        """(lowest, highest) sigma of a part of the sampling given in percent."""
        return tuple(
            float(self._model_sampling.percent_to_sigma(p)) for p in (window.end_percent, window.start_percent)
        )

    def _hold_finished(self, latent_image: torch.Tensor, held: list[int]) -> None:
        """Held levels fix what they show of the levels up to the next held one, inwards and outwards."""
        for level in held:
            outer = max((i for i in held if i < level), default=-1)
            inner = min((i for i in held if i > level), default=len(self._geometry))
            only = [i for i in range(outer + 1, inner) if i != level]
            if only:
                picture = latent_image[level : level + 1]
                picture = picture if self._pixels is None else self._pixels.decode(picture)
                constraint = LevelConstraint(picture[0].flatten(0, -3), self._geometry, level, only=only)
                self._constraints.append((constraint, (0.0, float("inf"))))

    def add_guide(self, guide: ZoomGuide, pixels: PixelSpace) -> None:
        """Hold the levels to a photograph; `pixels` brings it to the model's space."""
        level = guide.index(len(self._geometry))
        picture = crop_photograph(guide.image, *pixels.size(self._latent_image)).to(self._latent_image)
        if self._pixels is None:
            picture = pixels.encode(picture[None], self._latent_image[:1])[0].flatten(0, -3)
        self._constraints.append((LevelConstraint(picture, self._geometry, level, guide), self._sigmas(guide)))

    def post_cfg(self, args: dict, with_uncond: bool) -> torch.Tensor:
        """A post-CFG function of the core: [N, C, .., H, W] clean estimates, made to agree.

        with_uncond: the sampler also reads the unconditional estimate, which has to agree as well.
        """
        sigma, denoised = float(args["sigma"].max()), args["denoised"]
        due = self._evaluations % self._settings.consistency_every == 0 or sigma <= self._last
        self._evaluations += 1
        low, high = self._window
        if not (due and low <= sigma <= high):
            return denoised
        if with_uncond and args["uncond_denoised"] is not None:
            # In place: the sampler's own hook, which comes next, is handed the same tensor.
            args["uncond_denoised"].copy_(self._agree(args["uncond_denoised"], sigma, main=False))
        return self._agree(denoised, sigma, main=True)

    def _agree(self, denoised: torch.Tensor, sigma: float, main: bool) -> torch.Tensor:
        constraints = [constraint for constraint, (low, high) in self._constraints if low <= sigma <= high]
        if self._settings.update == "iterative":
            if not main:
                return denoised
            agree = self._iterative
        elif self._settings.blending == "none" and not constraints:
            return denoised
        else:
            agree = lambda images: consolidate(images, self._geometry, self._settings.blending, constraints)
        if self._held is not None:
            mask, kept = self._held
            denoised = denoised * mask + kept * (1 - mask)
        if self._pixels is not None:
            return self._pixels.change(denoised, agree)
        return as_images(agree, denoised)
