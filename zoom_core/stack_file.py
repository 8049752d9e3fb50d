"""Zoom stacks as files: safetensors, levels and geometry as JSON in its metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import files
from .geometry import Geometry
from .levels import MAX_LEVELS, ZoomLevels

if TYPE_CHECKING:
    from .stack import ZoomStack

FORMAT = "zoom_stack"
# Version 2 holds endless zooms; others are still written as version 1, which older readers know.
FORMAT_VERSIONS = ("1", "2")
SUFFIX = ".safetensors"
MAX_SIDE = 16384
# 64 levels of 4096 x 4096: 12 GiB in memory.
MAX_PIXELS = 2**30
_MAX_FILE = MAX_PIXELS * 3 * 2 + 2**24
_MAX_HEADER = 2**24


def write(stack: ZoomStack, path: Path) -> None:
    """Writes a stack into the file `path`, which exists already (its permissions are kept).

    Layers are stored as float16 (in 0..1 within 1/4096, a sixteenth of an 8-bit step); levels,
    prompts and geometry as JSON in the metadata. Saving a loaded stack again gives the same
    layers bit for bit. Raises OSError where it cannot be written, ValueError for a stack that
    could not be loaded again.
    """
    _check_size(list(stack.layers.shape), "saved")
    description = {"geometry": stack.geometry.to_json(), "levels": stack.levels.to_json()}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSIONS[stack.geometry.closed],
        "stack": json.dumps(description, ensure_ascii=False),
    }
    layers = stack.layers.to(device="cpu", dtype=torch.float16).contiguous()
    # safetensors makes its files private; this one gets what any new file has.
    mode = path.stat().st_mode
    save_file({"layers": layers}, path, metadata)
    os.chmod(path, mode)


def read(path: str | os.PathLike, device: torch.device | str = "cpu") -> tuple[torch.Tensor, Geometry, ZoomLevels]:
    """(layers [N, C, H, W] float32, geometry, levels) of a stack file, read level by level.

    Raises FileNotFoundError, or ValueError that names the file and says whether it is truncated,
    foreign, of another version, too large or inconsistent.
    """
    path = Path(path)
    if not files.is_regular(path):
        raise FileNotFoundError(f"stack file {path.name} does not exist.")
    if path.stat().st_size > _MAX_FILE:
        # Before it is opened, which maps the whole file into memory.
        raise ValueError(
            f"stack file {path.name} cannot be read: it has {path.stat().st_size / 2**30:.1f} GiB, "
            f"at most {_MAX_FILE / 2**30:.1f} GiB can be loaded."
        )
    try:
        with safe_open(path, framework="pt") as file:
            geometry, levels = _read_metadata(file.metadata() or {})
            shape = _check_tensor(file, geometry)
            view = file.get_slice("layers")
            layers = torch.empty(shape, dtype=torch.float32, device=device)
            for i in range(shape[0]):
                layers[i] = view[i]
                if not bool(torch.isfinite(layers[i].sum())):
                    raise ValueError("its layers hold NaN or infinity.")
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"stack file {path.name} cannot be read: {error}") from error
    return layers, geometry, levels


def is_stack_file(path: str | os.PathLike) -> bool:
    """Whether a file says that it is a zoom stack of any version; reads its header only."""
    if not files.is_regular(path):
        return False
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= _MAX_HEADER else b""
        # Most files in these folders are something else, and large headers take long to parse.
        if f'"{FORMAT}"'.encode() not in header:
            return False
        return (json.loads(header).get("__metadata__") or {}).get("format") == FORMAT
    except (OSError, ValueError, RecursionError, AttributeError):
        return False


def _read_metadata(metadata: dict[str, str]) -> tuple[Geometry, ZoomLevels]:
    if metadata.get("format") != FORMAT:
        raise ValueError("it is a safetensors file, but not a zoom stack.")
    version = metadata.get("format_version")
    if version not in FORMAT_VERSIONS:
        shown, known = str(version)[:20], " and ".join(FORMAT_VERSIONS)
        raise ValueError(f"its format version is {shown}, this version of Zoom Stack reads {known}.")
    try:
        stack = json.loads(metadata.get("stack", ""))
    except RecursionError as error:
        raise ValueError("its description is nested too deeply.") from error
    except ValueError as error:
        raise ValueError(f"its description is not JSON: {error}") from error
    if not isinstance(stack, dict):
        raise ValueError("its description must be an object of geometry and levels.")
    geometry = Geometry.from_json(stack.get("geometry"))
    levels = ZoomLevels.from_json(stack.get("levels"))
    if len(levels) != len(geometry):
        raise ValueError(f"it describes {len(levels)} levels and the geometry of {len(geometry)}.")
    if levels.loop != geometry.closed:
        raise ValueError("its levels and its geometry do not agree on whether the zoom is endless.")
    return geometry, levels


def _check_tensor(file, geometry: Geometry) -> list[int]:
    """Looks at shape and type before any pixel is read; the shape."""
    if "layers" not in file.keys():
        raise ValueError("it holds no tensor named layers.")
    view = file.get_slice("layers")
    shape, dtype = view.get_shape(), view.get_dtype()
    expected = [len(geometry), "C", geometry.height, geometry.width]
    if len(shape) != 4 or [shape[0], *shape[2:]] != [len(geometry), geometry.height, geometry.width]:
        raise ValueError(f"layers is {shape}, the geometry asks for {expected}.")
    if dtype != "F16":
        raise ValueError(f"layers must be F16, got {dtype}.")
    if shape[1] not in (1, 3, 4):
        raise ValueError(f"layers must have 1, 3 or 4 channels, got {shape[1]}.")
    _check_size(shape, "loaded")
    return shape


def _check_size(shape: list[int], what: str) -> None:
    if shape[0] > MAX_LEVELS or max(shape[2:]) > MAX_SIDE or shape[0] * shape[2] * shape[3] > MAX_PIXELS:
        raise ValueError(
            f"layers is {shape}: at most {MAX_LEVELS} levels, {MAX_SIDE} pixels a side and {MAX_PIXELS} pixels in all "
            f"can be {what}."
        )
