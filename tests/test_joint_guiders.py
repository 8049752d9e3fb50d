"""Guiders and samplers of the core inside ours, beside the core's own runs with them."""

from __future__ import annotations

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.sample
import comfy.samplers
import tiny_models
import torch
from comfy_extras import nodes_custom_sampler as custom
from comfy_extras import nodes_perpneg
from comfy_extras.nodes_advanced_samplers import SamplerLCMUpscale
from joint_runs import CLOSE, difference
from sampler_spies import spied
from zoom_stack_pack.nodes.advanced import ZoomJointGuider, ZoomSamplerSelect

from zoom_core import ZoomLevels, consolidate

COUNT = 3
LEVELS = ZoomLevels.uniform(COUNT)


@pytest.fixture(scope="module")
def model(zoom_stack_pack):
    return tiny_models.toy("eps")


@pytest.fixture(scope="module")
def latent():
    return tiny_models.empty_latent("toy", COUNT, 8, 8)


@pytest.fixture(scope="module")
def third():
    """One more conditioning a level, for guiders that take three."""
    return tiny_models.conditioning("toy", COUNT, seed=40)[0]


def of_levels(make, model, *lists) -> list:
    """What ComfyUI makes of a guider's node that is fed with lists: one guider a level."""
    return [make(model, *(given[i] for given in lists)) for i in range(COUNT)]


def dual(style):
    return lambda model, *conds: custom.DualCFGGuider.execute(model, *conds, 2.5, 1.5, style).args[0]


def perp_neg(model, *conds):
    return nodes_perpneg.PerpNegGuider.execute(model, *conds, 3.0, 0.8).args[0]


def basic(model, positive):
    return custom.BasicGuider.execute(model, positive).args[0]


def joint_guider(model, guiders, **changed):
    conds = tiny_models.conditioning("toy", 1)
    single = {"model": model, "levels": LEVELS, "cfg": 30.0, **changed}
    lists = {name: [value] for name, value in single.items()}
    return ZoomJointGuider.execute(positive=conds[0], negative=conds[1], guider=guiders, **lists).args[0]


@torch.inference_mode()
def run(guider, latent, sampler="euler", noise=None):
    sigmas = comfy.samplers.calculate_sigmas(guider.model_patcher.get_model_object("model_sampling"), "normal", 4)
    noise = comfy.sample.prepare_noise(latent, 7) if noise is None else noise
    sampler = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
    return guider.sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=7)


@torch.inference_mode()
def one_by_one(guiders, latent):
    noise = comfy.sample.prepare_noise(latent, 7)
    runs = [run(g, latent[i : i + 1], noise=noise[i : i + 1]) for i, g in enumerate(guiders)]
    return torch.cat(runs)


@pytest.mark.parametrize("make", [dual("regular"), dual("nested"), basic], ids=["dual", "nested", "basic"])
def test_every_level_is_guided_as_by_its_own_guider(model, prompts, third, latent, make):
    lists = [prompts[0]] if make is basic else [prompts[0], third, prompts[1]]
    guiders = of_levels(make, model, *lists)
    plain = run(joint_guider(model, guiders, blending="none"), latent)
    expected = one_by_one(guiders, latent)
    assert difference(plain, expected) < CLOSE
    assert difference(plain[:1], expected[1:2]) > 0.01, "levels must differ for the test to say anything"
    agreeing = run(joint_guider(model, guiders), latent)
    images = model.model.process_latent_in(agreeing)
    assert difference(consolidate(images, LEVELS.resolve(8, 8)), images) < 2e-5
    assert difference(agreeing, plain) > 0.01


def test_perp_neg_guides_the_batch_as_in_the_core(model, prompts, third, latent):
    """It takes one projection over a whole batch, so levels are compared with a batch, of one prompt."""
    (guider,) = of_levels(perp_neg, model, prompts[0], prompts[1], third)[:1]
    assert difference(run(joint_guider(model, [guider], blending="none"), latent), run(guider, latent)) < CLOSE
    agreeing = model.model.process_latent_in(run(joint_guider(model, [guider]), latent))
    assert difference(consolidate(agreeing, LEVELS.resolve(8, 8)), agreeing) < 2e-5


def test_guiders_that_cannot_serve_are_refused(model, prompts, latent):
    positive, negative = prompts
    with pytest.raises(ValueError, match="guider has 2 entries, levels has 3: give 1 or 3"):
        joint_guider(model, of_levels(basic, model, positive)[:2])
    two = custom.DualModelGuider.execute(model, positive[0], 3.0, model, negative[0]).args[0]
    with pytest.raises(ValueError, match="Guider_DualModel, which samples in its own way"):
        joint_guider(model, [two])
    with pytest.raises(ValueError, match="makes levels agree already"):
        joint_guider(model, [joint_guider(model, [basic(model, positive[0])])])
    with pytest.raises(ValueError, match="another model"):
        joint_guider(model, [basic(model.clone(), positive[0])])
    guiders = [custom.CFGGuider.execute(model, positive[i], negative[i], 2.0 + i).args[0] for i in range(COUNT)]
    with pytest.raises(ValueError, match="guider differs from level to level"):
        joint_guider(model, guiders)


def test_a_guider_keeps_nothing_of_a_run_that_failed(model, prompts, latent):
    guider = joint_guider(model, [basic(model, prompts[0][0])])
    before = set(vars(guider))

    def fail(*args, **options):
        raise RuntimeError("a kernel failed")

    broken = comfy.samplers.KSAMPLER(fail)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        run(guider, latent, broken)
    assert set(vars(guider)) == before
    assert torch.isfinite(run(guider, latent)).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: custom.SamplerDPMPP_SDE.execute(0.7, 1.1, 0.4, "cpu"),
        lambda: custom.SamplerEulerAncestral.execute(0.6, 1.0),
        lambda: custom.SamplerDPMAdaptative.execute(3, 0.05, 0.0078, 0.05, 0.0, 1.0, 0.0, 0.81, 0.5, 1.0),
    ],
    ids=["dpmpp_sde", "euler_ancestral", "dpm_adaptive"],
)
def test_a_sampler_with_settings_draws_our_noise(model, prompts, latent, make):
    given, seen = spied(make().args[0])
    sampler = ZoomSamplerSelect.execute("euler", LEVELS, given).args[0]
    assert sampler.extra_options == given.extra_options and sampler.extra_options["eta"] > 0
    shared = run(joint_guider(model, [basic(model, prompts[0][0])]), latent, sampler)
    assert len(seen.noise) >= 3
    for noise in seen.noise:
        inset = noise[:-1, :, 2:6, 2:6]
        inner = torch.nn.functional.avg_pool2d(noise[1:], 2) * 2
        assert difference(inset / noise.std(), inner / noise.std()) < 1e-5
    without = comfy.samplers.KSAMPLER(given.sampler_function, {**given.extra_options, "eta": 0.0})
    without = ZoomSamplerSelect.execute("euler", LEVELS, without).args[0]
    assert difference(shared, run(joint_guider(model, [basic(model, prompts[0][0])]), latent, without)) > 1e-2


def test_samplers_that_hide_their_noise_are_refused(zoom_stack_pack):
    with pytest.raises(ValueError, match="sampler is of the kind Sampler, which hides how it draws noise"):
        ZoomSamplerSelect.execute("euler", LEVELS, comfy.samplers.Sampler())


def test_a_sampler_that_changes_the_size_is_named(model, prompts, latent):
    upscale = SamplerLCMUpscale.execute(2.0, 2, "bicubic").args[0]
    with pytest.raises(ValueError, match="changes the size of the latents while it samples"):
        run(joint_guider(model, [basic(model, prompts[0][0])]), latent, upscale)


def test_guiders_and_samplers_of_the_core_in_a_graph(comfy):
    """Lists of prompts make a list of guiders by themselves, and one zoom of it."""

    def graph(guider=None, **changed):
        return {
            "1": {"class_type": "ZoomDemoModelLoader", "inputs": {}},
            "2": {
                "class_type": "ZoomPromptList",
                "inputs": dict(
                    clip=["1", 1], prompts="a galaxy\na star\na planet", negative="", zoom=2.0, prefix="", suffix=""
                ),
            },
            "3": {
                "class_type": "DualCFGGuider",
                "inputs": dict(
                    model=["1", 0],
                    cond1=["2", 0],
                    cond2=["2", 0],
                    negative=["2", 1],
                    cfg_conds=1.0,
                    cfg_cond2_negative=3.0,
                    style="regular",
                ),
            },
            "4": {
                "class_type": "ZoomJointGuider",
                "inputs": dict(
                    model=["1", 0],
                    positive=["2", 0],
                    negative=["2", 1],
                    levels=["2", 2],
                    cfg=3.0,
                    **({"guider": guider} if guider else {}),
                ),
            },
            "5": {
                "class_type": "SamplerDPMPP_SDE",
                "inputs": dict(eta=0.8, s_noise=1.0, r=0.5, noise_device="cpu"),
            },
            "6": {
                "class_type": "ZoomSamplerSelect",
                "inputs": dict(sampler_name="euler", levels=["2", 2], sampler=["5", 0]),
            },
            "7": {"class_type": "ZoomSharedNoise", "inputs": dict(seed=3, levels=["2", 2])},
            "8": {
                "class_type": "BasicScheduler",
                "inputs": dict(model=["1", 0], scheduler="simple", steps=3, denoise=1.0),
            },
            "9": {"class_type": "EmptyLatentImage", "inputs": dict(width=64, height=64, batch_size=3)},
            "10": {
                "class_type": "SamplerCustomAdvanced",
                "inputs": dict(
                    noise=["7", 0], guider=["4", 0], sampler=["6", 0], sigmas=["8", 0], latent_image=["9", 0]
                ),
            },
            "11": {"class_type": "VAEDecode", "inputs": {"samples": ["10", 0], "vae": ["1", 2]}},
            "12": {"class_type": "SaveImage", "inputs": {"images": ["11", 0], "filename_prefix": "guided"}},
        }

    # Both conditionings alike: dual guidance is then plain guidance.
    wrapped, plain = comfy.run(graph(["3", 0])).images("12"), comfy.run(graph()).images("12")
    assert len(wrapped) == 3 and wrapped[0].std() > 0.02
    for a, b in zip(wrapped, plain, strict=True):
        assert abs(a - b).max() < 3.1 / 255
    error = comfy.execution_error({**graph(["13", 0]), "13": graph()["4"]})
    assert "connect one that is not a Zoom Joint Guider" in str(error)
