"""Where pictures of a stack are computed."""

from __future__ import annotations

import comfy.model_management
import torch

from ..zoom_core.stack import ZoomStack

# A GPU renders when it has this many times the room that two levels and a frame take.
_GPU_HEADROOM = 4


def render_device(stack: ZoomStack, height: int, width: int) -> torch.device:
    """Where to render: the GPU when ComfyUI has one with room to spare, else where the stack lies."""
    device = comfy.model_management.get_torch_device()
    if device.type != "cuda" or stack.layers.device.type != "cpu":
        return stack.layers.device
    needed = 4 * stack.layers.shape[1] * (2 * stack.height * stack.width + 2 * height * width)
    if comfy.model_management.get_free_memory(device) < _GPU_HEADROOM * needed:
        return stack.layers.device
    return device
