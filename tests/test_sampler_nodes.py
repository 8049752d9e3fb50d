"""The prompt list and the joint sampler in a real ComfyUI: what they give, what bad input gets, stress."""

from __future__ import annotations

import os
import sys
import threading
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from launcher.client import ExecutionFailed
from zoom_core import downscale

pytestmark = pytest.mark.server

PROMPTS = "a spiral galaxy\na star with planets\na blue planet"
# The inputs that the core's KSampler has, too.
STOCK = ("model", "latent_image", "seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
EMPTY = dict(width=64, height=64, batch_size=1)


def graph(prompts: str = PROMPTS, latent: dict | None = None, prefix: str = "levels", **changed) -> dict:
    """Prompts to saved pictures of the levels; `changed` goes to the node that has such an input."""
    text = dict(clip=["1", 1], prompts=prompts, negative="", zoom=2.0, prefix="", suffix="")
    sampler = dict(
        model=["1", 0], positive=["2", 0], negative=["2", 1], levels=["2", 2], latent_image=["3", 0], seed=1, steps=2,
        cfg=2.0, sampler_name="euler", scheduler="simple", denoise=1.0, blending="multi-resolution", shared_noise=True,
        update="joint", consistency="latent", consistency_every=1, start_percent=0.0, end_percent=1.0,
    )  # fmt: skip
    text.update({name: changed.pop(name) for name in list(changed) if name in text and name != "negative"})
    text["negative"] = changed.pop("negative_text", "")
    return {
        "1": {"class_type": "ZoomDemoModelLoader", "inputs": {}},
        "2": {"class_type": "ZoomPromptList", "inputs": text},
        "3": {"class_type": "EmptyLatentImage", "inputs": latent or EMPTY},
        "4": {"class_type": "MultiScaleJointKSampler", "inputs": {**sampler, **changed}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": prefix}},
    }


def test_prompts_become_levels_that_agree(comfy):
    result = comfy.run(graph(steps=4, seed=3))
    levels = np.stack(result.images("6"))
    assert levels.shape == (3, 64, 64, 3)
    # Centred zoom of 2: the middle of a level is the next one at half size, up to rounding to 8 bits
    # and what clipping to 0..1 takes, near every pixel that the smaller one sees.
    levels = torch.from_numpy(levels).movedim(-1, 1)
    clipped = ((levels < 0.02) | (levels > 0.98)).any(1, keepdim=True).float()
    unclipped = torch.nn.functional.max_pool2d(clipped, 10, 2, 4)[1:, 0] == 0
    half, inset = downscale(levels[1:], 32, 32).movedim(1, -1), levels[:2, :, 16:48, 16:48].movedim(1, -1)
    assert unclipped.any((1, 2)).all()
    torch.testing.assert_close(half[unclipped], inset[unclipped], atol=2.1 / 255, rtol=0)


@pytest.fixture(scope="module")
def fresh_comfy(_launch):
    """A server that forgets everything between jobs, and sends previews."""
    harness = _launch("--cache-none", "--preview-method", "latent2rgb")
    yield harness
    harness.server.stop()


def test_progress_and_previews_show_all_levels(fresh_comfy):
    result = fresh_comfy.run(graph(steps=3))
    steps = [data["value"] for kind, data in result.events if kind == "progress" and data["node"] == "4"]
    assert steps == [1, 2, 3]
    pictures = [Image.open(BytesIO(raw[raw.index(b"\xff\xd8") :])) for raw in result.previews if b"\xff\xd8" in raw]
    # Three levels beside each other, as large as the server makes previews.
    assert len(pictures) == 3 and all(abs(p.width / p.height - 3) < 0.02 for p in pictures)


def test_the_advanced_sampler_shows_all_levels_too(fresh_comfy):
    simple = graph(steps=3)
    given = simple["4"]["inputs"]
    advanced = {
        **{number: simple[number] for number in "12"},
        "3": {"class_type": "EmptyLatentImage", "inputs": {**EMPTY, "batch_size": 3}},
        "4": {
            "class_type": "ZoomJointGuider",
            "inputs": {
                name: given[name]
                for name in (
                    "model", "positive", "negative", "levels", "cfg", "blending", "update", "consistency",
                    "consistency_every", "start_percent", "end_percent",
                )
            },
        },
        "5": {"class_type": "ZoomSharedNoise", "inputs": {"seed": 1, "levels": ["2", 2]}},
        "6": {"class_type": "ZoomSamplerSelect", "inputs": {"sampler_name": "euler", "levels": ["2", 2]}},
        "7": {
            "class_type": "BasicScheduler",
            "inputs": {"model": ["1", 0], "scheduler": "simple", "steps": 3, "denoise": 1.0},
        },
        "8": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["5", 0], "guider": ["4", 0], "sampler": ["6", 0], "sigmas": ["7", 0],
                "latent_image": ["3", 0],
            },
        },
    }  # fmt: skip
    for output, number in ((0, 9), (1, 11)):
        advanced[str(number)] = {"class_type": "VAEDecode", "inputs": {"samples": ["8", output], "vae": ["1", 2]}}
        advanced[str(number + 1)] = {
            "class_type": "SaveImage",
            "inputs": {"images": [str(number), 0], "filename_prefix": f"advanced-{output}"},
        }
    result = fresh_comfy.run(advanced)
    pictures = [Image.open(BytesIO(raw[raw.index(b"\xff\xd8") :])) for raw in result.previews if b"\xff\xd8" in raw]
    assert [round(picture.width / picture.height) for picture in pictures[:3]] == [3, 3, 3]
    (told,) = [data for kind, data in result.events if kind == "zoom_stack.sampling"]
    assert (told["node"], told["columns"], len(told["levels"])) == ("8", 3, 3)
    # What has been shown has not become what is given out: of the last step, both are the same levels.
    final, denoised = (np.stack(result.images(number)) for number in ("10", "12"))
    assert denoised.shape == (3, 64, 64, 3)
    np.testing.assert_allclose(final, denoised, atol=2.1 / 255)


def test_the_stock_sampler_gives_the_same_for_one_level(comfy):
    ours = graph("a forest", seed=5, prefix="ours")
    stock = {
        "11": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a forest"}},
        "12": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}},
        "13": {
            "class_type": "KSampler",
            "inputs": {
                **{name: ours["4"]["inputs"][name] for name in STOCK},
                "positive": ["11", 0],
                "negative": ["12", 0],
            },
        },
        "14": {"class_type": "VAEDecode", "inputs": {"samples": ["13", 0], "vae": ["1", 2]}},
        "15": {"class_type": "SaveImage", "inputs": {"images": ["14", 0], "filename_prefix": "stock"}},
    }
    result = comfy.run(ours | stock)
    assert np.array_equal(result.images("6")[0], result.images("15")[0])


def test_stock_nodes_between_ours_are_mapped_over_the_levels(comfy):
    """A timestep range and a mask on the list of conditionings: ComfyUI runs the node once a level."""
    between = graph(positive=["8", 0])
    between["7"] = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 64}}
    between["8"] = {
        "class_type": "ConditioningSetMask",
        "inputs": {"conditioning": ["2", 0], "mask": ["7", 0], "strength": 1.0, "set_cond_area": "default"},
    }
    plain = comfy.run(graph()).images("6")
    masked = comfy.run(between).images("6")
    for a, b in zip(plain, masked, strict=True):
        np.testing.assert_allclose(a, b, atol=1.1 / 255)


def test_json_prompts_set_zoom_and_place(comfy):
    prompts = '["a galaxy", {"prompt": "a star", "zoom": 4, "center": [0.25, 0.75]}]'
    levels = np.stack(comfy.run(graph(prompts, steps=4, seed=2)).images("6"))
    inset = levels[0, 40:56, 8:24]
    quarter = levels[1].reshape(16, 4, 16, 4, 3).mean((1, 3))
    # A plain mean instead of the Gaussian one, so only roughly, and much better than anywhere else.
    errors = {
        (y, x): np.abs(levels[0, y : y + 16, x : x + 16] - quarter).mean()
        for y in range(0, 49, 8)
        for x in range(0, 49, 8)
    }
    assert min(errors, key=errors.get) == (40, 8)
    assert np.abs(inset - quarter).mean() < 0.05


BAD_PROMPTS = {
    "empty": ("", {}, "prompts is empty: write at least one prompt"),
    "65 prompts": ("a\n" * 65, {}, "prompts has 65 entries, at most 64 levels are possible"),
    "broken JSON": ('["a"\n "b"]', {}, "does not parse at line 2, column 2"),
    "unknown field": ('[{"prompt": "a", "size": 2}]', {}, "entry 0 has the unknown field 'size'"),
    "zoom 0.5": ('["a", {"prompt": "b", "zoom": 0.5}]', {}, "level 1: zoom must be from 1.25 to 16, got 0.5"),
    "zoom 100": ('["a", {"prompt": "b", "zoom": 100}]', {}, "level 1: zoom must be from 1.25 to 16, got 100"),
    "zoom NaN": ('["a", {"prompt": "b", "zoom": NaN}]', {}, "level 1: zoom must be from 1.25 to 16, got nan"),
    "zoom input NaN": ("a\nb", {"zoom": float("nan")}, "zoom must be from 1.25 to 16, got nan"),
    "centre outside": (
        '["a", {"prompt": "b", "center": [0.5, 1.5]}]',
        {},
        "level 1: center y must be in 0..1, got 1.5",
    ),
    "inset outside": (
        '["a", {"prompt": "b", "center": [0.9, 0.5]}]',
        {},
        "center x = 0.9 puts part of the inset outside",
    ),
    "negatives": (PROMPTS, {"negative_text": "x\ny"}, "negative has 2 lines, prompts has 3 entries: give 1 or 3"),
    "latent batch": (
        PROMPTS,
        {"latent": {**EMPTY, "batch_size": 2}},
        "latent_image has a batch of 2, levels has 3 levels",
    ),
}


@pytest.mark.parametrize("case", BAD_PROMPTS)
def test_bad_input_is_named_and_the_next_job_runs(comfy, case):
    prompts, changed, message = BAD_PROMPTS[case]
    error = comfy.execution_error(graph(prompts, **changed))
    assert error.exception_type == "ValueError"
    assert message in error.message
    assert error.node_type in ("ZoomPromptList", "MultiScaleJointKSampler")
    assert len(comfy.run(graph(prefix="after")).images("6")) == 3


@pytest.mark.parametrize("zoom", [0.5, 100])
def test_a_zoom_outside_the_range_is_refused_before_running(comfy, zoom):
    refused = comfy.validate_error(graph(zoom=zoom))
    assert any("zoom" in message for message in refused.messages)


@pytest.mark.parametrize(
    "name, value", [("steps", 0), ("cfg", -1), ("denoise", 1.5), ("sampler_name", "best"), ("blending", "mean")]
)
def test_settings_outside_their_range_are_refused_before_running(comfy, name, value):
    refused = comfy.validate_error(graph(**{name: value}))
    assert any(name in message for message in refused.messages)


def test_a_list_of_the_wrong_length_is_named(comfy):
    both = graph()
    both["9"] = {"class_type": "ZoomPromptList", "inputs": {**both["2"]["inputs"], "prompts": "only\ntwo"}}
    both["4"]["inputs"]["positive"] = ["9", 0]
    error = comfy.execution_error(both)
    assert "positive has 2 entries, levels has 3: give 1 or 3" in error.message
    assert comfy.run(graph(prefix="after")).images("6")


def test_an_interrupt_in_the_middle_of_a_step_stops_it_and_the_next_job_runs(comfy):
    long = graph("\n".join(PROMPTS.splitlines() * 2), steps=2000, seed=11)
    running = threading.Event()
    outcome = []

    def on_event(kind, data):
        if kind == "progress" and data["value"] >= 2:
            running.set()

    def job():
        try:
            outcome.append(comfy.client.run(long, on_event=on_event))
        except ExecutionFailed as error:
            outcome.append(error)

    thread = threading.Thread(target=job)
    thread.start()
    while thread.is_alive() and not running.wait(0.1):
        pass
    comfy.client.request("POST", "/interrupt", json={})
    thread.join(120)
    assert isinstance(outcome[0], ExecutionFailed) and outcome[0].interrupted
    assert outcome[0].node_type == "MultiScaleJointKSampler"
    assert len(comfy.run(graph(seed=12)).images("6")) == 3


def resident(pid: int) -> int:
    """Bytes of a process that lie in memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the server's memory from /proc")
def test_fifty_jobs_do_not_grow_the_server(fresh_comfy):
    comfy, sizes = fresh_comfy, []
    for seed in range(50):
        comfy.run(graph(latent=dict(width=32, height=32, batch_size=1), steps=2, seed=seed, prefix="many"))
        sizes.append(resident(comfy.server.pid))
    # A job's weights may still lie there when it ends: so the largest of ten jobs against the largest of ten.
    assert max(sizes[-10:]) <= 1.02 * max(sizes[:10]), [size >> 20 for size in sizes]
