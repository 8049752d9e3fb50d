"""The joint sampler with the core's model patches, beside the core's KSampler with the same patch."""

from __future__ import annotations

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.hooks
import tiny_models
from comfy_extras import (
    nodes_apg,
    nodes_cfg,
    nodes_easycache,
    nodes_freelunch,
    nodes_hypertile,
    nodes_mahiro,
    nodes_model_advanced,
    nodes_nag,
    nodes_pag,
    nodes_sag,
    nodes_slg,
    nodes_tcfg,
    nodes_tomesd,
)
from joint_runs import CLOSE, TOY_LEVELS, check_agreement, check_equal, core_levels, difference, joint, random

import nodes


def _patched(node, *arguments):
    result = getattr(node(), node.FUNCTION)(*arguments) if hasattr(node, "FUNCTION") else node.execute(*arguments).args
    return result[0]


PATCHES = {
    "rescale cfg": (nodes_model_advanced.RescaleCFG, 0.7),
    "perturbed attention": (nodes_pag.PerturbedAttentionGuidance, 3.0),
    "self-attention": (nodes_sag.SelfAttentionGuidance, 0.5, 2.0),
    "normalized attention": (nodes_nag.NAGuidance, 5.0, 0.5, 1.5),
    "free u": (nodes_freelunch.FreeU_V2, 1.3, 1.4, 0.9, 0.2),
    "cfg zero star": (nodes_cfg.CFGZeroStar,),
    "cfg norm": (nodes_cfg.CFGNorm, 0.8),
    "tangential": (nodes_tcfg.TCFG,),
    "adaptive projected": (nodes_apg.APG, 1.0, 5.0, 0.2),
    "zero snr": (nodes_model_advanced.ModelSamplingDiscrete, "v_prediction", True),
    "edm": (nodes_model_advanced.ModelSamplingContinuousEDM, "v_prediction", 120.0, 0.002),
}
# Rescaled by statistics or attention of a level, so they react to what little differs in float32.
LOOSE = {"tangential": 1e-3, "zero snr": 5e-4}


@pytest.mark.parametrize("name", PATCHES)
def test_model_patches(toy, prompts, name):
    node, *arguments = PATCHES[name]
    patched = _patched(node, toy, *arguments)
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 16, 16)
    ours = check_equal(patched, *prompts, latent, closeness=LOOSE.get(name, CLOSE))
    assert difference(ours, core_levels(toy, *prompts, latent)) > 1e-3, "the patch must do something"
    check_agreement(patched, *prompts, latent)


@pytest.mark.parametrize("name", ["self-attention", "normalized attention"])
def test_patches_that_need_all_levels_in_one_call_say_so(toy, prompts, name):
    positive, negative = prompts
    node, *arguments = PATCHES[name]
    hooks = comfy.hooks.create_hook_lora(tiny_models.lora(toy, "one"), 1.0, 0.0)
    hooked = comfy.hooks.set_conds_props(
        conds=[positive[0], negative[0]], strength=1.0, set_cond_area="default", hooks=hooks
    )
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 16, 16)
    patched = _patched(node, toy, *arguments)
    with pytest.raises(ValueError, match="needs all levels in one call of the model"):
        joint(patched, [hooked[0], *positive[1:]], [hooked[1], *negative[1:]], latent)
    # What all levels have is no trouble.
    masked = [nodes.ConditioningSetMask().append(cond, random(1, 128, 128), "default", 1.0)[0] for cond in positive]
    check_equal(patched, [a + b for a, b in zip(positive, masked)], negative, latent)


def test_shifts_of_flow_models(model_folder, prompts):
    latent = tiny_models.empty_latent("flux", 2, 8, 8)
    flux = tiny_models.load("flux", model_folder)
    conds = tiny_models.conditioning("flux", 2)
    shifted = _patched(nodes_model_advanced.ModelSamplingFlux, flux, 2.0, 0.2, 512, 512)
    assert difference(check_equal(shifted, *conds, latent), core_levels(flux, *conds, latent)) > 1e-3
    flow = tiny_models.toy("flow")
    shifted = _patched(nodes_model_advanced.ModelSamplingSD3, flow, 9.0)
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    assert difference(check_equal(shifted, *prompts, latent), core_levels(flow, *prompts, latent)) > 1e-3


def test_patches_that_leave_out_layers(model_folder):
    flux = tiny_models.load("flux", model_folder)
    conds = tiny_models.conditioning("flux", 2)
    latent = tiny_models.empty_latent("flux", 2, 8, 8)
    skipping = _patched(nodes_slg.SkipLayerGuidanceDiT, flux, 3.0, 0.0, 1.0, "0", "0", 0.0)
    assert difference(check_equal(skipping, *conds, latent), core_levels(flux, *conds, latent)) > 1e-3


@pytest.mark.parametrize("node", [nodes_easycache.EasyCacheNode, nodes_easycache.LazyCacheNode])
def test_caches_of_steps(toy, prompts, node):
    """They skip by what changes over all levels: one level, or never skipping, is as in the core."""
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 8, 8)
    never = _patched(node, toy, 0.0, 0.15, 0.95, False)
    check_equal(never, *prompts, latent, steps=6)
    often = _patched(node, toy, 2.0, 0.15, 0.95, False)
    check_equal(often, *(side[:1] for side in prompts), latent[:1], steps=10)
    check_agreement(often, *prompts, latent, steps=10)
    skipping = difference(joint(often, *prompts, latent, steps=10), joint(toy, *prompts, latent, steps=10))
    assert skipping > 1e-4


def test_patches_that_mix_a_batch_or_roll_dice_run(toy, prompts):
    """Mahiro takes one mean over the batch, the others choose at random: no level has a single run to equal."""
    latent = tiny_models.empty_latent("toy", TOY_LEVELS, 16, 16)
    for node, arguments in (
        (nodes_mahiro.Mahiro, ()),
        (nodes_tomesd.TomePatchModel, (0.3,)),
        (nodes_hypertile.HyperTile, (64, 2, 0, False)),
    ):
        check_agreement(_patched(node, toy, *arguments), *prompts, latent)
