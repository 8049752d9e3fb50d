"""Endless zooms through the nodes: prompts, joint sampling, pictures of one's own."""

from __future__ import annotations

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import tiny_models
import torch
from joint_runs import CLOSE, PLAIN, core_levels, difference, joint
from scenes import consistent_levels
from zoom_stack_pack.nodes.alignment import ZoomStackFit
from zoom_stack_pack.nodes.demo import ZoomDemoModelLoader
from zoom_stack_pack.nodes.prompts import ZoomPromptList
from zoom_stack_pack.nodes.stack import ZoomStackRender

from zoom_core import ZoomLevel, ZoomLevels
from zoom_core.insets import fill_insets
from zoom_core.pairs import pairs

COUNT, SIDE = 4, 16
LEVELS = ZoomLevels([ZoomLevel(zoom=2, center=c) for c in ((0.4, 0.6), (0.5, 0.5), (0.7, 0.3), (0.5, 0.5))], loop=True)


@pytest.fixture(scope="module")
def model(zoom_stack_pack):
    return tiny_models.toy("eps")


def run(model, levels=LEVELS, latent=None, **changed) -> torch.Tensor:
    positive, negative = tiny_models.conditioning("toy", len(levels))
    latent = tiny_models.empty_latent("toy", len(levels), SIDE, SIDE) if latent is None else latent
    return joint(model, positive, negative, latent, levels, **changed)


def closing_misfit(samples: torch.Tensor, levels: ZoomLevels = LEVELS) -> float:
    """How far level 0 is from what the innermost level shows of it, in standard deviations."""
    last = pairs(levels.resolve(SIDE, SIDE))[-1]
    return float((last.crop(samples[-1]) - last.reduce(samples[0])).abs().max() / samples.std())


def test_without_blending_the_loop_is_the_core_samplers(model):
    positive, negative = tiny_models.conditioning("toy", COUNT)
    empty = tiny_models.empty_latent("toy", COUNT, SIDE, SIDE)
    assert difference(run(model, **PLAIN), core_levels(model, positive, negative, empty)) < CLOSE


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m_sde"])
def test_sampled_levels_agree_at_the_closing_step(model, sampler):
    assert closing_misfit(run(model, sampler_name=sampler)) < 2e-5
    open_levels = ZoomLevels(list(LEVELS))
    assert closing_misfit(run(model, open_levels, sampler_name=sampler)) > 0.1


def test_too_few_levels_are_named_with_the_number_that_is_enough(model):
    with pytest.raises(ValueError, match="endless zoom of 3 levels .* 16 pixels .* at least 4 levels"):
        run(model, ZoomLevels.uniform(3, loop=True))


def test_a_held_level_fixes_its_neighbours_on_both_sides_of_the_closing_step(model):
    latent = torch.randn(COUNT, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    mask = torch.ones(COUNT, SIDE * 8, SIDE * 8)
    mask[0] = 0
    samples = run(model, latent={"samples": latent, "noise_mask": mask})
    torch.testing.assert_close(samples[0], latent[0])
    # A picture made of noise does not hold itself in the one pixel where it would have to.
    assert closing_misfit(samples) < 0.02


@pytest.fixture(scope="module")
def clip(zoom_stack_pack):
    return ZoomDemoModelLoader.execute().args[1]


def test_prompts_give_closed_levels(clip):
    prompts = '["a galaxy", {"prompt": "a planet", "zoom": 4}, "a leaf"]'
    arguments = dict(clip=clip, negative="", zoom=3.0, prefix="", suffix="")
    positive, _, levels = ZoomPromptList.execute(prompts=prompts, loop=True, **arguments).args
    assert levels.loop and [level.zoom for level in levels] == [3.0, 4.0, 3.0] and len(positive) == 3
    assert not ZoomPromptList.execute(prompts=prompts, **arguments).args[2].loop
    with pytest.raises(ValueError, match="loop needs at least 2 levels, got 1"):
        ZoomPromptList.execute(prompts="a galaxy", loop=True, **arguments)
    with pytest.raises(ValueError, match="level 0: center x = 0.1 puts part of the inset outside the innermost level"):
        ZoomPromptList.execute(prompts='[{"prompt": "a", "center": [0.1, 0.5]}, "b"]', loop=True, **arguments)


def test_pictures_of_ones_own_become_an_endless_zoom():
    geometry = ZoomLevels.uniform(3, 4.0, loop=True).resolve(64, 64)
    # As the camera's own pixels see each other.
    pictures = fill_insets(consistent_levels(geometry), geometry)
    images = [pictures.movedim(1, -1)]
    arguments = dict(images=images, blending=["multi-resolution"], feather=[20.0], zoom=[4.0])
    stack, rendered = ZoomStackRender.execute(loop=[True], **arguments).args
    assert stack.levels.loop and stack.geometry.closed
    around = fill_insets(stack.layers.clone(), geometry)
    torch.testing.assert_close(around, stack.layers, atol=1e-5, rtol=0)
    torch.testing.assert_close(rendered.movedim(-1, 1), stack.layers, atol=1e-6, rtol=0)
    # Fusing sees them with pixels of another shape.
    assert float((rendered - images[0]).abs().mean()) < 0.06
    assert not ZoomStackRender.execute(**arguments).args[0].geometry.closed
    with pytest.raises(ValueError, match="loop needs at least 2 levels"):
        ZoomStackRender.execute(**{**arguments, "images": [images[0][:1]]}, loop=[True])


def test_the_closing_step_of_ones_own_pictures_is_reported():
    geometry = ZoomLevels.uniform(3, 2.0, loop=True).resolve(64, 64)
    images = [consistent_levels(geometry).movedim(1, -1)]
    arguments = dict(images=images, zoom=[2.0], align=[False], match_colour=[False])
    assert "level 2 and 0: fits" in ZoomStackFit.execute(loop=[True], **arguments).args[1]
    assert "level 2 and 0" not in ZoomStackFit.execute(**arguments).args[1]
