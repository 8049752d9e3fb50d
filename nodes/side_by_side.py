"""N levels as one wide latent, so that ComfyUI evaluates all of them in one batched call.

A latent batch has one conditioning for all its items. Levels need one each, so they are laid
side by side along the width and level i's conditioning gets the area of level i. From there on
ComfyUI's own code batches levels and cond/uncond by free memory and handles hooks, ControlNets
and several GPUs.
"""

from __future__ import annotations

import uuid
from itertools import zip_longest
from typing import Any

import comfy.samplers
import torch

LEVEL_BITS = 0xFF


def join(levels: torch.Tensor) -> torch.Tensor:
    """[N, C, .., H, W] -> [1, C, .., H, N * W]."""
    return torch.cat(levels.split(1), dim=-1)


def split(wide: torch.Tensor, count: int) -> torch.Tensor:
    """[1, C, .., H, N * W] -> [N, C, .., H, W]."""
    return torch.cat(wide.chunk(count, dim=-1))


class _InLevel:
    """A model conditioning of one level that is asked for an area of the wide latent."""

    def __init__(self, cond, offset: int):
        self._cond = cond
        self._offset = offset

    def process_cond(self, batch_size: int, area=None, **kwargs):
        own = None if area is None else [*area[:-1], area[-1] - self._offset]
        return self._cond.process_cond(batch_size=batch_size, area=own, **kwargs)


def _wide_mask(weight: torch.Tensor, index: int, count: int) -> torch.Tensor:
    """A level's weight [1, .., H, W] seen as a mask [1, .., H, N * W] of the wide latent.

    Only the part over the level is ever read. Rows overlap in memory, so that N levels need
    room for their own pixels instead of N times the wide latent.
    """
    rows, width = weight[0].numel() // weight.shape[-1], weight.shape[-1]
    storage = weight.new_zeros((rows + count) * width)
    storage[index * width : index * width + weight.numel()] = weight.flatten()
    shape = (*weight.shape[:-1], count * width)
    strides = [1, width]
    for size in reversed(weight.shape[1:-1]):
        strides.append(strides[-1] * size)
    return storage.as_strided(shape, tuple(reversed(strides)))


def _placed(entry: dict[str, Any], level: torch.Tensor, index: int, count: int) -> dict[str, Any]:
    """One conditioning entry of level `index`, moved to its place in the wide latent."""
    if "default" in entry:
        raise ValueError(
            f"level {index}: default conditioning (Cond Set Default Combine) is not supported by the joint "
            "sampler; give every level its own masks instead."
        )
    # The core's own weights of this entry in a latent of one level: strength, mask and feathered edges.
    alone = {
        k: v for k, v in entry.items() if k not in ("timestep_start", "timestep_end", "gligen", "control", "hooks")
    }
    seen = comfy.samplers.get_area_and_mult({**alone, "model_conds": {}}, level, level.new_zeros(1))
    dims = level.ndim - 2
    area = seen.area or [*level.shape[2:], *[0] * dims]
    weight = torch.zeros_like(level[:, 0])
    inside = tuple(slice(area[dims + d], area[dims + d] + area[d]) for d in range(dims))
    weight[(slice(None), *inside)] = seen.mult[:, 0]
    offset = index * level.shape[-1]
    placed = {k: v for k, v in entry.items() if k not in ("strength", "mask_strength", "set_area_to_bounds")}
    placed["area"] = (*area[:-1], area[-1] + offset)
    placed["mask"] = _wide_mask(weight, index, count)
    placed["model_conds"] = {k: _InLevel(v, offset) for k, v in entry["model_conds"].items()}
    # Levels may share one conditioning; caches keyed by its id must not take them for one another.
    placed["uuid"] = _id_of_level(index)
    return placed


def _id_of_level(index: int) -> uuid.UUID:
    """A random id of a conditioning entry whose last bits tell the level."""
    return uuid.UUID(int=(uuid.uuid4().int & ~LEVEL_BITS) | index)


def place(level_conds: list[list[dict[str, Any]]], noise: torch.Tensor) -> list[dict[str, Any]]:
    """Processed conditioning of every level -> conditioning of the wide latent.

    noise: [N, C, .., H, W], for its shape and device.
    """
    count = len(level_conds)
    placed = [
        [_placed(entry, torch.zeros_like(noise[:1]), index, count) for entry in entries]
        for index, entries in enumerate(level_conds)
    ]
    # The core evaluates the last entry first. Backwards, a call gets what it gets for a batch of N:
    # all levels in order, once for each entry.
    return [entry for ranked in zip_longest(*reversed(placed)) for entry in ranked if entry is not None]


def calc_cond_batch_wrapper(executor, model, conds, x_in, timestep, model_options):
    """CALC_COND_BATCH wrapper: evaluates a batch of levels side by side.

    It sits below every caller (sampling, and model patches that evaluate once more, such as
    perturbed-attention guidance), so all of them see an ordinary batch of N.
    """
    results = executor(model, conds, join(x_in), timestep[:1], model_options)
    return [split(result, x_in.shape[0]) for result in results]


class _Scattered(list):
    """`cond_or_uncond` of a call of the model without all levels: tells whose a slice is, but not the batch's halves."""

    def index(self, *args):
        raise ValueError(
            "a patch of the model (such as Self-Attention Guidance or Normalized Attention Guidance) needs all levels "
            "in one call of the model, but they had to be cut up. Use fewer or smaller levels (memory), prompts of one "
            "length, and no areas, masks, hooks or time ranges of single levels; or take the patch off."
        )


def apply_model_wrapper(count: int, executor, x, t, c_concat, c_crossattn, control, transformer_options, **conds):
    """APPLY_MODEL wrapper: tells model patches of `count` levels what they hear of a batch of `count`.

    Patches cut a call into as many slices as `cond_or_uncond` has entries, and take a slice for
    the whole batch.
    """
    kinds, ids = transformer_options["cond_or_uncond"], transformer_options["uuids"]
    levels = [identity.int & LEVEL_BITS for identity in ids]
    batches = [kinds[i : i + count] for i in range(0, len(kinds), count)]
    whole = levels == list(range(count)) * len(batches) and all(len(set(batch)) == 1 for batch in batches)
    told = [batch[0] for batch in batches] if whole else _Scattered(kinds)
    options = {**transformer_options, "cond_or_uncond": told}
    return executor(x, t, c_concat, c_crossattn, control, options, **conds)
