"""MultiScaleJointKSampler beside the core's KSampler: every sampler, every scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.k_diffusion.sampling as k_diffusion
import comfy.sample
import comfy.samplers
import joint_runs
import tiny_models
import torch
import torch.nn.functional as F
from joint_runs import PLAIN, core_batch, core_levels, difference, joint
from sampler_spies import spied_sampler
from zoom_stack_pack.nodes import joint as joint_module

from zoom_core import ZoomLevel, ZoomLevels, consolidate, downscale

SAMPLERS = comfy.samplers.KSampler.SAMPLERS
# Their step sizes follow the error of the whole batch, so levels run together step differently.
ADAPTIVE = {"dpm_adaptive"}
# They stop at the schedule's last sigma above zero, with a little noise left in.
STOP_EARLY = {"dpm_fast", "dpm_adaptive", "uni_pc", "uni_pc_bh2"}
# They draw noise and multiply it by zero: KSampler gives them no eta.
ETA_ZERO = {"dpm_fast", "dpm_adaptive"}
# The same, but through the noise sampler that they are given.
STRENGTH_ZERO = {"res_multistep", "res_multistep_cfg_pp"}
LEVELS = 2


@pytest.fixture(scope="module")
def model(zoom_stack_pack):
    return tiny_models.toy("eps")


@pytest.fixture(scope="module")
def flow_model(zoom_stack_pack):
    return tiny_models.toy("flow")


def prompts(count: int = LEVELS) -> tuple[list, list]:
    return tiny_models.conditioning("toy", count)


def latent(count: int = LEVELS, size: int = 8) -> torch.Tensor:
    return tiny_models.empty_latent("toy", count, size, size)


def inset_error(levels: torch.Tensor) -> float:
    """How far the levels of a centred zoom of 2 are from agreeing."""
    quarter = levels.shape[-1] // 4
    inset = levels[:-1, ..., quarter:-quarter, quarter:-quarter]
    return float((downscale(levels[1:], *inset.shape[-2:]) - inset).abs().max() / levels.std())


@pytest.fixture
def draws(monkeypatch) -> list[str]:
    """Names of the core's noise sources that a run makes, for telling which samplers draw noise."""
    made = []

    def noted(name):
        source = getattr(k_diffusion, name)

        def make(*args, **kwargs):
            draw = source(*args, **kwargs)

            def counted(*interval):
                made.append(name)
                return draw(*interval)

            return counted

        monkeypatch.setattr(k_diffusion, name, make)

    noted("default_noise_sampler")
    noted("BrownianTreeNoiseSampler")
    return made


def test_every_level_of_an_sd1_checkpoint_is_the_core_samplers(zoom_stack_pack, tmp_path_factory):
    model = tiny_models.load("sd1", tmp_path_factory.mktemp("models"))
    positive, negative = tiny_models.conditioning("sd1", 3)
    empty = tiny_models.empty_latent("sd1", 3, 8, 8)
    ours = joint(model, positive, negative, empty, **PLAIN)
    theirs = core_levels(model, positive, negative, empty)
    assert difference(ours, theirs) < 1e-5
    torch.testing.assert_close(ours / theirs.std(), theirs / theirs.std(), atol=1e-5, rtol=0)
    swapped = joint(model, positive[::-1], negative, empty, **PLAIN)
    assert difference(swapped, theirs) > 0.01, "prompts must reach their levels"


def test_one_latent_and_one_negative_serve_all_levels(model):
    positive, negative = prompts(3)
    ours = joint(model, positive, negative[:1], latent(1), **PLAIN)
    assert difference(ours, core_levels(model, positive, negative[:1], latent(3))) < 1e-5


def test_image_to_image_starts_from_every_levels_own_latent(model):
    positive, negative = prompts(3)
    start = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    ours = joint(model, positive, negative, start, denoise=0.5, **PLAIN)
    assert difference(ours, core_levels(model, positive, negative, start, denoise=0.5)) < 1e-5


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_blending_levels_are_the_core_samplers(model, draws, name):
    positive, negative = prompts()
    theirs = core_batch(model, positive, negative, latent(), sampler_name=name, steps=3)
    stochastic = bool(draws)
    ours = joint(model, positive, negative, latent(), sampler_name=name, steps=3, **PLAIN)
    if not stochastic:
        theirs = core_levels(model, positive, negative, latent(), sampler_name=name, steps=3)
    assert difference(ours, theirs) < (5e-3 if name in ADAPTIVE else 5e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_level_is_bit_for_bit_the_core_sampler(model, name):
    positive, negative = prompts(1)
    ours = joint(model, positive, negative, latent(1), sampler_name=name, steps=3)
    assert torch.equal(ours, core_levels(model, positive, negative, latent(1), sampler_name=name, steps=3))


@pytest.mark.parametrize("name", SAMPLERS)
def test_levels_agree_and_a_seed_gives_the_same_bits(flow_model, name):
    positive, negative = prompts(3)
    first = joint(flow_model, positive, negative, latent(3), sampler_name=name, steps=3)
    assert inset_error(first) < (0.05 if name in STOP_EARLY else 1e-5)
    again = joint(flow_model, positive, negative, latent(3), sampler_name=name, steps=3)
    assert torch.equal(first, again)
    other = joint(flow_model, positive, negative, latent(3), sampler_name=name, steps=3, seed=8)
    assert difference(first, other) > 0.1


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_that_draws_noise_draws_ours(model, monkeypatch, draws, name):
    """Whatever draws in the core draws as often through us, and what it gets is one scene at all levels."""
    positive, negative = prompts()
    core_batch(model, positive[:1], negative[:1], latent(), sampler_name=name, steps=3)
    theirs = 0 if name in ETA_ZERO else len(draws)
    sampler, seen = spied_sampler(name)
    monkeypatch.setattr(comfy.samplers, "sampler_object", lambda _: sampler)
    joint(model, positive, negative, latent(), sampler_name=name, steps=3)
    assert len(seen.noise) == theirs
    for noise in seen.noise:
        # With unit variance at every level a block of 2 x 2 becomes one pixel of half its sum.
        inset = noise[:-1, :, 2:-2, 2:-2]
        torch.testing.assert_close(2 * F.avg_pool2d(noise[1:], 2), inset, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu"])
def test_drawn_noise_is_white(zoom_stack_pack, name):
    """Unit variance and no correlation between neighbours, on every ring of every level."""
    levels = ZoomLevels.uniform(4)
    sampler = joint_module.ZoomSampler(comfy.samplers.sampler_object(name), levels)
    sigmas = torch.tensor([14.0, 7.0, 3.0, 1.0, 0.0])
    shape = torch.zeros(4, 16, 32, 32)
    draw = sampler._noise_sampler(shape, sigmas, 11)
    noise = torch.cat([draw(sigmas[i], sigmas[i + 1]) for i in range(3)], dim=1)
    for parts in (noise, noise[..., 8:24, 8:24], noise[..., 12:20, 12:20], noise[..., 14:18, 14:18]):
        count = parts[0].numel()
        for level in parts:
            assert abs(level.mean()) < 5 / count**0.5
            assert abs(level.var() - 1) < 5 * (2 / count) ** 0.5
            for lagged in (level[..., 1:] * level[..., :-1], level[..., 1:, :] * level[..., :-1, :]):
                assert abs(lagged.mean()) < 5 / lagged.numel() ** 0.5


def test_brownian_noise_adds_up_over_steps(zoom_stack_pack):
    """The SDE samplers split steps: increments over the halves must add up to that over the whole."""
    sampler = joint_module.ZoomSampler(comfy.samplers.sampler_object("dpmpp_sde"), ZoomLevels.uniform(3))
    sigmas = torch.tensor([9.0, 4.0, 0.5, 0.0])
    draw = sampler._noise_sampler(torch.zeros(3, 4, 16, 16), sigmas, 5)
    a, b, c = sigmas[:3]
    whole = draw(a, c) * (a - c).sqrt()
    halves = draw(a, b) * (a - b).sqrt() + draw(b, c) * (b - c).sqrt()
    torch.testing.assert_close(halves, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name.endswith("cfg_pp")])
def test_cfg_pp_reads_a_consistent_unconditional_estimate(model, monkeypatch, name):
    positive, negative = prompts(3)

    def run():
        sampler, seen = spied_sampler(name)
        monkeypatch.setattr(comfy.samplers, "sampler_object", lambda _: sampler)
        joint(model, positive, negative, latent(3), sampler_name=name, steps=3)
        assert len(seen.uncond) >= 3
        return max(map(inset_error, seen.uncond)), max(map(inset_error, seen.denoised))

    assert max(run()) < 1e-5
    # Not the model's doing: left alone, its unconditional estimates disagree.
    monkeypatch.setattr(joint_module.JointGuider, "_agree_uncond", lambda self, args: args["denoised"])
    uncond, denoised = run()
    assert uncond > 0.1 and denoised < 1e-5


@pytest.mark.parametrize("scheduler", comfy.samplers.KSampler.SCHEDULERS)
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_every_scheduler(model, flow_model, scheduler, kind):
    chosen = {"eps": model, "flow": flow_model}[kind]
    positive, negative = prompts()
    ours = joint(chosen, positive, negative, latent(), scheduler=scheduler, **PLAIN)
    assert difference(ours, core_levels(chosen, positive, negative, latent(), scheduler=scheduler)) < 5e-5
    assert inset_error(joint(chosen, positive, negative, latent(), scheduler=scheduler)) < 1e-5


def test_schedules_that_drop_a_step_do_so_as_in_the_core(model):
    """dpm_2, uni_pc and their kin leave out the last sigma but one: the node asks the core's KSampler."""
    positive, negative = prompts()
    for denoise in (1.0, 0.6):
        start = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(4))
        changed = dict(sampler_name="dpm_2", denoise=denoise)
        ours = joint(model, positive, negative, start, **changed, **PLAIN)
        assert difference(ours, core_levels(model, positive, negative, start, **changed)) < 5e-5


def test_initial_noise_is_consistent_and_white(zoom_stack_pack):
    levels = ZoomLevels.uniform(5)
    noise = joint_module.SharedNoise(3, levels).generate_noise({"samples": torch.zeros(5, 16, 32, 32)})
    torch.testing.assert_close(2 * F.avg_pool2d(noise[1:], 2), noise[:-1, :, 8:24, 8:24], atol=1e-5, rtol=0)
    for level in noise:
        assert abs(level.var() - 1) < 5 * (2 / level.numel()) ** 0.5
    single = joint_module.SharedNoise(3, ZoomLevels.uniform(1)).generate_noise({"samples": torch.zeros(1, 4, 8, 8)})
    assert torch.equal(single, comfy.sample.prepare_noise(torch.zeros(1, 4, 8, 8), 3))


def test_off_centre_and_unequal_zooms_agree_too(flow_model):
    levels = ZoomLevels([ZoomLevel(), ZoomLevel(zoom=2.5, center=(0.3, 0.6)), ZoomLevel(zoom=4, center=(0.5, 0.75))])
    positive, negative = prompts(3)
    result = joint(flow_model, positive, negative, tiny_models.empty_latent("toy", 1, 24, 40), levels)
    geometry = levels.resolve(24, 40)
    torch.testing.assert_close(consolidate(result, geometry), result, atol=2e-5, rtol=0)


def test_cfg_of_one_skips_the_unconditional_call(model, monkeypatch):
    positive, negative = prompts(3)
    calls = []
    apply_model = type(model.model).apply_model
    monkeypatch.setattr(
        type(model.model),
        "apply_model",
        lambda self, x, *a, **k: calls.append(x.shape) or apply_model(self, x, *a, **k),
    )
    joint(model, [positive[0]] * 3, [negative[0]] * 3, latent(3), cfg=1.0, steps=2)
    assert calls == [(3, 4, 8, 8)] * 2
    calls.clear()
    joint(model, [positive[0]] * 3, [negative[0]] * 3, latent(3), cfg=3.0, steps=2)
    assert calls == [(6, 4, 8, 8)] * 2, "all levels, conditional and not, in one call a step"


def test_blending_window_and_percentages(flow_model):
    positive, negative = prompts(3)
    off = joint(flow_model, positive, negative, latent(3), start_percent=1.0, end_percent=1.0)
    none = joint(flow_model, positive, negative, latent(3), blending="none")
    assert torch.equal(off, none)
    early = joint(flow_model, positive, negative, latent(3), end_percent=0.5)
    assert inset_error(early) > 1e-3 and difference(early, none) > 0.01


def test_preview_shows_a_strip_of_all_levels(zoom_stack_pack):
    from zoom_stack_pack.nodes.layout import strip

    levels = torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 1, 2, 3)
    picture = strip(levels)
    assert picture.shape == (1, 1, 4, 12)
    assert picture[0, 0, ::2, ::3].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert strip(levels[:5, :, None]).shape == (1, 1, 1, 2, 15)


def test_the_help_page_says_what_each_sampler_does(zoom_stack_pack, draws, model):
    page = Path(zoom_stack_pack.__file__).parent / "web" / "docs" / "MultiScaleJointKSampler.md"
    rows = [line.split("|")[1:4] for line in page.read_text("utf-8").splitlines() if line.count("|") == 4]
    told = {name: (noise, end) for names, noise, end in rows for name in names.strip().split(", ")}
    assert set(told) - {"samplers", "---"} == set(SAMPLERS)
    positive, negative = prompts(1)
    for name in SAMPLERS:
        draws.clear()
        core_levels(model, positive, negative, latent(1), sampler_name=name, steps=4)
        noise, end = (text.strip() for text in told[name])
        shared = bool(draws) and name not in ETA_ZERO | STRENGTH_ZERO
        assert noise.startswith("shared" if shared else "none"), name
        assert ("Brownian" in noise) == ("BrownianTreeNoiseSampler" in draws)
        assert (end == "agree exactly") == (name not in STOP_EARLY)


def test_settings_of_the_runs_exist(zoom_stack_pack):
    known = {i.id for i in joint_runs.MultiScaleJointKSampler.define_schema().inputs}
    assert set(joint_runs.SETTINGS) <= known
