"""ZoomPromptWriter: what to ask a language model for."""

from comfy_api.v0_0_2 import io

from ..zoom_core.instruction import TASKS, write_instruction
from ..zoom_core.levels import MAX_LEVELS, MAX_ZOOM, MIN_ZOOM
from .types import CATEGORY


class ZoomPromptWriter(io.ComfyNode):
    """The instruction for a text-generating node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomPromptWriter",
            display_name="Zoom Prompt Writer",
            category=CATEGORY,
            description=(
                "Writes the instruction that asks a language model for the prompts of a zoom. Connect it to the prompt "
                "of Generate Text (or any node that answers with text), and the answer to Zoom Prompt List."
            ),
            search_aliases=["llm prompts", "zoom instruction", "powers of ten", "prompt generator"],
            inputs=[
                io.String.Input(
                    "theme",
                    multiline=True,
                    default="from a spiral galaxy down to the cells of a leaf",
                    tooltip="What the zoom is about: where it begins, where it ends, what it passes.",
                ),
                io.Int.Input(
                    "levels",
                    default=8,
                    min=2,
                    max=MAX_LEVELS,
                    tooltip="How many prompts to ask for. Give Zoom Prompt List the same number as count.",
                ),
                io.Float.Input(
                    "zoom",
                    default=2.0,
                    min=MIN_ZOOM,
                    max=MAX_ZOOM,
                    step=0.05,
                    tooltip="How much closer each level is than the one before it; the same as on Zoom Prompt List.",
                ),
                io.String.Input(
                    "style", default="", tooltip="A look that all prompts share, for example: detailed photograph."
                ),
                io.Combo.Input(
                    "task",
                    options=list(TASKS),
                    default=TASKS[0],
                    optional=True,
                    tooltip=(
                        "Ask for all prompts at once; or, of a model that looks at pictures, for what comes next after "
                        "the picture of a level."
                    ),
                ),
            ],
            outputs=[io.String.Output("instruction", tooltip="For the prompt input of a text-generating node.")],
        )

    @classmethod
    def execute(cls, theme, levels, zoom, style, task=TASKS[0]) -> io.NodeOutput:
        return io.NodeOutput(write_instruction(theme, levels, zoom, style, task))


NODES = [ZoomPromptWriter]
