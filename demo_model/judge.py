"""The judge of the demo model's pictures: kinds, Frechet distance, octaves, lattice, steps at block edges.

`Judge.load()` trains a classifier on drawn scenes (once: some minutes, kept in the project's cache folder).
All functions take pictures [N, 3, H, W] in 0..1; H = W = 64 for the judge itself.

    judge = Judge.load()
    worlds = kept_out_worlds()                       # 8 worlds of 6 levels, with captions
    drawn = judge.reference(worlds.kinds)            # 384 other drawn pictures of the same kinds
    judge.frechet(pictures, drawn), judge.recognised(pictures, worlds.kinds)

A Frechet distance depends on how many pictures it is taken from: compare sets of one size only. Every machine trains a
judge of its own, whose distances differ a little: compare figures of one judge.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from .captions import caption, fits
from .classifier import Classifier, train_classifier
from .data import FIRST_EVAL_SEED, LOOSE, write_shard
from .world import KINDS, draw, draw_stack, looks

TRAINING = 32  # shards of drawn pictures that the classifier learns from
REFERENCE_SEED = FIRST_EVAL_SEED + 50_000_000
WORLD_SEED = FIRST_EVAL_SEED + 60_000_000
WORLDS_LOOKED_AT = 200_000  # for those that fit two prompts


def judge_folder() -> Path:
    """Where the judge keeps its classifier and its drawn pictures."""
    from launcher.cache import cache_folder

    return cache_folder() / "judge"


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """Frechet distance of two sets of features [N, C] and [M, C], taken as Gaussians (Heusel et al. 2017)."""
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # The trace of the root of the product, by a symmetric matrix with the same eigenvalues.
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared)


def power(pictures: torch.Tensor) -> torch.Tensor:
    """Mean power spectrum [H, W] of square pictures [N, 3, H, W], windowed so that borders do not count as edges."""
    window = torch.hann_window(pictures.shape[-1], periodic=True)
    centred = pictures - pictures.mean((-1, -2), keepdim=True)
    return torch.fft.fft2(centred * window * window[:, None]).abs().square().mean((0, 1))


def octaves(pictures: torch.Tensor, count: int = 4) -> list[float]:
    """Energy (variance) of each octave, finest first: octave 1 holds details of 1 to 2 pixels, octave 3 of 4 to 8.

    (Waves are twice as long as their details: octave 3 is strongest where they are 11 pixels long.)
    Octave k is the difference of two Gaussian views, sigma half of 2^(k-1) and of 2^k pixels.
    """
    found = []
    for k in range(1, count + 1):
        fine = _seen(pictures, 0.5 * 2 ** (k - 1)) if k > 1 else pictures
        found.append(float((fine - _seen(pictures, 0.5 * 2**k)).square().mean()))
    return found


def _seen(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Pictures through a Gaussian whose variance is `sigma`^2 less that of a pixel (0.5^2)."""
    sigma = (sigma**2 - 0.25) ** 0.5
    reach = max(1, round(4 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = x.shape[1]
    x = F.pad(x, (reach,) * 4, mode="reflect")
    x = F.conv2d(x, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(x, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def lattice(pictures: torch.Tensor, period: int = 4) -> float:
    """How far a lattice of `period` pixels stands out of pictures [N, 3, H, W] (about 1: not at all).

    The power at the frequency 1 / period along x, along y and along both, over that of the 24 frequencies
    around each of them; the mean of the three.
    """
    spectrum = torch.fft.fftshift(power(pictures))
    middle, line = pictures.shape[-1] // 2, pictures.shape[-1] // period
    found = []
    for v, u in ((0, line), (line, 0), (line, line)):
        around = spectrum[middle + v - 2 : middle + v + 3, middle + u - 2 : middle + u + 3]
        found.append(24 * around[2, 2] / (around.sum() - around[2, 2]))
    return float(torch.stack(found).mean())


def block_step(pictures: torch.Tensor, block: int = 4) -> torch.Tensor:
    """Mean absolute step between pixels across the edges of blocks, over that inside blocks (1: nothing shows)."""
    across, inside = [], []
    for x in (pictures, pictures.transpose(-1, -2)):
        steps = (x[..., 1:] - x[..., :-1]).abs().mean((0, 1, 2))
        edge = torch.arange(1, x.shape[-1]) % block == 0
        across.append(steps[edge].mean())
        inside.append(steps[~edge].mean())
    return torch.stack(across).mean() / torch.stack(inside).mean()


@dataclass(frozen=True)
class Worlds:
    """True stacks of worlds that nobody trained on.

    pictures [worlds * levels, 3, size, size] in 0..1; the kind and a caption of each; levels of a stack.
    """

    pictures: torch.Tensor
    kinds: torch.Tensor
    captions: tuple[str, ...]
    levels: int


def kept_out_worlds(count: int = 8, levels: int = 6, first: int = 0, size: int = 64) -> Worlds:
    """`count` drawn stacks of `levels` kinds, zoom 4, of `size` pixels; others from another `first` (in worlds)."""
    pictures, kinds, captions = [], [], []
    for n in range(first, first + count):
        seed, start = WORLD_SEED + 7 * n, n % (len(KINDS) - levels + 1)
        pictures.append(torch.from_numpy(draw_stack(seed, levels, 4.0, size, start)))
        scene, rng = looks(seed), np.random.default_rng(seed)
        kinds += range(start, start + levels)
        captions += [caption(look, rng) for look in scene[start : start + levels]]
    return Worlds(torch.cat(pictures), torch.tensor(kinds), tuple(captions), levels)


def worlds_for(prompts: list[str], count: int = 8, first: int = 0, size: int = 64) -> Worlds:
    """`count` drawn pictures of what each prompt says (`captions.fits`), one for each kind, outermost first.

    In the middle is what the next prompt says. Laid out as `kept_out_worlds` are, but each picture is of a world of its
    own; others from another `first`.
    """
    if len(prompts) != len(KINDS):
        raise ValueError(f"Expected {len(KINDS)} prompts, one for each kind, got {len(prompts)}.")
    fitting: list[list[int]] = [[] for _ in prompts]
    for number in range(WORLDS_LOOKED_AT):
        seed = WORLD_SEED + 7 * number
        shown = [fits(look, prompt) for look, prompt in zip(looks(seed), prompts)]
        for found, here, inside in zip(fitting, shown, [*shown[1:], True]):
            if len(found) < first + count and here and inside:
                found.append(seed)
        if all(len(found) == first + count for found in fitting):
            break
    for found, prompt in zip(fitting, prompts):
        if len(found) < first + count:
            raise ValueError(
                f"Expected {first + count} drawn worlds that show '{prompt}' and in it what the next prompt says, "
                f"got {len(found)} in {WORLDS_LOOKED_AT}."
            )
    pictures = np.stack(
        [draw(found[n], float(kind), size) for n in range(first, first + count) for kind, found in enumerate(fitting)]
    )
    kinds = torch.arange(len(KINDS)).repeat(count)
    return Worlds(torch.from_numpy(pictures).permute(0, 3, 1, 2), kinds, tuple(prompts) * count, len(KINDS))


class Judge:
    """A classifier of drawn scenes whose 160 pooled features the distances are taken in."""

    def __init__(self, net: Classifier):
        self.net = net.eval().requires_grad_(False)
        self.body = torch.nn.Sequential(*list(self.net)[:-2])
        self._drawn: dict[int, torch.Tensor] = {}

    @classmethod
    def load(cls, folder: Path | None = None) -> "Judge":
        """The judge kept in `folder` (the project's cache folder), or a newly trained one."""
        folder = folder or judge_folder()
        pictures = folder / "pictures"
        if not (folder / "classifier.pt").exists():
            pictures.mkdir(parents=True, exist_ok=True)
            for number in range(TRAINING):
                write_shard((str(pictures), number), LOOSE)
        # Whoever asks may be measuring in inference mode.
        with torch.inference_mode(False), torch.enable_grad():
            return cls(train_classifier(pictures, folder / "classifier.pt", shards=TRAINING))

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pooled features [N, 160] of pictures [N, 3, 64, 64] in 0..1."""
        return torch.cat([self.body(part) for part in pictures.split(96)])

    def kinds(self, pictures: torch.Tensor) -> torch.Tensor:
        """The kind [N] that each picture shows."""
        return self.net[-1](self.features(pictures)).argmax(1)

    def recognised(self, pictures: torch.Tensor, kinds: torch.Tensor) -> float:
        """The share of pictures that show their kind."""
        return float((self.kinds(pictures) == kinds).float().mean())

    def reference(self, kinds: torch.Tensor, each: int = 8) -> torch.Tensor:
        """Features [N * each, 160] of drawn pictures: `each` of other worlds for every one of `kinds` [N]."""
        found, used = [], dict.fromkeys(range(len(KINDS)), 0)
        for kind in kinds.tolist():
            start, used[kind] = used[kind], used[kind] + each
            found.append(self._of_kind(kind, used[kind])[start : used[kind]])
        return torch.cat(found)

    def _of_kind(self, kind: int, count: int) -> torch.Tensor:
        have = self._drawn.get(kind, torch.empty(0, 160))
        if len(have) < count:
            more = [draw(REFERENCE_SEED + 13 * n + kind, float(kind)) for n in range(len(have), count)]
            more = torch.from_numpy(np.stack(more)).permute(0, 3, 1, 2)
            have = self._drawn[kind] = torch.cat([have, self.features(more)])
        return have

    def frechet(self, pictures: torch.Tensor, reference: torch.Tensor) -> float:
        """Frechet distance of pictures [N, 3, 64, 64] to a `reference`."""
        return frechet(self.features(pictures), reference)

    def report(self, pictures: torch.Tensor, worlds: Worlds) -> dict:
        """All figures of pictures made for the captions of `worlds`, octaves relative to the drawn ones."""
        drawn = octaves(worlds.pictures)
        return {
            "frechet": self.frechet(pictures, self.reference(worlds.kinds)),
            "kinds": self.recognised(pictures, worlds.kinds),
            "octaves": [ours / true for ours, true in zip(octaves(pictures), drawn)],
            "lattice": lattice(pictures),
        }
