"""The layout of levels: [N, C, .., H, W] latents, one a level, with the masks and lists that come with them.

The only module that knows which axis is which. N levels are one batch; image models have [N, C, H, W],
video models [N, C, 1, H, W] (a single frame).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import interpolate

from ..zoom_core import Geometry, ZoomLevels

STRIP = 6


def check_latent(samples: torch.Tensor, count: int | None = None, name: str = "latent_image") -> None:
    """Raises ValueError where `samples` are not single pictures [N, C, .., H, W] (of `count` levels).

    name: of the input, for messages.
    """
    if samples.is_nested:
        raise ValueError(f"{name} holds several latents at once (audio and video): joint sampling needs images.")
    if samples.ndim not in (4, 5):
        raise ValueError(
            f"{name} has {samples.ndim} dimensions, {tuple(samples.shape)}: joint sampling needs images, "
            "[batch, channels, height, width] or with one frame before the height."
        )
    if 0 in samples.shape:
        raise ValueError(f"{name} is empty: it has the shape {tuple(samples.shape)}.")
    if samples.ndim == 5 and samples.shape[2] != 1:
        raise ValueError(f"{name} has {samples.shape[2]} frames: joint sampling needs single images.")
    if count is not None and samples.shape[0] != count:
        raise ValueError(f"{name} has a batch of {samples.shape[0]}, levels has {count} levels: they must agree.")


def level_latents(latents: list[dict], count: int) -> dict:
    """One latent dict with a batch of `count` levels, from a batch of 1 or N, a list of N, or N batches of N.

    Of N batches of N (a node that gives a batch, mapped over N prompts) level i is item i of batch i. A noise
    mask comes out as [N, 1, .., H, W]; where only some of a list carry one, the others are sampled whole.
    Raises ValueError for any other number, and where sizes differ.
    """
    for entry in latents:
        check_latent(entry["samples"])
    latent = latents[0].copy()
    shapes = [tuple(entry["samples"].shape[1:]) for entry in latents]
    if len(set(shapes)) > 1:
        found = ", ".join(" x ".join(map(str, shape)) for shape in dict.fromkeys(shapes))
        raise ValueError(f"latent_image must all have one size (channels x .. x height x width), got {found}.")
    masks = [level_mask(entry.get("noise_mask"), entry["samples"]) for entry in latents]
    samples = [entry["samples"] for entry in latents]
    if count > 1 and len(samples) == count and all(batch.shape[0] == count for batch in samples):
        samples = [batch[i : i + 1] for i, batch in enumerate(samples)]
        masks = [None if mask is None else mask[i : i + 1] for i, mask in enumerate(masks)]
    if any(mask is not None for mask in masks):
        filled = [torch.ones_like(s[:, :1]) if mask is None else mask for s, mask in zip(samples, masks)]
        latent["noise_mask"] = torch.cat(filled)
    latent["samples"] = samples = torch.cat(samples)
    if len(latents) > 1 or samples.shape[0] == 1:
        latent.pop("batch_index", None)
    if samples.shape[0] == 1:
        for name in ("samples", "noise_mask"):
            if latent.get(name) is not None:
                latent[name] = latent[name].repeat(count, *[1] * (samples.ndim - 1))
    elif samples.shape[0] != count:
        raise ValueError(
            f"latent_image has a batch of {samples.shape[0]}, levels has {count} levels: give 1 or {count}."
        )
    return latent


def level_mask(mask: torch.Tensor | None, samples: torch.Tensor) -> torch.Tensor | None:
    """A noise mask in any of ComfyUI's layouts -> [N, 1, .., H, W] for `samples` [N, C, .., H, W].

    The core would take N masks of a model with a time axis for N frames. Raises ValueError where the mask's
    batch is neither 1 nor N.
    """
    if mask is None:
        return None
    if mask.ndim < 2 or 0 in mask.shape:
        raise ValueError(f"noise_mask must be [batch, height, width], got the shape {tuple(mask.shape)}.")
    count, size = samples.shape[0], samples.shape[-2:]
    pictures = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    if pictures.shape[0] not in (1, count):
        raise ValueError(
            f"noise_mask has a batch of {pictures.shape[0]}, latent_image one of {count}: they must agree."
        )
    if pictures.shape[-2:] != size:
        pictures = interpolate(pictures, size=size, mode="bilinear")
    pictures = pictures.expand(count, -1, -1, -1)
    return pictures.unsqueeze(2) if samples.ndim == 5 else pictures


def held_levels(mask: torch.Tensor) -> list[int]:
    """The levels that a noise mask [N, ..] keeps as they are, whole."""
    return [i for i in range(mask.shape[0]) if not bool(mask[i].any())]


def resolve(levels: ZoomLevels, latent: torch.Tensor) -> Geometry:
    """The geometry of `levels` on the grid of a latent [N, C, .., H, W]; raises ValueError where it holds no level."""
    height, width = latent.shape[-2:]
    if min(height, width) < 2:
        raise ValueError(
            f"latent_image is {width} x {height} latent pixels (width x height): a level needs at least 2 x 2 "
            "to hold another level."
        )
    geometry = levels.geometry or levels.resolve(height, width)
    geometry = geometry.scaled(height, width)
    check_insets(geometry, "latent_image", "latent pixels")
    return geometry


def check_insets(geometry: Geometry, name: str, unit: str) -> None:
    """Raises ValueError where a level is as large as the one around it: too few pixels for its zoom."""
    for i, inset in enumerate(geometry.insets):
        if inset.height >= geometry.height or inset.width >= geometry.width:
            raise ValueError(
                f"{name} is {geometry.width} x {geometry.height} {unit} (width x height), too small for its zoom: "
                f"level {i + 1} would be as large as level {i}. Take larger pictures or a larger zoom."
            )


def as_images(function: Callable[[torch.Tensor], torch.Tensor], latent: torch.Tensor) -> torch.Tensor:
    """`function` of [N, C, H, W] applied to a latent that may have a time axis."""
    return function(latent.flatten(1, -3)).reshape(latent.shape)


def join(levels: torch.Tensor) -> torch.Tensor:
    """[N, C, .., H, W] -> [1, C, .., H, N * W], side by side."""
    return torch.cat(levels.split(1), dim=-1)


def split(wide: torch.Tensor, count: int) -> torch.Tensor:
    """[1, C, .., H, N * W] -> [N, C, .., H, W]."""
    return torch.cat(wide.chunk(count, dim=-1))


def strip_columns(count: int) -> int:
    """In how many columns `strip` shows `count` levels."""
    rows = -(-count // STRIP)
    return -(-count // rows)


def strip(levels: torch.Tensor) -> torch.Tensor:
    """[N, C, .., H, W] -> one picture [1, C, .., rows * H, columns * W] of all levels, for previews."""
    columns = strip_columns(levels.shape[0])
    rows = -(-levels.shape[0] // columns)
    filled = torch.cat([levels, levels.new_zeros(rows * columns - levels.shape[0], *levels.shape[1:])])
    return torch.cat([torch.cat(row.split(1), dim=-1) for row in filled.split(columns)], dim=-2)
