"""The joint sampler with every kind of model and conditioning, beside the core's KSampler.

Without blending every level must be what the core gives for it alone; with blending levels agree.
"""

from __future__ import annotations

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.hooks
import comfy.sd
import node_helpers
import tiny_models
import torch
from comfy_extras import nodes_model_advanced
from comfy_extras.nodes_sdupscale import SD_4XUpscale_Conditioning
from joint_runs import CLOSE, PLAIN, TOY_LEVELS, check_agreement, check_equal, core_levels, difference, joint, random

import nodes


@pytest.mark.parametrize("kind", ["sd1", "sd3", "flux", "wan"])
def test_checkpoints_that_the_core_detects(model_folder, kind):
    model = tiny_models.load(kind, model_folder)
    conds = tiny_models.conditioning(kind, 2)
    latent = tiny_models.empty_latent(kind, 2, 8, 8)
    check_equal(model, *conds, latent, steps=3)
    check_agreement(model, *conds, latent, steps=3)
    # A person gives the ordinary empty latent: channels and a time axis come from the model.
    four = joint(model, *conds, torch.zeros(1, 4, 8, 8), steps=2)
    assert four.shape == latent.shape


def test_an_sd1_checkpoint_as_v_prediction(model_folder):
    model = tiny_models.load("sd1", model_folder)
    (model,) = nodes_model_advanced.ModelSamplingDiscrete().patch(model, "v_prediction", False)
    conds = tiny_models.conditioning("sd1", 2)
    check_equal(model, *conds, tiny_models.empty_latent("sd1", 2, 8, 8), steps=3)


@pytest.mark.parametrize("channels", [3, 4, 16])
@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_predictions_and_channels(zoom_stack_pack, prompts, prediction, channels):
    model = tiny_models.toy(prediction, channels)
    latent = torch.zeros(TOY_LEVELS, channels, 8, 8)
    for start in (latent, latent + random(*latent.shape)):
        check_equal(model, *prompts, start, denoise=0.7)
    check_agreement(model, *prompts, latent)


def test_a_wide_and_an_odd_latent(toy, prompts):
    for size in ((9, 16), (7, 11), (16, 6)):
        check_equal(toy, *prompts, tiny_models.empty_latent("toy", TOY_LEVELS, *size))
        assert joint(toy, *prompts, tiny_models.empty_latent("toy", 1, *size)).shape == (TOY_LEVELS, 4, *size)


def test_a_lora_on_the_model(toy, prompts):
    patched, _ = comfy.sd.load_lora_for_models(toy, None, tiny_models.lora(toy, "one"), 1.0, 0)
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    with_lora = check_equal(patched, *prompts, latent)
    assert difference(with_lora, check_equal(toy, *prompts, latent)) > 0.01


def test_lora_hooks_of_single_levels(toy, prompts):
    """Level 0 has one LoRA, level 1 none, level 2 another that starts half-way."""
    positive, negative = prompts

    def hooked(conds, name, keyframes=None):
        hooks = comfy.hooks.create_hook_lora(tiny_models.lora(toy, name), 1.0, 0.0)
        if keyframes is not None:
            hooks = hooks.clone()
            hooks.set_keyframes_on_hooks(keyframes)
        return comfy.hooks.set_conds_props(conds=conds, strength=1.0, set_cond_area="default", hooks=hooks)

    late = comfy.hooks.HookKeyframeGroup()
    late.add(comfy.hooks.HookKeyframe(0.0, start_percent=0.0))
    late.add(comfy.hooks.HookKeyframe(1.0, start_percent=0.5))
    first, first_negative = hooked([positive[0], negative[0]], "one")
    (last,) = hooked([positive[2]], "two", late)
    conds = [first, positive[1], last], [first_negative, negative[1], negative[2]]
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    changed = check_equal(toy, *conds, latent)
    plain = check_equal(toy, positive, negative, latent)
    assert [difference(changed[i : i + 1], plain[i : i + 1]) > 1e-3 for i in range(3)] == [True, False, True]
    check_agreement(toy, *conds, latent)


@pytest.fixture(scope="module")
def sd1(model_folder):
    return tiny_models.load("sd1", model_folder)


def test_controlnets_of_single_levels(sd1):
    """ComfyUI maps the list over the apply node: each level has its own hint, strength and range."""
    positive, negative = tiny_models.conditioning("sd1", TOY_LEVELS)
    control = tiny_models.controlnet()
    apply = nodes.ControlNetApplyAdvanced()
    controlled = [], []
    for i in range(TOY_LEVELS):
        hint = random(1, 64, 64, 3, seed=i)
        end = 0.5 if i == 2 else 1.0
        for out, cond in zip(
            controlled, apply.apply_controlnet(positive[i], negative[i], control, hint, 0.5 * i, 0.0, end)
        ):
            out.append(cond)
    latent = tiny_models.empty_latent("sd1", TOY_LEVELS, 8, 8)
    ours = check_equal(sd1, *controlled, latent, steps=3)
    plain = check_equal(sd1, positive, negative, latent, steps=3)
    assert [difference(ours[i : i + 1], plain[i : i + 1]) > 1e-3 for i in range(3)] == [False, True, True]
    check_agreement(sd1, *controlled, latent, steps=3)


def test_one_controlnet_for_all_levels(sd1):
    positive, negative = tiny_models.conditioning("sd1", 2)
    hint = random(1, 64, 64, 3)
    pair = nodes.ControlNetApplyAdvanced().apply_controlnet(
        positive[0], negative[0], tiny_models.controlnet(), hint, 1.0, 0.0, 1.0
    )
    check_equal(sd1, [pair[0]] * 2, [pair[1]], tiny_models.empty_latent("sd1", 2, 8, 8), steps=3)


def test_areas_masks_combinations_and_ranges(toy, prompts):
    """One level each: a feathered area over a background, a mask, two prompts over time, and percentages."""
    positive, negative = tiny_models.conditioning("toy", 5)
    extra, _ = tiny_models.conditioning("toy", 5, seed=9)
    size = 24
    area = nodes.ConditioningSetArea().append(extra[0], width=96, height=64, x=64, y=72, strength=0.8)[0]
    percent = nodes.ConditioningSetAreaPercentage().append(extra[3], 0.5, 0.4, 0.25, 0.3, 1.5)[0]
    masked = nodes.ConditioningSetMask().append(extra[1], random(1, 96, 96), "default", 0.7)[0]
    bounds = torch.zeros(1, 96, 96)
    bounds[:, 20:70, 10:60] = 1
    bounded = nodes.ConditioningSetMask().append(extra[4], bounds, "mask bounds", 1.0)[0]
    set_range, combine = nodes.ConditioningSetTimestepRange().set_range, nodes.ConditioningCombine().combine
    levels = [
        combine(positive[0], area)[0],
        combine(positive[1], masked)[0],
        combine(set_range(positive[2], 0.0, 0.4)[0], set_range(extra[2], 0.4, 1.0)[0])[0],
        combine(positive[3], percent)[0],
        combine(positive[4], bounded)[0],
    ]
    latent = tiny_models.empty_latent("toy", 5, size, size)
    ours = check_equal(toy, levels, negative, latent)
    plain = check_equal(toy, positive, negative, latent)
    assert all(difference(ours[i : i + 1], plain[i : i + 1]) > 1e-3 for i in range(5))
    check_agreement(toy, levels, negative, latent)


def test_areas_of_a_model_with_a_time_axis(model_folder):
    model = tiny_models.load("wan", model_folder)
    positive, negative = tiny_models.conditioning("wan", 2)
    extra, _ = tiny_models.conditioning("wan", 2, seed=9)
    area = nodes.ConditioningSetArea().append(extra[0], width=64, height=32, x=32, y=48, strength=1.0)[0]
    masked = nodes.ConditioningSetMask().append(extra[1], random(1, 1, 128, 128), "default", 1.0)[0]
    levels = [nodes.ConditioningCombine().combine(positive[0], area)[0], positive[1] + masked]
    check_equal(model, levels, negative, tiny_models.empty_latent("wan", 2, 16, 16), steps=3)


def test_default_conditioning_is_refused(toy, prompts):
    positive, negative = prompts
    combined = comfy.hooks.set_default_conds_and_combine(conds=[positive[0]], new_conds=[positive[1]])
    with pytest.raises(ValueError, match="level 0: default conditioning .* is not supported"):
        joint(toy, [combined[0], *positive[1:]], negative, tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8))


def inpainting(conds: list, latent: torch.Tensor, mask: torch.Tensor) -> list:
    """What InpaintModelConditioning puts on each level's conditioning."""
    return [
        node_helpers.conditioning_set_values(
            cond, {"concat_latent_image": latent[i : i + 1], "concat_mask": mask[i : i + 1]}
        )
        for i, cond in enumerate(conds)
    ]


@pytest.mark.parametrize("kind", ["sd1-inpaint", "flux-fill"])
def test_inpainting_models(model_folder, kind):
    model = tiny_models.load(kind, model_folder)
    latent = tiny_models.empty_latent(kind, 2, 8, 8)
    latent = latent + random(*latent.shape)
    mask = (random(2, 1, 64, 64, seed=3) > 0.5).float()
    conds = [inpainting(side, latent, mask) for side in tiny_models.conditioning(kind, 2)]
    check_equal(model, *conds, latent, mask, steps=3)
    check_equal(model, *conds, latent, steps=3)
    check_equal(model, *tiny_models.conditioning(kind, 2), latent, mask, steps=3)
    check_agreement(model, *conds, latent, steps=3)


def test_an_inpainting_area_takes_its_own_part_of_the_picture(model_folder):
    model = tiny_models.load("flux-fill", model_folder)
    latent = tiny_models.empty_latent("flux-fill", 2, 16, 16)
    latent = latent + random(*latent.shape)
    mask = (random(2, 1, 128, 128, seed=3) > 0.5).float()
    positive, negative = (inpainting(side, latent, mask) for side in tiny_models.conditioning("flux-fill", 2))
    positive[1] = nodes.ConditioningSetArea().append(positive[1], width=64, height=96, x=32, y=16, strength=1.0)[0]
    positive[1] = positive[1] + positive[0]
    check_equal(model, positive, negative, latent, steps=3)


def test_reference_latents_of_edit_models(model_folder):
    model = tiny_models.load("flux", model_folder)
    positive, negative = tiny_models.conditioning("flux", 2)
    positive = [
        node_helpers.conditioning_set_values(
            cond, {"reference_latents": [random(1, 16, 6, 8 + 2 * i, seed=i)]}, append=True
        )
        for i, cond in enumerate(positive)
    ]
    latent = tiny_models.empty_latent("flux", 2, 8, 8)
    ours = check_equal(model, positive, negative, latent, steps=3)
    assert difference(ours, core_levels(model, *tiny_models.conditioning("flux", 2), latent, steps=3)) > 1e-3
    check_agreement(model, positive, negative, latent, steps=3)


def test_a_noise_mask_keeps_what_it_covers(toy, prompts):
    latent = random(TOY_LEVELS, 4, 16, 16)
    mask = torch.zeros(TOY_LEVELS, 1, 16, 16)
    mask[:, :, 4:12, 2:9] = 1
    ours = check_equal(toy, *prompts, latent, mask)
    assert difference(ours * (1 - mask), latent * (1 - mask)) < 1e-4


def test_memory_may_cut_the_levels_into_several_calls(toy, prompts, monkeypatch):
    """ComfyUI sizes the calls by free memory; the result stays the same."""
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    whole = joint(toy, *prompts, latent)
    for batch in (1, 2, 4):
        sizes = []
        limited = toy.clone()
        limited.set_model_unet_function_wrapper(
            lambda run, a: sizes.append(len(a["input"])) or run(a["input"], a["timestep"], **a["c"])
        )
        with monkeypatch.context() as patch:
            patch.setattr(
                type(toy.model), "memory_required", lambda self, shape, cond_shapes={}: float(shape[0] > batch) * 1e18
            )
            cut = joint(limited, *prompts, latent)
        assert max(sizes) <= batch and sum(sizes) == 6 * 4
        assert difference(cut, whole) < CLOSE


def test_the_cores_split_over_several_devices(toy, prompts):
    """Two devices that are both the CPU: the core's multi-GPU code deals out the levels."""
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    sizes = []
    split = toy.clone()
    split.model_options["multigpu_clones"] = {torch.device("cpu"): split, torch.device("cpu", 0): toy.clone()}
    split.set_model_unet_function_wrapper(
        lambda run, a: sizes.append(len(a["input"])) or run(a["input"], a["timestep"], **a["c"])
    )
    assert difference(joint(split, *prompts, latent, steps=2), joint(toy, *prompts, latent, steps=2)) < CLOSE
    assert sizes == [3] * 4


def test_nested_latents_and_clips_are_refused(toy, model_folder, prompts):
    import comfy.nested_tensor

    nested = comfy.nested_tensor.NestedTensor([torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)])
    with pytest.raises(ValueError, match="latent_image holds several latents at once"):
        joint(toy, *prompts, nested)
    with pytest.raises(ValueError, match="latent_image has 5 frames: joint sampling needs single images"):
        joint(tiny_models.load("wan", model_folder), *tiny_models.conditioning("wan", 2), torch.zeros(2, 16, 5, 8, 8))


def test_a_second_stage_that_sees_the_level_before(zoom_stack_pack, prompts):
    """The core's x4 upscaler: each level beside its own small picture, from lists, from a batch of N, and together."""
    model = tiny_models.x4_upscaler()
    positive, negative = prompts
    pictures = random(TOY_LEVELS, 32, 32, 3).sigmoid()

    def upscaled(images, i):
        return SD_4XUpscale_Conditioning.execute(images, positive[i], negative[i], 4.0, 0.1).args

    by_level = [upscaled(pictures[i : i + 1], i) for i in range(TOY_LEVELS)]
    latent = torch.zeros(TOY_LEVELS, 4, 32, 32)
    lists = [made[0] for made in by_level], [made[1] for made in by_level]
    ours = check_equal(model, *lists, latent, steps=2)
    check_agreement(model, *lists, latent, steps=2)
    # A picture of another level changes the level that shows it, and no other.
    swapped = [upscaled(pictures[:1], i) if i == 2 else made for i, made in enumerate(by_level)]
    changed = check_equal(model, [made[0] for made in swapped], [made[1] for made in swapped], latent, steps=2)
    assert [difference(changed[i : i + 1], ours[i : i + 1]) > 1e-3 for i in range(3)] == [False, False, True]
    # All pictures in one batch, as a node gives them that is not mapped over a list.
    batch = [upscaled(pictures, i) for i in range(TOY_LEVELS)]
    at_once = joint(model, [made[0] for made in batch], [made[1] for made in batch], latent, steps=2, **PLAIN)
    assert difference(at_once, ours) < CLOSE
