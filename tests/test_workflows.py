"""Every bundled workflow, run through a real server with fewer steps and smaller films, and its results looked at."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from demo_model.judge import octaves
from launcher import workflow as workflows
from zoom_core import ZoomLevels, downscale
from zoom_core.insets import fill_insets
from zoom_core.prompts import parse_int_ranges

PACK = Path(__file__).resolve().parent.parent
FOLDER = PACK / "workflows"
FILM, FPS, SECONDS, HOLD = (96, 64), 10.0, 0.3, 0.2
STEPS = 3
# Levels as the contact sheets show them: how many, their side in pixels, the zoom between them.
ANSWERS = ("1. An image of a green continent in a blue sea", "<think>closer</think>a golden beach by a turquoise sea")
LEVELS = {
    "advanced-graph": (6, 256, 4),
    "deeper-levels": (7, 256, 4),
    "edit-levels": (6, 256, 4),
    "endless-pictures": (6, 512, 4),
    "endless-zoom": (7, 256, 4),
    "look-and-go-on": (3, 256, 4),
    "photo-to-zoom": (6, 256, 4),
    "pictures-to-zoom": (6, 512, 4),
    "refine-zoom": (6, 384, 4),
    "text-to-zoom": (12, 256, 4),
    "text-to-zoom-sd15": (7, 64, 2),
}
NAMES = sorted(LEVELS)
# Their last level holds the first one again.
ENDLESS = {"endless-pictures", "endless-zoom"}


def of_type(graph: dict, kind: str) -> list[str]:
    """The ids of all nodes of a type: the workflow's own in the order of their numbers, then those of `saved`."""
    return sorted((key for key, node in graph.items() if node["class_type"] == kind), key=lambda key: (len(key), key))


def titled(graph: dict, title: str) -> str:
    """The id of the one node of that title."""
    (key,) = (key for key, node in graph.items() if node.get("_meta", {}).get("title") == title)
    return key


def readers(graph: dict, source: str) -> list[str]:
    """The ids of the nodes that take the first output of one."""
    return [key for key, node in graph.items() if [source, 0] in node["inputs"].values()]


def saved(graph: dict, key: str, source: str, kind: str = "SaveLatent") -> None:
    """Add a node that saves what the node `source` gives."""
    name = "samples" if kind == "SaveLatent" else "images"
    graph[key] = {"class_type": kind, "inputs": {name: [source, 0], "filename_prefix": f"extra/{key}"}}


def latent(result, key: str) -> torch.Tensor:
    """The latent that a node of `saved` kept, as it was."""
    (path,) = result.files(key)
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("latent_tensor")


def reduced(name: str, comfy) -> dict:
    """The API graph of a workflow with few steps and a short film, and latents saved after every sampler."""
    graph = comfy.to_api(workflows.read(workflows.find(name)))
    if name == "text-to-zoom-sd15":
        # Core has no text encoder below 246 MB; the demo model stands in, at its own size and settings.
        graph[of_type(graph, "CheckpointLoaderSimple")[0]].update(class_type="ZoomDemoModelLoader", inputs={})
        graph[of_type(graph, "EmptyLatentImage")[0]]["inputs"].update(width=64, height=64)
        graph[of_type(graph, "MultiScaleJointKSampler")[0]]["inputs"].update(
            cfg=3.0, sampler_name="euler", scheduler="simple"
        )
    for key, answer in zip(of_type(graph, "TextGenerate"), ANSWERS):
        # No language model has a few megabytes; test_language_models.py runs this graph with a random one.
        graph[key] = {"class_type": "PrimitiveStringMultiline", "inputs": {"value": answer}}
    for key in of_type(graph, "MultiScaleJointKSampler") + of_type(graph, "BasicScheduler"):
        graph[key]["inputs"]["steps"] = STEPS
    for key in of_type(graph, "ZoomVideoFrames"):
        size = dict(zip(("width", "height"), FILM))
        graph[key]["inputs"].update(size, fps=FPS, seconds_per_level=SECONDS, hold_start=HOLD, hold_end=HOLD)
    for number, key in enumerate(of_type(graph, "MultiScaleJointKSampler") + of_type(graph, "SamplerCustomAdvanced")):
        saved(graph, f"latent {number}", key)
    for number, key in enumerate(of_type(graph, "VAEDecode")):
        saved(graph, f"decoded {number}", key, "SaveImage")
    return graph


@pytest.fixture(scope="module")
def run(comfy):
    """run(name) -> (graph, result) of a bundled workflow, reduced; each runs once."""
    for file in (FOLDER / "input").iterdir():
        comfy.put_input(file.name, file.read_bytes())
    done = {}

    def get(name: str):
        if name not in done:
            graph = reduced(name, comfy)
            done[name] = graph, comfy.run(graph, workflows.read(workflows.find(name)))
        return done[name]

    return get


def contact_sheet(name: str, run) -> torch.Tensor:
    """The levels on a workflow's contact sheet, [N, 3, H, W] in 0..1; each has its number and prompt below."""
    graph, result = run(name)
    count, side, _ = LEVELS[name]
    (save,) = readers(graph, titled(graph, "Contact sheet of the levels"))
    (sheet,) = result.images(save)
    gap = max(2, round(0.03 * side))
    columns = (sheet.shape[1] - gap) // (side + gap)
    rows = -(-count // columns)
    assert (sheet.shape[1] - gap) % (side + gap) == (sheet.shape[0] - gap) % rows == 0
    down = (sheet.shape[0] - gap) // rows
    cells, labels = [], []
    for row, column in (divmod(i, columns) for i in range(count)):
        top, left = gap + row * down, gap + column * (side + gap)
        cells.append(sheet[top : top + side, left : left + side])
        labels.append(sheet[top + side : top + down, left : left + side])
    assert all(label.min() < 0.6 < 0.9 < label.max() for label in labels)
    assert len({label.tobytes() for label in labels}) == count
    return torch.from_numpy(np.stack(cells)).movedim(-1, 1)


def psnr(a, b) -> float:
    """Of values in 0..1, in dB."""
    return float(-10 * np.log10(np.mean((np.asarray(a) - np.asarray(b)) ** 2)))


def test_the_bundled_workflows_are_the_expected_ones():
    assert sorted(map(workflows.find, NAMES)) == workflows.bundled()


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_has_a_thumbnail(name):
    """A picture, or a film of its own (`run.py bench thumbnails`), which a browser shows whatever its name says."""
    path = workflows.find(name).with_suffix(".jpg")
    with Image.open(path) as picture:
        assert picture.format in ("JPEG", "WEBP") and min(picture.size) >= 240
        assert path.stat().st_size <= (60_000 if picture.format == "JPEG" else 200_000)
        # Not a plain area.
        assert np.asarray(picture.convert("L")).std() > 10
        if picture.format == "WEBP":
            assert picture.n_frames >= 30 and picture.info["loop"] == 0
            first = np.asarray(picture.convert("RGB"), float)
            picture.seek(picture.n_frames // 2)
            assert np.abs(np.asarray(picture.convert("RGB")) - first).mean() > 10


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_makes_its_film(name, run):
    graph, result = run(name)
    (save,) = of_type(graph, "SaveVideo")
    (path,) = result.files(save)
    count = LEVELS[name][0]
    way = round(count * SECONDS * FPS) if name in ENDLESS else round((count - 1) * SECONDS * FPS) + 1
    frames = way + 2 * round(HOLD * FPS)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (*FILM, FPS)
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
        assert '"nodes"' in film.metadata["workflow"]
    assert len(pictures) == frames
    away = np.abs(pictures[0].astype(float) - pictures[-1]).mean()
    if name in ENDLESS:
        # It rests where the round begins and where it ends, which is the same place but for what encoding takes.
        last_step = np.abs(pictures[-1 - round(HOLD * FPS)].astype(float) - pictures[-1]).mean()
        assert away < 0.15 * last_step and np.abs(pictures[0].astype(float) - pictures[frames // 2]).mean() > 20
    else:
        assert away > 3


@pytest.mark.parametrize("name", NAMES)
def test_the_levels_of_every_workflow_agree(name, run):
    """What level i shows in its middle is level i + 1 seen from further away, on the saved 8-bit contact sheet."""
    count, side, zoom = LEVELS[name]
    sheet = contact_sheet(name, run)
    edge, size = (side - side // zoom) // 2, side // zoom
    geometry = ZoomLevels.uniform(count, zoom, name in ENDLESS).resolve(side, side)

    def disagreement(levels: torch.Tensor) -> float:
        changed = fill_insets(levels.contiguous().clone(), geometry) - levels
        return float(changed[: len(geometry.steps), :, edge : edge + size, edge : edge + size].abs().mean())

    assert disagreement(sheet) < 1 / 255
    # The check would notice: the levels differ much from each other.
    assert disagreement(sheet.flip(0)) > 10 / 255


def test_the_checkpoint_of_one_s_own_has_to_be_chosen(comfy):
    error = comfy.validate_error(comfy.to_api(workflows.read(workflows.find("text-to-zoom-sd15"))))
    assert any("ckpt_name" in message and "choose your SD 1.5 checkpoint" in message for message in error.messages)


def test_the_photograph_is_kept(run):
    graph, result = run("photo-to-zoom")
    photograph = Image.open(FOLDER / "input" / "island.jpg").convert("RGB")
    small, large = (np.asarray(photograph.resize((s, s), Image.LANCZOS), np.float32) / 255 for s in (64, 256))
    sampled = result.images("decoded 0")
    assert psnr(sampled[0], small) > 35
    assert psnr(sampled[1], small) < 25
    # In the finished level 0 the photograph stands around the place where level 1 begins.
    outer = contact_sheet("photo-to-zoom", run)[0].movedim(0, -1).numpy()
    ring = np.ones((256, 256), bool)
    ring[80:176, 80:176] = False
    assert psnr(outer[ring], large[ring]) > 35


@pytest.mark.parametrize(
    "name, node, redone",
    [("edit-levels", "Levels to do again", {0, 1, 2}), ("deeper-levels", "Only the new levels", {4, 5, 6})],
)
def test_held_levels_stay_bit_for_bit(name, node, redone, run):
    graph, result = run(name)
    before, after = latent(result, "latent 0"), latent(result, "latent 1")
    chosen = graph[titled(graph, node)]["inputs"]["regenerate"]
    assert set(parse_int_ranges(chosen, len(after), "regenerate")) == redone
    for i in range(len(after)):
        if i not in redone:
            assert torch.equal(after[i], before[i])
        elif i < len(before):
            assert float((after[i] - before[i]).abs().mean()) > 0.02
        else:
            assert float(after[i].std()) > 0.05


def test_the_second_stage_finishes_what_the_first_painted(run):
    """Large levels that show what the small ones do, with detail that enlarging cannot give."""
    _, result = run("text-to-zoom")
    small, large = (
        torch.from_numpy(np.stack(result.images(name))).movedim(-1, 1) for name in ("decoded 0", "decoded 1")
    )
    assert small.shape == (12, 3, 64, 64) and large.shape == (12, 3, 256, 256)
    seen = downscale(large, 64, 64)
    own, other = ((seen - levels).abs().mean((1, 2, 3)) for levels in (small, small.roll(2, 0)))
    # Not beside the next one: a galaxy and the cluster around it are dark alike.
    assert float(own.max()) < 0.1 and bool((own < 0.6 * other).all())
    plain = torch.nn.functional.interpolate(small, scale_factor=4, mode="bicubic")
    assert octaves(large, 1)[0] > 4 * octaves(plain, 1)[0]


def test_refining_keeps_the_picture(comfy):
    """Larger, changed, and closer to what it was than the same step without the finished levels."""

    def painted(denoise: float | None = None):
        """The workflow's two sets of levels, without its film."""
        graph = {
            key: node
            for key, node in reduced("refine-zoom", comfy).items()
            if not node["class_type"].startswith("Save")
        }
        # Finished pictures: what a few steps leave vague, refining would have to change.
        for key in of_type(graph, "MultiScaleJointKSampler"):
            graph[key]["inputs"]["steps"] = 12
        if denoise:
            graph[titled(graph, "Refine, denoise below 1")]["inputs"]["denoise"] = denoise
        for name, key in zip(("before", "after"), of_type(graph, "VAEDecode")):
            saved(graph, name, key, "SaveImage")
        result = comfy.run(graph)
        return result.images("before"), result.images("after")

    pictures = [*painted(), painted(denoise=1.0)[1]]
    before, after, repainted = (torch.from_numpy(np.stack(images)).movedim(-1, 1) for images in pictures)
    assert before.shape[-1] == 64 and after.shape[-1] == 96
    # What the pictures show, without the model's grain, which is new in either.
    far, near = (
        (downscale(levels, 16, 16) - downscale(before, 16, 16)).abs().mean((1, 2, 3)) for levels in (repainted, after)
    )
    assert float(near.mean()) < 0.7 * float(far.mean())
    assert float(near.min()) > 0.005


def test_the_advanced_graph_is_the_sampler_node(comfy, run):
    """The same prompts, seed and settings in Multi-Scale Joint KSampler give the same bits."""
    graph, result = run("advanced-graph")
    guider, noise, sampler, schedule = (
        graph[of_type(graph, kind)[0]]["inputs"]
        for kind in ("ZoomJointGuider", "ZoomSharedNoise", "ZoomSamplerSelect", "BasicScheduler")
    )
    (latents,) = of_type(graph, "EmptyLatentImage")
    together = {
        key: graph[key] for key in of_type(graph, "ZoomDemoModelLoader") + of_type(graph, "ZoomPromptList") + [latents]
    }
    inputs = {
        **guider,
        **noise,
        **sampler,
        **schedule,
        "latent_image": [latents, 0],
        "denoise": 1.0,
        "shared_noise": True,
    }
    together["sampler"] = {"class_type": "MultiScaleJointKSampler", "inputs": inputs}
    saved(together, "latent", "sampler")
    assert torch.equal(latent(comfy.run(together), "latent"), latent(result, "latent 0"))


def test_the_pictures_are_checked_before_they_become_a_zoom(comfy, run):
    """The bundled pictures fit; a picture out of order is named."""
    graph, result = run("pictures-to-zoom")
    (check,) = of_type(graph, "ZoomStackFit")
    report = result.outputs[check]["text"][0]
    assert [line.split(":")[1].split()[0] for line in report.splitlines()] == ["fits"] * 5
    first, second = of_type(graph, "LoadImage")[1:3]
    swapped = {**graph}
    for key, other in ((first, second), (second, first)):
        swapped[key] = {**graph[key], "inputs": graph[other]["inputs"]}
    report = comfy.run(swapped).outputs[check]["text"][0]
    assert "does not show the same place" in report


def test_the_prompt_zooms_are_what_the_sheets_are_read_with(comfy):
    """LEVELS above says the zoom that the prompt lists say."""
    for name in NAMES:
        graph = comfy.to_api(workflows.read(workflows.find(name)))
        for key in of_type(graph, "ZoomPromptList") + of_type(graph, "ZoomStackFit"):
            assert graph[key]["inputs"]["zoom"] == LEVELS[name][2]
