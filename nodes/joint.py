"""Joint sampling as ComfyUI objects: a guider, a noise source and a sampler.

They carry the method; the nodes in sampling.py and advanced.py only build them.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import cast

import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.sample
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.k_diffusion import sampling as k_diffusion

from ..zoom_core import ZoomGuide, ZoomLevels, render_noise
from . import side_by_side
from .agreement import Agreement, Anchor, JointSettings, anchors_of_kept, kept_parts
from .conditioning import LevelCut
from .layout import as_images, check_latent, held_levels, level_mask, resolve, strip_columns
from .live import LevelPreviews, announce
from .spaces import LatentSpace, PixelSpace

WRAPPER_KEY = "zoom_stack"
# What a run leaves on a guider; the core keeps its own part of it when a run fails.
OF_A_RUN = ("inner_model", "conds", "loaded_models", "_guided", "_agreement", "_pictures", "_room", "_grid")
# A guider that has its own of these does more than guide.
SAMPLING = ("sample", "outer_sample", "inner_sample")


def _key(kind: str, level: int) -> str:
    """The name of a level's conditioning of a kind, among all conditioning of a guider."""
    return f"{kind} {level}"


def _check_guider(guider, first, model) -> None:
    """Raises ValueError for a guider that cannot guide levels of `model`, or not together with the first."""
    core = comfy.samplers.CFGGuider
    if isinstance(guider, JointGuider):
        raise ValueError("guider makes levels agree already: connect one that is not a Zoom Joint Guider.")
    own = [name for name in SAMPLING if getattr(type(guider), name, None) is not getattr(core, name)]
    if own:
        raise ValueError(
            f"guider is of the kind {type(guider).__name__}, which samples in its own way ({', '.join(own)}): connect "
            "one that only guides, such as CFG, Dual CFG, Perp-Neg or Basic Guider."
        )
    if guider.model_patcher is not model and not (model.is_dynamic() and not guider.model_patcher.is_dynamic()):
        raise ValueError("guider was made with another model than model: connect the same one to both.")
    if type(guider) is not type(first) or _settings(guider) != _settings(first):
        raise ValueError("guider differs from level to level: only the prompts may, not its kind or its settings.")


def _settings(guider) -> dict:
    """A guider's numbers and switches, such as cfg, and which kinds of conditioning it has."""
    settings = {name: value for name, value in vars(guider).items() if isinstance(value, (int, float, str))}
    return {**settings, "original_conds": tuple(guider.original_conds)}


class JointGuider(comfy.samplers.CFGGuider):
    """Guidance of N levels at once, by another guider (by default classifier-free), whose clean estimates are
    made to agree."""

    def __init__(
        self,
        model_patcher,
        levels: ZoomLevels,
        settings: JointSettings | None = None,
        vae=None,
        guide: ZoomGuide | None = None,
    ):
        super().__init__(model_patcher)
        settings = settings or JointSettings()
        if vae is None and (guide is not None or settings.consistency == "pixel"):
            wanted = "a guide" if guide is not None else "consistency in pixels"
            raise ValueError(f"vae is missing: {wanted} needs the model's VAE, connect it.")
        self._levels = levels
        self._settings = settings
        self._guide = guide
        self._guider: comfy.samplers.CFGGuider | None = None
        self._kinds: tuple[str, ...] = ("positive", "negative")
        self._space = LatentSpace(vae, model_patcher)
        if settings.consistency == "pixel":
            self._space = PixelSpace(vae, model_patcher, self._reload)

    def set_level_conds(self, positive: list, negative: list) -> None:
        """One conditioning a level; a list of one serves all levels, item by item where it holds a batch of N.

        Raises ValueError for other numbers, naming what does not fit.
        """
        for name, given in (("positive", positive), ("negative", negative)):
            self._check_count(name, given)
            for i in range(len(self._levels)):
                # The core's own way in: it looks at the hooks.
                self.inner_set_conds({_key(name, i): given[i if len(given) > 1 else 0]})
        self._cut_conds()

    def set_guiders(self, guiders: Sequence[comfy.samplers.CFGGuider]) -> None:
        """Let other guiders say how levels are guided: one a level with its own conditioning, or one for all.

        Raises ValueError for those that do more than guide, and where they do not belong together.
        """
        self._check_count("guider", guiders)
        first = guiders[0]
        for guider in guiders:
            _check_guider(guider, first, self.model_patcher)
        self._guider, self._kinds, self.cfg = first, tuple(first.original_conds), first.cfg
        # Hooks made some guiders take another patcher of the same model, one that supports them.
        patchers = [guider.model_patcher for guider in guiders]
        self.model_patcher = next((patcher for patcher in patchers if not patcher.is_dynamic()), patchers[0])
        self.model_options = self.model_patcher.model_options
        for name in self._kinds:
            for i in range(len(self._levels)):
                self.original_conds[_key(name, i)] = guiders[i if len(guiders) > 1 else 0].original_conds[name]
        self._cut_conds()

    def _cut_conds(self) -> None:
        """What is a batch of N in a conditioning goes to its level."""
        cut = LevelCut(len(self._levels))
        for name in self._kinds:
            for i in range(len(self._levels)):
                self.original_conds[_key(name, i)] = cut.entries(self.original_conds[_key(name, i)], i, name)

    def _check_count(self, name: str, given: Sequence) -> None:
        count = len(self._levels)
        if len(given) not in (1, count):
            raise ValueError(
                f"{name} has {len(given)} entries, levels has {count}: give 1" + (f" or {count}." if count > 1 else ".")
            )

    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, *args, **kwargs):
        check_latent(latent_image, len(self._levels))
        if not torch.isfinite(latent_image).all():
            raise ValueError("latent_image holds NaN or infinite values: something before the sampler went wrong.")
        if not torch.isfinite(sigmas).all():
            raise ValueError("sigmas hold NaN or infinite values: take another scheduler or number of steps.")
        mask = level_mask(denoise_mask, latent_image)
        foreign = None
        if callback is not None and not isinstance(callback, LevelPreviews):
            foreign = callback = LevelPreviews(callback)
        announce(self._levels, resolve(self._levels, latent_image), strip_columns(len(self._levels)))
        try:
            # The VAE has its turn before the core makes room for the model and loads it.
            self._pictures = self._make_pictures(latent_image, mask)
            samples = super().sample(noise, latent_image, sampler, sigmas, mask, callback, *args, **kwargs)
        finally:
            for name in OF_A_RUN:
                self.__dict__.pop(name, None)
        if not torch.isfinite(samples).all():
            raise ValueError(
                "The model returned NaN or infinite values. Usual causes: it overflows in half precision (start ComfyUI"
                " with --fp32-unet), a LoRA, patch or file that does not belong to it, or cfg far above what it takes."
            )
        if foreign is not None:
            foreign.finish()
        if mask is not None:
            # A sampler only comes back to a held latent up to rounding.
            for i in held_levels(mask):
                samples[i] = latent_image[i]
        return samples

    def _in_model_space(self, latent_image: torch.Tensor) -> torch.Tensor:
        # As the core does it: an empty latent is not shifted.
        if torch.count_nonzero(latent_image) > 0:
            return self.model_patcher.model.process_latent_in(latent_image)
        return latent_image

    def _make_pictures(self, latent_image: torch.Tensor, mask: torch.Tensor | None):
        """(anchors, kept parts): all that the VAE makes of what was given."""
        latent = self._in_model_space(latent_image.to("cpu", torch.float32))
        anchors, kept = [], None
        if mask is not None and self._settings.blends:
            kept = kept_parts(latent, mask, self._space)
            anchors = [] if kept is None else anchors_of_kept(kept, held_levels(mask), self._levels.loop)
        if self._guide is not None:
            level = self._guide.index(len(self._levels))
            anchors.append(Anchor(self._space.photograph(self._guide.image, latent), level, guide=self._guide))
        return anchors, kept

    def outer_sample(self, *args, **kwargs):
        comfy.patcher_extension.add_wrapper_with_key(
            comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING,
            WRAPPER_KEY,
            self._prepare_sampling,
            self.model_options,
            is_model_options=True,
        )
        return super().outer_sample(*args, **kwargs)

    def _prepare_sampling(self, executor, model, noise_shape, conds, *args, **kwargs):
        """PREPARE_SAMPLING wrapper: ask for the room of one level, as core's context windows do for one window.

        The levels are cut up by the memory that is free; room for all of them would push the model itself out.
        """
        shape = [1, *noise_shape[1:]]
        self._room = (shape, conds)
        return executor(model, shape, conds, *args, **kwargs)

    def _reload(self) -> None:
        """Everything that the core loaded for this run, with the room that it asked for."""
        model, (shape, conds) = self.model_patcher, self._room
        needed, least = comfy.sampler_helpers.estimate_memory(model, shape, conds)
        _, more = comfy.sampler_helpers.get_additional_models(conds, model.model_dtype())
        comfy.model_management.load_models_gpu(
            [model, *self.loaded_models], memory_required=needed + more, minimum_memory_required=least + more
        )

    def inner_sample(
        self, noise, latent_image, device, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs
    ):
        given = self._in_model_space(latent_image)
        anchors, kept = self._pictures
        self._agreement = Agreement(
            self.inner_model.model_sampling,
            resolve(self._levels, given).scaled(*self._space.size(given)),
            self._settings,
            sigmas,
            self._space,
            given,
            denoise_mask,
            anchors,
            kept,
        )
        self._grid = tuple(noise.shape[-2:])
        self._guided = copy.copy(self._guider or comfy.samplers.CFGGuider(self.model_patcher))
        self._guided.inner_model, self._guided.model_patcher = self.inner_model, self.model_patcher
        self._guided.model_options = self.model_options
        self._guided.conds = self._wide_conds(noise, given, device, denoise_mask, seed)
        # The core processes and evaluates what is in `conds`; ours are processed already.
        level_conds, self.conds = self.conds, {}
        try:
            return super().inner_sample(
                noise, latent_image, device, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs
            )
        finally:
            self.conds = level_conds

    def _wide_conds(self, noise, latent, device, mask, seed) -> dict[str, list]:
        """Processed conditioning of all levels together, by its kind (positive, negative, ...)."""

        def processed(i: int) -> dict[str, list]:
            return comfy.samplers.process_conds(
                self.inner_model,
                noise[i : i + 1],
                {kind: self.conds[_key(kind, i)] for kind in self._kinds},
                device,
                latent[i : i + 1],
                None if mask is None else mask[i : i + 1],
                seed,
                latent_shapes=[noise[i : i + 1].shape],
            )

        by_level = [processed(i) for i in range(len(self._levels))]
        return {kind: side_by_side.place([conds[kind] for conds in by_level], noise) for kind in self._kinds}

    def predict_noise(self, x, timestep, model_options={}, seed=None):
        if tuple(x.shape[-2:]) != self._grid:
            raise ValueError(
                f"The sampler changes the size of the latents while it samples (from {self._grid} to "
                f"{tuple(x.shape[-2:])} rows and columns): joint sampling needs one size, take another sampler."
            )
        handler = model_options.get("context_handler")
        conds = list(self._guided.conds.values())
        if handler is not None and handler.should_use_context(self.inner_model, conds, x, timestep, model_options):
            raise ValueError(
                "model has context windows that would cut the levels up: take Context Windows off it; levels are "
                "evaluated in as many calls as memory asks for."
            )
        sigma = float(timestep.max())
        due = self._agreement.due(sigma)
        # Asked at every evaluation: the core's CFG Override changes it on the way. Guiders with strengths of
        # other names keep theirs.
        self._guided.cfg = self.cfg if self._agreement.guided(sigma) else 1.0
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
        if due and len(hooks) > patches:
            hooks.insert(patches, self._agree_uncond)
            model_options["sampler_post_cfg_function"] = hooks
        denoised = self._guided.predict_noise(x, timestep, model_options, seed)
        return self._agreement.agree(denoised, sigma) if due else denoised

    def _agree_uncond(self, args: dict) -> torch.Tensor:
        """A post-CFG function of the core: the sampler's own, which comes next, is handed the same tensor."""
        uncond = args["uncond_denoised"]
        if uncond is not None:
            uncond.copy_(self._agreement.agree(uncond, float(args["sigma"].max()), main=False))
        return args["denoised"]


class SharedNoise:
    """Noise that shows the same random scene at every level, each of them white."""

    def __init__(self, seed: int, levels: ZoomLevels):
        self.seed = seed
        self._levels = levels

    def generate_noise(self, input_latent: dict) -> torch.Tensor:
        """[N, C, .., H, W] noise for a latent, zoom-consistent and of unit variance."""
        return shared_noise(self._levels)(input_latent["samples"], self.seed)


def shared_noise(levels: ZoomLevels) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """A function of a latent [N, C, .., H, W] and a seed that gives noise like it, the same scene at every level."""

    def draw(samples: torch.Tensor, seed: int) -> torch.Tensor:
        check_latent(samples, len(levels))
        # Not by the latent's batch_index: Batch Latents repeats numbers there, and levels would repeat their noise.
        noise = cast(torch.Tensor, comfy.sample.prepare_noise(samples, seed))
        return as_images(lambda images: render_noise(images, resolve(levels, samples)), noise)

    return draw


class ZoomSampler(comfy.samplers.KSAMPLER):
    """One of ComfyUI's samplers that draws zoom-consistent noise wherever it adds any."""

    def __init__(self, sampler: comfy.samplers.KSAMPLER, levels: ZoomLevels):
        if not isinstance(sampler, comfy.samplers.KSAMPLER):
            raise ValueError(
                f"sampler is of the kind {type(sampler).__name__}, which hides how it draws noise: connect one of "
                "ComfyUI's own sampler nodes, or this sampler straight to SamplerCustomAdvanced."
            )
        super().__init__(sampler.sampler_function, sampler.extra_options, sampler.inpaint_options)
        self._levels = levels

    @property
    def draws_noise(self) -> bool:
        """Whether the sampler takes a noise sampler, that is, adds noise on the way."""
        if "noise_sampler" in inspect.signature(self.sampler_function).parameters:
            return True
        # The core hides this one's arguments behind a function; without eta it draws nothing.
        return self.sampler_function.__name__ == "dpm_adaptive_function" and self.extra_options.get("eta", 0) > 0

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
