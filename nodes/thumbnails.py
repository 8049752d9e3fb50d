"""Small pictures of levels in ComfyUI's temp folder, for the level editor in the browser."""

from __future__ import annotations

import os
import uuid

import folder_paths
import torch
from comfy_api.v0_0_2 import io, ui
from PIL import Image

SIDE = 384
SUBFOLDER = "zoom_levels"


def save_thumbnails(levels: torch.Tensor) -> list[ui.SavedResult]:
    """One WebP file a level, at most 384 pixels a side.

    levels: [N, 3, H, W] in 0..1.
    """
    folder = os.path.join(folder_paths.get_temp_directory(), SUBFOLDER)
    os.makedirs(folder, exist_ok=True)
    run = uuid.uuid4().hex[:12]
    saved = []
    for i, level in enumerate(levels):
        pixels = (level.clamp(0, 1) * 255).round().to("cpu", torch.uint8).movedim(0, -1).numpy()
        picture = Image.fromarray(pixels)
        picture.thumbnail((SIDE, SIDE))
        name = f"{run}_{i:02}.webp"
        picture.save(os.path.join(folder, name), quality=85)
        saved.append(ui.SavedResult(name, SUBFOLDER, io.FolderType.temp))
    return saved
