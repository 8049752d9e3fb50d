"""Where levels are made to agree: on the model's latents, or on the pixels behind them.

Latents are in the model's own space, [N, C, .., H, W]; pictures are [C, h, w] and images [N, C, h, w].
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..zoom_core.photograph import crop_photograph
from .layout import as_images


class LatentSpace:
    """Levels agree as latents. vae: ComfyUI's VAE object, needed for photographs only. model: a ModelPatcher."""

    def __init__(self, vae, model):
        self._vae = vae
        self._model = model

    def pixel_size(self, latent: torch.Tensor) -> tuple[int, int]:
        """(height, width) in pixels of a latent's picture."""
        ratio = self._vae.spacial_compression_decode()
        return latent.shape[-2] * ratio, latent.shape[-1] * ratio

    def size(self, latent: torch.Tensor) -> tuple[int, int]:
        """(height, width) of the grid on which levels agree."""
        height, width = latent.shape[-2:]
        return height, width

    def picture(self, latent: torch.Tensor) -> torch.Tensor:
        """A level's latent [1, C, .., H, W] as a picture on that grid."""
        return latent[0].flatten(0, -3)

    def photograph(self, image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """A photograph [3, h, w] in 0..1 of any size as a picture on that grid, for latents such as `like`."""
        return self.picture(self.encode(crop_photograph(image, *self.pixel_size(like))[None], like[:1]))

    def change(self, latent: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The latents after `function` of images [N, C, h, w]."""
        return as_images(function, latent)

    def _each(self, function: Callable, batch: torch.Tensor) -> torch.Tensor:
        # A video VAE takes a batch for the frames of one clip.
        if self._vae.latent_dim == 3:
            return torch.cat([function(item) for item in batch.split(1)])
        return function(batch)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Latents -> [N, 3, h, w] float32 in 0..1."""
        pixels = self._each(self._vae.decode, self._model.model.process_latent_out(latent))
        if pixels.ndim == 5:
            pixels = pixels.flatten(0, 1)
        return pixels[..., :3].movedim(-1, 1).to(latent.device, torch.float32)

    def encode(self, pixels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """[N, 3, h, w] in 0..1 -> latents of the shape, type and device of `like`."""
        encoded = self._each(self._vae.encode, pixels.movedim(1, -1))
        return self._model.model.process_latent_in(encoded.to(like.device, like.dtype)).reshape(like.shape)


class PixelSpace(LatentSpace):
    """Levels agree as pixels, for models whose latents do not shrink like pictures do.

    reload: brings back to the device what the VAE may have pushed out of its memory.
    """

    def __init__(self, vae, model, reload: Callable[[], None]):
        super().__init__(vae, model)
        self._reload = reload

    def size(self, latent: torch.Tensor) -> tuple[int, int]:
        return self.pixel_size(latent)

    def picture(self, latent: torch.Tensor) -> torch.Tensor:
        return self.decode(latent)[0]

    def photograph(self, image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return crop_photograph(image, *self.size(like))

    def change(self, latent: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The latents moved as `function` moves their pixels.

        z + encode(f(x)) - encode(x) with x = decode(z): what the round trip loses is added back
        (LookingGlass, Chang et al. 2025, section 4), so that nothing changes where f changes nothing.
        """
        pixels = self.decode(latent)
        changed = function(pixels)
        moved = latent
        if not torch.equal(changed, pixels):
            moved = latent + self.encode(changed, latent) - self.encode(pixels, latent)
        self._reload()
        return moved
