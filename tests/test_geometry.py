"""Levels and where they lie: checks, snapping, scaling, JSON."""

from __future__ import annotations

import json
import math
from itertools import islice

import pytest

from zoom_core import Geometry, Inset, ZoomLevel, ZoomLevels
from zoom_core.prompts import parse_int_ranges


@pytest.mark.parametrize("zoom, size", [(2, 64), (3, 48), (4, 40), (10, 60)])
def test_whole_zooms_on_fitting_sizes_are_exact(zoom, size):
    geometry = ZoomLevels.uniform(4, zoom).resolve(size, size)
    inner = size // zoom
    assert geometry.insets == (Inset((size - inner) // 2, (size - inner) // 2, inner, inner),) * 3
    assert len(geometry) == 4


@pytest.mark.parametrize("zoom", [1.25, 1.7, 2, 2.5, 3, 7.3, 16])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 33, 64, 127])
def test_a_centred_inset_stays_centred_whole_and_inside(zoom, size):
    for inset in ZoomLevels.uniform(2, zoom).resolve(size, size + 1).insets:
        for start, length, whole in ((inset.top, inset.height, size), (inset.left, inset.width, size + 1)):
            assert start == int(start) and length == int(length)
            assert length >= 1 and start >= 0 and start + length <= whole
            if whole / zoom > 1:
                # Symmetric whatever the parity, and within a pixel of the zoom that was asked for.
                assert 2 * start + length == whole
                assert abs(length - whole / zoom) <= 1


def test_off_centre_insets_are_snapped_to_the_nearest_pixels():
    levels = ZoomLevels([ZoomLevel(), ZoomLevel(zoom=4, center=(0.3, 0.6)), ZoomLevel(zoom=2, center=(0.25, 0.75))])
    first, second = levels.resolve(100, 200).insets
    assert first == Inset(top=60 - 12.5 + 0.5, left=35, height=24, width=50)
    assert second == Inset(top=50, left=0, height=50, width=100)


def test_scaling_keeps_the_same_place_without_snapping():
    geometry = ZoomLevels.uniform(3, 2.5).resolve(9, 16)
    fine = geometry.scaled(72, 127)
    assert (fine.height, fine.width) == (72, 127)
    for coarse, scaled in zip(geometry.insets, fine.insets):
        for name, factor in (("top", 8), ("height", 8), ("left", 127 / 16), ("width", 127 / 16)):
            assert getattr(scaled, name) == pytest.approx(getattr(coarse, name) * factor)
    assert geometry.scaled(9, 16) is geometry
    assert fine.scaled(9, 16).insets[0] == pytest.approx(geometry.insets[0])


@pytest.mark.parametrize(
    "inset",
    [(-1, 0, 4, 4), (0, 0, 9, 4), (0, 5, 4, 4), (0, 0, 0, 4), (0, 0, 4, -1), (math.nan, 0, 4, 4), (0, 0, math.inf, 4)],
)
def test_an_inset_outside_its_parent_is_refused(inset):
    with pytest.raises(ValueError, match="inset 0 must lie inside 8 x 8 pixels, got"):
        Geometry(8, 8, (Inset(*inset),))


def test_level_zero_has_no_zoom_of_its_own():
    levels = ZoomLevels([ZoomLevel("a", zoom=7, center=(0.5, 0.5)), ZoomLevel("b", zoom=3)])
    assert (levels[0].zoom, levels[0].center) == (1.0, (0.5, 0.5))
    assert (levels[1].prompt, levels[1].zoom) == ("b", 3.0)
    assert [level.zoom for level in ZoomLevels.uniform(3, 4)] == [1, 4, 4]


@pytest.mark.parametrize("count", [0, 65])
def test_the_number_of_levels_is_checked(count):
    with pytest.raises(ValueError, match=f"levels must hold 1 to 64 levels, got {count}"):
        ZoomLevels(ZoomLevel() for _ in range(count))


@pytest.mark.parametrize("zoom", [0.5, 1.0, 1.2, 16.5, 100, math.nan, math.inf, -2])
def test_zooms_out_of_range_are_refused(zoom):
    with pytest.raises(ValueError, match=r"level 1: zoom must be from 1.25 to 16, got"):
        ZoomLevels([ZoomLevel(), ZoomLevel(zoom=zoom)])


@pytest.mark.parametrize("zoom", ["2", None, True, [2]])
def test_zooms_that_are_no_numbers_are_refused(zoom):
    with pytest.raises(ValueError, match="level 1: zoom must be a number, got"):
        ZoomLevels([ZoomLevel(), ZoomLevel(zoom=zoom)])


@pytest.mark.parametrize(
    "center, message",
    [
        ((1.5, 0.5), r"level 1: center x must be in 0..1, got 1.5"),
        ((0.5, -0.1), r"level 1: center y must be in 0..1, got -0.1"),
        ((0.5, math.nan), r"level 1: center y must be in 0..1, got nan"),
        ((0.2, 0.5), r"level 1: center x = 0.2 puts part of the inset outside.*at zoom 2 it must be from 0.25 to 0.75"),
        ((0.5,), r"level 1: center must be two numbers \(x, y\)"),
        ("ab", r"level 1: center must be two numbers"),
        (0.5, r"level 1: center must be two numbers"),
        (("a", 0.5), r"level 1: center x must be a number, got 'a'"),
    ],
)
def test_centres_are_checked(center, message):
    with pytest.raises(ValueError, match=message):
        ZoomLevels([ZoomLevel(), ZoomLevel(zoom=2, center=center)])


def test_prompts_must_be_text():
    with pytest.raises(ValueError, match="level 0: prompt must be text, got 3"):
        ZoomLevels([ZoomLevel(prompt=3)])
    with pytest.raises(ValueError, match="level 1 must be a ZoomLevel, got str"):
        ZoomLevels([ZoomLevel(), "a prompt"])


def test_levels_are_an_immutable_sequence():
    levels = ZoomLevels.uniform(3)
    assert list(levels) == [levels[0], levels[1], levels[2]]
    assert levels == ZoomLevels.uniform(3) and hash(levels) == hash(ZoomLevels.uniform(3))
    with pytest.raises(TypeError):
        levels[0] = ZoomLevel()
    with pytest.raises(AttributeError):
        levels[1].zoom = 3
    resolved = levels.with_geometry(levels.resolve(16, 16))
    assert levels.geometry is None and resolved.geometry is not None and resolved != levels
    with pytest.raises(ValueError, match="geometry has 2 levels, levels has 3"):
        levels.with_geometry(ZoomLevels.uniform(2).resolve(16, 16))


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8"])
def test_sizes_are_checked(size):
    for arguments, name in (((size, 8), "height"), ((8, size), "width")):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got"):
            ZoomLevels.uniform(2).resolve(*arguments)


def test_insets_count_as_long_as_one_of_their_sides_spans_a_pixel():
    geometry = ZoomLevels.uniform(6, 4.0).resolve(64, 64)
    assert geometry.resolved(geometry.inwards(0)) == 3
    assert geometry.resolved(geometry.inwards(0), 1 / 16) == 5
    wide = Geometry(64, 64, (Inset(0, 0, 8, 32),) * 4)
    assert wide.resolved(wide.inwards(0)) == 4
    assert wide.resolved(wide.inwards(0), 8) == 3


def test_insets_are_told_inwards_and_outwards_in_their_order():
    steps = tuple(Inset(0, 0, size, size) for size in (2, 3, 4, 5))
    open_ended = Geometry(8, 8, steps[:3])
    assert [*open_ended.inwards(1)] == [steps[1], steps[2]]
    assert [*open_ended.outwards(2)] == [steps[1], steps[0]]
    closed = Geometry(8, 8, steps[:3], steps[3])
    assert [*islice(closed.inwards(2), 4)] == [steps[2], steps[3], steps[0], steps[1]]
    assert [*islice(closed.outwards(2), 4)] == [steps[1], steps[0], steps[3], steps[2]]


def test_an_inset_may_overhang_by_rounding_alone():
    ZoomLevels([ZoomLevel(), ZoomLevel(zoom=4.0, center=(0.125 - 1e-7, 0.875 + 1e-7))])
    with pytest.raises(ValueError, match="center x = 0.1249 puts part of the inset outside"):
        ZoomLevels([ZoomLevel(), ZoomLevel(zoom=4.0, center=(0.1249, 0.5))])


def test_json_round_trip():
    levels = ZoomLevels([ZoomLevel("sky", "blur"), ZoomLevel('ground, "quoted" ü', zoom=2.5, center=(0.4, 0.6))])
    for given in (levels, levels.with_geometry(levels.resolve(9, 16).scaled(40, 77))):
        assert ZoomLevels.from_json(json.loads(json.dumps(given.to_json()))) == given


@pytest.mark.parametrize(
    "data, message",
    [
        (None, "levels must be an object with a list"),
        ({"levels": "abc"}, "levels must be an object with a list"),
        ({"levels": [3]}, "level 0 must be an object of prompt"),
        ({"levels": [{"promt": "typo"}]}, "level 0 must be an object of prompt"),
        ({"levels": [{}, {"zoom": 99}]}, "level 1: zoom must be from"),
        ({"levels": [{}, {}], "geometry": {"height": 8}}, "geometry must hold height, width and insets"),
        ({"levels": [{}, {}], "geometry": {"height": 8, "width": 8, "insets": [[1, 2]]}}, "geometry must hold"),
        ({"levels": [{}, {}], "geometry": {"height": 8, "width": 8, "insets": [[6, 0, 4, 4]]}}, "inset 0 must lie"),
        (
            {"levels": [{}, {}], "geometry": {"height": 8, "width": 8, "insets": [[0, 0, 8, 1e-9]]}},
            "must be at least 1/",
        ),
        (
            {"levels": [{}, {}], "geometry": {"height": 8, "width": 8, "insets": [[0, 0, 1e-9, 8]]}},
            "must be at least 1/",
        ),
    ],
)
def test_json_that_does_not_fit_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        ZoomLevels.from_json(data)


def test_level_ranges():
    assert parse_int_ranges("2, 5-7", 8, "regenerate") == [2, 5, 6, 7]
    assert parse_int_ranges("3-3, 1 , 0-2", 4, "regenerate") == [0, 1, 2, 3]
    assert parse_int_ranges("", 4, "regenerate") == []
    for text, message in [
        ("2-x", "regenerate: '2-x' is neither a level number nor a range"),
        ("-3", "regenerate: '-3' is neither"),
        ("5-2", "regenerate: the range '5-2' runs backwards"),
        ("1, 9", "regenerate: level 9 does not exist, the levels are 0 to 7"),
    ]:
        with pytest.raises(ValueError, match=message):
            parse_int_ranges(text, 8, "regenerate")
