"""Between ComfyUI's pictures [N, H, W, C] and zoom_core's [N, C, H, W]."""

from __future__ import annotations

import comfy.model_management
import torch

from ..zoom_core import Geometry, ZoomLevels
from .layout import check_insets


def levels_from_images(images: list[torch.Tensor]) -> torch.Tensor:
    """[N, 3, H, W] float32 from a list of batches, as a node with list inputs gets them.

    Raises ValueError where they differ in size.
    """
    if not images:
        raise ValueError("images is an empty list: connect at least one picture.")
    for batch in images:
        if batch.ndim != 4:
            raise ValueError(f"images must be [batch, height, width, channels], got the shape {tuple(batch.shape)}.")
        if 0 in batch.shape:
            raise ValueError(f"images are empty: they have the shape {tuple(batch.shape)}.")
    sizes = {tuple(batch.shape[1:3]) for batch in images}
    if len(sizes) > 1:
        found = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise ValueError(
            f"images must all have one size (width x height), got {found}: bring them to one size first, "
            "for example with Upscale Image."
        )
    if any(batch.shape[-1] not in (3, 4) for batch in images):
        raise ValueError("images must be colour pictures with 3 channels (a fourth, alpha, is left out).")
    # On the processor: a stack may be larger than what a GPU has to spare.
    return torch.cat([batch[..., :3].to("cpu", torch.float32) for batch in images]).movedim(-1, 1).contiguous()


def images_from_levels(levels: torch.Tensor) -> torch.Tensor:
    """[N, H, W, C] where and as ComfyUI keeps pictures between nodes."""
    return (
        levels.movedim(1, -1)
        .contiguous()
        .to(comfy.model_management.intermediate_device(), comfy.model_management.intermediate_dtype())
    )


def levels_for(
    images: torch.Tensor, levels: ZoomLevels | None, zoom: float, loop: bool = False
) -> tuple[ZoomLevels, Geometry]:
    """The levels that N pictures show, and where they lie on the pictures' own grid.

    Raises ValueError where the numbers do not match.
    """
    count, height, width = images.shape[0], images.shape[2], images.shape[3]
    if levels is None:
        levels = ZoomLevels.uniform(count, zoom, loop)
    if len(levels) != count:
        raise ValueError(f"images has {count} pictures, levels has {len(levels)} levels: give one picture a level.")
    geometry = levels.geometry
    if geometry is None:
        geometry = levels.resolve(height, width)
        check_insets(geometry, "images", "pixels")
        levels = levels.with_geometry(geometry)
    return levels, geometry.scaled(height, width)
