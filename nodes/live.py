"""Tells the browser how the levels of a running sampler lie, so that its preview can be looked at as a zoom."""

from __future__ import annotations

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ..zoom_core.geometry import Geometry
from ..zoom_core.levels import ZoomLevels
from ..zoom_core.web_levels import describe_levels

EVENT = "zoom_stack.sampling"


def announce(levels: ZoomLevels, geometry: Geometry, columns: int) -> None:
    """One message a run: sizes, insets and prompts, and in how many columns the preview shows the levels."""
    context = get_executing_context()
    if context is None:
        # A script: only a server executes graphs.
        return
    message = {**describe_levels(levels, geometry), "node": context.node_id, "columns": columns}
    PromptServer.instance.send_sync(EVENT, message, PromptServer.instance.client_id)
