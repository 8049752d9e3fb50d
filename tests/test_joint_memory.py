"""What the joint sampler asks of ComfyUI's memory management: in which order, for how much, on which device."""

from __future__ import annotations

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.conds
import comfy.model_management
import comfy.samplers
import tiny_models
import torch
from comfy_extras import nodes_custom_sampler
from joint_runs import joint, random
from torch._subclasses.fake_tensor import FakeTensorMode
from zoom_stack_pack.nodes import agreement, side_by_side
from zoom_stack_pack.nodes.advanced import ZoomJointGuider
from zoom_stack_pack.nodes.agreement import Agreement, JointSettings, kept_parts
from zoom_stack_pack.nodes.editing import ZoomLevelMask
from zoom_stack_pack.nodes.guides import ZoomPhotoGuide
from zoom_stack_pack.nodes.layout import resolve, strip
from zoom_stack_pack.nodes.spaces import LatentSpace

import nodes
from zoom_core import ZoomLevels

COUNT = 4
LEVELS = ZoomLevels.uniform(COUNT)


@pytest.fixture(scope="module")
def sd1(model_folder):
    return tiny_models.load("sd1", model_folder)


@pytest.fixture(scope="module")
def conds():
    return tiny_models.conditioning("sd1", COUNT)


@pytest.fixture(scope="module")
def control():
    return tiny_models.controlnet()


@pytest.fixture
def vae():
    return tiny_models.taesd()


@pytest.fixture
def loads(monkeypatch) -> list[tuple[list, dict]]:
    """Every load_models_gpu of a run: the models in their order, and what was asked for."""
    seen = []
    load = comfy.model_management.load_models_gpu

    def noted(models, memory_required=0, **options):
        seen.append((list(models), {"memory_required": memory_required, **options}))
        return load(models, memory_required=memory_required, **options)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", noted)
    return seen


def order(loads, model, vae) -> list[str]:
    names = {id(model): "model", id(vae.patcher): "vae"}
    return [names.get(id(models[0]), "other") for models, _ in loads]


def guide(**changed):
    settings = dict(level=0, method="projection", steps=5, learning_rate=0.1, start_percent=0.0, end_percent=1.0)
    return ZoomPhotoGuide.execute(random(1, 64, 64, 3), **{**settings, **changed}).args[0]


def test_a_guide_is_encoded_before_the_model_is_loaded(sd1, conds, vae, loads):
    joint(sd1, *conds, tiny_models.empty_latent("sd1", 1, 8, 8), steps=1, vae=vae, guide=guide())
    assert order(loads, sd1, vae) == ["vae", "model"]


def test_held_levels_are_decoded_before_the_model_is_loaded(sd1, conds, vae, loads):
    """In pixels, where holding a level takes its picture; then every evaluation reloads once, after the VAE."""
    latent = random(COUNT, 4, 8, 8)
    masked = ZoomLevelMask.execute({"samples": latent}, LEVELS, "1-3").args[0]
    joint(sd1, *conds, masked, steps=1, vae=vae, consistency="pixel")
    seen = order(loads, sd1, vae)
    first = seen.index("model")
    assert first >= 1 and set(seen[:first]) == {"vae"}
    assert seen[first:] == ["model", "vae", "vae", "vae", "model"]


def test_pixel_consistency_reloads_all_that_was_loaded(sd1, conds, vae, control, loads, monkeypatch):
    """The ControlNet too, and with the room that ComfyUI first asked for."""
    additional = comfy.sampler_helpers.get_additional_models

    def roomy(*args):
        models, room = additional(*args)
        return models, room + 2**24

    monkeypatch.setattr(comfy.sampler_helpers, "get_additional_models", roomy)
    apply = nodes.ControlNetApplyAdvanced().apply_controlnet
    pairs = [apply(p, n, control, random(1, 64, 64, 3), 0.5, 0.0, 1.0) for p, n in zip(*conds)]
    controlled = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    joint(sd1, *controlled, tiny_models.empty_latent("sd1", 1, 8, 8), steps=2, vae=vae, consistency="pixel")
    mine = [(set(map(id, models)), asked) for models, asked in loads if sd1 in models]
    assert len(mine) == 3, "once by the core, then after each of two evaluations"
    (models, asked), *reloads = mine
    assert id(control.control_model_wrapped) in models
    assert asked["memory_required"] > 0 and asked["minimum_memory_required"] > 0
    for again, room in reloads:
        assert again == models
        assert room["memory_required"] == asked["memory_required"]
        assert room["minimum_memory_required"] == asked["minimum_memory_required"]


@pytest.mark.parametrize("count", [2, COUNT])
def test_the_room_asked_for_is_one_levels(sd1, conds, loads, count):
    """Levels are cut up by the memory that is free: more of them must not push the model out."""
    latent = tiny_models.empty_latent("sd1", count, 8, 8)
    joint(sd1, conds[0][:count], conds[1][:count], latent, steps=1)
    ours = [asked for models, asked in loads if sd1 in models][-1]
    loads.clear()
    joint(sd1, conds[0][:1], conds[1][:1], latent[:1], steps=1)
    single = [asked for models, asked in loads if sd1 in models][-1]
    assert ours["memory_required"] == single["memory_required"]
    assert ours["minimum_memory_required"] == single["minimum_memory_required"]


def test_nothing_of_a_run_stays_on_the_guider(sd1, conds):
    """A GUIDER lives in ComfyUI's cache of outputs for as long as the graph does."""
    single = {"model": sd1, "levels": LEVELS, "cfg": 3.0}
    guider = ZoomJointGuider.execute(
        positive=conds[0], negative=conds[1], **{name: [value] for name, value in single.items()}
    ).args[0]
    before = set(vars(guider))
    with torch.inference_mode():
        nodes_custom_sampler.SamplerCustomAdvanced.execute(
            nodes_custom_sampler.RandomNoise.execute(1).args[0],
            guider,
            comfy.samplers.sampler_object("euler"),
            torch.tensor([10.0, 1.0, 0.0]),
            {"samples": tiny_models.empty_latent("sd1", COUNT, 8, 8)},
        )
    assert set(vars(guider)) == before


def test_agreement_happens_on_the_device_of_the_latents(zoom_stack_pack, monkeypatch):
    """On a device that only computes shapes and refuses to mix tensors of two devices, as a GPU does; what was made
    before the model was loaded lies on the CPU."""
    levels, space = ZoomLevels.uniform(3), LatentSpace(None, None)
    latent, mask = random(3, 4, 16, 16), torch.ones(3, 1, 16, 16)
    mask[1, ..., :8] = 0
    sampling = tiny_models.toy("eps").model.model_sampling
    kept = kept_parts(latent, mask, space)
    # A number about the schedule, which a device without numbers cannot tell.
    ratio = agreement.noise_to_signal(sampling, 1.0)
    monkeypatch.setattr(agreement, "noise_to_signal", lambda *_: ratio)
    settings = JointSettings(blending="multi-resolution")

    def agree(latent, mask):
        geometry = resolve(levels, latent)
        run = Agreement(sampling, geometry, settings, [1.0, 0.0], space, latent, mask, (), kept)
        return run.agree(latent + 1, 1.0)

    # Real numbers first: the operators make their small matrices once.
    assert torch.isfinite(agree(latent, mask)).all()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        there, moved = (mode.from_tensor(tensor).to("cuda") for tensor in (latent, mask))
        with pytest.raises(RuntimeError, match="two different devices"):
            there + latent
        assert agree(there, moved).device.type == "cuda"


def test_levels_are_laid_out_on_the_device_of_the_noise(zoom_stack_pack):
    with FakeTensorMode():
        noise = torch.zeros(3, 4, 8, 8, device="cuda")
        tokens = comfy.conds.CONDCrossAttn(torch.zeros(1, 8, 16, device="cuda"))
        entry = {"model_conds": {"c_crossattn": tokens}, "uuid": None}
        area = {**entry, "area": (4, 4, 2, 2), "strength": 0.5}
        placed = side_by_side.place([[entry], [area], [entry]], noise)
        assert [entry["mask"].device.type for entry in placed] == ["cuda"] * 3
        assert placed[1]["area"] == (4, 4, 2, 10)
        (batch,) = side_by_side.place([[entry]] * 3, noise)
        assert batch["model_conds"]["c_crossattn"].cond.shape == (3, 8, 16)
        assert batch["model_conds"]["c_crossattn"].cond.device.type == "cuda"
        assert strip(noise).device.type == "cuda"


def test_noise_to_signal_of_both_kinds_of_models(sd1, model_folder):
    flow = tiny_models.load("sd3", model_folder)
    for sigma in (0.1, 0.5, 0.9):
        assert agreement.noise_to_signal(sd1.get_model_object("model_sampling"), sigma) == pytest.approx(
            sigma, rel=1e-3
        )
        expected = sigma / (1 - sigma)
        assert agreement.noise_to_signal(flow.get_model_object("model_sampling"), sigma) == pytest.approx(expected)


def test_errors_reach_as_far_in_pixels_as_in_latents(sd1):
    latent, sampling = random(COUNT, 4, 16, 16), sd1.get_model_object("model_sampling")
    lengths = [
        Agreement(
            sampling,
            LEVELS.resolve(side, side),
            JointSettings(),
            torch.tensor([2.0, 1.0, 0.0]),
            LatentSpace(None, sd1),
            latent,
        )._length(1.0)
        for side in (16, 128)
    ]
    assert lengths[0] > 0 and lengths[1] == pytest.approx(8 * lengths[0])


def test_partly_kept_levels_hold_inwards_only():
    reach = agreement._up_to_the_next
    assert reach(2, [0], 5, False, inwards_only=True) == [3, 4]
    assert reach(2, [0], 5, False, inwards_only=False) == [1, 3, 4]
    assert reach(2, [4], 5, True, inwards_only=True) == [3]
    assert reach(2, [4], 5, True, inwards_only=False) == [0, 1, 3]


def test_a_batch_of_conditionings_is_nobodys_own():
    """Caches are keyed by the id of a conditioning."""
    entries = [
        {"uuid": i, "model_conds": {"c": comfy.conds.CONDRegular(torch.full((1, 2), float(i)))}} for i in range(3)
    ]
    joined = side_by_side._together(tuple(entries))
    assert joined["uuid"] not in {0, 1, 2} and joined["model_conds"]["c"].cond.shape == (3, 2)


def test_levels_go_in_one_call_only_with_the_cores_own_headroom(sd1, monkeypatch):
    sd1.model.current_patcher = sd1
    x = torch.zeros(COUNT, 4, 8, 8)
    needed = 1.5 * sd1.model.memory_required([COUNT, 4, 8, 8])
    assert needed > 0
    for free, expected in ((1.01 * needed, False), (0.99 * needed, True)):
        monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device, free=free: free)
        assert side_by_side._too_large(sd1.model, [{"model_conds": {}}], x) == expected
