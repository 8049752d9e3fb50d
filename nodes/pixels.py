"""The pixels behind latents, for models whose latents do not shrink like pictures do."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import torch


class PixelSpace:
    """Changes latents through their pixels, without paying for the VAE's round trip.

    vae: ComfyUI's VAE object. patcher: the model being sampled, kept loaded. Latents are in the
    model's own space, [N, C, .., H, W]; pixels are [N, 3, h, w] float32 in 0..1.
    """

    def __init__(self, vae, patcher):
        self._vae = vae
        self._patcher = patcher

    def size(self, latent: torch.Tensor) -> tuple[int, int]:
        """(height, width) in pixels of a latent's picture."""
        ratio = self._vae.spacial_compression_decode()
        return latent.shape[-2] * ratio, latent.shape[-1] * ratio

    def _each(self, function: Callable, batch: torch.Tensor) -> torch.Tensor:
        # A video VAE takes a batch for the frames of one clip.
        if self._vae.latent_dim == 3:
            return torch.cat([function(item) for item in batch.split(1)])
        return function(batch)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Latents -> pixels."""
        pixels = self._each(self._vae.decode, self._patcher.model.process_latent_out(latent))
        if pixels.ndim == 5:
            pixels = pixels.flatten(0, 1)
        return pixels[..., :3].movedim(-1, 1).to(latent.device, torch.float32)

    def encode(self, pixels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Pixels -> latents of the shape, type and device of `like`."""
        encoded = self._each(self._vae.encode, pixels.movedim(1, -1))
        return self._patcher.model.process_latent_in(encoded.to(like.device, like.dtype)).reshape(like.shape)

    def change(self, latent: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The latent moved as `function` moves its pixels.

        z + encode(f(x)) - encode(x) with x = decode(z): what the round trip loses is added back
        (LookingGlass, Chang et al. 2025, section 4), so that nothing changes where f changes nothing.
        """
        pixels = self.decode(latent)
        changed = function(pixels)
        moved = latent
        if not torch.equal(changed, pixels):
            moved = latent + self.encode(changed, latent) - self.encode(pixels, latent)
        # The VAE may have pushed the diffusion model out of memory.
        comfy.model_management.load_models_gpu([self._patcher])
        return moved
