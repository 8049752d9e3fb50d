"""Train the x4 upscaler on the same world: `python -m demo_model.upscaler --work DIR`.

A plain "compact" network (SRVGG), which spandrel and so ComfyUI's Load Upscale Model know by its
weights' names. Pictures of 256 pixels are seen through 64 by the pack's pixel model (a Gaussian of
sigma half a pixel), and made a little soft or noisy, as sampled pictures are.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .data import view_of
from .world import draw

SCALE, FEATURES, CONVS = 4, 48, 10
CROP = 128
WEIGHTS = Path(__file__).parent / "upscale" / "zoom_demo_x4.safetensors"


class Compact(nn.Module):
    """Convolutions at the low resolution, one shuffle to the high one, around a nearest skip."""

    def __init__(self, features: int = FEATURES, convs: int = CONVS):
        super().__init__()
        layers = [nn.Conv2d(3, features, 3, 1, 1), nn.PReLU(features)]
        for _ in range(convs):
            layers += [nn.Conv2d(features, features, 3, 1, 1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * SCALE * SCALE, 3, 1, 1))
        self.body = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W] in 0..1 -> [B, 3, 4 H, 4 W]."""
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(y, SCALE) + F.interpolate(x, scale_factor=SCALE, mode="nearest")


def shrink(fine: torch.Tensor) -> torch.Tensor:
    """[B, 3, 4 H, 4 W] seen through pixels four times as wide: [B, 3, H, W]."""
    # Both grids look through Gaussians of half their pixel; variances add.
    sigma = math.sqrt((0.5 * SCALE) ** 2 - 0.5**2)
    offset = torch.arange(-6, 6) + 0.5
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(fine)
    reach = 6 - SCALE // 2
    x = F.pad(fine, (reach,) * 4, mode="reflect")
    x = F.conv2d(x, kernel.view(1, 1, 1, -1).expand(3, 1, 1, -1), stride=(1, SCALE), groups=3)
    return F.conv2d(x, kernel.view(1, 1, -1, 1).expand(3, 1, -1, 1), stride=(SCALE, 1), groups=3)


def draw_crop(index: int) -> np.ndarray:
    """A quarter of the 256-pixel picture of view `index`, uint8 [128, 128, 3]."""
    view = view_of(index, first_seed=400_000_000)
    rng = np.random.default_rng(index)
    # Half a step further in: half as wide, so 128 pixels are as wide as those of 256.
    picture = draw(view["seed"], view["kind"] + 0.499, CROP, rng.uniform(-0.45, 0.45, 2), view["angle"], view["only"])
    return np.round(picture * 255).astype(np.uint8)


def spoil(small: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Make low-resolution pictures as imperfect as sampled ones: some soft, some noisy."""
    count = len(small)
    soft = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="reflect"), 3, 1)
    amount = torch.rand(count, 1, 1, 1, generator=generator) * 0.5
    amount = amount * (torch.rand(count, 1, 1, 1, generator=generator) < 0.5)
    noise = torch.randn(small.shape, generator=generator)
    level = torch.rand(count, 1, 1, 1, generator=generator) * 0.035
    return (small + amount * (soft - small) + level * noise).clamp(0, 1)


def edges(x: torch.Tensor) -> torch.Tensor:
    """Differences between neighbouring pixels, both ways."""
    return torch.cat([(x[..., 1:, :] - x[..., :-1, :]).flatten(1), (x[..., :, 1:] - x[..., :, :-1]).flatten(1)], 1)


def crops(work: Path, count: int) -> np.ndarray:
    """The training crops [count, 128, 128, 3], drawn on first use and kept."""
    path = work / f"upscaler_crops_{count}.npy"
    if not path.exists():
        drawn = np.stack([draw_crop(n) for n in range(count)])
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            np.save(file, drawn)
        part.replace(path)
    return np.load(path)


def main() -> None:
    """Draw the crops, train, report the error against bicubic, write the weights."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    args.work.mkdir(parents=True, exist_ok=True)
    fine = torch.from_numpy(crops(args.work, args.crops)).permute(0, 3, 1, 2)
    held, fine = fine[:96], fine[96:]
    net = Compact()
    optimizer = torch.optim.AdamW(net.parameters(), lr=8e-4, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-4, args.steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(1)
    start = time.monotonic()
    for step in range(1, args.steps + 1):
        chosen = torch.randint(len(fine), (8,), generator=generator)
        y, x = (int(torch.randint(9, (1,), generator=generator)) * 4 for _ in range(2))
        target = fine[chosen, :, y : y + 96, x : x + 96].float() / 255
        if step % 2:
            target = target.flip(-1)
        if step % 3 == 0:
            target = target.transpose(-1, -2)
        with torch.autocast("cpu", torch.bfloat16):
            out = net(spoil(shrink(target), generator))
        out = out.float()
        loss = F.l1_loss(out, target) + F.l1_loss(edges(out), edges(target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}  {time.monotonic() - start:.0f} s  loss {loss.item():.4f}", flush=True)
    with torch.no_grad():
        target = held.float() / 255
        small = shrink(target)
        ours = F.mse_loss(net(small).clamp(0, 1), target)
        plain = F.mse_loss(
            F.interpolate(small, scale_factor=SCALE, mode="bicubic", align_corners=False).clamp(0, 1), target
        )
    print(f"PSNR on held-out crops: ours {-10 * math.log10(ours):.2f} dB, bicubic {-10 * math.log10(plain):.2f} dB")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), args.output)


if __name__ == "__main__":
    main()
