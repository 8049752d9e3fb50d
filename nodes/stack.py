"""Nodes that make and show zoom stacks."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
from comfy_api.v0_0_2 import io

from ..zoom_core.camera import MAX_ROLL
from ..zoom_core.compose import RAMP
from ..zoom_core.levels import MAX_LEVELS
from ..zoom_core.seams import DEFAULT_FEATHER, MAX_FEATHER, fuse
from ..zoom_core.stack import ZoomStack
from ..zoom_core.stack_file import MAX_SIDE
from ..zoom_core.view import StackRenderer
from .devices import levels_device, render_device
from .images import images_from_levels, levels_for, levels_from_images
from .inputs import blending_input, fit_input, pictures_loop_input, ramp_input, zoom_input
from .notes import levels_left_out, warn
from .types import CATEGORY, ZoomLevelsType, ZoomStackType
from .web_pictures import save_thumbnails


class ZoomStackRender(io.ComfyNode):
    """Fuses N pictures of one scene at growing zoom into a stack without visible borders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomStackRender",
            display_name="Zoom Stack Render",
            category=CATEGORY,
            description=(
                "Several pictures in, one seamless zoom out: makes levels agree with each other and hides their"
                " borders."
            ),
            search_aliases=["images to zoom", "infinite zoom", "powers of ten", "fuse zoom levels"],
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip=(
                        "The levels, widest view first: a batch, or a list of pictures of one size. They may come from"
                        " a sampler or be your own."
                    ),
                ),
                blending_input(optional=False),
                io.Float.Input(
                    "feather",
                    default=DEFAULT_FEATHER,
                    min=0.0,
                    max=MAX_FEATHER,
                    step=1.0,
                    tooltip=(
                        "How far a difference in colour between two levels is spread out, in percent of the inner"
                        " picture's side. 0 leaves the borders as they are."
                    ),
                ),
                zoom_input(),
                ZoomLevelsType.Input(
                    "levels",
                    optional=True,
                    tooltip=(
                        "Zooms and places of the levels, from the sampler or Zoom Prompt List. Without it every level"
                        " is centred and closer by zoom."
                    ),
                ),
                pictures_loop_input(),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            outputs=[
                ZoomStackType.Output("stack", tooltip="The finished stack, for Zoom Video Frames and Zoom Stack View."),
                io.Image.Output("images", tooltip="The levels as they are now, each agreeing with the others."),
            ],
        )

    @classmethod
    def execute(cls, images, blending, feather, zoom, levels=None, loop=(False,)) -> io.NodeOutput:
        pictures = levels_from_images(images)
        known, geometry = levels_for(pictures, levels[0] if levels else None, zoom[0], loop[0])
        if cls.hidden and cls.hidden.prompt:
            problem = levels_left_out(cls.hidden.prompt, cls.hidden.unique_id, bool(levels and levels[0].geometry))
            if problem:
                warn(cls, problem)
        total = 2 * len(known)
        progress = comfy.utils.ProgressBar(total)

        def on_level() -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.update(1)

        device = levels_device(pictures)
        layers = fuse(pictures, geometry, blending[0], feather[0], on_level, device)
        stack = ZoomStack(layers, geometry, known, device)
        progress.update_absolute(total)
        # What the camera sees at whole zooms: one pixel model for both outputs.
        shown = stack.layers.clamp(0, 1)
        return io.NodeOutput(stack, images_from_levels(shown), ui={"zoom_levels": save_thumbnails(shown)})


class ZoomStackView(io.ComfyNode):
    """One picture of a stack at any zoom."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomStackView",
            display_name="Zoom Stack View",
            category=CATEGORY,
            description="Looks at a zoom stack from any distance and gives the picture.",
            search_aliases=["zoom still", "zoom frame", "view level"],
            inputs=[
                ZoomStackType.Input("stack", tooltip="The stack to look at."),
                io.Float.Input(
                    "zoom",
                    default=0.0,
                    min=0.0,
                    max=MAX_LEVELS - 1,
                    step=0.05,
                    round=False,
                    tooltip=(
                        "How far in, counted in levels: 0 is the first level whole, 1 the second, 1.5 lies halfway"
                        " between the second and the third."
                    ),
                ),
                io.Int.Input(
                    "width", default=1024, min=1, max=MAX_SIDE, step=8, tooltip="Width of the picture in pixels."
                ),
                io.Int.Input(
                    "height", default=1024, min=1, max=MAX_SIDE, step=8, tooltip="Height of the picture in pixels."
                ),
                fit_input(),
                ramp_input(),
                io.Float.Input(
                    "roll",
                    default=0.0,
                    min=-MAX_ROLL,
                    max=MAX_ROLL,
                    step=5.0,
                    round=False,
                    optional=True,
                    advanced=True,
                    tooltip="Degrees by which the picture is turned clockwise; corners show the levels around.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="What the camera sees there.")],
        )

    @classmethod
    def execute(cls, stack, zoom, width, height, fit="crop", ramp=100 * RAMP, roll=0.0) -> io.NodeOutput:
        renderer = StackRenderer(stack, height, width, fit, render_device(stack, height, width), ramp / 100)
        return io.NodeOutput(images_from_levels(renderer.render(zoom, roll=roll)[None]))


NODES = [ZoomStackRender, ZoomStackView]
