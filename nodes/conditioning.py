"""Conditioning of one level, out of conditioning that holds a batch of N.

The core gives item i of a batch to latent i. Levels are conditioned one by one, so what is a batch of N has
to be cut up before the core sees it: it would take the first item for every level.
"""

from __future__ import annotations

import copy
from typing import Any

import comfy.clip_vision
import torch

# Tensors and lists of tensors whose first axis is the batch, by the names that the core's models read.
BATCHED = {
    "cross_attn": "the prompt",
    "pooled_output": "the prompt's pooled output",
    "attention_mask": "the prompt's attention mask",
    "concat_latent_image": "the picture to inpaint or edit",
    "concat_mask": "the inpainting mask",
    "concat_image": "the picture to continue",
    "reference_latents": "a reference latent",
    "mask": "the conditioning's mask",
}


class LevelCut:
    """Cuts conditioning of `count` levels up; one object for one run, since levels share ControlNets."""

    def __init__(self, count: int):
        self._count = count
        self._controls: dict[tuple[int, int], Any] = {}

    def entries(self, entries: list[dict], index: int, name: str) -> list[dict]:
        """The entries of a CONDITIONING, in the form that the core's guiders keep, of level `index`.

        name: of the input, for messages. Raises ValueError naming what has another batch than 1 or N.
        """
        return [self._entry(entry, index, name) for entry in entries]

    def _entry(self, entry: dict, index: int, name: str) -> dict:
        own = {key: self._of_level(value, index, name, key) for key, value in entry.items()}
        if entry.get("control") is not None:
            own["control"] = self._control(entry["control"], index, name)
        return own

    def _of_level(self, value: Any, index: int, name: str, key: str) -> Any:
        if torch.is_tensor(value):
            # A mask [H, W] has no batch.
            if value.ndim < 2 or (key == "mask" and value.ndim == 2):
                return value
            if key in BATCHED or value.shape[0] == self._count:
                return self._cut(value, index, f"{name}: {BATCHED.get(key, key)}")
        elif isinstance(value, list) and value and all(torch.is_tensor(item) for item in value):
            return [self._of_level(item, index, name, key) for item in value]
        elif isinstance(value, comfy.clip_vision.Output):
            own = copy.copy(value)
            for part, tensor in vars(value).items():
                setattr(own, part, self._of_level(tensor, index, name, part))
            return own
        return value

    def _cut(self, batch: torch.Tensor, index: int, what: str) -> torch.Tensor:
        if batch.shape[0] == 1:
            return batch
        if batch.shape[0] != self._count:
            expected = "1" if self._count == 1 else f"1 or {self._count}"
            raise ValueError(f"{what} has a batch of {batch.shape[0]}, levels has {self._count}: give {expected}.")
        return batch[index : index + 1]

    def _control(self, control: Any, index: int, name: str) -> Any:
        """The ControlNet of one level: the same object where its hints are for all levels."""
        key = (id(control), index)
        if key not in self._controls:
            what = f"{name}: the picture of a ControlNet"
            # An object of another pack's own may keep no hint here.
            hint = getattr(control, "cond_hint_original", None)
            extra = getattr(control, "extra_concat_orig", [])
            before = getattr(control, "previous_controlnet", None)
            own_hint = None if hint is None else self._cut(hint, index, what)
            own_extra = [self._cut(picture, index, what) for picture in extra]
            own_before = None if before is None else self._control(before, index, name)
            same = own_hint is hint and own_before is before and all(a is b for a, b in zip(own_extra, extra))
            own = control
            if not same:
                own = control.copy()
                own.cond_hint_original = own_hint
                own.extra_concat_orig = own_extra
                own.set_previous_controlnet(own_before)
            # The original is kept with it, so that its id stays its own.
            self._controls[key] = (control, own)
        return self._controls[key][1]
