"""Going through the middle of the sampling again: what is repeated, and how much noise there is."""

from __future__ import annotations

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.samplers
import tiny_models
import torch
from joint_runs import difference, joint
from zoom_stack_pack.nodes.advanced import ZoomSamplerSelect
from zoom_stack_pack.nodes.agreement import noise_to_signal
from zoom_stack_pack.nodes.joint import SharedNoise

from zoom_core import ZoomLevels, downscale

COUNT = 3
LEVELS = ZoomLevels.uniform(COUNT)


class Knowing(comfy.samplers.CFGGuider):
    """A guider that knows the picture (0.3 everywhere) and notes at which sigma it saw what."""

    def __init__(self, model):
        super().__init__(model)
        self.set_conds([], [])
        self.seen: list[tuple[float, torch.Tensor]] = []

    def predict_noise(self, x, timestep, model_options={}, seed=None):
        self.seen.append((float(timestep.max()), x.clone()))
        return torch.full_like(x, 0.3)


def run(kind: str, restarts: int, mask=None, denoise: float = 1.0, name: str = "euler"):
    """(guider, steps reported) of 12 steps."""
    model = tiny_models.toy(kind)
    guider, steps = Knowing(model), []
    (sampler,) = ZoomSamplerSelect.execute(name, LEVELS, restarts=restarts).args
    latent = torch.full((COUNT, 4, 32, 32), 0.3)
    noise = SharedNoise(5, LEVELS).generate_noise({"samples": latent})
    sigmas = comfy.samplers.KSampler(model, 12, model.load_device, name, "simple", denoise).sigmas
    guider.sample(noise, latent, sampler, sigmas, mask, lambda step, x0, x, total: steps.append((step, total)), True, 3)
    return guider, steps


def inset_correlation(noise: torch.Tensor) -> float:
    seen = downscale(noise[1:], 16, 16, operator="block").flatten()
    return float(torch.corrcoef(torch.stack([seen, noise[:-1, :, 8:24, 8:24].flatten()]))[0, 1])


@pytest.mark.parametrize("kind", ["flow", "eps"])
@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("name", ["euler", "er_sde", "euler_ancestral", "dpmpp_2m_sde", "sa_solver"])
def test_the_middle_is_repeated_with_as_much_noise_as_its_level_says(zoom_stack_pack, name, kind, restarts):
    """Also where a sampler adds noise on the way: every pass with noise of its own."""
    guider, steps = run(kind, restarts, name=name)
    sampling = guider.model_patcher.model.model_sampling
    sigmas = [sigma for sigma, _ in guider.seen]
    upwards = [i for i in range(1, len(sigmas)) if sigmas[i] > sigmas[i - 1]]
    assert len(upwards) == restarts
    assert all(noise_to_signal(sampling, sigmas[i]) <= 19 for i in upwards)
    assert all(noise_to_signal(sampling, sigmas[i - 1]) > 1 for i in upwards)
    assert steps == [(i, len(sigmas)) for i in range(len(sigmas))]
    noises = []
    for sigma, x in guider.seen:
        signal = 1 - sigma if kind == "flow" else 1.0
        noise = (x - 0.3 * signal) / sigma
        noises.append(noise)
        assert float(noise.std()) == pytest.approx(1, abs=0.03), sigma
        assert inset_correlation(noise) > 0.99
    # Mostly other noise than before, and never quite.
    for i in upwards:
        old, new = noises[i - 1], noises[i]
        assert float((old * new).mean()) < 0.5


def test_what_is_kept_has_the_noise_of_its_level_too(zoom_stack_pack):
    mask = torch.ones(COUNT, 1, 32, 32)
    mask[1] = 0
    guider, _ = run("flow", 1, mask)
    for sigma, x in guider.seen:
        if sigma > 0.05:
            assert float((x[1] - 0.3 * (1 - sigma)).std() / sigma) == pytest.approx(1, abs=0.05)


def test_without_a_middle_nothing_is_repeated(zoom_stack_pack):
    repeated, plain = run("flow", 2, denoise=0.15)[0], run("flow", 0, denoise=0.15)[0]
    assert [sigma for sigma, _ in repeated.seen] == [sigma for sigma, _ in plain.seen]


def test_the_node_restarts_too(zoom_stack_pack):
    model = tiny_models.toy("flow")
    given = (*tiny_models.conditioning("toy", COUNT), tiny_models.empty_latent("toy", COUNT, 32, 32))
    plain, again = (joint(model, *given, steps=8, restarts=count) for count in (0, 1))
    assert difference(plain, again) > 0.01
    seen = downscale(again[1:], 16, 16)
    assert float((seen - again[:-1, :, 8:24, 8:24]).abs().max()) < 1e-5 * float(again.std())
    alone = joint(model, *given, steps=8, restarts=1, shared_noise=False)
    assert difference(again, alone) > 0.01
