"""Consistency in pixels, photographs, editing of levels and the advanced graph, on a tiny model."""

import pytest

pytest.importorskip("comfy.samplers", reason="needs ComfyUI: run `python run.py test`")

import comfy.samplers
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from comfy_extras.nodes_post_processing import BatchLatentsNode
from joint_runs import SETTINGS, core_levels, difference, joint
from tiny_models import conditioning, empty_latent, taesd, toy
from zoom_stack_pack.nodes.advanced import ZoomJointGuider, ZoomSamplerSelect, ZoomSharedNoise
from zoom_stack_pack.nodes.editing import ZoomLevelMask
from zoom_stack_pack.nodes.guides import ZoomPhotoGuide
from zoom_stack_pack.nodes.spaces import PixelSpace

from zoom_core import ZoomLevels, consolidate, downscale

COUNT = 4
LEVELS = ZoomLevels.uniform(COUNT)
GEOMETRY = LEVELS.resolve(16, 16)


@pytest.fixture(scope="module")
def model():
    return toy("eps")


@pytest.fixture(scope="module")
def pixel_model():
    """Flow model with three channels, whose latents stand for pixels."""
    return toy("flow", channels=3)


@pytest.fixture(scope="module")
def conds():
    return conditioning("toy", COUNT)


@pytest.fixture(scope="module")
def pixel_vae():
    return comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})


def photograph(height=40, width=60):
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 3, width), indexing="ij")
    return torch.stack([x.sin(), (y * x).cos(), y.sin()], -1)[None] * 0.4 + 0.5


def misfit(levels: torch.Tensor, geometry=GEOMETRY) -> float:
    """Largest difference between D of a level and the inset of the level before it."""
    worst = 0.0
    for i, n in enumerate(geometry.insets):
        inset = levels[i, :, n.top : n.top + n.height, n.left : n.left + n.width]
        worst = max(worst, float((downscale(levels[i + 1], n.height, n.width) - inset).abs().max()))
    return worst


def test_pixel_consistency_leaves_agreeing_levels_alone(model, monkeypatch):
    """What the VAE's round trip loses comes back: the estimate moves by less than 1e-3, while the round
    trip alone changes it beyond recognition."""
    pixels = PixelSpace(taesd(), model, lambda: None)
    latent = torch.randn(COUNT, 4, 16, 16)
    geometry = LEVELS.resolve(16, 16).scaled(*pixels.size(latent))
    agree = lambda images: consolidate(images, geometry)
    with torch.inference_mode():
        decoded = pixels.decode(latent)
        changed = pixels.change(latent, agree)
        agreeing = agree(decoded)
        monkeypatch.setattr(pixels, "decode", lambda latent: agreeing)
        moved = pixels.change(latent, agree)
        # A difference of rounding errors, so that the encoder really runs.
        nearly = pixels.change(latent, lambda images: images * (1 + 1e-7))
        round_trip = pixels.encode(agreeing, latent)
    assert float((moved - latent).abs().max()) < 1e-3
    assert float((nearly - latent).abs().max()) < 1e-3
    assert float((changed - latent).abs().mean()) > 0.01
    assert float((round_trip - latent).abs().mean()) > 0.05


def test_pixel_consistency_changes_sampling_and_needs_the_vae(model, conds):
    run = lambda **changed: joint(model, *conds, empty_latent("toy", 1), steps=2, **changed)
    in_pixels = run(consistency="pixel", vae=taesd())
    assert torch.isfinite(in_pixels).all()
    assert difference(in_pixels, run()) > 1e-2
    assert difference(in_pixels, run(consistency="pixel", vae=taesd())) == 0
    with pytest.raises(ValueError, match="vae is missing: consistency in pixels"):
        run(consistency="pixel")


def test_pixel_consistency_with_a_pixel_vae_is_latent_consistency(pixel_model, pixel_vae):
    """Where latents are pixels both ways are one, up to the VAE's clipping to 0..1."""
    latent = torch.rand(COUNT, 3, 16, 16) * 0.4
    agree = lambda images: consolidate(images, GEOMETRY)
    pixels = PixelSpace(pixel_vae, pixel_model, lambda: None)
    inner = pixel_model.model
    expected = inner.process_latent_in(agree(inner.process_latent_out(latent)))
    assert float((pixels.change(latent, agree) - expected).abs().max()) < 1e-5


def test_agreement_every_third_evaluation_still_ends_in_agreement(model, conds):
    run = lambda **changed: joint(model, *conds, empty_latent("toy", 1), steps=6, **changed)
    always, third, never = run(), run(consistency_every=3), run(blending="none")
    assert difference(third, always) > 1e-3
    assert misfit(third) < 1e-4
    assert misfit(never) > 0.1


@pytest.mark.parametrize("level", [0, 2, -1])
@pytest.mark.parametrize("method", ["projection", "adam"])
def test_a_photograph_is_kept(pixel_model, pixel_vae, conds, level, method):
    guide = ZoomPhotoGuide.execute(
        photograph(), level=level, method=method, steps=5, learning_rate=0.1, start_percent=0.0, end_percent=1.0
    ).args[0]
    latent = torch.zeros(1, 3, 16, 16)
    with torch.inference_mode():
        samples = joint(pixel_model, *conds, latent, vae=pixel_vae, guide=guide, steps=6)
        shown = pixel_vae.decode(samples)[level % COUNT]
        free = pixel_vae.decode(joint(pixel_model, *conds, latent, steps=6))[level % COUNT]
    wanted = torch.nn.functional.interpolate(
        photograph()[:, :, 10:50].movedim(-1, 1), (16, 16), mode="bicubic", antialias=True
    )[0].movedim(0, -1)
    psnr = lambda a: float(-10 * torch.log10(((a - wanted) ** 2).mean()))
    if method == "projection":
        assert psnr(shown) > 35
        assert psnr(free) < 20
    else:
        # Random weights leave the photograph further than five steps of 0.1 can reach.
        assert psnr(shown) > psnr(free) + 2
    assert misfit(samples) < 1e-4


def test_a_photograph_outside_its_part_of_the_sampling_does_nothing(pixel_model, pixel_vae, conds):
    guide = ZoomPhotoGuide.execute(
        photograph(), level=0, method="projection", steps=5, learning_rate=0.1, start_percent=0.0, end_percent=0.0
    ).args[0]
    run = lambda **changed: joint(pixel_model, *conds, torch.zeros(1, 3, 16, 16), start_percent=0.05, **changed)
    assert difference(run(vae=pixel_vae, guide=guide), run()) < 1e-6


def test_a_guide_needs_the_vae(pixel_model, conds):
    guide = ZoomPhotoGuide.execute(
        photograph(), level=0, method="adam", steps=1, learning_rate=0.1, start_percent=0.0, end_percent=1.0
    ).args[0]
    with pytest.raises(ValueError, match="vae is missing: a guide"):
        joint(pixel_model, *conds, torch.zeros(1, 3, 16, 16), guide=guide)


def test_transparency_is_laid_over_white_and_bad_photographs_are_refused():
    settings = dict(level=0, method="adam", steps=1, learning_rate=0.1, start_percent=0.0, end_percent=1.0)
    clear = torch.cat([photograph(), torch.zeros(1, 40, 60, 1)], -1)
    assert float(ZoomPhotoGuide.execute(clear, **settings).args[0].image.min()) == 1
    with pytest.raises(ValueError, match="batch of 2 pictures"):
        ZoomPhotoGuide.execute(photograph().repeat(2, 1, 1, 1), **settings)
    with pytest.raises(ValueError, match="not finite"):
        ZoomPhotoGuide.execute(photograph() * float("nan"), **settings)


@pytest.fixture(scope="module")
def finished(model, conds):
    return joint(model, *conds, empty_latent("toy", 1), seed=1)


@pytest.mark.parametrize("regenerate, redone", [("2", [2]), ("0", [0]), ("1-2", [1, 2]), ("3", [3])])
def test_chosen_levels_are_redone_and_the_others_hold_bit_for_bit(model, conds, finished, regenerate, redone):
    masked = ZoomLevelMask.execute({"samples": finished}, LEVELS, regenerate).args[0]
    result = joint(model, *conds, masked, seed=2, steps=6)
    for i in range(COUNT):
        if i in redone:
            assert difference(result[i : i + 1], finished[i : i + 1]) > 0.1
        else:
            assert torch.equal(result[i], finished[i])
    assert misfit(result) < 1e-3 * float(finished.std())


def test_deeper_levels_are_appended(model):
    positive, negative = conditioning("toy", COUNT + 2)
    levels = ZoomLevels.uniform(COUNT + 2)
    finished = joint(model, positive[:COUNT], negative[:COUNT], empty_latent("toy", 1))
    longer = torch.cat([finished, empty_latent("toy", 2)])
    masked = ZoomLevelMask.execute({"samples": longer}, levels, f"{COUNT}-{COUNT + 1}").args[0]
    result = joint(model, positive, negative, masked, levels=levels, seed=5)
    assert torch.equal(result[:COUNT], finished)
    assert misfit(result, levels.resolve(16, 16)) < 1e-3 * float(finished.std())
    assert float(result[COUNT:].std()) > 0.1


def test_levels_from_two_batches_do_not_repeat_their_noise():
    """The core's Batch Latents numbers each part from 0."""
    parts = [{"samples": torch.zeros(2, 4, 16, 16)} for _ in range(2)]
    joined = BatchLatentsNode.execute({str(i): part for i, part in enumerate(parts)}).args[0]
    assert joined["batch_index"] == [0, 1, 0, 1]
    noise = ZoomSharedNoise.execute(3, LEVELS).args[0].generate_noise(joined)
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[4:12, 4:12] = False
    assert abs(float((noise[0] * noise[2])[:, outside].mean())) < 0.15


def test_refinement_at_a_higher_resolution_keeps_the_geometry(model, conds, finished):
    larger = torch.nn.functional.interpolate(finished, (24, 24), mode="bicubic")
    resolved = LEVELS.with_geometry(GEOMETRY)
    result = joint(model, *conds, larger, levels=resolved, denoise=0.4)
    assert (
        misfit(
            result,
            GEOMETRY.scaled(24, 24).__class__(
                24, 24, tuple(type(n)(*map(int, n)) for n in GEOMETRY.scaled(24, 24).insets)
            ),
        )
        < 1e-4
    )
    fresh = joint(model, *conds, empty_latent("toy", 1, 24, 24), levels=resolved)
    assert difference(result, larger) < difference(fresh, larger)


@pytest.mark.parametrize(
    "text, words",
    [
        ("4", "level 4 does not exist"),
        ("2-x", "neither a level number"),
        ("3-1", "runs backwards"),
        ("", "regenerate is empty"),
    ],
)
def test_bad_level_numbers_are_refused(finished, text, words):
    with pytest.raises(ValueError, match=words):
        ZoomLevelMask.execute({"samples": finished}, LEVELS, text)


@pytest.mark.parametrize("sampler_name", ["euler", "euler_ancestral", "dpmpp_2m_sde", "euler_cfg_pp"])
def test_the_advanced_graph_gives_the_same_bits(model, conds, sampler_name):
    expected = joint(model, *conds, empty_latent("toy", 1), sampler_name=sampler_name)
    names = {i.id for i in ZoomJointGuider.define_schema().inputs}
    single = {"model": model, "levels": LEVELS, **{k: v for k, v in SETTINGS.items() if k in names}}
    with torch.inference_mode():
        guider = ZoomJointGuider.execute(
            positive=conds[0], negative=conds[1], **{name: [value] for name, value in single.items()}
        ).args[0]
        noise = ZoomSharedNoise.execute(SETTINGS["seed"], LEVELS).args[0]
        sampler = ZoomSamplerSelect.execute(sampler_name, LEVELS).args[0]
        sigmas = comfy.samplers.calculate_sigmas(
            model.get_model_object("model_sampling"), SETTINGS["scheduler"], SETTINGS["steps"]
        )
        latent = {"samples": empty_latent("toy", COUNT)}
        result = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args[0]["samples"]
    assert torch.equal(result, expected)


def test_iterative_updates_leave_no_agreement_outwards(model, conds):
    """The ablation differs from the method, and from independent sampling."""
    run = lambda **changed: joint(model, *conds, empty_latent("toy", 1), **changed)
    iterative = run(update="iterative")
    assert difference(iterative, run()) > 1e-2
    assert difference(iterative, core_levels(model, *conds, empty_latent("toy", 1))) > 1e-2
