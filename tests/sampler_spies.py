"""Looking over a sampler's shoulder: what it draws and what the model's clean estimates were."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import comfy.model_patcher
import comfy.samplers
import torch


@dataclass
class Seen:
    """What one sampling run saw."""

    noise: list[torch.Tensor] = field(default_factory=list)
    denoised: list[torch.Tensor] = field(default_factory=list)
    uncond: list[torch.Tensor] = field(default_factory=list)


class _Model:
    """A sampler's model that notes what it returns, and the unconditional estimates that the sampler's hooks see."""

    def __init__(self, model, seen: Seen):
        self._model, self._seen = model, seen

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, x, sigma, **arguments):
        def note(args):
            self._seen.uncond.append(args["uncond_denoised"].clone())
            return args["denoised"]

        hooked = len(arguments["model_options"].get("sampler_post_cfg_function", []))
        if hooked:
            arguments["model_options"] = comfy.model_patcher.set_model_options_post_cfg_function(
                arguments["model_options"], note
            )
        denoised = self._model(x, sigma, **arguments)
        if hooked:
            self._seen.denoised.append(denoised.clone())
        return denoised


def spied_sampler(name: str) -> tuple[comfy.samplers.KSAMPLER, Seen]:
    """The core's sampler `name`, and what it will have seen."""
    return spied(comfy.samplers.sampler_object(name))


def spied(sampler: comfy.samplers.KSAMPLER) -> tuple[comfy.samplers.KSAMPLER, Seen]:
    """The same sampler, and what it will have seen."""
    seen = Seen()
    function = sampler.sampler_function

    def noting(draw):
        def noted(*interval):
            noise = draw(*interval)
            seen.noise.append(noise.clone())
            return noise

        return noted

    @functools.wraps(function)
    def looked_at(model, *args, **kwargs):
        if kwargs.get("noise_sampler") is not None:
            kwargs["noise_sampler"] = noting(kwargs["noise_sampler"])
        return function(_Model(model, seen), *args, **kwargs)

    return comfy.samplers.KSAMPLER(looked_at, sampler.extra_options, sampler.inpaint_options), seen
