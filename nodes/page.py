"""ZoomStackPage: a stack as one HTML file."""

from __future__ import annotations

import os
from pathlib import Path

from comfy_api.v0_0_2 import io

from ..zoom_core.page import DEFAULT_QUALITY, page, viewer_script
from ..zoom_core.web_levels import describe
from .inputs import filename_prefix_input, picture_inputs
from .notes import say
from .saving import save_output
from .types import CATEGORY, ZoomStackType
from .web_pictures import encoded_levels

WEB = Path(__file__).resolve().parent.parent / "web"


class ZoomStackPage(io.ComfyNode):
    """Takes a zoom along as one file that opens in any browser."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        quality, largest_side = picture_inputs(DEFAULT_QUALITY)
        return io.Schema(
            node_id="ZoomStackPage",
            display_name="Save Zoom Page",
            category=CATEGORY,
            description=(
                "Saves a zoom as one HTML file with its viewer inside: opens by double click, offline, on any screen."
            ),
            search_aliases=["export html", "share zoom", "zoom web page", "deep zoom viewer"],
            inputs=[
                ZoomStackType.Input("stack", tooltip="The stack to save, from Zoom Stack Render."),
                filename_prefix_input(),
                io.String.Input("title", default="", tooltip="What stands above the zoom and in the browser's tab."),
                io.Boolean.Input(
                    "prompts",
                    default=True,
                    optional=True,
                    tooltip="Show each level's prompt beside it. Off: the page does not hold them.",
                ),
                io.String.Input(
                    "license",
                    default="",
                    optional=True,
                    tooltip="A line about whose picture this is and what others may do with it, as you write it.",
                ),
                quality,
                largest_side,
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        stack,
        filename_prefix,
        title,
        prompts=True,
        license="",
        quality=DEFAULT_QUALITY,
        largest_side=4096,
    ) -> io.NodeOutput:
        description = describe(stack, largest_side)
        if not prompts:
            description["levels"] = [{"prompt": ""} for _ in description["levels"]]
        levels = encoded_levels(stack, quality, largest_side)
        text = page(description, levels, viewer_script(WEB), title, license)
        saved, path = save_output(
            stack, filename_prefix, ".html", lambda part: part.write_text(text, "utf-8", newline="\n")
        )
        said = f"Saved {os.path.join(saved.subfolder, path.name)} ({path.stat().st_size / 1e6:.1f} MB)"
        say(cls, said)
        return io.NodeOutput(ui={"zoom_page": [saved], "text": [said]})


NODES = [ZoomStackPage]
