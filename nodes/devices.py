"""Where pictures of a stack are computed."""

from __future__ import annotations

from typing import cast

import comfy.model_management
import torch

from ..zoom_core.stack import ZoomStack

# A GPU renders when it has this many times the room that two levels and a frame take.
_GPU_HEADROOM = 4
# Levels that fusing and checking take at most at one time, at the smallest zoom (tests/test_devices.py measures it).
LEVELS_AT_ONCE = 10


def free_memory(device: torch.device) -> int:
    """Bytes that ComfyUI has to spare on a device."""
    # A pair only for who asks for one.
    return cast(int, comfy.model_management.get_free_memory(device))


def _gpu_with_room(lies: torch.device, needed: int) -> torch.device:
    """ComfyUI's GPU where it has `needed` bytes to spare, else where the levels lie."""
    device = comfy.model_management.get_torch_device()
    if device.type != "cuda" or lies.type != "cpu":
        return lies
    return lies if free_memory(device) < needed else device


def render_device(stack: ZoomStack, height: int, width: int) -> torch.device:
    """Where to render: the GPU when ComfyUI has one with room to spare, else where the stack lies."""
    needed = 4 * stack.layers.shape[1] * (2 * stack.height * stack.width + 2 * height * width)
    return _gpu_with_room(stack.layers.device, _GPU_HEADROOM * needed)


def levels_device(pictures: torch.Tensor) -> torch.device:
    """Where to fuse or check N pictures [N, C, H, W] level by level: as for `render_device`."""
    return _gpu_with_room(pictures.device, LEVELS_AT_ONCE * 4 * pictures[0].numel())
