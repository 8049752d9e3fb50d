"""What people connect to the joint sampler: batches of N, lists, masks, patches; each works or is refused by name."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.sample
import node_helpers
import tiny_models
import torch
from comfy_extras import nodes_context_windows, nodes_perpneg
from joint_runs import CLOSE, PLAIN, TOY_LEVELS, core, core_levels, difference, joint, random
from zoom_stack_pack.nodes.editing import ZoomLevelMask
from zoom_stack_pack.nodes.guides import ZoomPhotoGuide
from zoom_stack_pack.nodes.images import levels_for, levels_from_images
from zoom_stack_pack.nodes.layout import level_latents, level_mask, resolve

import nodes
from zoom_core import ZoomLevels, downscale

LEVELS = ZoomLevels.uniform(TOY_LEVELS)


def batched(conds: list) -> list:
    """One CONDITIONING whose items are those of several, of one length."""
    tokens = torch.cat([cond[0][0] for cond in conds])
    first = conds[0][0][1]
    pooled = {"pooled_output": torch.cat([c[0][1]["pooled_output"] for c in conds])} if "pooled_output" in first else {}
    return [[tokens, pooled]]


def of_one_length(kind: str, count: int, seed: int = 0) -> tuple[list, list]:
    positive, negative = tiny_models.conditioning(kind, 2 * count, seed)
    return positive[::2], negative[::2]


@pytest.mark.parametrize("kind", ["toy", "sd3"])
def test_a_batch_of_prompts_goes_to_its_levels(toy, model_folder, kind):
    model = toy if kind == "toy" else tiny_models.load(kind, model_folder)
    positive, negative = of_one_length(kind, TOY_LEVELS)
    latent = tiny_models.empty_latent(kind, TOY_LEVELS, 8, 8)
    together = joint(model, [batched(positive)], [batched(negative)], latent, LEVELS, **PLAIN)
    assert difference(together, joint(model, positive, negative, latent, **PLAIN)) < CLOSE
    noise = comfy.sample.prepare_noise(latent, 7)
    assert difference(together, core(model, batched(positive), batched(negative), latent, noise)) < CLOSE
    assert difference(together, joint(model, positive[:1], negative, latent, **PLAIN)) > 1e-3


def test_a_batch_of_conditioning_masks_goes_to_its_levels(toy, prompts):
    positive, negative = prompts
    extra, _ = tiny_models.conditioning("toy", 1, seed=9)
    masks = random(TOY_LEVELS, 64, 64)
    levels = [p + nodes.ConditioningSetMask().append(extra[0], masks, "default", 0.7)[0] for p in positive]
    own = [
        p + nodes.ConditioningSetMask().append(extra[0], masks[i : i + 1], "default", 0.7)[0]
        for i, p in enumerate(positive)
    ]
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    ours = joint(toy, levels, negative, latent, **PLAIN)
    assert difference(ours, core_levels(toy, own, negative, latent)) < CLOSE
    assert difference(ours, joint(toy, own[:1] * 3, negative, latent, **PLAIN)) > 1e-3


@pytest.fixture(scope="module")
def sd1(model_folder):
    return tiny_models.load("sd1", model_folder)


def test_a_batch_of_control_pictures_goes_to_its_levels(sd1):
    """One apply node fed with one conditioning, and the same mapped over a list: picture i is level i's."""
    positive, negative = tiny_models.conditioning("sd1", 2)
    control, hints = tiny_models.controlnet(), random(2, 64, 64, 3)
    apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    # Two ControlNets in a row, the first with one picture for all.
    first = [apply(p, n, control, hints[:1], 0.4, 0.0, 1.0) for p, n in zip(positive, negative)]
    mapped = [apply(p, n, control, hints, 0.8, 0.0, 1.0) for p, n in first]
    own = [apply(p, n, control, hints[i : i + 1], 0.8, 0.0, 1.0) for i, (p, n) in enumerate(first)]
    latent = tiny_models.empty_latent("sd1", 2, 8, 8)
    ours = joint(sd1, *map(list, zip(*mapped)), latent, steps=2, **PLAIN)
    assert difference(ours, core_levels(sd1, *map(list, zip(*own)), latent, steps=2)) < CLOSE
    same = [apply(p, n, control, hints[:1], 0.8, 0.0, 1.0) for p, n in first]
    assert difference(ours[1:], joint(sd1, *map(list, zip(*same)), latent, steps=2, **PLAIN)[1:]) > 1e-3
    single = apply(positive[0], negative[0], control, hints, 0.8, 0.0, 1.0)
    own = [apply(positive[0], negative[0], control, hints[i : i + 1], 0.8, 0.0, 1.0) for i in range(2)]
    ours = joint(sd1, [single[0]], [single[1]], latent, ZoomLevels.uniform(2), steps=2, **PLAIN)
    assert difference(ours, core_levels(sd1, *map(list, zip(*own)), latent, steps=2)) < CLOSE


def test_inpainting_nodes_fed_with_batches(model_folder):
    """InpaintModelConditioning mapped over N prompts gives N conditionings and N latents, each of a batch of N."""
    model = tiny_models.load("sd1-inpaint", model_folder)
    positive, negative = tiny_models.conditioning("sd1-inpaint", 2)
    vae, pictures = tiny_models.taesd(), random(2, 64, 64, 3)
    masks = (random(2, 64, 64, seed=3) > 0.5).float()
    encode = nodes.InpaintModelConditioning().encode
    mapped = [encode(p, n, pictures, vae, masks, True) for p, n in zip(positive, negative)]
    own = [
        encode(p, n, pictures[i : i + 1], vae, masks[i : i + 1], True)
        for i, (p, n) in enumerate(zip(positive, negative))
    ]
    with torch.inference_mode():
        together = level_latents([entry[2] for entry in mapped], 2)
        apart = level_latents([entry[2] for entry in own], 2)
    assert difference(together["samples"], apart["samples"]) < 1e-4
    assert torch.equal(together["noise_mask"], apart["noise_mask"])
    ours = joint(model, [e[0] for e in mapped], [e[1] for e in mapped], together, steps=2, **PLAIN)
    expected = core_levels(
        model, [e[0] for e in own], [e[1] for e in own], apart["samples"], apart["noise_mask"], steps=2
    )
    assert difference(ours, expected) < CLOSE


def test_reference_latents_of_a_batch(model_folder):
    model = tiny_models.load("flux", model_folder)
    positive, negative = of_one_length("flux", 2)
    references = random(2, 16, 6, 8)
    add = lambda cond, value: node_helpers.conditioning_set_values(cond, {"reference_latents": [value]}, append=True)
    latent = tiny_models.empty_latent("flux", 2, 8, 8)
    ours = joint(model, [add(p, references) for p in positive], negative, latent, steps=2, **PLAIN)
    own = [add(p, references[i : i + 1]) for i, p in enumerate(positive)]
    assert difference(ours, core_levels(model, own, negative, latent, steps=2)) < CLOSE


def test_batches_that_cannot_be_cut_are_refused_by_name(sd1):
    positive, negative = tiny_models.conditioning("sd1", 6)
    latent = tiny_models.empty_latent("sd1", 3, 8, 8)
    two, levels = [batched(positive[:4:2])], ZoomLevels.uniform(3)
    with pytest.raises(ValueError, match="positive: the prompt has a batch of 2, levels has 3: give 1 or 3"):
        joint(sd1, two, negative[:1], latent, levels)
    controlled = nodes.ControlNetApplyAdvanced().apply_controlnet(
        positive[0], negative[0], tiny_models.controlnet(), random(2, 64, 64, 3), 1.0, 0.0, 1.0
    )
    with pytest.raises(ValueError, match="positive: the picture of a ControlNet has a batch of 2, levels has 3"):
        joint(sd1, [controlled[0]], [controlled[1]], latent, levels)
    edited = node_helpers.conditioning_set_values(negative[0], {"concat_latent_image": random(4, 4, 8, 8)})
    with pytest.raises(ValueError, match="negative: the picture to inpaint or edit has a batch of 4, levels has 3"):
        joint(sd1, positive[:1], [edited], latent, levels)
    with pytest.raises(ValueError, match="has a batch of 3, levels has 1: give 1"):
        joint(sd1, [batched(positive[:6:2])], negative[:1], latent[:1], ZoomLevels.uniform(1))


def test_lists_of_latents_keep_their_own_masks():
    """A mask of another size, none at all, and one without a batch; sizes of latents must agree."""
    latents = [{"samples": random(1, 4, 8, 8, seed=i)} for i in range(3)]
    latents[0]["noise_mask"] = torch.zeros(1, 1, 64, 64)
    latents[2]["noise_mask"] = torch.cat([torch.zeros(8, 4), torch.ones(8, 4)], dim=1)
    joined = level_latents(latents, 3)
    assert joined["samples"].shape == (3, 4, 8, 8) and joined["noise_mask"].shape == (3, 1, 8, 8)
    assert [float(mask.mean()) for mask in joined["noise_mask"]] == [0.0, 1.0, 0.5]
    with pytest.raises(ValueError, match=r"must all have one size .* got 4 x 8 x 8, 4 x 8 x 9"):
        level_latents([latents[0], {"samples": torch.zeros(1, 4, 8, 9)}], 2)
    with pytest.raises(ValueError, match="noise_mask has a batch of 2, latent_image one of 3"):
        level_mask(torch.zeros(2, 8, 8), torch.zeros(3, 4, 8, 8))
    with pytest.raises(ValueError, match=r"noise_mask must be \[batch, height, width\]"):
        level_mask(torch.zeros(0, 8, 8), torch.zeros(3, 4, 8, 8))
    single = level_latents([{"samples": torch.zeros(1, 4, 8, 8), "noise_mask": torch.ones(1, 8, 8)}], 3)
    assert single["noise_mask"].shape == (3, 1, 8, 8)


def test_masks_of_a_model_with_a_time_axis_are_the_levels_own(model_folder):
    """N masks [N, H, W] are one a level; for the core they would be N frames, averaged into one."""
    model = tiny_models.load("wan", model_folder)
    conds = tiny_models.conditioning("wan", 2)
    latent = random(2, 16, 1, 8, 8)
    masks = torch.zeros(2, 8, 8)
    masks[0, :, :4], masks[1, 5:] = 1, 1
    ours = joint(model, *conds, {"samples": latent, "noise_mask": masks}, steps=2, **PLAIN)
    own = masks[:, None, None]
    assert difference(ours, core_levels(model, *conds, latent, own, steps=2)) < CLOSE
    assert difference(ours * (1 - own), latent * (1 - own)) < 1e-4


def test_partly_kept_levels_are_shown_as_kept_by_the_levels_around(toy, prompts):
    """Half of the middle level is kept; the level around shows it as it is, not as blending would have it."""
    finished = joint(toy, *prompts, tiny_models.empty_latent("toy", 1, 16, 16), seed=1)
    mask = torch.ones(TOY_LEVELS, 1, 16, 16)
    mask[1, :, :, :8] = 0
    result = joint(toy, *prompts, {"samples": finished, "noise_mask": mask}, seed=2, steps=6)
    assert difference(result[1, ..., :8], finished[1, ..., :8]) < 1e-4
    assert difference(result[1, ..., 8:], finished[1, ..., 8:]) > 0.1
    for outer in range(TOY_LEVELS - 1):
        error = (downscale(result[outer + 1], 8, 8) - result[outer, :, 4:12, 4:12]).abs() / result.std()
        # Where the kept half ends, a pixel of the level around sees both.
        assert float(error.max()) < 1e-3, (outer, error.max())


def test_a_patch_with_an_empty_prompt_of_its_own(toy, prompts):
    """Perp-Neg as a patch evaluates a conditioning that knows of no levels."""
    positive, negative = prompts
    empty, _ = tiny_models.conditioning("toy", 1, seed=40)
    patched = nodes_perpneg.PerpNeg.execute(toy, empty[0], 0.8).args[0]
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    noise = comfy.sample.prepare_noise(latent, 7)
    # It projects over the whole batch, so that only a batch of the core is comparable.
    expected = core(patched, positive[0], negative[0], latent, noise)
    ours = joint(patched, positive[:1], negative[:1], latent, LEVELS, **PLAIN)
    assert difference(ours, expected) < CLOSE
    assert difference(ours, core(toy, positive[0], negative[0], latent, noise)) > 1e-3
    # The same where levels have to be cut up.
    masked = [nodes.ConditioningSetMask().append(positive[0], torch.ones(1, 64, 64), "default", 1.0)[0]]
    assert difference(joint(patched, masked, negative[:1], latent, LEVELS, **PLAIN), expected) < CLOSE


def test_context_windows_over_levels_are_refused(toy, prompts):
    def windows(length):
        return nodes_context_windows.ContextWindowsManualNode.execute(
            toy, length, 1, "standard_static", 1, False, "pyramid", 0, False
        ).args[0]

    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    with pytest.raises(ValueError, match="model has context windows that would cut the levels up"):
        joint(windows(2), *prompts, latent)
    assert difference(joint(windows(8), *prompts, latent), joint(toy, *prompts, latent)) < 1e-6


def test_iterative_updates_keep_what_is_held(toy, prompts):
    finished = joint(toy, *prompts, tiny_models.empty_latent("toy", 1, 16, 16), seed=1)
    masked = ZoomLevelMask.execute({"samples": finished}, LEVELS, "1-2").args[0]
    result = joint(toy, *prompts, masked, seed=2, update="iterative")
    assert torch.equal(result[0], finished[0])
    # The next level shows what level 0 fixes of it, which it would not by itself.
    inset = finished[0, :, 4:12, 4:12]
    assert difference(downscale(result[1], 8, 8), inset) < 1e-2 * float(finished.std())
    free = joint(toy, *prompts, {"samples": finished}, seed=2, update="iterative")
    assert difference(downscale(free[1], 8, 8), inset) > 0.1


@pytest.mark.parametrize(
    "shape, words",
    [
        ((3, 64, 32), "latent_image has 3 dimensions, .*joint sampling needs images"),
        ((3, 0, 8, 8), r"latent_image is empty: it has the shape \(3, 0, 8, 8\)"),
        ((0, 4, 8, 8), "latent_image is empty"),
        ((3, 4, 8, 0), r"latent_image is empty: it has the shape \(3, 4, 8, 0\)"),
        ((3, 4, 2, 8, 8), "latent_image has 2 frames: joint sampling needs single images"),
    ],
)
def test_latents_that_are_no_pictures_are_named(toy, prompts, shape, words):
    with pytest.raises(ValueError, match=words):
        joint(toy, *prompts, torch.zeros(shape))
    with pytest.raises(ValueError, match=words.replace("latent_image", "latent")):
        ZoomLevelMask.execute({"samples": torch.zeros(shape)}, LEVELS, "0")


def test_levels_that_were_sampled_keep_their_insets_on_a_finer_grid():
    """Snapped anew they would lie elsewhere."""
    levels = ZoomLevels.uniform(2, 3.0)
    sampled = levels.with_geometry(levels.resolve(16, 16))
    assert resolve(sampled, torch.zeros(2, 4, 32, 32)) == sampled.geometry.scaled(32, 32)
    assert resolve(levels, torch.zeros(2, 4, 32, 32)) == levels.resolve(32, 32) != sampled.geometry.scaled(32, 32)


def test_levels_as_large_as_each_other_are_named(toy, prompts):
    levels = ZoomLevels.uniform(TOY_LEVELS, 1.25)
    with pytest.raises(ValueError, match="latent_image is 4 x 4 latent pixels .* level 1 would be as large as level 0"):
        joint(toy, *prompts, tiny_models.empty_latent("toy", 1, 4, 4), levels)
    with pytest.raises(ValueError, match="images is 2 x 2 pixels .* level 1 would be as large as level 0"):
        levels_for(torch.zeros(3, 3, 2, 2), None, 1.25)
    result = joint(toy, *prompts, tiny_models.empty_latent("toy", 1, 8, 8), levels)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("shape", [(64, 64, 3), (0, 64, 64, 3), (1, 0, 64, 3)])
def test_pictures_that_are_none_are_named(shape):
    with pytest.raises(ValueError, match="images (must be|are empty)"):
        levels_from_images([torch.zeros(shape)])
    settings = dict(level=0, method="adam", steps=1, learning_rate=0.1, start_percent=0.0, end_percent=1.0)
    with pytest.raises(ValueError, match="image must be a photograph"):
        ZoomPhotoGuide.execute(torch.zeros(shape), **settings)


def test_pictures_of_one_pixel():
    assert levels_from_images([torch.zeros(1, 1, 1, 3)]).shape == (1, 3, 1, 1)
    with pytest.raises(ValueError, match="images is 1 x 1 pixels"):
        levels_for(torch.zeros(2, 3, 1, 1), None, 2.0)


def test_settings_that_are_no_numbers_are_named(toy, prompts):
    latent, nan = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8), float("nan")
    with pytest.raises(ValueError, match="start_percent must be from 0 to 1, got nan"):
        joint(toy, *prompts, latent, start_percent=nan)
    with pytest.raises(ValueError, match="blending must be one of .* got 'blur'"):
        joint(toy, *prompts, latent, blending="blur")
    with pytest.raises(ValueError, match="end_percent must be from 0 to 1, got nan"):
        ZoomPhotoGuide.execute(
            random(1, 8, 8, 3), level=0, method="adam", steps=1, learning_rate=0.1, start_percent=0.0, end_percent=nan
        )
    with pytest.raises(ValueError, match="scheduler kl_optimal has no schedule of 1 steps"):
        joint(toy, *prompts, latent, scheduler="kl_optimal", steps=1)
    with pytest.raises(ValueError, match=r"^regenerate: level .{70,110} does not exist, the levels are 0 to 2\.$"):
        ZoomLevelMask.execute({"samples": latent}, LEVELS, "9" * 5000)


def test_what_is_given_stays_as_it_was(sd1):
    """Cutting a batch up must not touch the conditioning, which other nodes share."""
    positive, negative = tiny_models.conditioning("sd1", 2)
    control, hints = tiny_models.controlnet(), random(2, 64, 64, 3)
    given = nodes.ControlNetApplyAdvanced().apply_controlnet(positive[0], negative[0], control, hints, 0.8, 0.0, 1.0)
    hint = given[0][0][1]["control"].cond_hint_original
    keys = copy.copy(list(given[0][0][1]))
    joint(sd1, [given[0]], [given[1]], tiny_models.empty_latent("sd1", 2, 8, 8), ZoomLevels.uniform(2), steps=1)
    assert given[0][0][1]["control"].cond_hint_original is hint and hint.shape[0] == 2
    assert list(given[0][0][1]) == keys
