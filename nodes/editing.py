"""ZoomLevelMask: redo some levels, keep the others."""

import torch
from comfy_api.v0_0_2 import io

from ..zoom_core.prompts import parse_int_ranges
from .layout import check_latent
from .types import CATEGORY, ZoomLevelsType


class ZoomLevelMask(io.ComfyNode):
    """Marks the levels to be sampled again; the others stay bit for bit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomLevelMask",
            display_name="Zoom Level Mask",
            category=CATEGORY,
            description="Sample some levels again, or add deeper ones, while the other levels stay as they are.",
            search_aliases=["regenerate level", "zoom inpaint", "keep levels"],
            inputs=[
                io.Latent.Input(
                    "latent", tooltip="A batch with one latent a level, from the joint sampler or from VAE Encode."
                ),
                ZoomLevelsType.Input("levels", tooltip="The levels of that latent."),
                io.String.Input(
                    "regenerate",
                    default="0",
                    tooltip=(
                        'The levels to sample again, counted from 0 (the outermost): "2, 5-7". The others are kept.'
                    ),
                ),
            ],
            outputs=[
                io.Latent.Output("latent", tooltip="The same latents with a noise mask; connect them to the sampler.")
            ],
        )

    @classmethod
    def execute(cls, latent, levels, regenerate) -> io.NodeOutput:
        samples = latent["samples"]
        check_latent(samples, len(levels), "latent")
        chosen = parse_int_ranges(regenerate, len(levels), "regenerate")
        if not chosen:
            raise ValueError('regenerate is empty: name at least one level, such as "2, 5-7".')
        mask = torch.zeros(len(levels), 1, *samples.shape[2:])
        mask[chosen] = 1
        return io.NodeOutput({**latent, "noise_mask": mask})


NODES = [ZoomLevelMask]
