"""Files in ComfyUI's output folder, numbered, never in another's place."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import folder_paths
from comfy_api.v0_0_2 import io, ui

from ..zoom_core import ZoomStack, files


def save_output(
    stack: ZoomStack, filename_prefix: str, suffix: str, write: Callable[[Path], object]
) -> tuple[ui.SavedResult, Path]:
    """A new file below the output folder, for the page and as a path; `write` fills an empty one of another name.

    Raises ValueError for a prefix that is longer than a file's name may be.
    """
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        filename_prefix, folder_paths.get_output_directory(), stack.width, stack.height
    )
    try:
        with files.part_in(folder, suffix) as part:
            write(part)
            # The counter was read before the file was written: another server may have used it meanwhile.
            path = files.publish_new(part, lambda number: f"{name or 'zoom'}_{number:05}_{suffix}", counter)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ValueError(f"filename_prefix is too long for a file's name, it begins {name[:40]!r}.") from error
    return ui.SavedResult(path.name, subfolder, io.FolderType.output), path
