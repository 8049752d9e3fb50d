"""The demo model through ComfyUI's own nodes: it loads exactly, samples, and its text matters."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from demo_model.judge import block_step, octaves
from demo_model.text import PAD, WordTokenizer, padded
from demo_model.upscaler import SCALE, WEIGHTS, Compact, shrink, start_smooth, trained
from demo_model.world import KINDS, draw

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def loader(zoom_stack_pack):
    return importlib.import_module("zoom_stack_pack.nodes.demo").ZoomDemoModelLoader


@pytest.fixture(scope="module")
def loaded(loader):
    return loader.execute().args


@pytest.fixture(scope="module")
def stock(comfy_path):
    """ComfyUI's own nodes.py."""
    module = importlib.import_module("nodes")
    assert Path(module.__file__).parent == comfy_path
    return module


def paint(stock, loaded, text, seed=1, steps=10, cfg=3.0, batch=2, sampler="euler"):
    model, clip, vae = loaded
    encode = stock.CLIPTextEncode().encode
    latent = stock.EmptyLatentImage().generate(64, 64, batch)[0]
    sampled = stock.KSampler().sample(
        model, seed, steps, cfg, sampler, "simple", encode(clip, text)[0], encode(clip, "")[0], latent
    )[0]
    return stock.VAEDecode().decode(vae, sampled)[0], sampled


def test_the_files_are_small():
    folder = ROOT / "demo_model"
    weights = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    assert 1_000_000 < weights <= 40_000_000
    assert WEIGHTS.stat().st_size <= 3_000_000


def test_the_evaluation_samples_as_stock_nodes_and_as_the_templates_do(stock, loaded, zoom_stack_pack):
    evaluate = importlib.import_module("zoom_stack_pack.demo_model.evaluate")
    sampler = importlib.import_module("zoom_stack_pack.nodes.sampling").MultiScaleJointKSampler
    prompts = importlib.import_module("zoom_stack_pack.nodes.prompts").ZoomPromptList
    model, clip, vae = loaded
    text = "a red nebula"
    images, _ = paint(stock, loaded, text, seed=7, steps=5, cfg=2.75, batch=1, sampler="er_sde")
    throughout = evaluate.core_samples(loaded, ["a forest", text], 6, 2.75, (0.0, 1.0), 5)
    assert throughout.shape == (2, 3, 64, 64) and torch.allclose(throughout[1:].movedim(1, -1), images, atol=1e-5)
    positive, negative, levels = prompts.execute(clip, text, "", 4.0, "", "").args
    given = dict(
        model=model, levels=levels, seed=7, steps=5, cfg=2.75, sampler_name="er_sde", scheduler="simple", vae=vae,
        denoise=1.0, cfg_start_percent=0.26, cfg_end_percent=0.7, blending="none", shared_noise=False,
    )  # fmt: skip
    lists = {name: [value] for name, value in given.items()}
    latent = [{"samples": torch.zeros(1, 3, 64, 64)}]
    sampled = sampler.execute(positive=positive, negative=negative, latent_image=latent, **lists).args[0]
    interval = evaluate.core_samples(loaded, [text], 7, 2.75, (0.26, 0.7), 5)
    assert torch.allclose(interval.movedim(1, -1), vae.decode(sampled["samples"])[..., :3], atol=1e-5)
    assert (interval - throughout[1:]).abs().mean() > 0.005


def test_the_evaluation_takes_the_template_s_settings(zoom_stack_pack):
    evaluate = importlib.import_module("zoom_stack_pack.demo_model.evaluate")
    graph = json.loads((ROOT / "workflows" / "api" / "02-text-to-zoom-with-the-demo-model.json").read_text("utf-8"))
    (given,) = (node["inputs"] for node in graph.values() if node["_meta"].get("title") == "Multi-Scale Joint KSampler")
    assert (given["cfg"], given["sampler_name"], given["steps"]) == (evaluate.CFG, evaluate.SAMPLER, evaluate.STEPS)
    assert (given["cfg_start_percent"], given["cfg_end_percent"]) == evaluate.GUIDED
    assert given["restarts"] == evaluate.RESTARTS
    fresca = graph[given["model"][0]]
    assert fresca["class_type"] == "FreSca"
    assert tuple(fresca["inputs"][name] for name in ("scale_low", "scale_high", "freq_cutoff")) == evaluate.FRESCA


def test_stock_nodes_make_pictures_of_64_pixels(stock, loaded):
    images, sampled = paint(stock, loaded, "a blue planet seen from space", steps=4)
    assert images.shape == (2, 64, 64, 3) and sampled["samples"].shape == (2, 3, 64, 64)
    assert torch.isfinite(images).all() and images.min() >= 0 and images.max() <= 1
    assert images.std() > 0.05
    again, _ = paint(stock, loaded, "a blue planet seen from space", steps=4)
    assert torch.equal(images, again)


def test_encoding_and_decoding_lose_nothing(stock, loaded):
    image = torch.from_numpy(draw(3, 4.0))[None]
    latent = stock.VAEEncode().encode(loaded[2], image)[0]
    assert latent["samples"].shape == (1, 3, 64, 64)
    assert torch.allclose(latent["samples"][0].permute(1, 2, 0), image[0] * 2 - 1, atol=1e-6)
    assert torch.allclose(stock.VAEDecode().decode(loaded[2], latent)[0], image, atol=1e-6)


def test_the_loaded_model_is_the_trained_one(loaded, stock):
    import comfy.ops

    from demo_model.load import read_weights
    from demo_model.network import UNET, ZoomUNet
    from demo_model.text import CONFIG, TextEncoder

    unet_weights, text_weights = read_weights()
    unet = ZoomUNet(**UNET, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init)
    unet.load_state_dict(unet_weights, strict=True)
    encoder = TextEncoder(CONFIG, torch.float32, "cpu", comfy.ops.disable_weight_init)
    encoder.load_state_dict(text_weights, strict=True)
    tokens = torch.tensor([padded(WordTokenizer.from_pretrained()("a red galaxy")["input_ids"])])
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        context = encoder(tokens, tokens != PAD)[0]
        expected = x - 0.7 * unet(x, torch.tensor([700.0]), context=context)
        given = stock.CLIPTextEncode().encode(loaded[1], "a red galaxy")[0][0][0]
        assert torch.allclose(given, context, atol=1e-5)
        found = loaded[0].model.apply_model(x, torch.tensor([0.7]), c_crossattn=given)
    assert torch.allclose(found, expected, atol=1e-4)


def test_prompt_weights_and_long_and_foreign_texts_are_taken(stock, loaded):
    encode = stock.CLIPTextEncode().encode
    plain, weighted = (encode(loaded[1], text)[0][0][0] for text in ("a red galaxy", "a (red:1.5) galaxy"))
    assert plain.shape == (1, 32, 128) and not torch.allclose(plain, weighted)
    for text in ("", "星系 ☄️", "word " * 100):
        context = encode(loaded[1], text)[0][0][0]
        assert context.shape[1] % 32 == 0 and torch.isfinite(context).all()


def test_the_custom_sampler_takes_the_model(stock, loaded):
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    model, clip, _ = loaded
    encode = stock.CLIPTextEncode().encode
    positive, negative = encode(clip, "a green leaf")[0], encode(clip, "")[0]
    sigmas = custom.BasicScheduler.execute(model, "simple", 6, 1.0)[0]
    guider = custom.CFGGuider.execute(model, positive, negative, 3.0)[0]
    latent = stock.EmptyLatentImage().generate(64, 64, 1)[0]
    sampler = custom.KSamplerSelect.execute("euler")[0]
    out, _ = custom.SamplerCustomAdvanced.execute(custom.RandomNoise.execute(4)[0], guider, sampler, sigmas, latent)
    direct = stock.KSampler().sample(model, 4, 6, 3.0, "euler", "simple", positive, negative, latent)[0]
    assert torch.allclose(out["samples"], direct["samples"], atol=1e-5)


def test_the_text_decides_what_is_painted(stock, loaded):
    space, _ = paint(stock, loaded, "a galaxy cluster", batch=3)
    forest, _ = paint(stock, loaded, "a green forest from above", batch=3)
    assert space.mean() + 0.1 < forest.mean()
    assert (forest[..., 1] - forest[..., 2]).mean() > 0.1
    red, _ = paint(stock, loaded, "a red leaf up close", batch=3)
    green, _ = paint(stock, loaded, "a green leaf up close", batch=3)
    redness = [(image[..., 0] - image[..., 1]).mean() for image in (red, green)]
    assert redness[0] > redness[1] + 0.1


def test_the_upscaler_loads_and_beats_bicubic(loader, comfy_path):
    nodes = importlib.import_module("comfy_extras.nodes_upscale_model")
    import folder_paths

    assert WEIGHTS.name in folder_paths.get_filename_list("upscale_models")
    upscaler = nodes.UpscaleModelLoader.execute(WEIGHTS.name)[0]
    assert upscaler.scale == SCALE
    fine = torch.stack([torch.from_numpy(draw(950_000_000 + k, k, 256)) for k in range(len(KINDS))]).permute(0, 3, 1, 2)
    small = shrink(fine)
    ours = nodes.ImageUpscaleWithModel.execute(upscaler, small.permute(0, 2, 3, 1))[0].permute(0, 3, 1, 2)
    plain = torch.nn.functional.interpolate(small, scale_factor=SCALE, mode="bicubic", align_corners=False).clamp(0, 1)
    assert ours.shape == fine.shape
    assert (ours - fine).square().mean() < 0.9 * (plain - fine).square().mean()
    assert (shrink(ours) - small).abs().mean() < 0.02
    # Blocks do not show: steps at their edges are no larger, next to those inside, than bicubic's.
    assert block_step(ours) < 1.1 * block_step(plain)


def test_a_new_upscaler_starts_without_blocks():
    torch.manual_seed(0)
    net = Compact()
    start_smooth(net)
    interpolate = torch.nn.functional.interpolate
    small = torch.rand(1, 3, 12, 1).expand(1, 3, 12, 10)
    with torch.no_grad():
        assert torch.allclose(net(small), interpolate(small, scale_factor=4, mode="bilinear"), atol=1e-5)
        picture = interpolate(torch.rand(1, 3, 6, 6), size=(24, 24), mode="bicubic")
        ours = net(picture)
    plain = interpolate(picture, scale_factor=4, mode="bilinear")
    assert block_step(ours) < 1.1 * block_step(plain)
    assert block_step(interpolate(picture, scale_factor=4, mode="nearest") + 1e-3 * plain) > 5 * block_step(plain)


def test_missing_weights_are_explained(tmp_path, loader):
    from demo_model.load import read_weights

    with pytest.raises(FileNotFoundError, match="weights are missing: expected .*nothing.safetensors"):
        read_weights(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("unet.out.2.bias"), r"for unet.out.2.bias expected a tensor \[112\], got nothing"),
        (
            lambda state: state.update({"unet.more": torch.zeros(3)}),
            r"for unet.more expected nothing, got a tensor \[3\]",
        ),
        (
            lambda state: state.update({"text.norm.bias": torch.zeros(64)}),
            r"for text.norm.bias expected a tensor \[128\], got a tensor \[64\]",
        ),
    ],
)
def test_foreign_weights_are_refused(tmp_path, loader, change, message):
    from demo_model import load

    state = load_file(load.WEIGHTS)
    change(state)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=message):
        load.read_weights(tmp_path / "other.safetensors")


@pytest.fixture(scope="module")
def enlarged(stock):
    """Drawn pictures [N, 3, 256, 256] of some kinds, and what the upscaler makes of their small ones."""
    drawn = torch.stack([torch.from_numpy(draw(950_000_100 + k, k, 256)) for k in range(2, len(KINDS), 2)])
    drawn = drawn.permute(0, 3, 1, 2)
    return drawn, trained()(shrink(drawn)).clamp(0, 1)


def finished(stock, loaded, pictures, seed=3, denoise=0.7):
    """Pictures [N, 3, H, W] as stock nodes let the second stage finish them."""
    upscale = importlib.import_module("comfy_extras.nodes_sdupscale").SD_4XUpscale_Conditioning
    model, clip, vae = loaded
    images = pictures.movedim(1, -1)
    empty = stock.CLIPTextEncode().encode(clip, "")[0]
    positive, negative, _ = upscale.execute(images, empty, empty, 4.0, 0.0).args
    latent = stock.VAEEncode().encode(vae, images)[0]
    sampled = stock.KSampler().sample(model, seed, 8, 1.0, "dpmpp_2m", "beta", positive, negative, latent, denoise)[0]
    return stock.VAEDecode().decode(vae, sampled)[0].movedim(-1, 1)


def test_the_second_stage_paints_detail_and_keeps_the_picture(stock, loader, enlarged):
    drawn, soft = enlarged
    second = loader.execute("finish").args
    made = finished(stock, second, soft)
    assert made.shape == drawn.shape and made.min() >= 0 and made.max() <= 1
    one, again, other = (finished(stock, second, soft[:1], seed) for seed in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)
    fine = [octaves(pictures, 2)[0] for pictures in (drawn, soft, made)]
    assert fine[1] < 0.5 * fine[0] < fine[2] < 1.5 * fine[0]
    assert (shrink(made) - shrink(drawn)).abs().mean() < 0.05


def test_the_second_stage_says_what_it_needs(stock, loader, enlarged):
    model, clip, vae = loader.execute("finish").args
    empty = stock.CLIPTextEncode().encode(clip, "")[0]
    latent = stock.EmptyLatentImage().generate(64, 64, 1)[0]
    with pytest.raises(ValueError, match="finishing model needs the pictures .*SD_4XUpscale_Conditioning"):
        stock.KSampler().sample(model, 1, 2, 1.0, "euler", "simple", empty, empty, latent)


def test_the_second_stage_takes_one_picture_for_all_and_other_sizes(stock, loader, enlarged):
    second = loader.execute("finish").args
    assert finished(stock, second, torch.rand(2, 3, 40, 72)).shape == (2, 3, 40, 72)
    image = (
        second[0]
        .model.extra_conds(
            noise=torch.zeros(3, 3, 64, 64), device=torch.device("cpu"), concat_image=torch.rand(1, 3, 32, 32)
        )["c_concat"]
        .cond
    )
    assert image.shape == (3, 3, 64, 64) and torch.equal(image[0], image[2])


def test_the_second_stage_is_the_trained_one(loader):
    import comfy.ops

    from demo_model.load import FINISH_WEIGHTS
    from demo_model.network import FINISH, ZoomUNet

    state = {name.removeprefix("unet."): value.float() for name, value in load_file(FINISH_WEIGHTS).items()}
    net = ZoomUNet(**FINISH, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init)
    net.load_state_dict(state, strict=True)
    x, shown, context = torch.randn(1, 3, 64, 64), torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(1, 32, 128)
    with torch.no_grad():
        expected = x - 0.4 * net(torch.cat([x, shown], 1), torch.tensor([400.0]), context=context)
        found = (
            loader.execute("finish")
            .args[0]
            .model.apply_model(x, torch.tensor([0.4]), c_concat=shown, c_crossattn=context)
        )
    assert torch.allclose(found, expected, atol=1e-4)


def test_missing_weights_of_the_second_stage_are_explained(tmp_path, loader):
    from demo_model.load import load_finish

    with pytest.raises(FileNotFoundError, match="expected .*nothing.safetensors.*python -m demo_model.finish"):
        load_finish(tmp_path / "nothing.safetensors")
