"""Sampling a part of the schedule again, from fresh noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import torch

from .agreement import noise_to_signal

# The part that is sampled again, as noise over signal: from where a scene's layout is open to where it is settled.
_FROM, _TO = 19.0, 1.0
_SEEDS_APART = 0x9E3779B9  # 2^32 over the golden ratio: torch's generator on a processor knows 32 bits of a seed


class Restarts(comfy.samplers.Sampler):
    """Another sampler, whose middle part is gone through again, `count` times (Restart sampling, Xu et al. 2023).

    What levels have come to agree on by then stays in the signal, and what does not belong together yet gets another
    chance. draw: noise like a tensor, for a seed.
    """

    def __init__(self, sampler: comfy.samplers.KSAMPLER, count: int, draw: Callable[[torch.Tensor, int], Any]):
        self._sampler, self._count, self._draw = sampler, count, draw

    def max_denoise(self, model_wrap, sigmas):
        return self._sampler.max_denoise(model_wrap, sigmas)

    def sample(
        self,
        model_wrap,
        sigmas,
        extra_args,
        callback,
        noise,
        latent_image: Any = None,
        denoise_mask=None,
        disable_pbar=False,
    ):
        ratios = [noise_to_signal(model_wrap.inner_model.model_sampling, float(sigma)) for sigma in sigmas]
        first = next((i for i, ratio in enumerate(ratios) if ratio <= _FROM), len(ratios))
        last = next((i for i, ratio in enumerate(ratios) if ratio <= _TO), len(ratios))
        count = self._count if 0 < last - first and last < len(ratios) - 1 else 0
        parts = [sigmas[first : last + 1]] * (count - 1)
        parts = [sigmas[: last + 1], *parts, sigmas[first:]] if count else [sigmas]
        total, done, given, signal = sum(len(part) - 1 for part in parts), 0, noise, latent_image
        for number, part in enumerate(parts):
            own = dict(extra_args)
            if number:
                # A sampler that adds noise on the way makes it from the seed: with the same again, errors would add up.
                own["seed"] = ((own.get("seed") or 0) + number * _SEEDS_APART) % (1 << 64)
                # The noise that is there counts; what is missing is added, in the units of the level to start from.
                fresh = self._draw(noise, own["seed"]).to(noise)
                missing = (1 - (ratios[last] / ratios[first]) ** 2) ** 0.5
                given = fresh * missing
                if denoise_mask is not None:
                    # Kept parts are not on their way: they are noised from the start.
                    given = torch.lerp(fresh, given, denoise_mask)
                    signal = torch.lerp(latent_image, signal, denoise_mask)
            report = callback and (lambda step, x0, x, _, done=done: callback(done + step, x0, x, total))
            signal = self._sampler.sample(model_wrap, part, own, report, given, signal, denoise_mask, disable_pbar)
            done += len(part) - 1
        return signal
