"""The contact sheet of Zoom Stack Render: every level as it is, its number, magnification and prompt below it."""

from __future__ import annotations

import importlib

import pytest
import torch

from zoom_core import ZoomLevel, ZoomLevels, downscale


@pytest.fixture(scope="module")
def module(zoom_stack_pack):
    return importlib.import_module("zoom_stack_pack.nodes.contact_sheet")


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    levels = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(3))
    return (levels * 255).round() / 255


def levels(*prompts: str, zoom: float = 4.0) -> ZoomLevels:
    return ZoomLevels([ZoomLevel(prompt, zoom=zoom) for prompt in prompts])


def places(sheet: torch.Tensor, count: int, columns: int, height: int, width: int):
    """Cells and labels of a sheet, from its own size."""
    gap, rows = max(2, round(0.03 * width)), -(-count // columns)
    assert sheet.shape[0] == 1 and sheet.shape[2] == columns * (width + gap) + gap
    down = (sheet.shape[1] - gap) / rows
    assert down == int(down)
    for i in range(count):
        top, left = gap + int(down) * (i // columns), gap + (width + gap) * (i % columns)
        across = sheet[0, :, left : left + width]
        yield across[top : top + height], across[top + height : top + int(down)]


@pytest.mark.parametrize(
    "count, columns, height, width", [(12, 4, 96, 96), (6, 3, 96, 96), (2, 2, 120, 60), (1, 1, 64, 64)]
)
def test_levels_stand_in_it_as_they_are_and_in_order(module, count, columns, height, width):
    given = pictures(count, height, width)
    sheet = module.contact_sheet(given, levels(*(f"a scene {i}" for i in range(count))))
    labels = set()
    for i, (cell, label) in enumerate(places(sheet, count, columns, height, width)):
        assert torch.equal(cell.movedim(-1, 0), given[i])
        assert label.max() > 0.9 and label.min() < 0.4
        labels.add(label.numpy().tobytes())
    assert len(labels) == count


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_levels_are_shown_grey_and_a_fourth_channel_is_left_out(module, channels):
    given = (
        pictures(2, 96, 96)[:, :1] if channels == 1 else torch.cat([pictures(2, 96, 96), torch.zeros(2, 1, 96, 96)], 1)
    )
    sheet = module.contact_sheet(given, levels("one", "two"))
    for (cell, _), level in zip(places(sheet, 2, 2, 96, 96), given):
        assert torch.equal(cell.movedim(-1, 0), level[:3].expand(3, -1, -1))


def test_levels_are_counted_and_an_interrupt_ends_it(module):
    seen = []

    def on_level():
        seen.append(1)
        if len(seen) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        module.contact_sheet(pictures(3, 64, 64), levels("one", "two", "three"), on_level)
    assert len(seen) == 2


def test_large_levels_are_reduced_by_the_pixel_model(module):
    given = pictures(2, 600, 1200)
    sheet = module.contact_sheet(given, levels("one", "two"))
    cells = [cell for cell, _ in places(sheet, 2, 2, 256, 512)]
    for cell, level in zip(cells, given):
        assert (cell.movedim(-1, 0) - downscale(level, 256, 512)).abs().max() <= 0.51 / 255


def test_number_magnification_and_prompt_all_show(module):
    def label(position: int, *prompts: str, zoom: float = 4.0) -> bytes:
        sheet = module.contact_sheet(torch.zeros(3, 3, 128, 128), levels(*prompts, zoom=zoom))
        return list(places(sheet, 3, 3, 128, 128))[position][1].numpy().tobytes()

    plain = label(1, "a", "b", "c")
    assert label(1, "a", "b", "c") == plain
    assert label(1, "a", "d", "c") != plain
    assert label(1, "a", "b", "c", zoom=3.0) != plain
    assert label(2, "a", "b", "b") != plain


def test_long_prompts_take_three_lines_and_never_leave_their_column(module):
    texts = ["a prompt of many words " * 500, "x" * 10_000, "", "two\nlines\tand a tab"]
    sheet = module.contact_sheet(torch.zeros(4, 3, 96, 96), levels(*texts))
    assert sheet.shape[1] < 2 * (96 + 4 * 14 + 3 * 4)
    gap = 3
    for left in range(0, sheet.shape[2], 96 + gap):
        assert bool((sheet[0, :, left : left + gap] > 0.9).all()), "text in the gap between columns"


def test_texts_in_any_script_are_taken(module):
    texts = ("银河系", "галактика", "مجرة", "🌌 galaxy", "\u0000\u200b")
    assert module.contact_sheet(torch.rand(5, 3, 64, 64), levels(*texts)).shape[0] == 1


def test_a_font_that_has_the_letters_is_taken_where_there_is_one(module, monkeypatch):
    """Pillow's own font has no Cyrillic; a font of the system that has is used for it, and for nothing else."""
    asked = []
    own = module.ImageFont.load_default(14)

    class Cyrillic:
        def getmask(self, letter):
            return own.getmask("?" if letter == "\U0010ffff" else "a")

    real = module.ImageFont.truetype

    def truetype(name, size, **more):
        if not isinstance(name, str):
            return real(name, size, **more)  # Pillow's own font comes as bytes
        asked.append((name, size))
        if len(asked) < 3:
            raise OSError("no such font")
        return Cyrillic()

    monkeypatch.setattr(module.ImageFont, "truetype", truetype)
    assert module._font("plain letters", 14).getname() == own.getname() and not asked
    assert isinstance(module._font("галактика", 14), Cyrillic)
    assert [size for _, size in asked] == [14] * 3
