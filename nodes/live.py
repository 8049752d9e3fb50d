"""Shows all levels of a running sampler, and tells the browser how they lie: its preview can be looked at as a zoom."""

from __future__ import annotations

from collections.abc import Callable

import torch
from comfy_execution.utils import get_executing_context

from ..zoom_core.geometry import Geometry
from ..zoom_core.levels import ZoomLevels
from ..zoom_core.web_levels import describe_levels
from .layout import strip
from .notes import running_server

EVENT = "zoom_stack.sampling"


def announce(levels: ZoomLevels, geometry: Geometry, columns: int) -> None:
    """One message a run: sizes, insets and prompts, and in how many columns the preview shows the levels."""
    context, server = get_executing_context(), running_server()
    if context is None or server is None:
        # A script: only a server executes graphs.
        return
    message = {**describe_levels(levels, geometry), "node": context.node_id, "columns": columns}
    server.send_sync(EVENT, message, server.client_id)


class LevelPreviews:
    """A sampler's callback (step, x0, x, steps) that shows the core's previewer all levels instead of the first.

    The core's advanced sampler takes its "denoised_output" from what the callback was given last: `finish`
    hands it the levels as they are.
    """

    def __init__(self, callback: Callable):
        self._callback = callback
        self._last: tuple | None = None

    def __call__(self, step: int, x0: torch.Tensor, x: torch.Tensor, steps: int) -> None:
        self._last = step, x0, x, steps
        self._callback(step, strip(x0), x, steps)

    def finish(self) -> None:
        if self._last is not None:
            self._callback(*self._last)
