"""ZoomPromptList: one prompt a scale."""

import comfy.model_management
import torch
from comfy_api.v0_0_2 import io

from ..demo_model.load import unknown_words
from ..zoom_core import parse_prompts
from ..zoom_core.levels import MAX_LEVELS, MAX_ZOOM, MIN_ZOOM
from ..zoom_core.wording import opening
from .inputs import loop_input
from .notes import warn
from .types import CATEGORY, ZoomLevelsType

EXAMPLE = """a spiral galaxy in deep space
a star with planets
a blue planet with white clouds
a green coast and the sea
a forest seen from above
a green leaf with veins"""


class ZoomPromptList(io.ComfyNode):
    """Encodes one prompt a level and says how the levels lie inside each other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomPromptList",
            display_name="Zoom Prompt List",
            category=CATEGORY,
            description="One prompt for every scale of a zoom, outermost first.",
            search_aliases=["powers of ten", "infinite zoom", "zoom prompts", "multi scale prompt"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder of your model."),
                io.String.Input(
                    "prompts",
                    multiline=True,
                    default=EXAMPLE,
                    tooltip=(
                        "One prompt a line, the widest view first. Or a JSON array of strings or of objects with "
                        "prompt, negative, zoom and center ([x, y] in 0..1), where levels need their own zoom or place."
                    ),
                ),
                io.String.Input(
                    "negative",
                    multiline=True,
                    default="",
                    tooltip="What no level should show: one line for all levels, or one line a level.",
                ),
                io.Float.Input(
                    "zoom",
                    default=2.0,
                    min=MIN_ZOOM,
                    max=MAX_ZOOM,
                    step=0.05,
                    tooltip=(
                        "How much closer each level is than the one before it. 2 gives the calmest results, "
                        "4 covers more ground with fewer levels."
                    ),
                ),
                io.String.Input("prefix", default="", tooltip="Put before every prompt, for a common style."),
                io.String.Input("suffix", default="", tooltip="Put after every prompt, for a common style."),
                io.Int.Input(
                    "count",
                    default=0,
                    min=0,
                    max=MAX_LEVELS,
                    optional=True,
                    advanced=True,
                    tooltip="How many levels prompts must have, where a language model writes them; 0: any number.",
                ),
                loop_input(
                    "An endless zoom: the last level holds the first one again, at zoom and in its middle, or at the "
                    "zoom and center that JSON gives the first prompt."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Conditioning.Output("positive", is_output_list=True, tooltip="One conditioning a level."),
                io.Conditioning.Output("negative", is_output_list=True, tooltip="One conditioning a level."),
                ZoomLevelsType.Output("levels", tooltip="Prompts, zooms and places of all levels."),
            ],
        )

    @classmethod
    def execute(cls, clip, prompts, negative, zoom, prefix, suffix, count=0, loop=False) -> io.NodeOutput:
        if clip is None:
            raise ValueError("clip is missing: the checkpoint has no text encoder, load one and connect it.")
        levels = parse_prompts(prompts, negative, zoom, prefix, suffix, count, loop)
        unknown = unknown_words(clip, [text for level in levels for text in (level.prompt, level.negative)])
        if unknown:
            warn(cls, f"The demo model does not know these words: {', '.join(unknown)}.")
        encoded = {}
        for i, level in enumerate(levels):
            for name, text in (("prompt", level.prompt), ("negative", level.negative)):
                if text not in encoded:
                    comfy.model_management.throw_exception_if_processing_interrupted()
                    encoded[text] = clip.encode_from_tokens_scheduled(clip.tokenize(text))
                    if not all(bool(torch.isfinite(cond).all()) for cond, _ in encoded[text]):
                        raise ValueError(
                            f"level {i}: the text encoder gives NaN or infinite values for {name} {opening(text)}. Is "
                            "there a very large weight in it, such as (word:1e30)?"
                        )
        return io.NodeOutput(
            [encoded[level.prompt] for level in levels], [encoded[level.negative] for level in levels], levels
        )


NODES = [ZoomPromptList]
