"""What the joint sampler does when something goes wrong in the middle of it, in the test's own process."""

from __future__ import annotations

import gc
import weakref

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.model_management
import tiny_models
import torch
from joint_runs import joint
from zoom_stack_pack.nodes import side_by_side
from zoom_stack_pack.nodes.prompts import ZoomPromptList

from zoom_core import ZoomLevels

COUNT = 3


@pytest.fixture(scope="module")
def model(zoom_stack_pack):
    return tiny_models.toy("flow")


@pytest.fixture
def prompts():
    return tiny_models.conditioning("toy", COUNT)


@pytest.fixture
def latent():
    return tiny_models.empty_latent("toy", COUNT, 8, 8)


def failing_at(model, call: int, fail):
    """The model with a function that runs in place of its `call`-th evaluation."""
    calls = []

    def wrapper(run, arguments):
        calls.append(1)
        if len(calls) == call:
            return fail(arguments["input"])
        return run(arguments["input"], arguments["timestep"], **arguments["c"])

    broken = model.clone()
    broken.set_model_unet_function_wrapper(wrapper)
    return broken


def raising(error):
    def fail(x):
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        comfy.model_management.InterruptProcessingException(),
        torch.OutOfMemoryError("out of memory"),
        RuntimeError("a kernel failed"),
    ],
    ids=["interrupt", "out of memory", "any error"],
)
def test_a_run_cut_off_in_a_step_leaves_nothing_behind(model, prompts, latent, error, monkeypatch):
    expected = joint(model, *prompts, latent)
    made = []
    place = side_by_side.place

    def placed(*arguments):
        conds = place(*arguments)
        made.extend(weakref.ref(entry["model_conds"]["c_crossattn"].cond) for entry in conds)
        return conds

    monkeypatch.setattr(side_by_side, "place", placed)
    with pytest.raises(type(error)) as raised:
        joint(failing_at(model, 2, raising(error)), *prompts, latent)
    assert raised.value is error
    assert made and all(reference() is not None for reference in made[:1])
    error.__traceback__ = None
    del raised
    gc.collect()
    assert not any(reference() is not None for reference in made), "what was made for the run must be let go"
    assert torch.equal(joint(model, *prompts, latent), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_returns_nan_is_reported(model, prompts, latent, value):
    broken = failing_at(model, 2, lambda x: torch.full_like(x, value))
    with pytest.raises(ValueError, match=r"The model returned NaN or infinite values. Usual causes: .*--fp32-unet"):
        joint(broken, *prompts, latent)


def test_a_latent_with_nan_is_reported(model, prompts, latent):
    latent[1, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="latent_image holds NaN or infinite values"):
        joint(model, *prompts, latent, denoise=0.5)


def test_lists_of_the_wrong_length_are_named(model, prompts, latent):
    positive, negative = prompts
    with pytest.raises(ValueError, match="positive has 2 entries, levels has 3: give 1 or 3"):
        joint(model, positive[:2], negative, latent, ZoomLevels.uniform(3))
    with pytest.raises(ValueError, match="negative has 2 entries, levels has 3: give 1 or 3"):
        joint(model, positive, negative[:2], latent)
    with pytest.raises(ValueError, match="positive has 3 entries, levels has 1: give 1."):
        joint(model, positive, negative[:1], latent[:1], ZoomLevels.uniform(1))


def test_latent_batches_that_do_not_match_are_named(model, prompts, latent):
    with pytest.raises(ValueError, match="latent_image has a batch of 2, levels has 3 levels: give 1 or 3"):
        joint(model, *prompts, latent[:2])


@pytest.mark.parametrize("size", [(1, 8), (8, 1), (1, 1)])
def test_sizes_that_hold_no_level_are_named(model, prompts, size):
    with pytest.raises(ValueError, match=rf"latent_image is {size[1]} x {size[0]} latent pixels .* at least 2 x 2"):
        joint(model, *prompts, tiny_models.empty_latent("toy", COUNT, *size))


def test_a_missing_text_encoder_is_named(zoom_stack_pack):
    with pytest.raises(ValueError, match="clip is missing: the checkpoint has no text encoder"):
        ZoomPromptList.execute(None, "a\nb", "", 2.0, "", "")
