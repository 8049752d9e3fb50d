"""Joint sampling as ComfyUI objects: a guider, a noise source and a sampler.

They carry the method; the nodes in sampling.py only build them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import comfy.model_patcher
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import torch
from comfy.k_diffusion import sampling as k_diffusion

from ..zoom_core import ZoomGuide, ZoomLevels, render_noise
from . import side_by_side
from .agreement import Agreement, as_images, held_levels, resolve
from .pixels import PixelSpace

WRAPPER_KEY = "zoom_stack"


@dataclass(frozen=True)
class JointSettings:
    """How levels are made to agree while they are sampled; the inputs of the node of the same names."""

    blending: str = "multi-resolution"
    update: str = "joint"
    consistency: str = "latent"
    consistency_every: int = 1
    start_percent: float = 0.0
    end_percent: float = 1.0

    @classmethod
    def from_inputs(cls, given: dict) -> JointSettings:
        """The settings among a node's inputs, by their names."""
        return cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})


class JointGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance of N levels at once, whose clean estimates are made to agree."""

    def __init__(
        self,
        model_patcher,
        levels: ZoomLevels,
        settings: JointSettings = JointSettings(),
        vae=None,
        guide: ZoomGuide | None = None,
    ):
        super().__init__(model_patcher)
        if vae is None and (guide is not None or settings.consistency == "pixel"):
            wanted = "a guide" if guide is not None else "consistency in pixels"
            raise ValueError(f"vae is missing: {wanted} needs the model's VAE, connect it.")
        self._levels = levels
        self._settings = settings
        self._vae = vae
        self._guide = guide

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

    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, *args, **kwargs):
        if latent_image.is_nested:
            raise ValueError(
                "latent_image holds several latents at once (audio and video): joint sampling needs images."
            )
        if latent_image.ndim == 5 and latent_image.shape[2] != 1:
            raise ValueError(f"latent_image has {latent_image.shape[2]} frames: joint sampling needs single images.")
        if latent_image.shape[0] != len(self._levels):
            raise ValueError(
                f"latent_image has a batch of {latent_image.shape[0]}, levels has {len(self._levels)} levels: "
                "they must agree."
            )
        if not torch.isfinite(latent_image).all():
            raise ValueError("latent_image holds NaN or infinite values: something before the sampler went wrong.")
        samples = super().sample(noise, latent_image, sampler, sigmas, denoise_mask, *args, **kwargs)
        if not torch.isfinite(samples).all():
            raise ValueError(
                "The model returned NaN or infinite values. Usual causes: it overflows in half precision (start ComfyUI"
                " with --fp32-unet), a LoRA, patch or file that does not belong to it, or cfg far above what it takes."
            )
        if denoise_mask is not None:
            # A sampler only comes back to a held latent up to rounding.
            for i in held_levels(denoise_mask, samples):
                samples[i] = latent_image[i]
        return samples

    def inner_sample(
        self, noise, latent_image, device, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs
    ):
        model = self.inner_model
        given = latent_image
        if torch.count_nonzero(latent_image) > 0:
            given = model.process_latent_in(latent_image)
        self._agreement = self._new_agreement(sigmas, given, denoise_mask)

        def processed(i: int) -> dict[str, list]:
            own = {name: self.conds[f"{name} {i}"] for name in ("positive", "negative")}
            return comfy.samplers.process_conds(
                model,
                noise[i : i + 1],
                own,
                device,
                given[i : i + 1],
                None if denoise_mask is None else denoise_mask[i : i + 1],
                seed,
                latent_shapes=[noise[i : i + 1].shape],
            )

        by_level = [processed(i) for i in range(len(self._levels))]
        self._wide_conds = {
            name: side_by_side.place([conds[name] for conds in by_level], noise) for name in ("positive", "negative")
        }
        # The core processes and evaluates what is in `conds`; ours are processed already.
        level_conds, self.conds = self.conds, {}
        try:
            return super().inner_sample(
                noise, latent_image, device, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs
            )
        finally:
            self.conds = level_conds
            del self._wide_conds, self._agreement

    def _new_agreement(self, sigmas, latent_image, denoise_mask) -> Agreement:
        pixels = PixelSpace(self._vae, self.model_patcher)
        agreement = Agreement(
            self.inner_model.model_sampling,
            resolve(self._levels, latent_image),
            self._settings,
            sigmas,
            latent_image,
            denoise_mask,
            pixels if self._settings.consistency == "pixel" else None,
        )
        if self._guide is not None:
            agreement.add_guide(self._guide, pixels)
        return agreement

    def predict_noise(self, x, timestep, model_options={}, seed=None):
        model_options = comfy.model_patcher.create_model_options_clone(model_options)
        for kind, wrapper in (
            (comfy.patcher_extension.WrappersMP.CALC_COND_BATCH, side_by_side.calc_cond_batch_wrapper),
            (comfy.patcher_extension.WrappersMP.APPLY_MODEL, partial(side_by_side.apply_model_wrapper, x.shape[0])),
        ):
            comfy.patcher_extension.add_wrapper_with_key(
                kind, WRAPPER_KEY, wrapper, model_options, is_model_options=True
            )
        # After the model's patches, before what a CFG++ sampler hooks in to read the unconditional estimate.
        patches = len(self.model_options.get("sampler_post_cfg_function", []))
        hooks = list(model_options.get("sampler_post_cfg_function", []))
        reads_uncond = len(hooks) > patches
        hooks.insert(patches, lambda args: self._agreement.post_cfg(args, reads_uncond))
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


class SharedNoise:
    """Noise that shows the same random scene at every level, each of them white."""

    def __init__(self, seed: int, levels: ZoomLevels):
        self.seed = seed
        self._levels = levels

    def generate_noise(self, input_latent: dict) -> torch.Tensor:
        """[N, C, .., H, W] noise for a latent, zoom-consistent and of unit variance."""
        samples = input_latent["samples"]
        # Not by the latent's batch_index: Batch Latents repeats numbers there, and levels would repeat their noise.
        noise = comfy.sample.prepare_noise(samples, self.seed)
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
