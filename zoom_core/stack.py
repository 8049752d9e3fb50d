"""A zoom stack: N consistent levels at full resolution, in memory and on disk."""

from __future__ import annotations

import json
import math
import os
import secrets
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .geometry import Geometry, Inset
from .levels import MAX_LEVELS, ZoomLevels
from .operators import check_levels
from .resample import Workspace, axis_tiles, draw

FORMAT = "zoom_stack"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"
MAX_SIDE = 16384
# 64 levels of 4096 x 4096: 12 GiB in memory.
MAX_PIXELS = 2**30
_MAX_FILE = MAX_PIXELS * 3 * 2 + 2**24
_TILE = 64


def _fill(parent: torch.Tensor, child: torch.Tensor, inset: Inset) -> None:
    """Overwrites the parent's pixels that lie wholly inside the inset with what its own camera
    would see of the child, both [C, H, W]."""
    tiles = []
    for start, length, size, columns in (
        (inset.top, inset.height, child.shape[1], False),
        (inset.left, inset.width, child.shape[2], True),
    ):
        step = size / length
        span = math.ceil(start - 1e-6), math.floor(start + length + 1e-6)
        offset = (0.5 - start) * step - 0.5
        tiles.append(axis_tiles(offset, step, size, span, _TILE, child.device, columns))
    left, right = span
    workspace = Workspace(child.device)
    for rows in tiles[0]:
        strip = workspace.take("strip", child.shape[0], rows.end - rows.begin, parent.shape[2])
        draw(child, [rows], tiles[1], strip, workspace)
        parent[:, rows.begin : rows.end, left:right] = strip[..., left:right]


def fill_insets(layers: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Writes every deeper level into the insets of those around it, in place: [N, C, H, W] float32.

    As `render_image`, but with the pixel model's own Gaussian in place of D, whose blocks are
    sharper: this is what views are resampled from, and a view of level i within its frame must
    see through level i+1's inset the same picture at every zoom. Doing it again changes nothing.
    """
    for i in reversed(range(len(geometry) - 1)):
        _fill(layers[i], layers[i + 1], geometry.insets[i])
    return layers


class ZoomStack:
    """N levels that show one scene, ready to be viewed at any zoom.

    layers: [N, C, H, W] float32 in 0..1, copied; inside its inset a layer is replaced by what
        the deeper ones show (`fill_insets`), so what it held there does not matter.
    geometry: the insets on the layers' own grid (`geometry.scaled` brings a coarser one there).
    levels: prompts and zooms, `ZoomLevels` of the same length.
    Raises ValueError where they do not fit together, or layers hold NaN or infinity.
    """

    def __init__(self, layers: torch.Tensor, geometry: Geometry, levels: ZoomLevels):
        check_levels(layers, geometry, "layers")
        if len(levels) != len(geometry):
            raise ValueError(f"levels has {len(levels)} entries, layers has {len(geometry)} levels.")
        if not bool(torch.isfinite(layers.sum(dtype=torch.float32))):
            raise ValueError("layers must hold finite numbers, got NaN or infinity.")
        self.geometry, self.levels = geometry, levels
        self.layers = fill_insets(layers.to(torch.float32, copy=True, memory_format=torch.contiguous_format), geometry)

    def __len__(self) -> int:
        return len(self.geometry)

    @property
    def height(self) -> int:
        return self.geometry.height

    @property
    def width(self) -> int:
        return self.geometry.width

    def save(self, path: str | os.PathLike) -> None:
        """Writes the stack to `path` as safetensors, whole or not at all.

        Layers are stored as float16 (in 0..1 within 1/4096, a sixteenth of an 8-bit step);
        levels, prompts and geometry as JSON in the metadata. Saving a loaded stack again gives
        the same layers bit for bit. Raises OSError where the place cannot be written.
        """
        path = Path(path)
        stack = {"geometry": self.geometry.to_json(), "levels": self.levels.to_json()}
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "stack": json.dumps(stack, ensure_ascii=False),
        }
        layers = self.layers.to(device="cpu", dtype=torch.float16).contiguous()
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            # safetensors makes its files private; this one gets what any new file has.
            beside.touch()
            mode = beside.stat().st_mode
            save_file({"layers": layers}, beside, metadata)
            os.chmod(beside, mode)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike, device: torch.device | str = "cpu") -> ZoomStack:
        """Reads what `save` wrote. Raises FileNotFoundError, or ValueError that names the file and
        says whether it is truncated, foreign, of another version, too large or inconsistent."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"stack file {path.name} does not exist.")
        if path.stat().st_size > _MAX_FILE:
            # Before it is opened, which maps the whole file into memory.
            raise ValueError(
                f"stack file {path.name} cannot be read: it has {path.stat().st_size / 2**30:.1f} GiB, "
                f"at most {_MAX_FILE / 2**30:.1f} GiB can be loaded."
            )
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                geometry, levels = _read_metadata(file.metadata() or {})
                _check_tensor(file, geometry)
                layers = file.get_tensor("layers")
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"stack file {path.name} cannot be read: {error}") from error
        stack = cls.__new__(cls)
        stack.geometry, stack.levels, stack.layers = geometry, levels, layers.to(torch.float32)
        if not bool(torch.isfinite(stack.layers.sum())):
            raise ValueError(f"stack file {path.name} cannot be read: its layers hold NaN or infinity.")
        return stack


def is_stack_file(path: str | os.PathLike) -> bool:
    """Whether a file says that it is a zoom stack of any version; reads its header only."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def _read_metadata(metadata: dict[str, str]) -> tuple[Geometry, ZoomLevels]:
    if metadata.get("format") != FORMAT:
        raise ValueError("it is a safetensors file, but not a zoom stack.")
    version = metadata.get("format_version")
    if version != str(FORMAT_VERSION):
        raise ValueError(f"its format version is {version}, this version of Zoom Stack reads {FORMAT_VERSION}.")
    try:
        stack = json.loads(metadata.get("stack", ""))
    except json.JSONDecodeError as error:
        raise ValueError(f"its description is not JSON: {error}") from error
    if not isinstance(stack, dict):
        raise ValueError("its description must be an object of geometry and levels.")
    geometry = Geometry.from_json(stack.get("geometry"))
    levels = ZoomLevels.from_json(stack.get("levels"))
    if len(levels) != len(geometry):
        raise ValueError(f"it describes {len(levels)} levels and the geometry of {len(geometry)}.")
    return geometry, levels


def _check_tensor(file, geometry: Geometry) -> None:
    """Looks at shape and type before any pixel is read."""
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
    if shape[0] > MAX_LEVELS or max(shape[2:]) > MAX_SIDE or shape[0] * shape[2] * shape[3] > MAX_PIXELS:
        raise ValueError(
            f"layers is {shape}: at most {MAX_LEVELS} levels, {MAX_SIDE} pixels a side "
            f"and {MAX_PIXELS} pixels in all can be loaded."
        )
