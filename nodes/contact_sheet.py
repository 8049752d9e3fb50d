"""All levels of a zoom on one picture, with their numbers, magnifications and prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from comfy_api.v0_0_2 import io
from PIL import Image, ImageDraw, ImageFont

from ..zoom_core import ZoomLevel
from ..zoom_core.web_levels import level_pixels
from ..zoom_core.wording import magnification
from .types import CATEGORY, ZoomStackType

CELL = 512  # larger levels are reduced to this, in pixels of the longer side
GAP = 0.03  # between cells, as a share of a cell's width
LINES = 3  # of a prompt
MOST = 400  # characters of a prompt that are looked at
SHAPE = 1.5  # width over height of a sheet, about
PAPER, INK, PALE = (250, 250, 248), (30, 30, 34), (125, 125, 130)
# Pillow's own font writes Latin; others are looked for where the system keeps its fonts.
FONTS = (
    "NotoSans-Regular.ttf", "DejaVuSans.ttf", "arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "msyh.ttc",
    "PingFang.ttc", "malgun.ttf", "YuGothM.ttc",
)  # fmt: skip


def contact_sheet(
    pictures: torch.Tensor, levels: Sequence[ZoomLevel], on_level: Callable[[], None] = lambda: None
) -> torch.Tensor:
    """A picture [1, h, w, 3] in 0..1 of the pictures [N, C, H, W] in 0..1 of N levels, each with its prompt below.

    Pictures of at most `CELL` pixels a side stand in it as they are. on_level: called after each.
    """
    cells = []
    for picture in pictures:
        cells.append(level_pixels(picture, CELL))
        on_level()
    height, width = cells[0].shape[:2]
    gap, size = max(2, round(GAP * width)), max(10, width // 18)
    plain, font = (_font(text, size) for text in ("", "".join(level.prompt[:MOST] for level in levels)))
    labels = [_wrapped(level.prompt, font, width) for level in levels]
    zooms = accumulate((level.zoom for level in levels[1:]), mul, initial=1.0)
    line = round(1.3 * size)
    below = line * (1 + max(map(len, labels))) + 2 * gap
    columns = _columns(len(cells), width + gap, height + below)
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + below) + gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, (cell, label, zoom) in enumerate(zip(cells, labels, zooms)):
        row, column = divmod(i, columns)
        left, top = gap + column * (width + gap), gap + row * (height + below)
        sheet.paste(Image.fromarray(cell), (left, top))
        words = top + height + gap // 2
        pen.text((left, words), f"{i}   x {magnification(zoom)}", PALE, plain)
        for n, text in enumerate(label, 1):
            pen.text((left, words + n * line), text, INK, font)
    return torch.from_numpy(np.asarray(sheet, np.float32) / 255)[None]


def _columns(count: int, width: int, height: int) -> int:
    """How many columns make a sheet of a good shape with few places left empty."""

    def cost(columns: int) -> float:
        rows = -(-count // columns)
        return abs(math.log(columns * width / (rows * height) / SHAPE)) + 2 * (columns * rows - count) / count

    return min(range(1, count + 1), key=cost)


def _font(text: str, size: int) -> Any:
    """A font that can write a text: Pillow's own, one of the system's, or else Pillow's own all the same."""
    letters = {letter for letter in text if not letter.isspace()}
    own: Any = ImageFont.load_default(size)
    for name in (None, *FONTS):
        try:
            font = ImageFont.truetype(name, size) if name else own
        except OSError:
            continue
        missing = _drawn(font, "\U0010ffff")
        if all(_drawn(font, letter) != missing for letter in letters):
            return font
    return own


def _drawn(font: Any, letter: str) -> bytes:
    return bytes(font.getmask(letter))


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    """The lines of a text, `LINES` at most, broken at spaces where there are some."""
    rest, lines = " ".join(text[:MOST].split()), []
    while rest:
        if font.getlength(rest) <= width:
            return [*lines, rest]
        fits = next((n for n in range(1, len(rest)) if font.getlength(rest[: n + 1]) > width), len(rest))
        if len(lines) == LINES - 1:
            return [*lines, rest[: max(fits - 1, 1)].rstrip() + "…"]
        space = rest.rfind(" ", 0, fits + 1)
        end = space if space > 0 else fits
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    return lines


class ZoomContactSheet(io.ComfyNode):
    """All levels of a stack on one picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ZoomContactSheet",
            display_name="Zoom Contact Sheet",
            category=CATEGORY,
            description=(
                "Puts all levels of a zoom stack on one picture, with their numbers, magnifications and prompts."
            ),
            search_aliases=["image grid", "overview", "storyboard", "levels with prompts", "poster"],
            inputs=[ZoomStackType.Input("stack", tooltip="The stack whose levels are shown.")],
            outputs=[io.Image.Output("sheet", tooltip="The contact sheet, for Save Image.")],
        )

    @classmethod
    def execute(cls, stack) -> io.NodeOutput:
        progress = comfy.utils.ProgressBar(len(stack))

        def on_level() -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            progress.update(1)

        return io.NodeOutput(contact_sheet(stack.layers, stack.levels, on_level))


NODES = [ZoomContactSheet]
