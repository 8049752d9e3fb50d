"""Train the x4 upscaler on the same world: `python -m demo_model.upscaler --work DIR`.

A plain "compact" network (SRVGG), which spandrel and so ComfyUI's Load Upscale Model know by its
weights' names. Pictures of 256 pixels are seen through 64 by the pack's pixel model (a Gaussian of
sigma half a pixel), and spoilt as the demo model spoils them: noised a little and painted anew by it.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from .data import view_of, whole, write_array
from .judge import block_step
from .precision import fast_precision
from .world import draw

SCALE, FEATURES, CONVS = 4, 48, 10
CROP = 128
EVEN = 0.93  # steps at block edges over those inside, of bicubic interpolation
HELD = 96  # crops that are never trained on
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


@torch.no_grad()
def start_smooth(net: Compact) -> None:
    """Weights that make `net` interpolate linearly along each axis, so that its nearest skip never shows.

    Its second layer holds the differences to the four neighbours, positive and negative parts apart, and
    none where there is no neighbour: a channel of ones, which the convolution pads with zeros, tells that.
    The other layers carry them on; the last one puts them together. Everything stays trainable.
    """
    convs = [layer for layer in net.body if isinstance(layer, nn.Conv2d)]
    slopes = [layer for layer in net.body if isinstance(layer, nn.PReLU)]
    taken = 24
    for conv in convs:
        nn.init.kaiming_uniform_(conv.weight, a=5**0.5)
        nn.init.zeros_(conv.bias)
    first, second, last = convs[0], convs[1], convs[-1]
    first.weight[:4] = 0
    for color in range(3):
        first.weight[color, color, 1, 1] = 1
    first.bias[3] = 1
    second.weight[:taken] = 0
    slopes[1].weight[:taken] = 0
    last.weight.zero_()
    channel = 0
    # Pixel centres in the fine grid, from the middle of their coarse pixel, in coarse pixels.
    places = (torch.arange(SCALE) + 0.5) / SCALE - 0.5
    for axis, step in ((0, -1), (0, 1), (1, -1), (1, 1)):
        near = [1, 1]
        near[axis] += step
        share = (places * step).clamp(min=0)
        share = share[:, None].expand(SCALE, SCALE) if axis == 0 else share.expand(SCALE, SCALE)
        for color in range(3):
            for sign in (1, -1):
                row = second.weight[channel]
                row[color, near[0], near[1]] = sign
                row[color, 1, 1] = -sign
                row[3, near[0], near[1]] = 4.0
                second.bias[channel] = -4.0
                for conv in convs[2:-1]:
                    conv.weight[channel] = 0
                    conv.weight[channel, channel, 1, 1] = 1
                last.weight[color * SCALE**2 : (color + 1) * SCALE**2, channel, 1, 1] = sign * share.reshape(-1)
                channel += 1


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


def trained() -> Compact:
    """The upscaler that comes with the pack."""
    net = Compact()
    net.load_state_dict(load_file(WEIGHTS))
    return net.eval().requires_grad_(False)


@torch.no_grad()
def painted_anew(
    small: torch.Tensor, net, tokens: torch.Tensor, level: torch.Tensor, shares, generator: torch.Generator
) -> torch.Tensor:
    """Pictures [B, 3, H, W] in 0..1 as the demo model `net` paints them: noised up to levels [B] and brought back.

    tokens: their captions [B, T]. shares: of a picture's level, those that it is brought back over, from 1 to 0.
    generator: on the CPU; all else on one device.
    """
    t = level[:, None, None, None]
    x = small * 2 - 1
    x = x + t * (torch.randn(x.shape, generator=generator).to(x) - x)
    for now, then in zip(shares, shares[1:]):
        x = x + t * (then - now) * net(x, level * now, tokens)
    return (x * 0.5 + 0.5).clamp(0, 1)


def repainted(small: torch.Tensor, net, generator: torch.Generator, highest: float = 0.25) -> torch.Tensor:
    """Pictures [B, 3, H, W] in 0..1 as the demo model `net` paints them anew, up to a noise level of `highest`
    each, without a caption."""
    from .text import padded

    found = []
    for part in small.split(64):
        level = torch.rand(len(part), generator=generator) * (highest - 0.02) + 0.02
        tokens = torch.tensor([padded([1, 2])] * len(part))
        found.append(painted_anew(part, net, tokens, level, (1, 0.5, 0), generator))
    return torch.cat(found)


def edges(x: torch.Tensor) -> torch.Tensor:
    """Differences between neighbouring pixels, both ways."""
    return torch.cat([(x[..., 1:, :] - x[..., :-1, :]).flatten(1), (x[..., :, 1:] - x[..., :, :-1]).flatten(1)], 1)


def crops(work: Path, count: int) -> np.ndarray:
    """The training crops [count, 128, 128, 3], drawn on first use and kept."""
    path = work / f"upscaler_crops_{count}.npy"
    if not path.exists():
        drawn = np.stack([draw_crop(n) for n in range(count)])
        write_array(path, drawn)
    return np.load(path)


def report(net: nn.Module, inputs: dict[str, torch.Tensor], target: torch.Tensor) -> dict:
    """PSNR (dB) and steps at block edges (see `judge.block_step`), ours and bicubic's, for each kind of input."""
    figures = {"steps at block edges, drawn": float(block_step(target))}
    for name, small in inputs.items():
        with torch.no_grad():
            ours = net(small).clamp(0, 1)
        plain = F.interpolate(small, scale_factor=SCALE, mode="bicubic", align_corners=False).clamp(0, 1)
        for method, picture in (("ours", ours), ("bicubic", plain)):
            figures[f"{name}, {method}"] = {
                "psnr": -10 * math.log10(F.mse_loss(picture, target)),
                "steps at block edges": float(block_step(picture)),
            }
    return figures


def main() -> None:
    """Draw the crops, spoil them, train, report the error against bicubic, write the weights."""
    from safetensors.torch import save_file
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from .evaluate import read_net
    from .train import import_comfy

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--comfyui")
    parser.add_argument(
        "--model", type=Path, default=Path(__file__).with_name("zoom_demo.safetensors"), help="what spoils the pictures"
    )
    parser.add_argument("--crops", type=int, default=1296)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--init", type=Path, help="train these weights further")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    import_comfy(args.comfyui)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    args.work.mkdir(parents=True, exist_ok=True)
    fine = torch.from_numpy(crops(args.work, args.crops)).permute(0, 3, 1, 2)
    clean = torch.cat([shrink(part.float() / 255) for part in fine.split(64)])
    # Each is spoilt three times over and used clean as often as each spoilt one.
    painter = read_net(args.model)
    inputs = torch.stack([clean] + [repainted(clean, painter, generator) for _ in range(3)])
    net = Compact()
    start_smooth(net)
    if args.init:
        net.load_state_dict(load_file(args.init))
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, args.steps, pct_start=0.1)
    start = time.monotonic()
    for step in range(1, args.steps + 1):
        chosen = torch.randint(HELD, len(fine), (8,), generator=generator)
        kind = torch.randint(len(inputs), (8,), generator=generator)
        y, x = (int(torch.randint(9, (1,), generator=generator)) for _ in range(2))
        small = inputs[kind, chosen, :, y : y + 24, x : x + 24]
        target = fine[chosen, :, y * SCALE : (y + 24) * SCALE, x * SCALE : (x + 24) * SCALE].float() / 255
        if step % 2:
            small, target = small.flip(-1), target.flip(-1)
        if step % 3 == 0:
            small, target = small.transpose(-1, -2), target.transpose(-1, -2)
        with fast_precision():
            out = net(small)
        out = out.float()
        loss = (
            F.l1_loss(out, target) + F.l1_loss(edges(out), edges(target)) + 0.1 * (block_step(out) / EVEN - 1).square()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(net)
        if step % 100 == 0:
            print(f"step {step}  {time.monotonic() - start:.0f} s  loss {loss.item():.4f}", flush=True)
    held = {"drawn": inputs[0, :HELD], "repainted": inputs[1, :HELD]}
    print(json.dumps(report(average.module, held, fine[:HELD].float() / 255), indent=1))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with whole(args.output) as part:
        save_file(average.module.state_dict(), part)


if __name__ == "__main__":
    main()
