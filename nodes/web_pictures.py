"""Pictures of levels for the browser: small ones for the level editor, whole ones for the viewer and its page."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy_api.v0_0_2 import io, ui

from ..zoom_core.web_levels import level_webp

SIDE, THUMBNAIL_QUALITY = 384, 85
SUBFOLDER = "zoom_levels"
# Encoding is WebP's own code, one level a thread.
WORKERS = 4


def save_thumbnails(levels: torch.Tensor) -> list[ui.SavedResult]:
    """One WebP file a level in ComfyUI's temp folder, at most 384 pixels a side.

    levels: [N, 3, H, W] in 0..1.
    """
    folder = Path(folder_paths.get_temp_directory(), SUBFOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    run = uuid.uuid4().hex[:12]
    saved = []
    for i, level in enumerate(levels):
        name = f"{run}_{i:02}.webp"
        (folder / name).write_bytes(level_webp(level, THUMBNAIL_QUALITY, SIDE))
        saved.append(ui.SavedResult(name, SUBFOLDER, io.FolderType.temp))
    return saved


def encoded_levels(stack, quality: int, largest_side: int):
    """The levels as WebP files, outermost first, with progress; ends when the run is interrupted."""
    progress = comfy.utils.ProgressBar(len(stack))
    encode = partial(level_webp, quality=quality, largest_side=largest_side)
    with ThreadPoolExecutor(max_workers=min(WORKERS, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(encode, layer) for layer in stack.layers]
        try:
            for job in jobs:
                comfy.model_management.throw_exception_if_processing_interrupted()
                yield job.result()
                progress.update(1)
        finally:
            for job in jobs:
                job.cancel()
