"""The stack and video nodes in a real ComfyUI: pictures in, mp4 out, and what bad input gets."""

from __future__ import annotations

import io
import json
import wave

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from benchmarks.plane_waves import PlaneWaves
from zoom_core import ZoomLevel, ZoomLevels, ZoomStack
from zoom_core.insets import fill_insets

av = pytest.importorskip("av", reason="needs ComfyUI's packages")

COUNT, SIZE = 4, 128
ENDS = slice(0, 60), slice(-60, None)
CORNERS = [(down, across) for down in (slice(0, 12), slice(-12, None)) for across in (slice(0, 12), slice(-12, None))]


@pytest.fixture(scope="module")
def pictures(comfy) -> list[str]:
    levels = PlaneWaves(2.0 ** (COUNT - 1), SIZE).levels(ZoomLevels.uniform(COUNT).resolve(SIZE, SIZE))
    tint = np.array([0.05, -0.03, 0.0])
    return [
        comfy.put_input(f"zoom-level-{i}.png", level[..., None] + tint * (-1) ** i) for i, level in enumerate(levels)
    ]


@pytest.fixture(scope="module")
def sound(comfy) -> str:
    """Four seconds that rise by 400 Hz a second, from 400 Hz."""
    time = np.arange(44100 * 4) / 44100
    samples = (np.sin(2 * np.pi * (400 * time + 200 * time**2)) * 8000).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(44100)
        out.writeframes(samples.tobytes())
    return comfy.put_input("tone.wav", file.getvalue())


def stack_graph(pictures: list[str], **changes) -> dict:
    """Nodes 10.. load the pictures, 1 batches them, 2 makes the stack."""
    graph = {str(10 + i): {"class_type": "LoadImage", "inputs": {"image": name}} for i, name in enumerate(pictures)}
    batch = {f"images.image{i}": [str(10 + i), 0] for i in range(len(pictures))}
    graph["1"] = {"class_type": "BatchImagesNode", "inputs": batch}
    inputs = {"images": ["1", 0], "blending": "multi-resolution", "feather": 20.0, "zoom": 2.0, **changes}
    graph["2"] = {"class_type": "ZoomStackRender", "inputs": inputs}
    return graph


def video_graph(pictures: list[str], **changes) -> dict:
    """Node 3 makes the video, 4 saves it."""
    inputs = {
        "stack": ["2", 0],
        "width": 160,
        "height": 96,
        "fps": 10.0,
        "seconds_per_level": 0.5,
        "direction": "in",
        "easing": "linear",
        "hold_start": 0.0,
        "hold_end": 0.0,
        "frames": "video only",
        **changes,
    }
    return stack_graph(pictures) | {
        "3": {"class_type": "ZoomVideoFrames", "inputs": inputs},
        "4": save("3"),
    }


def save(source: str) -> dict:
    inputs = {"video": [source, 0], "filename_prefix": "video/zoom", "format": "auto", "codec": "auto"}
    return {"class_type": "SaveVideo", "inputs": inputs}


def view_graph(stack: list, zoom: float = 1.5) -> dict:
    return {
        "8": {"class_type": "ZoomStackView", "inputs": {"stack": stack, "zoom": zoom, "width": 64, "height": 48}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "view"}},
    }


def test_pictures_become_a_video_that_carries_its_workflow(comfy, pictures, sound):
    graph = video_graph(pictures, audio=["20", 0], hold_end=0.3)
    graph["20"] = {"class_type": "LoadAudio", "inputs": {"audio": sound}}
    result = comfy.run(graph)
    (path,) = result.files("4")
    with av.open(str(path)) as container:
        assert json.loads(container.metadata["prompt"]).keys() == graph.keys()
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (160, 96, 19)
        assert container.streams.audio[0].codec_context.name.startswith("aac")
    told = [
        (data["value"], data["max"]) for kind, data in result.events if kind == "progress" and data.get("node") == "4"
    ]
    assert told and told[-1] == (19, 19)
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".")]


def test_trim_video_takes_part_of_it_and_of_its_sound(comfy, pictures, sound):
    graph = video_graph(pictures, audio=["20", 0]) | {
        "5": {
            "class_type": "Video Slice",
            "inputs": {"video": ["3", 0], "start_time": 0.5, "duration": 0.7, "strict_duration": True},
        },
        "4": save("5"),
        "20": {"class_type": "LoadAudio", "inputs": {"audio": sound}},
    }
    path = str(comfy.run(graph).files("4")[0])
    with av.open(path) as container:
        assert container.streams.video[0].frames == 7
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])[: int(44100 * 0.7)]
    # From 600 Hz at 0.5 s to 880 Hz at 1.2 s.
    for part, expected in ((slice(4410, 8820), 660), (slice(22050, 26460), 820)):
        spectrum = np.abs(np.fft.rfft(wave[part] * np.hanning(4410)))
        assert spectrum.argmax() * 10 == pytest.approx(expected, abs=40)


def test_get_video_components_gives_all_frames(comfy, pictures):
    graph = video_graph(pictures, seconds_per_level=0.2)
    graph["5"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["3", 0]}}
    graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "component"}}
    del graph["4"]
    images = comfy.run(graph).images("6")
    assert len(images) == 7 and images[0].shape == (96, 160, 3)


def test_all_frames_are_given_when_asked_for(comfy, pictures):
    graph = video_graph(pictures, seconds_per_level=0.2, frames="all frames", direction="in-out")
    graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 1], "filename_prefix": "frame"}}
    images = comfy.run(graph).images("6")
    assert len(images) == 12
    np.testing.assert_array_equal(images[5], images[7])


def test_connected_frames_are_delivered_without_a_switch(comfy, pictures):
    """Also when the same film was made before with nothing connected to them."""
    graph = video_graph(pictures, seconds_per_level=0.2, hold_end=0.1)
    comfy.run(graph)
    graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 1], "filename_prefix": "connected"}}
    images = comfy.run(graph).images("6")
    assert len(images) == 8 and images[0].shape == (96, 160, 3)


def test_frames_cost_nothing_while_nothing_is_connected(comfy, pictures):
    """14 GB of frames, which would be refused, and a film that is cut before it is saved."""
    graph = video_graph(pictures, width=2048, height=2048, fps=30.0, seconds_per_level=3.1)
    graph["5"] = {
        "class_type": "Video Slice",
        "inputs": {"video": ["3", 0], "start_time": 1.0, "duration": 0.05, "strict_duration": True},
    }
    graph["4"] = save("5")
    assert len(comfy.run(graph).files("4")) == 1


def test_a_view_at_a_whole_zoom_is_the_level_that_the_render_gives(comfy, pictures):
    graph = stack_graph(pictures)
    graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 1], "filename_prefix": "level"}}
    for level in range(COUNT):
        view = {"stack": ["2", 0], "zoom": float(level), "width": SIZE, "height": SIZE}
        graph[f"7{level}"] = {"class_type": "ZoomStackView", "inputs": view}
        graph[f"8{level}"] = {"class_type": "SaveImage", "inputs": {"images": [f"7{level}", 0], "filename_prefix": "v"}}
    result = comfy.run(graph)
    for level, picture in enumerate(result.images("6")):
        view = result.images(f"8{level}")[0]
        assert np.abs(view.astype(int) - picture).max() <= 1, level


def test_a_film_follows_a_drawn_curve_rolls_and_listens(comfy, pictures, sound):
    """Core's Curve Editor into Zoom Camera, by its API form; the film stands still, then goes."""
    graph = video_graph(pictures, seconds_per_level=0.5, camera=["21", 0], size="1:1, 1080 x 1080", bit_depth="10")
    camera = {
        "points": "",
        "points_set": "place",
        "roll": 20.0,
        "roll_points": "0 1, 1 1",
        "listen": "off",
        "strength": 0.8,
        "curve": ["22", 0],
        "audio": ["20", 0],
    }
    drawn = {"points": [[0.0, 0.0], [0.5, 0.0], [1.0, 1.0]], "interpolation": "linear"}
    graph |= {
        "20": {"class_type": "LoadAudio", "inputs": {"audio": sound}},
        "21": {"class_type": "ZoomCamera", "inputs": camera},
        "22": {"class_type": "CurveEditor", "inputs": {"curve": drawn}},
    }
    (path,) = comfy.run(graph).files("4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (1080, 1080, 16)
        assert stream.codec_context.pix_fmt == "yuv420p10le"
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(stream)]
    corners = [picture[down, across] for picture in frames for down in ENDS for across in ENDS]
    assert min(corner.mean() for corner in corners) > 40, "no black corners"
    changes = [np.abs(b - a).mean() for a, b in zip(frames, frames[1:])]
    # Turned by 60 degrees throughout; still in the first half, brought closer in the second.
    assert min(changes[8:]) > 3 * max(changes[:7])


def test_frames_go_into_the_formats_that_core_saves(comfy, pictures):
    """VP9, AV1, animated WebP and PNG show the same frames; an upright preset and a dome come from the same stack."""
    graph = video_graph(pictures)
    film = graph["3"]["inputs"]

    def saving(kind: str, **inputs) -> dict:
        return {"class_type": kind, "inputs": {"images": ["3", 1], "filename_prefix": "other", **inputs}}

    graph |= {
        "vp9": saving("SaveWEBM", codec="vp9", fps=10.0, crf=12.0),
        "av1": saving("SaveWEBM", codec="av1", fps=10.0, crf=12.0),
        "webp": saving("SaveAnimatedWEBP", fps=10.0, lossless=False, quality=90, method="fastest"),
        "png": saving("SaveImage"),
        "dome": {"class_type": "ZoomVideoFrames", "inputs": {**film, "width": 128, "height": 128, "fit": "dome"}},
        "round": save("dome"),
        "tall": {"class_type": "ZoomVideoFrames", "inputs": {**film, "fps": 2.0, "size": "9:16, 1080 x 1920"}},
        "upright": save("tall"),
    }
    result = comfy.run(graph)
    frames = [255 * frame for frame in result.images("png")]
    assert len(frames) == 16

    def decoded(node: str) -> list[np.ndarray]:
        (path,) = result.files(node)
        if path.suffix == ".webp":
            with Image.open(path) as animation:
                return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    for node in ("4", "vp9", "av1", "webp"):
        for made, frame in zip(decoded(node), frames, strict=True):
            assert 10 * np.log10(255**2 / np.mean((made.astype(float) - frame) ** 2)) > 28, node
    middle = decoded("round")[8]
    assert middle[40:88, 40:88].mean() > 40 and max(middle[down, across].mean() for down, across in CORNERS) < 20
    assert decoded("upright")[0].shape == (1920, 1080, 3)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"points": "0 0, 0.2 nan"}, "points must hold finite numbers"),
        ({"points": "0.5 0, 0.2 1"}, "points must go forward in x"),
        ({"roll_points": "0 up"}, "roll_points must hold numbers, got 'up'"),
        ({"curve": {"points": [], "interpolation": "linear"}}, "curve must have from 1 to 100000 points, got 0"),
        ({"curve": {"points": [[0, 0], [1, float("nan")]]}}, "curve must hold finite numbers"),
        ({"roll_curve": {"colour": 3}}, "roll_curve must be a curve"),
        ({"points": "0 0, 1 2", "points_set": "place"}, "place must lie in 0..1"),
        ({"listen": "speed by beats"}, 'listen is "speed by beats" and audio brings no sound'),
        ({"listen": "place by loudness", "audio": {"waveform": torch.zeros(1, 3, 9), "sample_rate": 9}}, "1, 2 or 6"),
    ],
)
def test_zoom_camera_refuses(node, given, message):
    inputs = {"points": "", "points_set": "speed", "roll": 0.0, "roll_points": "", "listen": "off", "strength": 0.8}
    with pytest.raises(ValueError, match=message):
        node["ZoomCamera"].execute(**(inputs | given))


def test_a_list_of_pictures_serves_as_well_as_a_batch(comfy, pictures):
    batch = comfy.run(stack_graph(pictures) | view_graph(["2", 0])).images("9")[0]
    graph = stack_graph(pictures) | view_graph(["2", 0])
    graph["30"] = {"class_type": "RebatchImages", "inputs": {"images": ["1", 0], "batch_size": 1}}
    graph["2"]["inputs"]["images"] = ["30", 0]
    np.testing.assert_array_equal(comfy.run(graph).images("9")[0], batch)


def test_stacks_are_saved_listed_and_loaded(comfy, pictures):
    graph = stack_graph(pictures) | view_graph(["2", 0])
    graph["5"] = {"class_type": "ZoomStackSave", "inputs": {"stack": ["2", 0], "filename_prefix": "stacks/mine"}}
    result = comfy.run(graph)
    first = result.files("9")[0]
    listed = comfy.client.object_info()["ZoomStackLoad"]["input"]["required"]["stack_file"][1]["options"]
    assert "stacks/mine_00001_.safetensors [output]" in listed
    loaded = {"7": {"class_type": "ZoomStackLoad", "inputs": {"stack_file": "stacks/mine_00001_.safetensors [output]"}}}
    (view,) = comfy.run(loaded | view_graph(["7", 0])).images("9")
    assert np.abs(view - np.asarray(result.images("9")[0])).max() <= 1.01 / 255, first


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "a.safetensors [temp]", "a.png", "none.safetensors"]
)
def test_stack_files_elsewhere_are_refused(comfy, name):
    graph = {"7": {"class_type": "ZoomStackLoad", "inputs": {"stack_file": name}}} | view_graph(["7", 0])
    assert any("stack_file" in message for message in comfy.validate_error(graph).messages)


def test_a_damaged_stack_is_named_and_the_server_lives_on(comfy, pictures):
    comfy.put_input("broken.safetensors", b"\x10\0\0\0\0\0\0\0 not json at all")
    graph = {"7": {"class_type": "ZoomStackLoad", "inputs": {"stack_file": "broken.safetensors"}}} | view_graph(
        ["7", 0]
    )
    assert "broken.safetensors cannot be read" in comfy.execution_error(graph).message
    assert comfy.run(stack_graph(pictures) | view_graph(["2", 0], 0.25)).images("9")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"width": 161}, "width must be even for h264 video, got 161: take 162 or 160"),
        ({"seconds_per_level": 600.0, "frames": "all frames", "width": 8192, "height": 8192}, "use the video output"),
    ],
)
def test_videos_that_cannot_be_are_refused(comfy, pictures, changes, message):
    assert message in comfy.execution_error(video_graph(pictures, **changes)).message


def test_pictures_of_different_sizes_are_refused(comfy, pictures):
    graph = stack_graph(pictures) | view_graph(["2", 0])
    odd = comfy.put_input("odd.png", np.zeros((40, 60, 3)))
    graph["30"] = {"class_type": "LoadImage", "inputs": {"image": odd}}
    graph["31"] = {"class_type": "CreateList", "inputs": {"inputs.input0": ["10", 0], "inputs.input1": ["30", 0]}}
    if "CreateList" not in comfy.object_info:
        pytest.skip("this ComfyUI has no node that makes a list of unlike pictures")
    graph["2"]["inputs"]["images"] = ["31", 0]
    assert "images must all have one size" in comfy.execution_error(graph).message


def test_half_precision_intermediates_are_respected(start_comfy, pictures, comfy):
    half = start_comfy("--fp16-intermediates")
    for name in pictures:
        half.put_input(name, (comfy.server.base / "input" / name).read_bytes())
    graph = video_graph(pictures, seconds_per_level=0.2, frames="all frames") | view_graph(["2", 0])
    graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 1], "filename_prefix": "frame"}}
    result = half.run(graph)
    whole = comfy.run(graph)
    assert len(result.images("6")) == 7 and result.files("4")
    assert np.abs(result.images("9")[0] - whole.images("9")[0]).max() < 2 / 255


def test_zoom_outside_the_stack_is_refused(comfy, pictures):
    error = comfy.execution_error(stack_graph(pictures) | view_graph(["2", 0], 3.5))
    assert "zoom must be from 0 to 3 (levels), got 3.5" in error.message


@pytest.fixture(scope="module")
def node(zoom_stack_pack):
    from zoom_stack_pack.nodes import alignment, camera, stack

    return {n.__name__: n for n in (*stack.NODES, *camera.NODES, *alignment.NODES)}


def images(count: int, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(0))


def test_number_of_pictures_must_match_the_levels(node):
    with pytest.raises(ValueError, match="images has 3 pictures, levels has 4 levels"):
        node["ZoomStackRender"].execute([images(3)], ["none"], [0.0], [2.0], [ZoomLevels.uniform(4)])


def test_lists_of_unlike_sizes_are_refused(node):
    with pytest.raises(ValueError, match=r"one size \(width x height\), got 48 x 64, 96 x 64"):
        node["ZoomStackRender"].execute([images(1), images(1, 64, 48)], ["none"], [0.0], [2.0])


def test_pictures_with_nan_are_refused(node):
    bad = images(3)
    bad[2, 5, 5, 0] = torch.nan
    with pytest.raises(ValueError, match="picture 2 holds NaN"):
        node["ZoomStackRender"].execute([bad], ["multi-resolution"], [20.0], [2.0])


def test_geometry_of_the_sampler_is_kept_on_the_pixel_grid(node):
    """Insets snapped to a coarse latent grid are not snapped again."""
    levels = ZoomLevels([ZoomLevel(), ZoomLevel(zoom=2.5, center=(0.45, 0.5))])
    levels = levels.with_geometry(levels.resolve(8, 12))
    stack, pictures = node["ZoomStackRender"].execute([images(2)], ["none"], [0.0], [2.0], [levels]).result
    assert stack.geometry == levels.geometry.scaled(64, 96)
    assert stack.geometry != levels.resolve(64, 96)
    assert pictures.shape == (2, 64, 96, 3)


def test_images_out_agree_with_each_other(node):
    stack, pictures = node["ZoomStackRender"].execute([images(3)], ["multi-resolution"], [20.0], [2.0]).result
    levels = pictures.movedim(-1, 1)
    again = fill_insets(levels.contiguous().clone(), stack.geometry)
    assert (again - levels).abs().max() < 1e-6
    # They began as noise: levels that do not agree would change.
    assert (fill_insets(images(3).movedim(-1, 1).contiguous(), stack.geometry) - images(3).movedim(-1, 1)).std() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_half_precision_and_alpha_are_taken(node, dtype):
    batch = torch.cat([images(2), torch.ones(2, 64, 96, 1)], dim=-1).to(dtype)
    stack, _ = node["ZoomStackRender"].execute([batch], ["none"], [0.0], [2.0]).result
    assert stack.layers.dtype == torch.float32 and stack.layers.shape[1] == 3


def test_check_and_align_reports_and_corrects(node):
    geometry = ZoomLevels.uniform(2).resolve(128, 128)
    grey = torch.from_numpy(PlaneWaves(2, 128).levels(geometry, [(0, 0), (4, 0)])).float()
    batch = grey[..., None].repeat(1, 1, 1, 3)
    fixed, report, picture, levels = node["ZoomStackFit"].execute([batch], [2.0], [True], [True]).result
    assert "level 0 and 1: off" in report and "shift -2.0" in report
    assert fixed.shape == batch.shape and picture.shape[-1] == 3
    assert levels.geometry.insets[0].left == pytest.approx(34, abs=0.1)
    _, report, _, _ = node["ZoomStackFit"].execute([fixed], [2.0], [False], [False], [levels]).result
    assert "level 0 and 1: fits" in report
    stack, _ = node["ZoomStackRender"].execute([fixed], ["multi-resolution"], [20.0], [2.0], [levels]).result
    assert stack.geometry == levels.geometry
    unlike = torch.stack(
        [batch[0], torch.from_numpy(PlaneWaves(2, 128, seed=5).levels(geometry)).float()[1][..., None].repeat(1, 1, 3)]
    )
    _, report, _, _ = node["ZoomStackFit"].execute([unlike], [2.0], [True], [True]).result
    assert "Level 1 does not show the same place" in report


def test_an_empty_list_and_an_endless_name_are_refused_in_words(node, zoom_stack_pack):
    from zoom_stack_pack.nodes.stack_files import ZoomStackSave

    for name, rest in (("ZoomStackRender", (["border"], [20.0], [2.0])), ("ZoomStackFit", ([2.0], [True], [True]))):
        with pytest.raises(ValueError, match="images is an empty list"):
            node[name].execute([], *rest)
    levels = ZoomLevels.uniform(2)
    stack = ZoomStack(torch.rand(2, 3, 16, 16), levels.resolve(16, 16), levels)
    for prefix in ("a" * 300, "\u00e9" * 130):
        with pytest.raises(ValueError, match="filename_prefix is too long for a file's name, it begins"):
            ZoomStackSave.execute(stack, prefix)


def test_every_input_of_every_node_has_a_tooltip(node):
    from zoom_stack_pack.nodes import video

    for cls in (*node.values(), *video.NODES):
        schema = cls.define_schema()
        assert schema.display_name and schema.description and schema.search_aliases and schema.category == "Zoom Stack"
        for entry in (*schema.inputs, *schema.outputs):
            assert entry.tooltip, (schema.node_id, entry.id)
