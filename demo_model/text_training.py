"""A head start for the text encoder: it learns what captions name before it sees a picture.

From the start token's output small linear heads read kind, colours, shape, season and light. That takes a
minute; left to the picture loss alone the words would come apart only after many thousand steps.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .captions import training_caption
from .text import PAD, TextEncoder
from .world import KINDS, TONES, Look, looks

COLORS = tuple(TONES)
READ = {
    "kind": KINDS,
    "color": COLORS,
    "second": COLORS,
    "variant": (
        "rich",
        "sparse",
        "spiral",
        "barred",
        "elliptical",
        "ring",
        "cloud",
        "stars",
        "planets",
        "belt",
        "ocean",
        "living",
        "desert",
        "ice",
        "gas",
        "lava",
        "continent",
        "islands",
        "beach",
        "island",
        "cliffs",
        "leafy",
        "fir",
        "oval",
        "maple",
        "heart",
        "round",
        "long",
        "wall",
        "plant",
        "animal",
        "glowing",
    ),
    "season": ("", "spring", "summer", "autumn", "winter"),
    "light": ("", "sunset", "night", "mist"),
    "extra": ("", "ring", "clouds", "river", "path", "clearing", "blossom", "drops"),
}


def answers(look: Look) -> list[int]:
    """The index of a look's value in each entry of READ."""
    values = dict(vars(look), kind=KINDS[look.kind], second=look.second or look.color)
    return [options.index(values[name]) for name, options in READ.items()]


def head_start(encoder: TextEncoder, tokenize, steps: int = 1000, seed: int = 0) -> nn.Linear:
    """Train `encoder` in place; `tokenize(text, rng)` gives a line of tokens. Returns the heads."""
    rng = np.random.default_rng(seed)
    device = encoder.norm.weight.device
    heads = nn.Linear(encoder.norm.weight.shape[0], sum(len(options) for options in READ.values())).to(device)
    parameters = list(encoder.parameters()) + list(heads.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1.5e-3, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, steps, pct_start=0.1)
    encoder.requires_grad_(True)
    for step in range(steps):
        shown = [look for _ in range(8) for look in looks(int(rng.integers(1 << 30)), apart=bool(rng.integers(2)))]
        tokens = torch.tensor([tokenize(training_caption(look, rng), rng) for look in shown]).to(device)
        wanted = torch.tensor([answers(look) for look in shown]).to(device)
        context, _ = encoder(tokens, tokens != PAD)
        parts = heads(context[:, 0]).split([len(options) for options in READ.values()], dim=-1)
        loss = sum(F.cross_entropy(part, wanted[:, n]) for n, part in enumerate(parts)) / len(parts)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            right = [(part.argmax(1) == wanted[:, n]).float().mean().item() for n, part in enumerate(parts)]
            print(f"text {step + 1}: loss {loss.item():.3f}", dict(zip(READ, (round(r, 2) for r in right))), flush=True)
    return heads
