"""ZoomStackViewer: fly through a stack in the graph."""

from __future__ import annotations

import json
import os
import secrets

import folder_paths
from comfy_api.v0_0_2 import io, ui

from ..zoom_core.web_levels import DEFAULT_QUALITY, describe
from .inputs import picture_inputs
from .types import CATEGORY, ZoomStackType
from .web_pictures import encoded_levels

FOLDER = "zoom_stack"
DESCRIPTION = "stack.json"


class ZoomStackViewer(io.ComfyNode):
    """An interactive view of a stack, on the node itself."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomStackViewer",
            display_name="Zoom Stack Viewer",
            category=CATEGORY,
            description=(
                "Fly through a zoom stack right here: wheel or pinch to zoom, drag to move, play the whole way."
            ),
            search_aliases=["preview zoom", "explore zoom", "deep zoom", "interactive zoom", "zoom player"],
            inputs=[
                ZoomStackType.Input("stack", tooltip="The stack to look at, from Zoom Stack Render."),
                *picture_inputs(),
            ],
            outputs=[ZoomStackType.Output("stack", tooltip="The same stack, for the next node.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, stack, quality=DEFAULT_QUALITY, largest_side=4096) -> io.NodeOutput:
        # A name that no other run has: a browser that asks for old pictures must not get new ones.
        subfolder = f"{FOLDER}/{secrets.token_hex(8)}"
        folder = os.path.join(folder_paths.get_temp_directory(), subfolder)
        os.makedirs(folder)
        description = describe(stack, largest_side)
        for i, data in enumerate(encoded_levels(stack, quality, largest_side)):
            file = f"level-{i:02}.webp"
            with open(os.path.join(folder, file), "wb") as stream:
                stream.write(data)
            description["levels"][i]["file"] = file
        # Last, because it says that all the others are there.
        with open(os.path.join(folder, DESCRIPTION), "w", encoding="utf-8") as stream:
            json.dump(description, stream, ensure_ascii=False)
        shown = ui.SavedResult(DESCRIPTION, subfolder, io.FolderType.temp)
        return io.NodeOutput(stack, ui={"zoom_stack": [shown]})


NODES = [ZoomStackViewer]
