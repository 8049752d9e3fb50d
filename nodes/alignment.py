"""ZoomStackFit: do these pictures fit into each other, and can they be made to?"""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import torch
from comfy_api.v0_0_2 import io, ui

from ..zoom_core.alignment import align_levels, compare_levels, comparison_picture
from .devices import levels_device
from .images import images_from_levels, levels_for, levels_from_images
from .inputs import pictures_loop_input, zoom_input
from .notes import say
from .types import CATEGORY, ZoomLevelsType


class ZoomStackFit(io.ComfyNode):
    """Reports how well neighbouring pictures fit, and optionally aligns them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomStackFit",
            display_name="Check and Align Zoom Levels",
            category=CATEGORY,
            description=(
                "Checks how well your pictures fit into each other before they become a zoom, "
                "and corrects small shifts, scales, rotations and colours."
            ),
            search_aliases=["align zoom images", "check zoom levels", "register images", "match colours"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Your pictures, widest view first: a batch, or a list of one size."),
                zoom_input(),
                io.Boolean.Input(
                    "align",
                    default=True,
                    tooltip=(
                        "Find and undo small shifts, scales and rotations between neighbours; connect levels to Zoom"
                        " Stack Render too. Pictures that do not show the same place stay as they are, and the report"
                        " names them."
                    ),
                ),
                io.Boolean.Input(
                    "match_colour",
                    default=True,
                    tooltip="Give every picture the brightness and contrast that the one around it has there.",
                ),
                ZoomLevelsType.Input(
                    "levels",
                    optional=True,
                    tooltip="Zooms and places of the levels. Without it every picture is centred and closer by zoom.",
                ),
                pictures_loop_input(),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Image.Output("images", tooltip="The pictures, aligned and matched as asked, for Zoom Stack Render."),
                io.String.Output("report", tooltip="One line for every pair of neighbours."),
                io.Image.Output(
                    "picture",
                    tooltip=(
                        "A row for every pair: as the outer picture shows the place, as the inner one does, and the"
                        " difference."
                    ),
                ),
                ZoomLevelsType.Output(
                    "levels",
                    tooltip=(
                        "Where the pictures fit into each other: connect it to levels of Zoom Stack Render, or aligning"
                        " has no effect."
                    ),
                ),
            ],
        )

    @classmethod
    def execute(cls, images, zoom, align, match_colour, levels=None, loop=(False,)) -> io.NodeOutput:
        pictures = levels_from_images(images)
        known, geometry = levels_for(pictures, levels[0] if levels else None, zoom[0], loop[0])
        changes = align[0] or match_colour[0]
        progress = comfy.utils.ProgressBar((1 + changes) * len(geometry.steps))

        def on_pair() -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.update(1)

        device = levels_device(pictures)
        if changes:
            pictures, geometry, before = align_levels(pictures, geometry, align[0], match_colour[0], on_pair, device)
            after = compare_levels(pictures, geometry, on_pair, device)
        else:
            before = after = compare_levels(pictures, geometry, on_pair, device)
        lines = [pair.describe() for pair in before] or ["One picture: there is nothing to compare."]
        bad = [str(pair.inner) for pair in after if pair.verdict == "does not fit"]
        if bad:
            lines.append(
                f"Level {', '.join(bad)} does not show the same place as the level before it: "
                "check the order of the pictures and the zoom, or replace it."
            )
        report = "\n".join(lines)
        say(cls, report)
        picture = torch.from_numpy(comparison_picture(pictures, geometry, device=device))
        shown = picture.to(torch.float32).movedim(-1, 0)[None] / 255
        return io.NodeOutput(
            images_from_levels(pictures),
            report,
            images_from_levels(shown),
            known.with_geometry(geometry),
            ui=ui.PreviewText(report),
        )


NODES = [ZoomStackFit]
