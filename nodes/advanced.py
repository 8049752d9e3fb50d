"""The joint sampler in pieces, for SamplerCustomAdvanced."""

import comfy.samplers
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
from .restarts import Restarts
from .types import CATEGORY, ZoomLevelsType

ADVANCED = f"{CATEGORY}/advanced"
LEVELS_TOOLTIP = "How the levels lie inside each other, from Zoom Prompt List."


class ZoomJointGuider(io.ComfyNode):
    """The guider that makes levels agree."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomJointGuider",
            display_name="Zoom Joint Guider",
            category=ADVANCED,
            description=(
                "A CFG guider for SamplerCustomAdvanced that denoises all levels of a zoom together. Give it a latent"
                " with one item a level."
            ),
            search_aliases=["joint guider", "powers of ten"],
            is_input_list=True,
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model."),
                io.Conditioning.Input("positive", tooltip="What each level shows: one entry a level, or one for all."),
                io.Conditioning.Input(
                    "negative", tooltip="What each level should not show: one entry a level, or one for all."
                ),
                ZoomLevelsType.Input("levels", tooltip=LEVELS_TOOLTIP),
                cfg_input(),
                vae_input(),
                guide_input(),
                blending_input(),
                *agreement_inputs(),
                io.Guider.Input(
                    "guider",
                    optional=True,
                    tooltip=(
                        "Another guider of the same model (Dual CFG, Perp-Neg and the like), one a level or one for"
                        " all. It brings its own prompts and strengths; positive, negative and cfg are then not used."
                    ),
                ),
                *cfg_interval_inputs(),
            ],
            outputs=[io.Guider.Output("guider", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, positive, negative, guider=None, **single) -> io.NodeOutput:
        given = {name: values[0] for name, values in single.items()}
        joint = JointGuider(
            given["model"], given["levels"], JointSettings.from_inputs(given), given.get("vae"), given.get("guide")
        )
        if guider:
            joint.set_guiders(guider)
        else:
            joint.set_level_conds(positive, negative)
            joint.set_cfg(given["cfg"])
        return io.NodeOutput(joint)


class ZoomSharedNoise(io.ComfyNode):
    """The noise that shows the same random scene at every level."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomSharedNoise",
            display_name="Zoom Shared Noise",
            category=ADVANCED,
            description=(
                "Zoom-consistent noise for SamplerCustomAdvanced: every level is white noise of unit variance, and all"
                " show the same scene."
            ),
            search_aliases=["shared noise", "zoom noise", "powers of ten"],
            inputs=[
                seed_input(),
                ZoomLevelsType.Input("levels", tooltip=LEVELS_TOOLTIP),
            ],
            outputs=[io.Noise.Output("noise", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, seed, levels) -> io.NodeOutput:
        return io.NodeOutput(SharedNoise(seed, levels))


class ZoomSamplerSelect(io.ComfyNode):
    """A sampler whose added noise is zoom-consistent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomSamplerSelect",
            display_name="Zoom Sampler Select",
            category=ADVANCED,
            description=(
                "Any of ComfyUI's samplers for SamplerCustomAdvanced; those that add noise on the way draw it"
                " zoom-consistent."
            ),
            search_aliases=["sampler", "powers of ten"],
            inputs=[
                sampler_name_input(),
                ZoomLevelsType.Input("levels", tooltip=LEVELS_TOOLTIP),
                io.Sampler.Input(
                    "sampler",
                    optional=True,
                    tooltip=(
                        "A sampler with settings of its own, such as SamplerDPMPP_SDE with its eta. It takes the place"
                        " of sampler_name."
                    ),
                ),
                restarts_input(),
            ],
            outputs=[io.Sampler.Output("sampler", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, sampler_name, levels, sampler=None, restarts=0) -> io.NodeOutput:
        chosen = ZoomSampler(sampler or comfy.samplers.sampler_object(sampler_name), levels)
        return io.NodeOutput(Restarts(chosen, restarts, shared_noise(levels)) if restarts else chosen)


NODES = [ZoomJointGuider, ZoomSharedNoise, ZoomSamplerSelect]
