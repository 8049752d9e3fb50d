"""N levels with their own conditioning, evaluated by ComfyUI in one batched call.

A latent batch has one conditioning for all its items, levels need one each. Where conditioning only differs in
what it says, the levels' tensors become one batch of N. Where it has areas, masks, hooks or ranges of single levels, or
where memory does not hold all levels at once, they are laid side by side along the width as one wide latent, and level
i's conditioning gets the area of level i. From there on ComfyUI's own code batches levels and cond/uncond by free
memory and handles hooks, ControlNets and several GPUs.
"""

from __future__ import annotations

import collections
import uuid
from itertools import zip_longest
from typing import Any, NamedTuple

import comfy.model_patcher
import comfy.patcher_extension
import comfy.samplers
import torch

from .layout import join, split

LEVEL_BITS = 0xFF
WRAPPER_KEY = "zoom_stack"
# Our mark on conditioning entries of all levels.
MARK = "zoom_stack"
# What entries of one batch must have in common, and what only a level by itself can have.
SHARED = ("strength", "timestep_start", "timestep_end", "control", "hooks")
SINGLE = ("area", "mask", "gligen", "default")
# ComfyUI keeps this much room above its own estimate of a call.
HEADROOM = 1.5


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
    assert seen is not None  # only an entry with a range of time can be left out
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
    placed[MARK] = _Wide(index)
    return placed


def _id_of_level(index: int) -> uuid.UUID:
    """A random id of a conditioning entry whose last bits tell the level."""
    return uuid.UUID(int=(uuid.uuid4().int & ~LEVEL_BITS) | index)


class _Batch(NamedTuple):
    """The mark of an entry of all levels as one batch: what it was made of.

    model_conds: the entry's own, for telling whether a patch of the model has put others in. wide: the same entries,
    `total` in number, side by side.
    """

    model_conds: dict[str, Any]
    wide: list[dict[str, Any]]
    total: int


class _Wide(NamedTuple):
    """The mark of an entry of the wide latent."""

    level: int


def _together(entries: tuple[dict[str, Any], ...]) -> dict[str, Any] | None:
    """One entry of every level as one entry of the batch, or None where they differ in more than their tensors."""
    first = entries[0]
    for entry in entries:
        if any(name in entry for name in SINGLE) or entry["model_conds"].keys() != first["model_conds"].keys():
            return None
        if any(entry.get(name) is not first.get(name) and entry.get(name) != first.get(name) for name in SHARED):
            return None
    joined = {}
    for name, cond in first["model_conds"].items():
        parts = [entry["model_conds"][name].process_cond(batch_size=1, area=None) for entry in entries]
        if not all(type(part) is type(parts[0]) and parts[0].can_concat(part) for part in parts):
            return None
        joined[name] = cond._copy_with(parts[0].concat(parts[1:]))
    return {**first, "model_conds": joined, "uuid": uuid.uuid4()}


def place(level_conds: list[list[dict[str, Any]]], noise: torch.Tensor) -> list[dict[str, Any]]:
    """Processed conditioning of every level -> conditioning of all of them, for `calc_cond_batch_wrapper`.

    noise: [N, C, .., H, W], for its shape and device.
    """
    count = len(level_conds)
    placed = [
        [_placed(entry, torch.zeros_like(noise[:1]), index, count) for entry in entries]
        for index, entries in enumerate(level_conds)
    ]
    # The core evaluates the last entry first. Backwards, a call gets what it gets for a batch of N:
    # all levels in order, once for each entry.
    wide = [entry for ranked in zip_longest(*reversed(placed)) for entry in ranked if entry is not None]
    if len({len(entries) for entries in level_conds}) > 1:
        return wide
    batches = []
    for ranked in zip(*level_conds):
        entry = _together(ranked)
        if entry is None:
            return wide
        batches.append(entry)
    return [{**entry, MARK: _Batch(entry["model_conds"], wide, len(batches))} for entry in batches]


def _is_wide(cond: list[dict[str, Any]] | None) -> bool:
    """Whether these entries are of the wide latent; raises ValueError where some are."""
    wide = [isinstance(entry.get(MARK), _Wide) for entry in cond or ()]
    if any(wide) and not all(wide):
        raise ValueError(
            "A patch of the model adds conditioning of its own to that of the levels, which differ in areas, masks, "
            "hooks or time ranges: take the patch off, or give every level conditioning of the same kind."
        )
    return any(wide)


def _too_large(model, cond: list[dict[str, Any]] | None, x: torch.Tensor) -> bool:
    """Whether the memory that is free holds less than N levels in one call, as the core estimates it."""
    free = model.current_patcher.get_free_memory(x.device)
    for entry in cond or ():
        shapes = collections.defaultdict(list)
        for name, value in entry["model_conds"].items():
            shapes[name].append(value.size())
        if model.memory_required(list(x.shape), cond_shapes=shapes) * HEADROOM >= free:
            return True
    return False


def _made_wide(cond: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The same entries side by side; None for what is not the levels' own, or was changed since."""
    if not cond or _is_wide(cond):
        return cond
    first = cond[0].get(MARK)
    if first is None or len(cond) != first.total:
        return None
    marks = [entry.get(MARK) for entry in cond]
    ours = all(
        mark is not None and mark.wide is first.wide and entry["model_conds"] is mark.model_conds
        for entry, mark in zip(cond, marks)
    )
    return first.wide if ours else None


def calc_cond_batch_wrapper(executor, model, conds, x_in, timestep, model_options):
    """CALC_COND_BATCH wrapper: evaluates a batch of levels.

    It sits below every caller (sampling, and model patches that evaluate once more, such as
    perturbed-attention guidance), so all of them see an ordinary batch of N. Conditioning that is not
    the levels' own (a patch's empty prompt, say) is the whole batch's, as the core has it.
    """
    cut = (
        any(_is_wide(cond) for cond in conds)
        or "multigpu_clones" in model_options
        or any(_too_large(model, cond, x_in) for cond in conds)
    )
    if not cut:
        return executor(model, conds, x_in, timestep, model_options)
    wide = {i: made for i, cond in enumerate(conds) if (made := _made_wide(cond)) is not None}
    whole = [i for i, cond in enumerate(conds) if cond is not None and i not in wide]
    results: list[torch.Tensor | None] = [None] * len(conds)
    if whole:
        for i, result in zip(whole, executor(model, [conds[i] for i in whole], x_in, timestep, model_options)):
            results[i] = result
    options = comfy.model_patcher.create_model_options_clone(model_options)
    kind = comfy.patcher_extension.WrappersMP.APPLY_MODEL
    patches = _Patches(x_in.shape[0])
    comfy.patcher_extension.add_wrapper_with_key(kind, WRAPPER_KEY, patches, options, is_model_options=True)
    # What is absent (no unconditional call at a cfg of 1) comes out as the core gives it, zeros.
    rest = [i for i in range(len(conds)) if i not in whole]
    for i, result in zip(rest, executor(model, [wide.get(i) for i in rest], join(x_in), timestep[:1], options)):
        results[i] = split(result, x_in.shape[0])
    return results


class _Scattered(list):
    """`cond_or_uncond` of a call without all levels: tells whose a slice is, but not the batch's halves."""

    def index(self, *args):
        raise ValueError(
            "a patch of the model (such as Self-Attention Guidance or Normalized Attention Guidance) needs all levels "
            "in one call of the model, but they had to be cut up. Use fewer or smaller levels (memory), prompts of one "
            "length, and no areas, masks, hooks or time ranges of single levels; or take the patch off."
        )


class _Patches:
    """APPLY_MODEL wrapper: tells model patches of `count` levels what they hear of a batch of `count`.

    Patches cut a call into as many slices as `cond_or_uncond` has entries, and take a slice for
    the whole batch.
    """

    def __init__(self, count: int):
        self._count = count

    def __call__(self, executor, x, t, c_concat, c_crossattn, control, transformer_options, **conds):
        kinds, ids = transformer_options["cond_or_uncond"], transformer_options["uuids"]
        levels = [identity.int & LEVEL_BITS for identity in ids]
        batches = [kinds[i : i + self._count] for i in range(0, len(kinds), self._count)]
        whole = levels == list(range(self._count)) * len(batches) and all(len(set(batch)) == 1 for batch in batches)
        told = [batch[0] for batch in batches] if whole else _Scattered(kinds)
        options = {**transformer_options, "cond_or_uncond": told}
        return executor(x, t, c_concat, c_crossattn, control, options, **conds)
