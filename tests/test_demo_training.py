"""Training the demo model: the fine stages start without changing a picture, runs go on where they stopped."""

from __future__ import annotations

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
from torch.nn import functional as F

from demo_model.data import draw_view, training_view
from demo_model.text import padded

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
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        context = net.text(TOKENS, TOKENS != 0)[0]
        t = LEVELS[:, None, None, None]
        spread = network.spread_of(t)
        folded = F.pixel_unshuffle(x / spread, 4)
        folded = torch.cat([folded, network.places(folded)], 1)
        answer = F.pixel_shuffle(UNetModel.forward(net.unet, folded, LEVELS * 1000, context, context[:, 0])[:, :48], 4)
        expected = (t - (1 - t) / 4) / spread**2 * x - 0.5 / spread * answer
        from demo_model.train import Net

        fresh = Net()
        fresh.load_state_dict(network.widened(old, fresh.state_dict()))
        assert torch.allclose(fresh(x, LEVELS, TOKENS), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (50, 71), (4, 8)])
def test_the_fine_stages_take_any_size_and_do_not_know_where_a_cell_begins(net, size):
    with torch.no_grad():
        net.unet.fine.out.weight.normal_(std=0.1)
        x = torch.randn(1, 3, *size)
        assert net(x, LEVELS[:1], TOKENS[:1]).shape == x.shape
        # With nothing from the UNet, what they add moves with the picture, by whatever even number of pixels.
        fine = net.unet.fine
        noisy, sent, t, token = (
            torch.randn(1, 3, 64, 64),
            torch.zeros(1, 64, 16, 16),
            LEVELS[:1] * 1e3,
            torch.ones(1, 128),
        )
        for block in (*fine.at_half, fine.at_full):
            # Normalisation looks at the whole frame, whose content changes with a shift.
            block.norm1 = block.norm2 = torch.nn.Identity()
        fine.norm = torch.nn.Identity()
        still = fine(noisy, 0 * noisy, sent, t, token)
        moved = fine(noisy.roll(2, -1), 0 * noisy, sent, t, token)
    assert still.std() > 1e-3
    assert torch.allclose(still[..., 24:40, 24:40], moved[..., 24:40, 26:42], atol=1e-3 * float(still.std()))


def test_the_rate_rises_stays_and_falls():
    from demo_model.train import share_of_rate

    assert share_of_rate(0, 0.0) == pytest.approx(1 / 400)
    assert {share_of_rate(step, done) for step in (399, 9999) for done in (0.0, 0.3, 0.55)} == {1.0}
    late = [share_of_rate(9999, done) for done in np.linspace(0.55, 1, 10)]
    assert all(a > b for a, b in zip(late, late[1:])) and late[-1] == pytest.approx(0.02)


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
    np.savez(tmp_path / "pictures" / "shard_0000.npz", pictures=drawn, first=0)
    process = run(tmp_path, comfy_path, "--minutes", "60")
    log = tmp_path / "losses.csv"
    limit = time.monotonic() + 1800
    while time.monotonic() < limit and process.poll() is None and not (log.exists() and log.stat().st_size > 60):
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 0
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["step"] >= 50
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
