"""Guidance in a part of the sampling only: what it costs, and what it equals."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import tiny_models
import torch
from comfy_extras.nodes_custom_sampler import CFGOverride
from joint_runs import CLOSE, difference, joint

COUNT = 3


@pytest.fixture(scope="module")
def toy(zoom_stack_pack):
    return tiny_models.toy("flow")


@pytest.fixture(scope="module")
def given(toy):
    positive, negative = tiny_models.conditioning("toy", COUNT)
    return positive, negative, tiny_models.empty_latent("toy", COUNT, 8, 8)


def counted(model):
    """A clone of the model, and the list of how many latents it has been given, call by call."""
    calls = []
    clone = model.clone()

    def count(run, arguments):
        calls.append(len(arguments["input"]))
        return run(arguments["input"], arguments["timestep"], **arguments["c"])

    clone.set_model_unet_function_wrapper(count)
    return clone, calls


def override(model, start: float, end: float):
    return CFGOverride.execute(model, 1.0, start, end).args[0]


def test_outside_the_interval_cfg_is_1_and_the_negative_prompt_costs_nothing(toy, given):
    settings = dict(steps=10, scheduler="simple")
    whole, all_calls = counted(toy)
    joint(whole, *given, **settings)
    part, calls = counted(toy)
    inside = joint(part, *given, cfg_start_percent=0.25, cfg_end_percent=0.75, **settings)
    assert sum(all_calls) == 2 * 10 * COUNT
    guided = sum(calls) - 10 * COUNT
    assert 0.3 * 10 * COUNT <= guided <= 0.7 * 10 * COUNT
    # The core's own node says the same from outside: cfg 1 before and after.
    overridden = override(override(toy, 0.0, 0.2499), 0.7501, 1.0)
    assert difference(joint(overridden, *given, **settings), inside) < CLOSE
    assert difference(joint(toy, *given, **settings), inside) > 100 * CLOSE


@pytest.mark.parametrize("name", ["cfg_start_percent", "cfg_end_percent"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_refuses_parts_that_are_none(toy, given, name, value):
    with pytest.raises(ValueError, match=f"{name} must be from 0 to 1"):
        joint(toy, *given, **{name: value})


def test_blending_at_borders_follows_the_noise(toy, given):
    """What sampling gives agrees, and is not what merely rendering at every step gives."""
    ours = joint(toy, *given, blending="border")
    papers = joint(toy, *given, blending="multi-resolution")
    assert torch.isfinite(ours).all()
    assert difference(ours, papers) > 0.01
