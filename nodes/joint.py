"""Joint sampling as ComfyUI objects: a guider, a noise source and a sampler.

They carry the method; the nodes in sampling.py only build them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import comfy.model_patcher
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import torch
from comfy.k_diffusion import sampling as k_diffusion

from ..zoom_core import Geometry, IterativeUpdate, ZoomLevels, consolidate, render_noise
from . import side_by_side

WRAPPER_KEY = "zoom_stack"


@dataclass(frozen=True)
class JointSettings:
    """How levels are made to agree while they are sampled."""

    blending: str = "multi-resolution"
    update: str = "joint"
    start_percent: float = 0.0
    end_percent: float = 1.0


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
    flat = latent.flatten(1, -3)
    return function(flat).reshape(latent.shape)


class JointGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance of N levels at once, whose clean estimates are made to agree."""

    def __init__(self, model_patcher, levels: ZoomLevels, settings: JointSettings):
        super().__init__(model_patcher)
        self._levels = levels
        self._settings = settings

    def set_level_conds(self, positive: list, negative: list) -> None:
        """One conditioning a level; a list of one serves all levels. Raises ValueError."""
        count = len(self._levels)
        conds = {}
        for name, given in (("positive", positive), ("negative", negative)):
            if len(given) not in (1, count):
                raise ValueError(
                    f"{name} has {len(given)} entries, levels has {count}: give 1"
                    + (f" or {count}." if count > 1 else ".")
                )
            for i in range(count):
                conds[f"{name} {i}"] = given[i if len(given) > 1 else 0]
        self.inner_set_conds(conds)

    def sample(self, noise, latent_image, *args, **kwargs):
        if latent_image.is_nested:
            raise ValueError("latent_image holds several latents at once (audio and video): joint sampling needs images.")
        if latent_image.ndim == 5 and latent_image.shape[2] != 1:
            raise ValueError(f"latent_image has {latent_image.shape[2]} frames: joint sampling needs single images.")
        if latent_image.shape[0] != len(self._levels):
            raise ValueError(
                f"latent_image has a batch of {latent_image.shape[0]}, levels has {len(self._levels)} levels: "
                "they must agree."
            )
        return super().sample(noise, latent_image, *args, **kwargs)

    def inner_sample(self, noise, latent_image, device, sampler, sigmas, denoise_mask, *args, **kwargs):
        model = self.inner_model
        self._geometry = resolve(self._levels, noise)
        self._iterative = IterativeUpdate(self._geometry)
        self._active = tuple(
            float(model.model_sampling.percent_to_sigma(percent))
            for percent in (self._settings.end_percent, self._settings.start_percent)
        )
        held = latent_image
        if torch.count_nonzero(latent_image) > 0:
            held = model.process_latent_in(latent_image)
        self._held = None if denoise_mask is None else (denoise_mask, held)

        def processed(i: int) -> dict[str, list]:
            own = {name: self.conds[f"{name} {i}"] for name in ("positive", "negative")}
            return comfy.samplers.process_conds(
                model,
                noise[i : i + 1],
                own,
                device,
                held[i : i + 1],
                None if denoise_mask is None else denoise_mask[i : i + 1],
                kwargs.get("seed"),
                latent_shapes=[noise[i : i + 1].shape],
            )

        by_level = [processed(i) for i in range(len(self._levels))]
        self._wide_conds = {
            name: side_by_side.place([conds[name] for conds in by_level], noise) for name in ("positive", "negative")
        }
        # The core processes and evaluates what is in `conds`; ours are processed already.
        level_conds, self.conds = self.conds, {}
        try:
            return super().inner_sample(noise, latent_image, device, sampler, sigmas, denoise_mask, *args, **kwargs)
        finally:
            self.conds = level_conds
            del self._wide_conds, self._iterative, self._held

    def predict_noise(self, x, timestep, model_options={}, seed=None):
        model_options = comfy.model_patcher.create_model_options_clone(model_options)
        comfy.patcher_extension.add_wrapper_with_key(
            comfy.patcher_extension.WrappersMP.CALC_COND_BATCH,
            WRAPPER_KEY,
            side_by_side.calc_cond_batch_wrapper,
            model_options,
            is_model_options=True,
        )
        # After the model's patches, before what a CFG++ sampler hooks in to read the unconditional estimate.
        patches = len(self.model_options.get("sampler_post_cfg_function", []))
        hooks = list(model_options.get("sampler_post_cfg_function", []))
        reads_uncond = len(hooks) > patches
        hooks.insert(patches, lambda args: self._consolidated(args, reads_uncond))
        model_options["sampler_post_cfg_function"] = hooks
        return comfy.samplers.sampling_function(
            self.inner_model,
            x,
            timestep,
            self._wide_conds["negative"],
            self._wide_conds["positive"],
            self.cfg,
            model_options=model_options,
            seed=seed,
        )

    def _consolidated(self, args: dict, with_uncond: bool) -> torch.Tensor:
        """A post-CFG function: the clean estimates of all levels, made to agree."""
        low, high = self._active
        if not low <= float(args["sigma"][0]) <= high:
            return args["denoised"]
        if with_uncond and args["uncond_denoised"] is not None:
            # In place: the sampler's own hook, which comes next, is handed the same tensor.
            args["uncond_denoised"].copy_(self._agree(args["uncond_denoised"]))
        return self._agree(args["denoised"], self._iterative)

    def _agree(self, denoised: torch.Tensor, iterative: IterativeUpdate | None = None) -> torch.Tensor:
        if self._held is not None:
            mask, held = self._held
            denoised = denoised * mask + held * (1 - mask)
        if self._settings.update == "iterative" and iterative is not None:
            return as_images(iterative, denoised)
        if self._settings.blending == "none":
            return denoised
        return as_images(lambda images: consolidate(images, self._geometry, self._settings.blending), denoised)


class SharedNoise:
    """Noise that shows the same random scene at every level, each of them white."""

    def __init__(self, seed: int, levels: ZoomLevels):
        self.seed = seed
        self._levels = levels

    def generate_noise(self, input_latent: dict) -> torch.Tensor:
        """[N, C, .., H, W] noise for a latent, zoom-consistent and of unit variance."""
        samples = input_latent["samples"]
        noise = comfy.sample.prepare_noise(samples, self.seed, input_latent.get("batch_index"))
        return as_images(lambda images: render_noise(images, resolve(self._levels, samples)), noise)


class ZoomSampler(comfy.samplers.KSAMPLER):
    """One of ComfyUI's samplers that draws zoom-consistent noise wherever it adds any."""

    def __init__(self, sampler: comfy.samplers.KSAMPLER, levels: ZoomLevels):
        super().__init__(sampler.sampler_function, sampler.extra_options, sampler.inpaint_options)
        self._levels = levels

    @property
    def draws_noise(self) -> bool:
        """Whether the sampler takes a noise sampler, that is, adds noise on the way."""
        return "noise_sampler" in inspect.signature(self.sampler_function).parameters

    def _noise_sampler(self, noise: torch.Tensor, sigmas: torch.Tensor, seed: int | None) -> Callable:
        geometry = resolve(self._levels, noise)
        # The same source that the sampler would make for itself. The DPM++ SDE family needs a Brownian
        # tree: its steps overlap, and a linear map of correlated increments stays correlated.
        name = self.sampler_function.__name__
        if name.startswith("sample_dpmpp") and "_sde" in name:
            on_cpu = not name.endswith("_gpu")
            lowest = sigmas[sigmas > 0].min()
            base = k_diffusion.BrownianTreeNoiseSampler(noise, lowest, sigmas.max(), seed=seed, cpu=on_cpu)
        else:
            base = k_diffusion.default_noise_sampler(noise, seed=seed)
        return lambda *interval: as_images(lambda images: render_noise(images, geometry), base(*interval))

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, *args, **kwargs):
        if self.draws_noise and len(sigmas) > 1:
            source = self._noise_sampler(noise, sigmas, extra_args.get("seed"))
            options = {**self.extra_options, "noise_sampler": source}
            sampler = comfy.samplers.KSAMPLER(self.sampler_function, options, self.inpaint_options)
            return sampler.sample(model_wrap, sigmas, extra_args, callback, noise, *args, **kwargs)
        return super().sample(model_wrap, sigmas, extra_args, callback, noise, *args, **kwargs)
