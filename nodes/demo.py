"""The loader of the pack's own small model."""

from pathlib import Path

import folder_paths
from comfy_api.v0_0_2 import io

from ..demo_model import load
from ..demo_model.load import STAGES
from .types import CATEGORY

# Core's Load Upscale Model then lists the demo model's own x4 upscaler.
folder_paths.add_model_folder_path("upscale_models", str(Path(load.FOLDER) / "upscale"))


class ZoomDemoModelLoader(io.ComfyNode):
    """Loads the small text-to-image model that comes with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomDemoModelLoader",
            display_name="Zoom Demo Model Loader",
            category=CATEGORY,
            description=(
                "Loads the small model that comes with this pack: no download, no graphics card. It paints pictures of "
                "64 x 64 pixels from galaxies and planets over coasts, forests and leaves down to cells. Use it to try "
                "a zoom; for good pictures load a checkpoint of your own. Works with every stock node: size 64 x 64, "
                "sampler er_sde, scheduler simple, 24 steps, cfg 1.5 (2.75 in a zoom). Its second stage finishes "
                "enlarged pictures at 256 x 256."
            ),
            search_aliases=["demo model", "tiny model", "checkpoint", "powers of ten", "zoom model", "pixel model"],
            inputs=[
                io.Combo.Input(
                    "stage",
                    options=list(STAGES),
                    default=STAGES[0],
                    optional=True,
                    tooltip=(
                        "picture: the model that paints, at 64 x 64. finish: the one that paints fine detail into "
                        "those pictures once they are enlarged to 256 x 256. It is shown them by "
                        "SD_4XUpscale_Conditioning, and samples with cfg 1 and a denoise below 1."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The diffusion model, for a sampler."),
                io.Clip.Output("clip", tooltip="Its text encoder, for Zoom Prompt List or CLIP Text Encode."),
                io.Vae.Output("vae", tooltip="Turns its latents into images; it works on pixels, so nothing is lost."),
            ],
        )

    @classmethod
    def execute(cls, stage: str = STAGES[0]) -> io.NodeOutput:
        return io.NodeOutput(*load.load(embedding_directory=folder_paths.get_folder_paths("embeddings"), stage=stage))


NODES = [ZoomDemoModelLoader]
