"""Inputs that several nodes have, with one wording: the only place that node files share them from."""

from __future__ import annotations

import comfy.samplers
from comfy_api.v0_0_2 import io

from ..zoom_core.blending import DEFAULT, METHODS
from ..zoom_core.compose import MAX_RAMP, RAMP
from ..zoom_core.consolidation import UPDATES
from ..zoom_core.levels import MAX_ZOOM, MIN_ZOOM
from ..zoom_core.view import FITS
from ..zoom_core.web_levels import DEFAULT_QUALITY, LOSSLESS
from ..zoom_core.web_levels import MAX_SIDE as MAX_VIEWER_SIDE
from .types import ZoomGuideType


def seed_input(tooltip: str = "The random seed.") -> io.Int.Input:
    """The random seed."""
    return io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=tooltip)


def cfg_input(tooltip: str = "How closely the pictures follow the prompts.") -> io.Float.Input:
    """The strength of classifier-free guidance."""
    return io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=tooltip)


def sampler_name_input(tooltip: str = "The sampling algorithm.") -> io.Combo.Input:
    """One of ComfyUI's samplers by name."""
    return io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, default="euler", tooltip=tooltip)


def vae_input() -> io.Vae.Input:
    """The VAE of whatever samples jointly."""
    return io.Vae.Input(
        "vae", optional=True, tooltip="The model's VAE; needed for a guide and for consistency in pixels."
    )


def guide_input(tooltip: str = "A photograph that one of the levels has to show.") -> io.Input:
    """A photograph, for whatever samples jointly."""
    return ZoomGuideType.Input("guide", optional=True, tooltip=tooltip)


def blending_input(optional: bool = True) -> io.Combo.Input:
    """How levels are brought to agree, for every node that does."""
    return io.Combo.Input(
        "blending",
        options=list(METHODS),
        default=DEFAULT,
        advanced=True,
        optional=optional,
        tooltip=(
            "How levels are brought to agree. border keeps each level's own detail and brings together what meets at "
            "the borders; multi-resolution is the paper's equal mean; average (blurs deep levels) and none are there "
            "to compare."
        ),
    )


def percent_input(name: str, default: float, tooltip: str, **options) -> io.Float.Input:
    """A part of the sampling: 0 is its start, 1 its end."""
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip, **options)


def agreement_inputs() -> list:
    """Advanced inputs of everything that samples jointly, after the blending; a script may leave them out."""
    return [
        io.Combo.Input(
            "update",
            options=list(UPDATES),
            default="joint",
            advanced=True,
            optional=True,
            tooltip=(
                "joint updates all levels together. iterative updates each by itself and leaves visible edges; there to"
                " compare."
            ),
        ),
        io.Combo.Input(
            "consistency",
            options=["latent", "pixel"],
            default="latent",
            advanced=True,
            optional=True,
            tooltip=(
                "Where levels are made to agree: on latents (fast), or on decoded pixels (needs the VAE; sharper"
                " borders for latent models)."
            ),
        ),
        io.Int.Input(
            "consistency_every",
            default=1,
            min=1,
            max=1000,
            advanced=True,
            optional=True,
            tooltip="Make the levels agree at every k-th evaluation of the model only; the last one always counts.",
        ),
        percent_input(
            "start_percent",
            0.0,
            "From which part of the sampling on levels are made to agree.",
            advanced=True,
            optional=True,
        ),
        percent_input(
            "end_percent",
            1.0,
            "Up to which part of the sampling levels are made to agree.",
            advanced=True,
            optional=True,
        ),
    ]


def cfg_interval_inputs() -> list:
    """Advanced inputs of everything that guides levels, after all others."""
    return [
        percent_input(
            "cfg_start_percent",
            0.0,
            "From which part of the sampling on cfg counts; before it is 1. Strong guidance at the very start makes "
            "colours and shapes too alike.",
            advanced=True,
            optional=True,
        ),
        percent_input(
            "cfg_end_percent",
            1.0,
            "Up to which part of the sampling cfg counts; after it is 1. Outside, the negative prompt costs no time.",
            advanced=True,
            optional=True,
        ),
    ]


def restarts_input() -> io.Int.Input:
    """How often the middle of the sampling is gone through again."""
    return io.Int.Input(
        "restarts",
        default=0,
        min=0,
        max=20,
        advanced=True,
        optional=True,
        tooltip=(
            "How many times the middle of the sampling is gone through again from fresh noise, after the levels have "
            "come to agree. Takes about half of the steps more each time."
        ),
    )


def zoom_input() -> io.Float.Input:
    """The zoom between neighbouring pictures where no levels say it."""
    return io.Float.Input(
        "zoom",
        default=2.0,
        min=MIN_ZOOM,
        max=MAX_ZOOM,
        # The frontend rounds what is typed to as many decimals as the step has.
        step=0.05,
        tooltip="How much closer each picture is than the one before it. Used when levels is not connected.",
    )


def loop_input(tooltip: str) -> io.Boolean.Input:
    """Whether the zoom is endless."""
    return io.Boolean.Input("loop", default=False, optional=True, tooltip=tooltip)


def pictures_loop_input() -> io.Boolean.Input:
    """The same for pictures, where no levels say it."""
    return loop_input(
        "The last picture holds the first one again, in its middle and by the same zoom: an endless zoom. Used when "
        "levels is not connected."
    )


def fit_input() -> io.Combo.Input:
    """What happens when the output has another shape than the levels."""
    return io.Combo.Input(
        "fit",
        options=list(FITS),
        optional=True,
        default="crop",
        advanced=True,
        tooltip=(
            "When the output has another shape than the levels: crop fills it and cuts the rest, "
            "fit shows everything between black bars. dome is a round fisheye picture of 180 degrees for a planetarium."
        ),
    )


def ramp_input() -> io.Float.Input:
    """How far into a level its detail fades in, in percent; `StackRenderer` takes the share."""
    return io.Float.Input(
        "ramp",
        optional=True,
        default=100 * RAMP,
        min=0.0,
        max=100 * MAX_RAMP,
        step=1.0,
        advanced=True,
        tooltip=(
            "How far into a level its fine detail fades in where the level around it is enlarged, in percent of its"
            " side. 0 is sharpest and shows the level as a square."
        ),
    )


def filename_prefix_input() -> io.String.Input:
    """Where a node that saves puts its file."""
    return io.String.Input(
        "filename_prefix",
        default="zoom_stack/zoom",
        tooltip="Folder and name below ComfyUI's output folder. A number is added, nothing is overwritten.",
    )


def picture_inputs(quality: int = DEFAULT_QUALITY) -> list:
    """How levels become pictures for a browser."""
    return [
        io.Int.Input(
            "quality",
            default=quality,
            min=1,
            max=LOSSLESS,
            optional=True,
            tooltip="Quality of the pictures, as in WebP: 95 is hard to tell from the original, 100 is lossless.",
        ),
        io.Int.Input(
            "largest_side",
            default=4096,
            min=64,
            max=MAX_VIEWER_SIDE,
            step=64,
            optional=True,
            advanced=True,
            tooltip="Levels with a longer side than this, in pixels, are reduced to it for the viewer.",
        ),
    ]
