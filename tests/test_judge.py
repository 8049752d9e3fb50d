"""The judge of the demo model's pictures measures what its names say."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from demo_model.classifier import Classifier
from demo_model.judge import Judge, block_step, frechet, kept_out_worlds, lattice, octaves
from demo_model.world import KINDS


def noise(count=16, seed=0):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def waves(period, angle=0.0):
    """Plane waves [4, 3, 64, 64] of four phases, contrast 1."""
    v, u = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    along = math.cos(angle) * u + math.sin(angle) * v
    pictures = [0.5 + 0.5 * torch.cos(2 * math.pi * along / period + phase) for phase in (0, 0.7, 1.9, 3.0)]
    return torch.stack(pictures)[:, None].expand(-1, 3, -1, -1)


def test_the_frechet_distance_is_that_of_gaussians():
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(4000, 6, generator=generator, dtype=torch.float64)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + 2.0) == pytest.approx(6 * 4.0, rel=1e-9)
    # Along a shared axis the distance of two spreads is the square of their difference.
    wide = a.clone()
    wide[:, 0] *= 3
    spread = float(torch.cov(a.T)[0, 0].sqrt())
    assert frechet(a, wide) == pytest.approx((2 * spread) ** 2 + 4 * float(a[:, 0].mean()) ** 2, rel=0.02)
    assert frechet(wide, a) == pytest.approx(frechet(a, wide), rel=1e-9)


@pytest.mark.parametrize("period, octave", [(5.5, 2), (11.0, 3), (22.0, 4)])
def test_a_wave_falls_into_the_octave_of_its_period(period, octave):
    found = octaves(waves(period, 0.5))
    assert max(range(4), key=found.__getitem__) == octave - 1
    assert all(abs(quarter - full / 4) < 1e-6 for quarter, full in zip(octaves(waves(period, 0.5) / 2), found))


def test_a_lattice_stands_out_and_only_that_of_the_period_asked_for():
    plain = noise()
    assert 0.6 < lattice(plain) < 1.6
    cells = torch.zeros(64, 64)
    cells[::4, ::4] = 0.2
    assert lattice(plain + cells) > 3
    assert lattice(plain + cells, period=8) < 1.6
    other = torch.zeros(64, 64)
    other[::5, ::5] = 0.2
    assert lattice(plain + other) < 1.6


def test_blocks_show_at_their_edges():
    small = noise(4)[..., :16, :16]
    smooth = F.interpolate(small, scale_factor=4, mode="bicubic")
    blocks = F.interpolate(small, scale_factor=4, mode="nearest")
    assert block_step(0.5 * smooth + 0.5 * blocks) > 2 * block_step(smooth)
    assert 0.9 < block_step(noise(4)) < 1.1


def test_kept_out_worlds_are_true_stacks_with_captions():
    worlds = kept_out_worlds(2, 3)
    assert worlds.pictures.shape == (6, 3, 64, 64) and worlds.kinds.tolist() == [0, 1, 2, 1, 2, 3]
    assert len(worlds.captions) == 6 and all(worlds.captions)
    others = kept_out_worlds(1, 3, first=2)
    assert (others.pictures[0] - worlds.pictures[2]).abs().mean() > 0.02


def test_the_reference_holds_other_pictures_of_the_same_kinds():
    torch.manual_seed(0)
    judge = Judge(Classifier())
    kinds = torch.tensor([4, 4, 0])
    reference = judge.reference(kinds, each=2)
    assert reference.shape == (6, 160)
    assert len(reference.unique(dim=0)) == 6
    assert torch.equal(judge.reference(kinds, each=2), reference)
    assert torch.equal(judge.reference(torch.tensor([4]), each=4), reference[:4])
    shown = judge.kinds(kept_out_worlds(1, 3).pictures)
    assert shown.shape == (3,) and shown.max() < len(KINDS)
