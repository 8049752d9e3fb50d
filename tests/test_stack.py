"""Stacks: filling, files, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from scenes import GEOMETRIES, consistent_levels, random_levels

from zoom_core import ZoomLevel, ZoomLevels
from zoom_core.insets import fill_insets
from zoom_core.stack import ZoomStack
from zoom_core.stack_file import FORMAT, is_stack_file
from zoom_core.view import render_view

FIXTURE = Path(__file__).parent / "fixtures" / "stack_v1.safetensors"
LEVELS = ZoomLevels(
    [ZoomLevel("far"), ZoomLevel("nearer, grün 🌿", "blur", 2.0, (0.3, 0.6)), ZoomLevel("near", zoom=2.5)]
)


def example(height: int = 40, width: int = 60) -> ZoomStack:
    levels = LEVELS.with_geometry(LEVELS.resolve(height // 2, width // 2))
    geometry = levels.geometry.scaled(height, width)
    return ZoomStack(random_levels(geometry), geometry, levels)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_filling_touches_insets_only_and_is_final(name):
    geometry = GEOMETRIES[name]
    before = random_levels(geometry)
    layers = fill_insets(before.clone(), geometry)
    assert torch.equal(layers[-1], before[-1])
    for i, inset in enumerate(geometry.insets):
        outside = torch.ones(geometry.height, geometry.width, dtype=torch.bool)
        top, left = int(inset.top + 1e-6), int(inset.left + 1e-6)
        outside[top : int(inset.top + inset.height - 1e-6) + 1, left : int(inset.left + inset.width - 1e-6) + 1] = False
        assert torch.equal(layers[i][:, outside], before[i][:, outside])
    assert torch.equal(fill_insets(layers.clone(), geometry), layers)


def test_stack_does_not_change_what_it_was_given():
    geometry = GEOMETRIES["whole 2"]
    layers = random_levels(geometry)
    copy = layers.clone()
    ZoomStack(layers, geometry, ZoomLevels.uniform(len(geometry)))
    assert torch.equal(layers, copy)


def test_filled_inset_resembles_the_operator_of_the_paper():
    geometry = GEOMETRIES["whole 2"]
    layers = consistent_levels(geometry)
    stack = ZoomStack(layers, geometry, ZoomLevels.uniform(len(geometry)))
    assert (stack.layers - layers).abs().mean() < 0.01


def test_saving_and_loading_keeps_everything(tmp_path):
    stack = example()
    stack.save(tmp_path / "a.safetensors")
    loaded = ZoomStack.load(tmp_path / "a.safetensors")
    assert loaded.levels == stack.levels and loaded.geometry == stack.geometry
    assert torch.equal(loaded.layers, stack.layers.half().float())
    assert (loaded.layers - stack.layers).abs().max() <= 1 / 4096
    loaded.save(tmp_path / "b.safetensors")
    assert torch.equal(ZoomStack.load(tmp_path / "b.safetensors").layers, loaded.layers)
    assert (render_view(loaded, 1.3, 50, 50) - render_view(stack, 1.3, 50, 50)).abs().max() < 1e-3


def test_a_saved_file_is_whole_readable_and_alone(tmp_path):
    path = tmp_path / "stack.safetensors"
    example().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["stack.safetensors"]
    assert is_stack_file(path)
    (tmp_path / "new").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "new").stat().st_mode)
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    header = json.loads(path.read_bytes()[8 : 8 + size])
    described = json.loads(header["__metadata__"]["stack"])
    assert [level["prompt"] for level in described["levels"]["levels"]] == ["far", "nearer, grün 🌿", "near"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "stack.safetensors"
    example().save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        example().save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_files_of_format_version_1_stay_readable():
    stack = ZoomStack.load(FIXTURE)
    assert len(stack) == 4 and (stack.height, stack.width) == (32, 48)
    assert [level.prompt for level in stack.levels] == ["sea and sky", "an island", "a palm", "a coconut"]
    assert stack.levels[2].zoom == 2.5 and stack.levels[1].center == (0.4, 0.55)
    assert stack.levels.geometry is not None and stack.geometry.insets[0].left == pytest.approx(8.0)
    means = stack.layers.mean((1, 2, 3)).tolist()
    assert means == pytest.approx([0.4987, 0.5252, 0.5205, 0.5564], abs=2e-4)


def rewritten(path: Path, layers=None, metadata: dict | None = None) -> Path:
    """A stack file with other layers or other metadata."""
    stack = example()
    stack.save(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        known = file.metadata() | (metadata or {})
        tensor = file.get_tensor("layers") if layers is None else layers
    save_file({"layers": tensor}, path, known)
    return path


def test_refuses_files_that_are_not_right(tmp_path):
    path = tmp_path / "s.safetensors"

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            ZoomStack.load(path)
        assert "s.safetensors" in str(caught.value)

    example().save(path)
    whole = path.read_bytes()
    for length in (0, 5, 200, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused("cannot be read")
    path.write_bytes(b"\x89PNG not a stack at all" * 20)
    refused("cannot be read")
    save_file({"weight": torch.zeros(3)}, path)
    refused("not a zoom stack")
    assert not is_stack_file(path)
    rewritten(path, metadata={"format_version": "3"})
    refused("format version is 3")
    rewritten(path, metadata={"stack": "{"})
    refused("not JSON")
    rewritten(path, metadata={"stack": "[1]"})
    refused("must be an object")
    rewritten(path, layers=torch.zeros(3, 3, 40, 61, dtype=torch.float16))
    refused("the geometry asks for")
    rewritten(path, layers=torch.zeros(3, 3, 40, 60))
    refused("must be F16, got F32")
    rewritten(path, layers=torch.full((3, 3, 40, 60), torch.nan, dtype=torch.float16))
    refused("NaN")
    save_file(
        {"other": torch.zeros(1)},
        path,
        {
            "format": FORMAT,
            "format_version": "1",
            "stack": json.dumps({"geometry": example().geometry.to_json(), "levels": LEVELS.to_json()}),
        },
    )
    refused("no tensor named layers")
    with pytest.raises(FileNotFoundError, match="none.safetensors does not exist"):
        ZoomStack.load(tmp_path / "none.safetensors")


def test_refuses_an_oversized_file_before_reading_it(tmp_path):
    """A header that promises 60 levels of 16384 x 16384: refused by its size, not by memory."""
    levels = ZoomLevels.uniform(60)
    side = 16384
    count = 60 * 3 * side * side * 2
    header = json.dumps(
        {
            "__metadata__": {
                "format": FORMAT,
                "format_version": "1",
                "stack": json.dumps({"geometry": levels.resolve(side, side).to_json(), "levels": levels.to_json()}),
            },
            "layers": {"dtype": "F16", "shape": [60, 3, side, side], "data_offsets": [0, count]},
        }
    ).encode()
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + count)  # Sparse: takes no room on the disk.
    with pytest.raises(ValueError, match="it has 90.0 GiB"):
        ZoomStack.load(path)


def test_refuses_levels_too_large_for_anything(tmp_path):
    levels = ZoomLevels.uniform(2)
    geometry = {"height": 1, "width": 20000, "insets": [[0, 5000, 1, 10000]]}
    path = tmp_path / "s.safetensors"
    save_file(
        {"layers": torch.zeros(2, 3, 1, 20000, dtype=torch.float16)},
        path,
        {
            "format": FORMAT,
            "format_version": "1",
            "stack": json.dumps({"geometry": geometry, "levels": levels.to_json()}),
        },
    )
    with pytest.raises(ValueError, match="16384 pixels a side"):
        ZoomStack.load(path)


def test_refuses_layers_that_do_not_fit():
    geometry = GEOMETRIES["whole 2"]
    layers = random_levels(geometry)
    with pytest.raises(ValueError, match="levels has 4 entries, layers has 5"):
        ZoomStack(layers, geometry, ZoomLevels.uniform(4))
    with pytest.raises(ValueError, match="layers has 4 levels"):
        ZoomStack(layers[:4], geometry, ZoomLevels.uniform(5))
    layers[2, 0, 3, 3] = torch.inf
    with pytest.raises(ValueError, match="finite"):
        ZoomStack(layers, geometry, ZoomLevels.uniform(5))
