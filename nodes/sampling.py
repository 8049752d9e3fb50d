"""MultiScaleJointKSampler: a KSampler that knows about scales."""

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from comfy_api.v0_0_2 import io

from .agreement import JointSettings
from .inputs import (
    agreement_inputs,
    blending_input,
    cfg_input,
    cfg_interval_inputs,
    guide_input,
    restarts_input,
    sampler_name_input,
    seed_input,
    vae_input,
)
from .joint import JointGuider, SharedNoise, ZoomSampler, shared_noise
from .layout import level_latents, resolve
from .live import LevelPreviews
from .restarts import Restarts
from .types import CATEGORY, ZoomLevelsType


class MultiScaleJointKSampler(io.ComfyNode):
    """Samples all levels of a zoom together, so that they show one and the same scene."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MultiScaleJointKSampler",
            display_name="Multi-Scale Joint KSampler",
            category=CATEGORY,
            description=(
                "A KSampler for zooms: all levels are denoised together and agree at every step "
                "(Generative Powers of Ten)."
            ),
            search_aliases=["powers of ten", "infinite zoom", "zoom sampler", "joint sampling"],
            is_input_list=True,
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model, with any LoRAs and patches you like."),
                io.Conditioning.Input(
                    "positive", tooltip="What each level shows: a list with one entry a level, or one for all."
                ),
                io.Conditioning.Input(
                    "negative",
                    tooltip="What each level should not show: a list with one entry a level, or one for all.",
                ),
                ZoomLevelsType.Input("levels", tooltip="How the levels lie inside each other, from Zoom Prompt List."),
                io.Latent.Input(
                    "latent_image",
                    tooltip=(
                        "One empty latent for all levels, or a batch with one latent a level to start from (with"
                        " denoise below 1)."
                    ),
                ),
                seed_input("The random seed. The same seed gives the same zoom."),
                io.Int.Input("steps", default=20, min=1, max=10000, tooltip="Number of denoising steps."),
                cfg_input("How closely the pictures follow the prompts. Use what your model likes."),
                sampler_name_input("The sampling algorithm. Those that add noise draw it zoom-consistent."),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.KSampler.SCHEDULERS,
                    default="normal",
                    tooltip="How the noise is removed over the steps.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip=(
                        "Below 1 keeps that much less of the given latents: for refining or changing finished levels."
                    ),
                ),
                vae_input(),
                guide_input("A photograph that one of the levels has to show, from Zoom Photo Guide."),
                blending_input(),
                io.Boolean.Input(
                    "shared_noise",
                    default=True,
                    advanced=True,
                    optional=True,
                    tooltip=(
                        "Start all levels from the same zoom-consistent noise. Off blurs the result; there to compare."
                    ),
                ),
                *agreement_inputs(),
                *cfg_interval_inputs(),
                restarts_input(),
            ],
            outputs=[
                io.Latent.Output("latent", tooltip="A batch with one latent a level."),
                ZoomLevelsType.Output(
                    "levels",
                    display_name="levels",
                    tooltip="The levels with their places as sampled; give these to Zoom Stack Render.",
                ),
            ],
        )

    @classmethod
    def execute(cls, positive, negative, latent_image, **single) -> io.NodeOutput:
        given = {name: values[0] for name, values in single.items()}
        model, levels = given["model"], given["levels"]
        latent = level_latents(latent_image, len(levels))
        latent["samples"] = comfy.sample.fix_empty_latent_channels(
            model,
            latent["samples"],
            latent.pop("downscale_ratio_spacial", None),
            latent.pop("downscale_ratio_temporal", None),
        )
        guider = JointGuider(model, levels, JointSettings.from_inputs(given), given.get("vae"), given.get("guide"))
        guider.set_level_conds(positive, negative)
        guider.set_cfg(given["cfg"])
        sampler = comfy.samplers.sampler_object(given["sampler_name"])
        shared = given.get("shared_noise", True)
        if shared:
            noise = SharedNoise(given["seed"], levels).generate_noise(latent)
            sampler = ZoomSampler(sampler, levels)
        else:
            noise = comfy.sample.prepare_noise(latent["samples"], given["seed"], latent.get("batch_index"))
        if given.get("restarts"):
            sampler = Restarts(
                sampler, given["restarts"], shared_noise(levels) if shared else comfy.sample.prepare_noise
            )
        schedule = comfy.samplers.KSampler(
            model, given["steps"], model.load_device, given["sampler_name"], given["scheduler"], given["denoise"]
        )
        if not schedule.sigmas.isfinite().all():
            raise ValueError(
                f"scheduler {given['scheduler']} has no schedule of {given['steps']} steps (it gives NaN): take more "
                "steps or another scheduler."
            )
        samples = guider.sample(
            noise,
            latent["samples"],
            sampler,
            schedule.sigmas,
            denoise_mask=latent.get("noise_mask"),
            callback=LevelPreviews(latent_preview.prepare_callback(model, given["steps"])),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=given["seed"],
        )
        latent["samples"] = samples.to(
            device=comfy.model_management.intermediate_device(), dtype=comfy.model_management.intermediate_dtype()
        )
        return io.NodeOutput(latent, levels.with_geometry(resolve(levels, samples)))


NODES = [MultiScaleJointKSampler]
