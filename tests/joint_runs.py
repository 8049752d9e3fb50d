"""Running the pack's sampler node and the core's KSampler on the same terms, in the test's own process."""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.utils
import torch
from zoom_stack_pack.nodes.sampling import MultiScaleJointKSampler

from zoom_core import ZoomLevels, consolidate

comfy.utils.set_progress_bar_enabled(False)

# The node's own defaults, with settings that suit tiny models.
SETTINGS: dict[str, Any] = {
    **{i.id: i.default for i in MultiScaleJointKSampler.define_schema().inputs if hasattr(i, "default")},
    **dict(seed=7, steps=4, cfg=3.0, sampler_name="euler", scheduler="normal"),
}
# Levels of the `toy` and `prompts` fixtures.
TOY_LEVELS = 3
# How close runs come that only differ in how ComfyUI cuts up its batches.
CLOSE = 5e-5
# What makes the joint sampler a plain KSampler.
PLAIN = dict(blending="none", shared_noise=False)


@torch.inference_mode()
def joint(model, positive: list, negative: list, latent: torch.Tensor | dict, levels=None, **changed) -> torch.Tensor:
    """The node's samples [N, ...]; `changed` overrides SETTINGS."""
    latent = latent if isinstance(latent, dict) else {"samples": latent}
    levels = levels or ZoomLevels.uniform(max(len(positive), len(negative)))
    single = {"model": model, "levels": levels, **SETTINGS, **changed}
    lists = {name: [value] for name, value in single.items() if value is not None}
    output = MultiScaleJointKSampler.execute(positive=positive, negative=negative, latent_image=[latent], **lists)
    return output.args[0]["samples"]


@torch.inference_mode()
def core(model, positive, negative, latent: torch.Tensor, noise: torch.Tensor, mask=None, **changed) -> torch.Tensor:
    """comfy.sample.sample with one conditioning for the whole batch; what a KSampler node does."""
    s = {**SETTINGS, **changed}
    return comfy.sample.sample(
        model, noise, s["steps"], s["cfg"], s["sampler_name"], s["scheduler"], positive, negative, latent,
        denoise=s["denoise"], noise_mask=mask, disable_pbar=True, seed=s["seed"],
    )  # fmt: skip


def core_levels(model, positive: list, negative: list, latent: torch.Tensor, mask=None, **changed) -> torch.Tensor:
    """Every level by itself through the core, with the noise that a batch of N latents gets."""
    count = max(len(positive), len(negative))
    latent = latent if latent.shape[0] == count else latent.repeat(count, *[1] * (latent.ndim - 1))
    noise = comfy.sample.prepare_noise(latent, {**SETTINGS, **changed}["seed"])
    return torch.cat(
        [
            core(
                model,
                positive[i if len(positive) > 1 else 0],
                negative[i if len(negative) > 1 else 0],
                latent[i : i + 1],
                noise[i : i + 1],
                None if mask is None else mask[i : i + 1],
                **changed,
            )
            for i in range(count)
        ]
    )


def core_batch(model, positive: list, negative: list, latent: torch.Tensor, **changed) -> torch.Tensor:
    """As `core_levels`, each level taken out of a run of the whole batch: for samplers that draw noise,
    which draw it for a batch at once."""
    noise = comfy.sample.prepare_noise(latent, {**SETTINGS, **changed}["seed"])
    return torch.cat(
        [core(model, p, n, latent, noise, **changed)[i : i + 1] for i, (p, n) in enumerate(zip(positive, negative))]
    )


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, in units of the larger of 1 and b's standard deviation."""
    assert a.shape == b.shape
    assert torch.isfinite(a).all() and torch.isfinite(b).all()
    return float((a - b).abs().max() / b.std().clamp_min(1))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Seeded uniform numbers in 0..1."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def check_equal(model, positive, negative, latent, mask=None, closeness=CLOSE, **changed) -> torch.Tensor:
    """Assert that every level is the core's; gives the samples."""
    given = {"samples": latent} if mask is None else {"samples": latent, "noise_mask": mask}
    ours = joint(model, positive, negative, given, **changed, **PLAIN)
    assert difference(ours, core_levels(model, positive, negative, latent, mask, **changed)) < closeness
    return ours


def check_agreement(model, positive, negative, latent, **changed) -> None:
    """Assert that blended levels agree, and are not what they were without blending."""
    count = max(len(positive), len(negative))
    ours = joint(model, positive, negative, latent, **changed)
    images = model.model.process_latent_in(ours).flatten(1, -3)
    geometry = ZoomLevels.uniform(count).resolve(*ours.shape[-2:])
    assert difference(consolidate(images, geometry), images) < 2e-5
    plain = joint(model, positive, negative, latent, blending="none", **changed)
    assert difference(ours, plain) > 0.01
