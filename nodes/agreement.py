"""What happens to the clean estimates of all levels at one evaluation of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch.nn.functional import interpolate

from ..zoom_core import Geometry, IterativeUpdate, LevelConstraint, consolidate
from ..zoom_core.blending import DEFAULT, METHODS, correlation_length
from ..zoom_core.consolidation import UPDATES
from ..zoom_core.photograph import ZoomGuide
from .spaces import LatentSpace

CONSISTENCIES = ("latent", "pixel")


@dataclass(frozen=True)
class JointSettings:
    """How levels are guided and made to agree while they are sampled; the inputs of the node of the same names."""

    blending: str = DEFAULT
    update: str = "joint"
    consistency: str = "latent"
    consistency_every: int = 1
    start_percent: float = 0.0
    end_percent: float = 1.0
    cfg_start_percent: float = 0.0
    cfg_end_percent: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (("blending", METHODS), ("update", UPDATES), ("consistency", CONSISTENCIES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        check_percents(self.start_percent, self.end_percent)
        check_percents(self.cfg_start_percent, self.cfg_end_percent, "cfg_")
        if self.consistency_every < 1:
            raise ValueError(f"consistency_every must be at least 1, got {self.consistency_every}.")

    @property
    def blends(self) -> bool:
        """Whether levels are brought to agree, even where no picture holds them."""
        return METHODS[self.blending].inwards is not None

    @classmethod
    def from_inputs(cls, given: dict) -> JointSettings:
        """The settings among a node's inputs, by their names."""
        return cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})


def check_percents(start_percent: float, end_percent: float, of: str = "") -> None:
    """Raises ValueError for a part of the sampling that is not given by numbers in 0..1."""
    for name, value in (("start_percent", start_percent), ("end_percent", end_percent)):
        # NaN passes the core's own check of a widget's range.
        if math.isnan(value) or not 0.0 <= value <= 1.0:
            raise ValueError(f"{of}{name} must be from 0 to 1, got {value}.")


@dataclass(frozen=True)
class Anchor:
    """A picture that holds levels: [C, h, w] on the grid where they agree, what level it shows, and whom it holds.

    only: the levels that follow it (None: all). guide: how, and during which part of the sampling; None for kept
    levels, which hold all the time. where: [1, h, w], 1 where the picture holds (None: everywhere).
    """

    picture: torch.Tensor
    level: int
    only: list[int] | None = None
    guide: ZoomGuide | None = None
    where: torch.Tensor | None = None


class KeptParts:
    """What a noise mask keeps of the levels, as pictures on the grid where levels agree.

    pictures: [C, h, w] by level. mask: [N, 1, h, w], 1 where a level is sampled.
    """

    def __init__(self, pictures: dict[int, torch.Tensor], mask: torch.Tensor):
        self.pictures = pictures
        self.mask = mask

    def to(self, like: torch.Tensor) -> KeptParts:
        """The same on the device and of the type of `like`."""
        return KeptParts({i: picture.to(like) for i, picture in self.pictures.items()}, self.mask.to(like))

    def before_blending(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C, h, w] images with the kept parts put back: also those that agree already, since the
        levels around show what is kept, and not what blending made of it."""
        images = images.clone()
        for i, picture in self.pictures.items():
            images[i] = torch.lerp(picture.to(images), images[i], self.mask[i].to(images))
        return images

    after_rendering = before_blending


def kept_parts(latent: torch.Tensor, mask: torch.Tensor, space: LatentSpace) -> KeptParts | None:
    """What a mask [N, 1, .., H, W] keeps of the latents [N, C, .., H, W]; None where it keeps nothing."""
    touched = [i for i in range(mask.shape[0]) if bool((mask[i] < 1).any())]
    if not touched:
        return None
    shrunk = mask.flatten(1, -3).float()
    if shrunk.shape[-2:] != space.size(latent):
        shrunk = interpolate(shrunk, size=space.size(latent), mode="bilinear")
    return KeptParts({i: space.picture(latent[i : i + 1]) for i in touched}, shrunk)


def _up_to_the_next(level: int, held: list[int], count: int, loop: bool, inwards_only: bool) -> list[int]:
    """The levels inside (and around) one, up to the next held one; round the circle in an endless zoom."""
    found = set()
    for step in (1,) if inwards_only else (-1, 1):
        i = level + step
        while (loop or 0 <= i < count) and i % count not in held and i % count != level:
            found.add(i % count)
            i += step
    return sorted(found)


def anchors_of_kept(kept: KeptParts, held: list[int], loop: bool = False) -> list[Anchor]:
    """What is kept fixes what the levels up to the next held one show of it.

    held: the levels that are kept whole. They hold inwards and outwards, partly kept ones inwards: the levels around
    them show what they are in any case. loop: whether the levels are those of an endless zoom.
    """
    anchors = []
    for level, picture in kept.pictures.items():
        partly = level not in held
        only = _up_to_the_next(level, held, len(kept.mask), loop, inwards_only=partly)
        if only:
            anchors.append(Anchor(picture, level, only, where=1 - kept.mask[level] if partly else None))
    return anchors


def noise_to_signal(model_sampling, sigma: float) -> float:
    """How much noise a unit of signal has at a model's sigma: that itself, or sigma / (1 - sigma) for flow models."""
    one, none, at = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64), torch.tensor([sigma])
    noise = float(model_sampling.noise_scaling(at, one, none))
    signal = float(model_sampling.noise_scaling(at, none, one))
    return noise / signal if signal > 0 else math.inf


class Agreement:
    """Brings clean estimates to agree, for one sampling run.

    geometry: on the grid of `space`. sigmas: the schedule, of which the last evaluation is always consolidated.
    latent: [N, C, .., H, W] in the model's space, with `mask` [N, 1, .., H, W] or None of what is sampled of it.
    """

    def __init__(
        self,
        model_sampling,
        geometry: Geometry,
        settings: JointSettings,
        sigmas: torch.Tensor,
        space: LatentSpace,
        latent: torch.Tensor,
        mask: torch.Tensor | None = None,
        anchors: Sequence[Anchor] = (),
        kept: KeptParts | None = None,
    ):
        self._settings = settings
        self._model_sampling = model_sampling
        self._window = self._sigmas(settings)
        self._last = float(sigmas[-2:][0])
        self._space = space
        self._geometry = geometry
        self._latent, self._mask = latent, mask
        self._kept = None if kept is None else kept.to(latent)
        self._iterative = IterativeUpdate(geometry) if settings.update == "iterative" else None
        self._evaluations = 0
        self._constraints: list[tuple[LevelConstraint, tuple[float, float]]] = []
        for anchor in anchors:
            constraint = LevelConstraint(
                anchor.picture.to(latent), geometry, anchor.level, anchor.guide, anchor.only, anchor.where
            )
            always = (0.0, float("inf"))
            self._constraints.append((constraint, always if anchor.guide is None else self._sigmas(anchor.guide)))

    def _sigmas(self, window) -> tuple[float, float]:
        """(lowest, highest) sigma of a part of the sampling given in percent."""
        low, high = (
            float(self._model_sampling.percent_to_sigma(p)) for p in (window.end_percent, window.start_percent)
        )
        return low, high

    def guided(self, sigma: float) -> bool:
        """Whether cfg counts at this evaluation."""
        low, high = (
            float(self._model_sampling.percent_to_sigma(percent))
            for percent in (self._settings.cfg_end_percent, self._settings.cfg_start_percent)
        )
        return low <= sigma <= high

    def due(self, sigma: float) -> bool:
        """Whether levels are made to agree at this evaluation, which it counts."""
        due = self._evaluations % self._settings.consistency_every == 0 or sigma <= self._last
        self._evaluations += 1
        low, high = self._window
        return due and low <= sigma <= high

    def agree(self, denoised: torch.Tensor, sigma: float, main: bool = True) -> torch.Tensor:
        """[N, C, .., H, W] clean estimates, made to agree.

        main: False for the unconditional estimates, which some samplers read beside the main ones.
        """
        constraints: list = [held for held, (low, high) in self._constraints if low <= sigma <= high]
        if not (main if self._iterative is not None else self._settings.blends or constraints):
            return denoised
        if self._mask is not None:
            denoised = torch.lerp(self._latent, denoised, self._mask)
        if self._kept is not None:
            constraints.append(self._kept)
        return self._space.change(denoised, partial(self._update, constraints, self._length(sigma)))

    def _length(self, sigma: float) -> float:
        """How far the estimates' errors reach at a sigma, in pixels of the grid where levels agree."""
        height, width = self._latent.shape[-2:]
        finer = self._geometry.height / height
        return finer * correlation_length(noise_to_signal(self._model_sampling, sigma), height, width)

    def _update(self, constraints: Sequence, length: float, images: torch.Tensor) -> torch.Tensor:
        if self._iterative is None:
            return consolidate(images, self._geometry, self._settings.blending, constraints, length)
        for constraint in constraints:
            images = constraint.before_blending(images)
        images = self._iterative(images)
        for constraint in constraints:
            images = constraint.after_rendering(images)
        return images
