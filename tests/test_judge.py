"""The judge of the demo model's pictures measures what its names say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from demo_model.captions import LIGHTS, caption, fits
from demo_model.classifier import Classifier
from demo_model.judge import Judge, block_step, frechet, kept_out_worlds, lattice, octaves, worlds_for
from demo_model.world import KINDS, Look, looks


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


def test_every_caption_fits_its_own_look_and_hardly_any_fits_all():
    rng = np.random.default_rng(3)
    told = 0
    for seed in range(400):
        for look in looks(seed, apart=bool(seed % 2)):
            text = caption(look, rng)
            if look.light and not any(phrase in text for phrase in LIGHTS[look.light]):
                continue  # a caption need not name the light
            assert fits(look, text), (text, look)
            told += 1
    assert told > 4000
    everything = [fits(look, "a green maple leaf with drops of water") for n in range(300) for look in looks(n)[9:10]]
    assert 0 < sum(everything) < 60


@pytest.mark.parametrize(
    "text, right, wrong",
    [
        ("a green plant cell with a purple nucleus", ("plant", "green", "purple"), ("plant", "purple", "green")),
        ("A Blue cell", ("animal", "blue", "red"), ("animal", "red", "blue")),
        ("a cell glowing in the dark", ("glowing", "blue", "red"), ("plant", "blue", "red")),
        ("something blue", ("plant", "green", "blue"), ("plant", "green", "red")),
    ],
)
def test_a_sentence_fits_what_it_names(text, right, wrong):
    assert fits(Look(11, *right), text) and not fits(Look(11, *wrong), text)


def test_a_sentence_fits_its_light_and_season_only():
    def forest(season, light):
        return Look(7, "leafy", "green", "red", "river", season, light)

    text = "an autumn forest along a blue river, by moonlight"
    assert fits(forest("autumn", "night"), text)
    assert not fits(forest("autumn", ""), text) and not fits(forest("spring", "night"), text)
    assert fits(forest("spring", ""), "a forest") and not fits(forest("spring", "mist"), "a forest")


PROMPTS = [
    "galaxies", "a galaxy", "a red nebula", "a star system", "a planet", "a continent", "a coast", "a forest", "a tree",
    "a purple leaf", "leaf cells", "a cell",
]  # fmt: skip


def test_drawn_worlds_for_prompts_show_what_they_say():
    worlds = worlds_for(PROMPTS, 2)
    assert worlds.pictures.shape == (24, 3, 64, 64) and worlds.kinds.tolist() == [*range(12)] * 2
    assert worlds.captions == (*PROMPTS, *PROMPTS)
    leaf, other = worlds.pictures[9], worlds.pictures[21]
    assert (leaf - other).abs().mean() > 0.02
    assert torch.equal(worlds_for(PROMPTS, 1, first=1).pictures[9], other)
    trees = worlds.pictures[8::12, :, 29:35, 29:35]  # of the leaf in their middle
    for middle in (leaf[:, 24:40, 24:40], other[:, 24:40, 24:40], *trees):
        red, green, blue = middle.mean((1, 2))
        assert min(red, blue) > green


def test_prompts_that_no_world_shows_are_named(monkeypatch):
    monkeypatch.setattr("demo_model.judge.WORLDS_LOOKED_AT", 50)
    with pytest.raises(ValueError, match="'a tree' and in it what the next prompt says, got 0 in 50"):
        worlds_for([*PROMPTS[:9], "a black leaf", *PROMPTS[10:]], 1)
    with pytest.raises(ValueError, match="12 prompts, one for each kind, got 3"):
        worlds_for(PROMPTS[:3], 1)


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
