"""A judge of pictures: which of the twelve kinds does a 64 x 64 picture show? Trained on drawn scenes only."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .data import FIRST_EVAL_SEED, draw_view, is_between, read_shard, ready_shards, view_of
from .precision import fast_precision
from .world import KINDS


class Classifier(nn.Sequential):
    """Five strided convolutions and an average."""

    def __init__(self):
        widths = (3, 24, 48, 96, 160)
        layers: list[nn.Module] = []
        for a, b in zip(widths[:-1], widths[1:]):
            layers += [
                nn.Conv2d(a, b, 4, 2, 1),
                nn.BatchNorm2d(b),
                nn.ReLU(),
                nn.Conv2d(b, b, 3, 1, 1),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            ]
        super().__init__(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(widths[-1], len(KINDS))
        )


def spoiled(x: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, H, W] in 0..1 a little noisy, soft and mirrored, as samples are."""
    if torch.rand(()) < 0.5:
        x = x.flip(-1)
    if torch.rand(()) < 0.5:
        x = x.flip(-2)
    if torch.rand(()) < 0.3:
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return x + torch.rand(len(x), 1, 1, 1) * 0.08 * torch.randn_like(x)


def held_out_pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [count, 3, 64, 64] of worlds nobody trained on, and their kinds."""
    views = [view_of(n, first_seed=FIRST_EVAL_SEED) for n in range(count)]
    pictures = np.stack([draw_view(view) for view in views])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, torch.tensor([v["kind"] for v in views])


def train_classifier(folder: Path, path: Path, steps: int = 700, shards: int = 8) -> Classifier:
    """The classifier, trained on the shards in `folder` or read from `path`."""
    net = Classifier()
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        parts = [read_shard(shard) for shard in ready_shards(folder)[:shards]]
        pictures = torch.from_numpy(np.concatenate([p for p, _, _ in parts])).permute(0, 3, 1, 2)
        numbers = [first + n for p, _, first in parts for n in range(len(p))]
        clear = torch.tensor([not is_between(n) for n in numbers])
        pictures, kinds = pictures[clear], torch.tensor(numbers)[clear] % len(KINDS)
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
        for _ in range(steps):
            chosen = torch.randint(len(pictures), (48,))
            with fast_precision():
                loss = F.cross_entropy(
                    net(spoiled(pictures[chosen].float() / 255)).float(), kinds[chosen], label_smoothing=0.05
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        torch.save(net.state_dict(), path)
    return net.eval()


def held_out_accuracy(net: Classifier, count: int = 480) -> float:
    """The share of drawn pictures of worlds nobody trained on whose kind the classifier sees."""
    pictures, kinds = held_out_pictures(count)
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in pictures.split(96)])
    return float((found == kinds).float().mean())
