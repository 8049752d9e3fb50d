"""The paper's operators written down as they stand: every level from every other one, O(N^2) renders.

Generative Powers of Ten, sections 4.1 and 4.2, for whole zooms and centred levels on a grid that fits.
The yardstick of operators.py, and no part of the pack.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def shrink(image: torch.Tensor, factor: int) -> torch.Tensor:
    """[C, H, W] -> [C, H / factor, W / factor]: a truncated Gaussian of factor x factor, every factor-th sample."""
    offset = torch.arange(factor, device=image.device) - (factor - 1) / 2
    line = torch.exp(-0.5 * (offset / (factor / 2)) ** 2)
    kernel = (line[:, None] * line) / line.sum() ** 2
    return F.conv2d(image[:, None], kernel[None, None], stride=factor)[:, 0]


def place(patch: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The patch zero-padded to the frame, centred, and the mask of where it lies."""
    top, left = (height - patch.shape[-2]) // 2, (width - patch.shape[-1]) // 2
    around = (left, width - patch.shape[-1] - left, top, height - patch.shape[-2] - top)
    return F.pad(patch, around), F.pad(torch.ones_like(patch), around)


def render(layers: torch.Tensor, zoom: int, noise: bool = False) -> torch.Tensor:
    """[N, C, H, W] -> [N, C, H, W]: each level from its layer and all layers inside it."""
    count, _, height, width = layers.shape
    rendered = []
    for i in range(count):
        image = layers[i]
        for j in range(i + 1, count):
            factor = zoom ** (j - i)
            if factor > min(height, width):
                break
            patch, mask = place(shrink(layers[j], factor) * (factor if noise else 1), height, width)
            image = mask * patch + (1 - mask) * image
        rendered.append(image)
    return torch.stack(rendered)


def pyramid(image: torch.Tensor, zoom: int, count: int) -> list[torch.Tensor]:
    """Laplacian pyramid of [C, H, W], finest band first, the rest last."""
    bands = []
    for _ in range(count - 1):
        if min(image.shape[-2:]) < 2 * zoom:
            break
        coarse = shrink(image, zoom)
        bands.append(image - grow(coarse, *image.shape[-2:]))
        image = coarse
    return [*bands, image]


def grow(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return F.interpolate(image[None], (height, width), mode="bilinear", align_corners=False)[0]


def blend(images: torch.Tensor, zoom: int) -> torch.Tensor:
    """[N, C, H, W] -> layers [N, C, H, W]: pyramids of what every level j <= i shows of layer i, averaged by band."""
    count, _, height, width = images.shape
    layers = []
    for i in range(count):
        sums: list[torch.Tensor] = []
        seen_by: list[int] = []
        for j in range(i, -1, -1):
            factor = zoom ** (i - j)
            if factor > min(height, width):
                break
            rows, columns = height // factor, width // factor
            top, left = (height - rows) // 2, (width - columns) // 2
            view = grow(images[j, :, top : top + rows, left : left + columns], height, width)
            for k, band in enumerate(pyramid(view, zoom, i + 1)):
                if k == len(sums):
                    sums.append(torch.zeros_like(band))
                    seen_by.append(0)
                if k >= i - j or k == len(sums) - 1:
                    sums[k] = sums[k] + band
                    seen_by[k] += 1
        layer = sums[-1] / seen_by[-1]
        for band, weight in zip(reversed(sums[:-1]), reversed(seen_by[:-1])):
            layer = grow(layer, *band.shape[-2:]) + band / max(weight, 1)
        layers.append(layer)
    return torch.stack(layers)


def consolidate(images: torch.Tensor, noise: torch.Tensor, zoom: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One step's work: (consistent images, consistent noise)."""
    return render(blend(images, zoom), zoom), render(noise, zoom, noise=True)
