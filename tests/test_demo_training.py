"""Training the demo model: the fine stages start without changing a picture, runs go on where they stopped."""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from demo_model import data
from demo_model.data import draw_view, told, training_view
from demo_model.precision import fast_precision
from demo_model.text import padded
from demo_model.world import draw

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def network(zoom_stack_pack):
    """The module of the network, with core ComfyUI importable."""
    from demo_model import network

    return network


@pytest.fixture()
def net(network):
    from demo_model.train import Net

    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        # `initialise` leaves the outputs of residual branches at zero: make every part count.
        for name, weights in net.named_parameters():
            if not name.startswith("unet.fine."):
                weights.add_(0.02 * torch.randn(weights.shape))
    return net.requires_grad_(False)


TOKENS = torch.tensor([padded([1, 40, 50, 2]), padded([1, 2])])
LEVELS = torch.tensor([0.3, 0.9])


def test_weights_without_fine_stages_paint_the_same_pictures_in_the_new_network(network, net):
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    old = {name: value.clone() for name, value in net.state_dict().items() if not name.startswith("unet.fine.")}
    for name in ("unet.out.2.weight", "unet.out.2.bias"):
        old[name] = old[name][:48]
    old["unet.input_blocks.0.0.weight"] = old["unet.input_blocks.0.0.weight"][:, :51]
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        context = net.text(TOKENS, TOKENS != 0)[0]
        t = LEVELS[:, None, None, None]
        spread = network.spread_of(t)
        folded = F.pixel_unshuffle(x / spread, 4)
        folded = torch.cat([folded, network.places(folded), torch.zeros(2, network.SEEN, 16, 16)], 1)
        answer = F.pixel_shuffle(UNetModel.forward(net.unet, folded, LEVELS * 1000, context, context[:, 0])[:, :48], 4)
        expected = (t - (1 - t) / 4) / spread**2 * x - 0.5 / spread * answer
        from demo_model.train import Net

        fresh = Net()
        fresh.load_state_dict(network.widened(old, fresh.state_dict()))
        assert torch.allclose(fresh(x, LEVELS, TOKENS), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (50, 71), (4, 8)])
def test_the_fine_stages_take_any_size_and_do_not_know_where_a_cell_begins(network, net, size):
    with torch.no_grad():
        net.unet.fine.out.weight.normal_(std=0.1)
        x = torch.randn(1, 3, *size)
        assert net(x, LEVELS[:1], TOKENS[:1]).shape == x.shape
        # With nothing from the UNet, what they add moves with the picture, by whatever even number of pixels.
        fine = net.unet.fine
        noisy, sent = torch.randn(1, 3, 96, 96), torch.zeros(1, network.SENT, 24, 24)
        told = fine.told(LEVELS[:1] * 1e3, torch.ones(1, 128))
        for block in (*fine.before, *fine.at_half, fine.at_full):
            # Normalisation looks at the whole frame, whose content changes with a shift.
            block.norm1 = block.norm2 = torch.nn.Identity()
        fine.norm = torch.nn.Identity()
        still, moved = (fine(x, 0 * x, sent, told, fine.look_at(x, told)[0]) for x in (noisy, noisy.roll(2, -1)))
    assert still.std() > 1e-3
    assert torch.allclose(still[..., 40:56, 40:56], moved[..., 40:56, 42:58], atol=1e-3 * float(still.std()))


def test_the_stages_before_the_unet_reach_the_picture_through_it(net):
    """Their blocks, and the convolution by which the UNet takes what they see, are not idle."""
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        net.unet.fine.out.weight.zero_()  # nothing after the UNet
        before = net(x, LEVELS[:1], TOKENS[:1])
        net.unet.fine.look.weight.mul_(2)
        after = net(x, LEVELS[:1], TOKENS[:1])
    assert float((after - before).abs().max()) > 1e-3


def test_the_rate_rises_stays_and_falls():
    from demo_model.train import share_of_rate

    assert share_of_rate(0, 0.0) == pytest.approx(1 / 400)
    assert {share_of_rate(step, done) for step in (399, 9999) for done in (0.0, 0.3, 0.55)} == {1.0}
    late = [share_of_rate(9999, done) for done in np.linspace(0.55, 1, 10)]
    assert all(a > b for a, b in zip(late, late[1:])) and late[-1] == pytest.approx(0.02)


def test_pale_pictures_are_learned_in_less_noise():
    from demo_model.train import contrasts, noise_levels

    strong = torch.rand(500, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    contrast = contrasts(torch.cat([strong, 0.3 * strong]))
    assert contrast[:500].mean() == pytest.approx(1.5, abs=0.05)
    assert contrast[500:].mean() == pytest.approx(0.3 * 3**-0.5 / 0.33, rel=0.05)
    # A picture of one colour still gets noise that it is seen in.
    assert contrasts(torch.zeros(1, 3, 8, 8)).tolist() == [pytest.approx(0.4)]
    levels = noise_levels(contrast, torch.Generator().manual_seed(1))
    assert levels.min() >= 1e-3 and levels.max() <= 1
    assert levels[500:].median() < levels[:500].median() - 0.05


@pytest.mark.parametrize(
    ("able", "wanted"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
    ],
)
def test_bfloat16_is_used_only_where_the_processor_multiplies_them(monkeypatch, able, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    with fast_precision():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == wanted


def test_an_older_torch_that_cannot_tell_trains_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    with fast_precision():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_shard_holds_pictures_and_sentences_about_them(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SHARD", 2)
    path = data.write_shard((str(tmp_path), 3))
    pictures, tokens, first = data.read_shard(Path(path))
    assert first == 6 and np.array_equal(pictures[1], draw_view(training_view(7)))
    assert np.array_equal(tokens, told([6, 7])) and tokens.shape == (2, data.TELLINGS, 32)
    assert data.ready_shards(tmp_path) == [Path(path)]
    np.savez(path, pictures=pictures, first=first)
    with pytest.raises(ValueError, match="shard_0003.*got pictures only"):
        data.read_shard(Path(path))


def test_hard_kinds_are_taken_more_often(tmp_path):
    from demo_model.train import Pictures, factors

    numbers = np.arange(240, dtype=np.uint8)
    drawn = np.broadcast_to(numbers[:, None, None, None], (240, 64, 64, 3))
    np.savez(tmp_path / "shard_0000.npz", pictures=drawn, tokens=told(range(240)), first=0)
    often = factors("galaxy=3,star system=0")
    assert often == {"galaxy": 3.0, "star system": 0.0}
    shown = Pictures(tmp_path, often)
    assert shown.refresh() == 240
    pictures, tokens = shown.batch(6000, torch.Generator().manual_seed(0))
    assert pictures.shape == (6000, 3, 64, 64) and float(pictures.min()) >= -1 and tokens.shape == (6000, 32)
    chosen = ((pictures[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    kinds = np.bincount([training_view(number)["kind"] for number in chosen], minlength=12)
    among = np.bincount([training_view(number)["kind"] for number in range(240)], minlength=12)
    per_picture = kinds / among
    assert per_picture[3] == 0
    assert per_picture[1] / per_picture[[0, 2, *range(4, 12)]].mean() == pytest.approx(3, rel=0.15)
    # Every sentence is about the picture beside it, in more than one wording.
    words = told(range(240))
    said = {(number, tuple(line)) for number, line in zip(chosen, tokens.tolist())}
    assert all(any(tuple(way) == line for way in words[number].tolist()) for number, line in said)
    assert len(said) > 2 * len(set(chosen))
    with pytest.raises(argparse.ArgumentTypeError, match="expected kinds of galaxy cluster.*got comet"):
        factors("comet=2")


def rate_of(checkpoint: dict) -> float:
    """The rate of the step that a run would take next, as a part of the full one (5e-4)."""
    return checkpoint["optimizer"]["param_groups"][0]["lr"] / 5e-4


def run(work: Path, comfy_path: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "demo_model.train", "--work", str(work), "--batch", "2", "--threads", "1"]
    environment = os.environ | {"COMFYUI_PATH": str(comfy_path)}
    weights = str(ROOT / "demo_model" / "zoom_demo.safetensors")
    command += ["--init", weights, "--only", "unet.fine", *more]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_run_that_is_told_to_end_loses_nothing_and_goes_on(tmp_path, comfy_path):
    (tmp_path / "pictures").mkdir()
    drawn = np.stack([draw_view(training_view(n)) for n in range(24)])
    np.savez(tmp_path / "pictures" / "shard_0000.npz", pictures=drawn, tokens=told(range(24)), first=0)
    process = run(tmp_path, comfy_path, "--minutes", "60")
    log = tmp_path / "losses.csv"
    limit = time.monotonic() + 1800
    while time.monotonic() < limit and process.poll() is None and not (log.exists() and log.stat().st_size > 60):
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 0
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["step"] >= 20
    moved = {name for name, value in saved["net"].items() if not torch.equal(value, saved["average"][name])}
    assert moved and all(name.startswith("unet.fine.") for name in moved)
    again = run(tmp_path, comfy_path, "--minutes", "90")
    said = again.stdout.readline()
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=600)
    assert again.returncode == 0 and f"going on at step {saved['step']}," in said
    after = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert after["step"] >= saved["step"] and after["used"] >= saved["used"]
    # The second run rises on from where the first was.
    for checkpoint in (saved, after):
        assert rate_of(checkpoint) == pytest.approx(min(1, (checkpoint["step"] + 1) / 400))
    with open(log, newline="") as file:
        assert next(csv.reader(file)) == ["step", "minutes", "loss", "rate", "pictures"]


def test_the_second_stage_starts_from_the_first_and_ignores_what_it_is_shown(network):
    import comfy.ops

    from demo_model.finish import from_first_stage
    from demo_model.load import read_weights

    first = read_weights()[0]
    net = network.ZoomUNet(
        **network.FINISH, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init
    )
    network.initialise(net)
    net.load_state_dict(from_first_stage(first, net.state_dict()))
    x, context = torch.randn(1, 3, 64, 64), torch.randn(1, 32, 128)
    with torch.no_grad():
        answers = [
            net(torch.cat([x, shown], 1), torch.tensor([300.0]), context=context)
            for shown in (torch.zeros_like(x), torch.randn_like(x))
        ]
        assert torch.equal(*answers)
        # ... and answers as the first stage does without what the second one lacks: places and attention in the
        # UNet and the block after it, and the fine stages.
        first["input_blocks.0.0.weight"][:, 3 * network.FOLD**2 :] = 0
        for name in ("middle_block.1.proj_out", "middle_block.2.out_layers.3", "fine.out"):
            for kind in ("weight", "bias"):
                first[f"{name}.{kind}"].zero_()
        whole = network.ZoomUNet(
            **network.UNET, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init
        )
        whole.load_state_dict(first)
        expected = whole(x, torch.tensor([300.0]), context=context)
    torch.testing.assert_close(answers[0], expected, rtol=0, atol=1e-4 * float(expected.std()))


def finish_run(work: Path, comfy_path: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "demo_model.finish", "--work", str(work), "--batch", "2", "--pictures", "120"]
    command += ["--minutes", "60", "--export", str(work / "weights.safetensors"), *options]
    environment = os.environ | {"COMFYUI_PATH": str(comfy_path)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_second_stage_is_trained_in_runs_that_go_on(tmp_path, comfy_path, network):
    from demo_model import finish, load

    folder = tmp_path / "finish"
    folder.mkdir()
    pictures = np.stack([draw(3, kind, finish.SIZE) for kind in (4.0, 7.0)]).transpose(0, 3, 1, 2)
    drawn = np.round(pictures * 255).astype(np.uint8).repeat(finish.SHARD // 2, 0)
    tokens = told(range(finish.SHARD), finish.caption)
    np.savez(folder / "large_0000.npz", pictures=drawn, tokens=tokens)
    finish.write_array(folder / "shown_0000.npy", np.stack([drawn] * len(finish.SPOILT), 1))
    log, steps = folder / "losses.csv", []
    for lines in (2, 3):  # the first names the columns
        process = finish_run(tmp_path, comfy_path)
        limit = time.monotonic() + 1800
        while time.monotonic() < limit and process.poll() is None:
            if log.exists() and len(log.read_text().splitlines()) >= lines:
                break
            time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 0
        steps.append(torch.load(folder / "checkpoint.pt", weights_only=True)["step"])
    assert 10 <= steps[0] < steps[1] and steps[1] >= 20
    # What was written is a second stage, and no longer ignores what it is shown.
    net = load.load_finish(tmp_path / "weights.safetensors").model.diffusion_model
    x, context = torch.randn(1, 3, 64, 64), torch.randn(1, 32, 128)
    with torch.no_grad():
        answers = [
            net(torch.cat([x, shown], 1), torch.tensor([300.0]), context=context)
            for shown in (torch.zeros_like(x), torch.ones_like(x))
        ]
    assert not torch.allclose(*answers, atol=1e-4)
    # Without the checkpoint, and with no time to learn in, it ends with the weights that it was told to start from.
    (folder / "checkpoint.pt").unlink()
    shipped = ROOT / "demo_model" / "zoom_demo_finish.safetensors"
    assert finish_run(tmp_path, comfy_path, "--minutes", "0.001", "--init", str(shipped)).wait(600) == 0
    kept, given = (load_file(path) for path in (tmp_path / "weights.safetensors", shipped))
    assert kept.keys() == given.keys() and all(torch.equal(kept[name], given[name]) for name in given)


def test_what_the_second_stage_is_shown_is_spoilt_more_and_more(tmp_path, zoom_stack_pack, monkeypatch):
    from demo_model import finish
    from demo_model.evaluate import read_net

    monkeypatch.setattr(finish, "SHARD", 3)
    finish.draw_shard((str(tmp_path), 0))
    data = finish.LargePictures(tmp_path, read_net(ROOT / "demo_model" / "zoom_demo.safetensors"))
    assert data.refresh() == 3 and data.refresh() == 3  # there is no second shard
    errors = (data.shown.float() - data.drawn.float()[:, None]).square().mean((0, 2, 3, 4))
    assert 0 < errors[0] < errors[1] < errors[2]
    kept = (tmp_path / "shown_0000.npy").read_bytes()
    again = finish.LargePictures(tmp_path, None)  # nothing is painted a second time
    assert again.refresh() == 3 and (tmp_path / "shown_0000.npy").read_bytes() == kept
    parts, beside, tokens = again.batch(8, torch.Generator().manual_seed(0))
    assert parts.shape == beside.shape == (8, 3, 64, 64)
    assert parts.min() >= -1 and parts.max() <= 1
    sentences = told(range(3), finish.caption).reshape(-1, tokens.shape[-1]).tolist()
    assert all(of_part in sentences for of_part in tokens.tolist())
    # They show the same part of the same picture.
    assert all((a - b).square().mean() < (a - a.flip(-1)).square().mean() for a, b in zip(parts, beside))
