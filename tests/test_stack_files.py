"""Stack files: never overwritten, never half there, and refused in a few words when they are not sound."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from zoom_core import ZoomLevels, ZoomStack, files
from zoom_core.stack_file import is_stack_file


def example(count: int = 2, side: int = 16) -> ZoomStack:
    levels = ZoomLevels.uniform(count)
    return ZoomStack(torch.rand(count, 3, side, side), levels.resolve(side, side), levels)


def publish(folder: Path, content: str) -> Path:
    with files.part_in(folder) as part:
        part.write_text(content)
        return files.publish_new(part, "zoom_{:05}_.txt".format)


@pytest.mark.parametrize("links", [True, False])
def test_whoever_publishes_at_once_gets_a_name_of_his_own(tmp_path, monkeypatch, links):
    if not links:

        def without(*_):
            raise OSError(95, "no hard links here")

        monkeypatch.setattr(os, "link", without)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda i: publish(tmp_path, f"content {i}"), range(60)))
    assert len(set(paths)) == 60
    assert [path.read_text() for path in paths] == [f"content {i}" for i in range(60)]
    assert {path.name for path in tmp_path.iterdir()} == {f"zoom_{i:05}_.txt" for i in range(1, 61)}


def test_a_part_never_stays(tmp_path):
    with pytest.raises(RuntimeError), files.part_in(tmp_path) as part:
        part.write_text("half")
        raise RuntimeError("killed")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    code = (
        "import os, sys\nsys.path.insert(0, sys.argv[1])\nimport files\n"
        "with files.part_in(sys.argv[2]) as part:\n    part.write_text('half')\n    os.kill(os.getpid(), 9)"
    )
    folder = tmp_path / "deep"
    folder.mkdir()
    # The module alone: the whole package takes seconds to import.
    subprocess.run([sys.executable, "-c", code, str(Path(files.__file__).parent), str(folder)], check=False)
    (left,) = folder.iterdir()
    (tmp_path / ".zoom-stack-notes.txt").write_text("a person's own")
    with files.part_in(tmp_path) as mine:
        assert files.remove_stale_parts(tmp_path) == 1
        assert mine.exists() and not left.exists() and (tmp_path / ".zoom-stack-notes.txt").exists()


def damaged(path: Path, description: str, **changes: object) -> Path:
    """A stack file that describes itself as said."""
    tensor = changes.pop("layers", torch.rand(2, 3, 16, 16, dtype=torch.float16))
    save_file(
        {"layers": tensor}, path, {"format": "zoom_stack", "format_version": "1", "stack": description, **changes}
    )
    return path


def described(insets=((4, 4, 8, 8),), height: object = 16, width: object = 16, levels: object = None) -> str:
    levels = [{"prompt": "a"}, {"prompt": "b"}] if levels is None else levels
    geometry = {"height": height, "width": width, "insets": [list(inset) for inset in insets]}
    return json.dumps({"geometry": geometry, "levels": {"levels": levels}})


def test_the_description_that_the_damaged_ones_start_from_is_sound(tmp_path):
    assert len(ZoomStack.load(damaged(tmp_path / "sound.safetensors", described()))) == 2


@pytest.mark.parametrize(
    "description, message",
    [
        ("[" * 2000 + "]" * 2000, "must be an object|nested"),
        ('{"geometry": ' + "[" * 100_000, "nested too deeply|not JSON"),
        (
            described().replace("8.0", "1" + "0" * 400).replace("[4, 4, 8, 8]", "[4, 4, 8, 1" + "0" * 400 + "]"),
            "numbers",
        ),
        (described(height=10**400), "numbers|expected|asks for"),
        (described().replace('"height": 16', '"height": Infinity'), "numbers"),
        (described().replace('"height": 16', '"height": NaN'), "numbers|cannot convert"),
        (described(insets=[(4, 4, 1e-300, 1e-300)]), "inset 0 must be at least 1/64"),
        (described(insets=[(4, 4, 8, 8)] * 1_000_000), "at most 64 insets, got 1000000"),
        (described(levels=[{}] * 100_000), "1 to 64 levels, got 100000"),
        (described(levels=[{"prompt": "a"}, {"prompt": "b", "zoom": 10**400}]), "level 1: zoom must be a number"),
        (described(levels=[{"prompt": "a" * 10**6, "x": 1}, {}]), "level 0 must be an object of prompt"),
        (described(levels=[1, 2]), "level 0 must be an object"),
        ("null", "must be an object"),
        ('{"geometry": {"height": 16, "width": 16, "insets": 7}}', "must hold height, width and insets"),
    ],
    # Whole descriptions would be names of 14 million characters.
    ids=lambda value: str(value)[:40],
)
def test_descriptions_that_are_not_sound_are_refused_by_name(tmp_path, description, message):
    path = damaged(tmp_path / "mine.safetensors", description)
    with pytest.raises(ValueError, match="stack file mine.safetensors cannot be read: .*(" + message + ")") as error:
        ZoomStack.load(path)
    assert len(str(error.value)) < 600


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    levels = ZoomLevels.uniform(1)
    wide = ZoomStack(torch.zeros(1, 3, 1, 16385), levels.resolve(1, 16385), levels)
    with pytest.raises(ValueError, match="at most 64 levels, 16384 pixels a side"):
        wide.save(tmp_path / "wide.safetensors")
    assert not list(tmp_path.iterdir())


def test_headers_have_bounds(tmp_path):
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b'{"zoom_stack"')
    assert not is_stack_file(path)
    nested = b'{"__metadata__": {"format": "zoom_stack"}, "a": ' + b"[" * 200_000
    path.write_bytes(struct.pack("<Q", len(nested)) + nested)
    assert not is_stack_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_stack_and_does_not_block(tmp_path):
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    done = []
    looker = threading.Thread(target=lambda: done.append(is_stack_file(pipe)), daemon=True)
    looker.start()
    looker.join(60)
    assert done == [False]
    with pytest.raises(FileNotFoundError, match=r"pipe\.safetensors does not exist"):
        ZoomStack.load(pipe)


# From here on in a real server.


@pytest.fixture(scope="module")
def saved(comfy) -> dict:
    """A graph without its prefix: two small pictures, fused."""
    for i in range(2):
        comfy.put_input(f"part-{i}.png", np.random.default_rng(i).random((32, 32, 3)))
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "part-0.png"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "part-1.png"}},
        "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
        "4": {
            "class_type": "ZoomStackRender",
            "inputs": {"images": ["3", 0], "blending": "none", "feather": 0.0, "zoom": 2.0},
        },
    }


@pytest.mark.parametrize("prefix", ["slashed/", "deep/er/", "x" * 230])
def test_the_same_prefix_twice_gives_two_files(comfy, saved, prefix):
    names = []
    for feather in (0.0, 5.0):
        saved["4"]["inputs"]["feather"] = feather
        graph = saved | {"5": {"class_type": "ZoomStackSave", "inputs": {"stack": ["4", 0], "filename_prefix": prefix}}}
        names += [path for path in comfy.run(graph).files("5")]
    assert len(set(names)) == 2 and all(path.is_file() for path in names)


def options(comfy) -> list[str]:
    return comfy.client.object_info()["ZoomStackLoad"]["input"]["required"]["stack_file"][1]["options"]


def load(name: object) -> dict:
    return {
        "7": {"class_type": "ZoomStackLoad", "inputs": {"stack_file": name}},
        "8": {"class_type": "ZoomStackView", "inputs": {"stack": ["7", 0], "zoom": 0.0, "width": 32, "height": 32}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "loaded"}},
    }


@pytest.mark.skipif(os.name == "nt", reason="needs links and pipes")
def test_links_and_pipes_in_the_input_folder(comfy, tmp_path):
    folder = comfy.server.base / "input"
    example().save(tmp_path / "outside.safetensors")
    example().save(folder / "inside.safetensors")
    os.symlink(tmp_path / "outside.safetensors", folder / "leads-out.safetensors")
    os.symlink(folder / "inside.safetensors", folder / "leads-in.safetensors")
    os.mkfifo(folder / "pipe.safetensors")
    listed = options(comfy)
    assert {"inside.safetensors", "leads-in.safetensors"} <= set(listed)
    assert not {"leads-out.safetensors", "pipe.safetensors"} & set(listed)
    assert comfy.run(load("leads-in.safetensors")).images("9")
    for name in ("leads-out.safetensors", "pipe.safetensors", 7, ["a"]):
        assert any("stack_file" in message for message in comfy.validate_error(load(name)).messages), name


@pytest.mark.parametrize("channels", [1, 4])
def test_stacks_of_one_and_four_channels_are_shown_in_colour(comfy, channels):
    layers = torch.rand(2, channels, 16, 16).half()
    damaged(comfy.server.base / "input" / f"channels-{channels}.safetensors", described(), layers=layers)
    (picture,) = comfy.run(load(f"channels-{channels}.safetensors")).images("9")
    assert picture.shape == (32, 32, 3)
    assert (np.ptp(picture, axis=-1).max() == 0) == (channels == 1)
