"""Photographs: what they fix at every level, by projection and by the paper's Adam steps."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from zoom_core import LevelConstraint, ZoomGuide, ZoomLevel, ZoomLevels, consolidate, downscale, render_image
from zoom_core.pairs import pairs
from zoom_core.photograph import crop_photograph

OFF_CENTRE = ZoomLevels([ZoomLevel(), ZoomLevel(zoom=3.0, center=(0.3, 0.6)), ZoomLevel(zoom=2.0, center=(0.7, 0.4))])


def smooth(shape, generator) -> torch.Tensor:
    """Random pictures with detail at several scales, roughly in -1..1."""
    *lead, height, width = shape
    noise = torch.randn(*lead, height + 6, width + 6, generator=generator)
    return avg_pool2d(noise, 7, 1) * 4 + 0.05 * noise[..., 3:-3, 3:-3]


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """In dB, for values in -1..1."""
    return float(10 * torch.log10(4 / ((a - b) ** 2).mean()))


def scene(levels: ZoomLevels, height: int = 48, width: int = 48):
    """(geometry, consistent levels, estimates that are off by about a third)."""
    generator = torch.Generator().manual_seed(3)
    geometry = levels.resolve(height, width)
    shape = (len(levels), 3, height, width)
    truth = render_image(smooth(shape, generator), geometry)
    return geometry, truth, truth + 0.3 * smooth(shape, generator)


@pytest.mark.parametrize("level", [0, 1, 3])
@pytest.mark.parametrize("levels", [ZoomLevels.uniform(4, 2.0), ZoomLevels.uniform(4, 2.5)], ids=["2", "2.5"])
def test_projection_is_exact_after_consolidation(levels, level):
    geometry, truth, estimates = scene(levels)
    result = consolidate(estimates, geometry, constraints=[LevelConstraint(truth[level], geometry, level)])
    # At fractional zooms the deeper levels are seen through pixels that no single step covers wholly.
    assert psnr(result[level], truth[level]) > (60 if levels[1].zoom == 2 else 45)
    assert psnr(estimates[level], truth[level]) < 30


def test_projection_reaches_levels_around_and_inside():
    geometry, truth, estimates = scene(OFF_CENTRE)
    result = consolidate(estimates, geometry, constraints=[LevelConstraint(truth[1], geometry, 1)])
    outer = geometry.insets[0]
    region = (0, slice(None), slice(outer.top, outer.top + outer.height), slice(outer.left, outer.left + outer.width))
    assert psnr(result[region], truth[region]) > 60
    inner = geometry.insets[1]
    coarse = [downscale(x[2], inner.height, inner.width) for x in (result, truth)]
    assert psnr(*coarse) > 60


def test_projection_changes_nothing_where_nothing_has_to():
    geometry, truth, _ = scene(OFF_CENTRE)
    constraint = LevelConstraint(truth[1], geometry, 1)
    assert float((constraint.project(truth) - truth).abs().max()) < 1e-5


def test_projection_adds_no_detail():
    """A correction for deeper levels is as coarse as the photograph is there."""
    geometry, truth, estimates = scene(ZoomLevels.uniform(3, 4.0), 64, 64)
    change = (LevelConstraint(truth[0], geometry, 0).project(estimates) - estimates)[2]
    steps = [float((change[..., lag:] - change[..., :-lag]).abs().mean()) for lag in (1, 16)]
    assert steps[0] < 0.25 * steps[1]


def test_adam_minimises_what_the_paper_says():
    """The written-out gradient walks the path that autograd and torch's Adam walk."""
    geometry, truth, estimates = scene(OFF_CENTRE)
    constraint = LevelConstraint(truth[0], geometry, 0)
    ours = constraint.adam(estimates, steps=5, learning_rate=0.1)
    x = estimates.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.1)
    first, second = geometry.insets
    for _ in range(5):
        optimizer.zero_grad()
        seen = downscale(x[1], first.height, first.width)
        target = truth[0][:, first.top : first.top + first.height, first.left : first.left + first.width]
        loss = ((x[0] - truth[0]) ** 2).sum() + ((seen - target) ** 2).sum()
        # Level 2 through level 1 into level 0: only the pixels of level 0 that lie wholly inside it.
        inside = downscale(x[2], second.height, second.width)
        canvas = x[1].detach() * 0
        canvas[:, second.top : second.top + second.height, second.left : second.left + second.width] = inside
        covered = canvas * 0
        covered[:, second.top : second.top + second.height, second.left : second.left + second.width] = 1
        whole = downscale(covered, first.height, first.width) > 1 - 1e-6
        loss = loss + (((downscale(canvas, first.height, first.width) - target) ** 2) * whole).sum()
        loss.backward()
        optimizer.step()
    assert float((ours - x.detach()).abs().max()) < 1e-3


def test_adam_comes_close():
    geometry, truth, estimates = scene(ZoomLevels.uniform(4, 2.0))
    guide = ZoomGuide(torch.zeros(3, 4, 4), method="adam")
    result = consolidate(estimates, geometry, constraints=[LevelConstraint(truth[0], geometry, 0, guide)])
    assert psnr(result[0], truth[0]) > 25


def test_a_picture_holds_only_where_it_is_told_to():
    geometry, truth, estimates = scene(ZoomLevels.uniform(4, 2.0))
    where = torch.zeros(1, 48, 48)
    where[..., :24] = 1
    free = consolidate(estimates, geometry)
    held = LevelConstraint(truth[1], geometry, 1, where=where)
    result = consolidate(estimates, geometry, constraints=[held])
    assert float((result[1, ..., :24] - truth[1, ..., :24]).abs().max()) < 1e-4
    # On the other side nothing holds, neither in the inset nor around it.
    for rows, columns in ((slice(14, 34), slice(28, 34)), (slice(None), slice(38, None))):
        assert psnr(result[1, :, rows, columns], free[1, :, rows, columns]) > 40
        assert psnr(result[1, :, rows, columns], truth[1, :, rows, columns]) < 30


def test_adam_leaves_what_the_picture_does_not_hold():
    geometry, truth, estimates = scene(ZoomLevels.uniform(4, 2.0))
    where = torch.zeros(1, 48, 48)
    where[..., :24] = 1
    result = LevelConstraint(truth[1], geometry, 1, ZoomGuide(truth[1], method="adam"), where=where).adam(estimates)
    changed = (result - estimates).abs().amax((1, 2))
    # The middle column of the picture is the middle of the levels inside it, and column 24 / 2 + 12 of the one around.
    assert float(changed[0, 26:].max()) == float(changed[1, 24:].max()) == float(changed[2, 28:].max()) == 0
    assert float(changed[1, :24].min()) > 0.1 and float(changed[2, :20].min()) > 0.1


def test_photographs_are_resized_with_antialiasing():
    checks = (torch.arange(65)[:, None] + torch.arange(65)).remainder(2).float().expand(3, 65, 65)
    assert float((crop_photograph(checks, 13, 13) - 0.5).abs().max()) < 0.05


def test_photograph_is_cropped_around_its_middle():
    image = torch.zeros(3, 30, 90)
    image[:, :, 30:60] = 1
    assert float(crop_photograph(image, 16, 16).min()) > 0.99
    assert crop_photograph(torch.rand(3, 7, 5), 32, 48).shape == (3, 32, 48)


@pytest.mark.parametrize(
    "changed, words",
    [
        (dict(image=torch.zeros(1, 4, 4)), "image must be"),
        (dict(method="guess"), "method must be one of"),
        (dict(steps=0), "steps must be at least 1"),
        (dict(learning_rate=0.0), "learning_rate must be above 0"),
    ],
)
def test_bad_guides_are_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        ZoomGuide(**{"image": torch.zeros(3, 4, 4), **changed})


def test_a_level_that_does_not_exist_is_refused():
    guide = ZoomGuide(torch.zeros(3, 4, 4), level=5)
    assert ZoomGuide(torch.zeros(3, 4, 4), level=-1).index(4) == 3
    with pytest.raises(ValueError, match="level 5 of the guide does not exist: the levels are 0 to 3"):
        guide.index(4)


def test_levels_between_two_held_ones_meet_both():
    """A pixel near a border sees both sides of it: both pictures hold exactly all the same."""
    geometry, truth, estimates = scene(ZoomLevels.uniform(5, 2.0))
    held = [LevelConstraint(truth[0], geometry, 0, only=[1, 2]), LevelConstraint(truth[3], geometry, 3, only=[1, 2, 4])]
    result = consolidate(estimates, geometry, constraints=held)
    for level in (0, 3):
        assert float((result[level] - truth[level]).abs().max()) < 1e-4
    for pair in pairs(geometry):
        assert float((pair.reduce(result[pair.inner]) - pair.crop(result[pair.outer])).abs().max()) < 1e-5
    # What no picture fixes stays the levels' own.
    assert psnr(result[2, :, :8, :8], truth[2, :, :8, :8]) < 35
