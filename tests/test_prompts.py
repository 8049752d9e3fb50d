"""Prompts as typed -> levels, and what is said about those that do not parse."""

from __future__ import annotations

import json

import pytest

from zoom_core import parse_prompts
from zoom_core.instruction import write_instruction


def test_one_prompt_a_line():
    levels = parse_prompts("  a galaxy \n\n a star\r\n\ta planet\n", zoom=4)
    assert [level.prompt for level in levels] == ["a galaxy", "a star", "a planet"]
    assert [level.zoom for level in levels] == [1, 4, 4]
    assert {level.negative for level in levels} == {""}


def test_a_json_array_of_texts_and_objects():
    text = json.dumps(
        ["a galaxy", {"prompt": "a star", "zoom": 3, "center": [0.4, 0.6]}, {"prompt": "a planet", "negative": "text"}]
    )
    levels = parse_prompts("\n " + text, negative="blur", zoom=2.5)
    assert [level.prompt for level in levels] == ["a galaxy", "a star", "a planet"]
    assert [level.zoom for level in levels] == [1, 3, 2.5]
    assert levels[1].center == (0.4, 0.6)
    assert [level.negative for level in levels] == ["blur", "blur", "text"]


def test_a_single_json_object_is_one_level():
    assert [level.prompt for level in parse_prompts('{"prompt": "one"}')] == ["one"]


def test_one_negative_for_all_or_one_a_line():
    assert [level.negative for level in parse_prompts("a\nb\nc", "x")] == ["x", "x", "x"]
    assert [level.negative for level in parse_prompts("a\nb\nc", "x\ny\nz")] == ["x", "y", "z"]
    with pytest.raises(ValueError, match="negative has 2 lines, prompts has 3 entries: give 1 or 3"):
        parse_prompts("a\nb\nc", "x\ny")


def test_prefix_and_suffix_surround_every_prompt():
    levels = parse_prompts('["a star", "a planet"]', prefix=" photo of ", suffix=", 35mm")
    assert [level.prompt for level in levels] == ["photo of a star, 35mm", "photo of a planet, 35mm"]
    assert parse_prompts("a", suffix="at night")[0].prompt == "a at night"


def test_sixty_four_prompts_are_the_limit():
    assert len(parse_prompts("\n".join("abcdefgh" * 8))) == 64
    with pytest.raises(ValueError, match="prompts has 65 entries, at most 64 levels are possible"):
        parse_prompts("x\n" * 65)


@pytest.mark.parametrize("text", ["", "   \n\t\n", "[]"])
def test_no_prompts(text):
    with pytest.raises(ValueError, match="prompts is empty: write at least one"):
        parse_prompts(text)


def test_json_that_does_not_parse_says_where():
    with pytest.raises(ValueError, match=r"prompts starts like JSON but does not parse at line 2, column 12"):
        parse_prompts('[\n  "a", "b" "c"\n]')


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1]", "prompts: entry 0 must be text or an object, got 1"),
        ('["a", null]', "prompts: entry 1 must be text or an object, got null"),
        (
            '[{"prompt": "a", "zom": 2}]',
            "prompts: entry 0 has the unknown field 'zom'; the fields are prompt, negative",
        ),
        ('[{"zoom": 2}]', "prompts: entry 0 needs a 'prompt' that is not empty"),
        ('["a", "  "]', "prompts: entry 1 needs a 'prompt' that is not empty"),
        ('[{"prompt": 3}]', "prompts: entry 0 needs a 'prompt'"),
        ('["a", {"prompt": "b", "zoom": 0.5}]', "level 1: zoom must be from 1.25 to 16, got 0.5"),
        ('["a", {"prompt": "b", "zoom": 100}]', "level 1: zoom must be from 1.25 to 16, got 100"),
        ('["a", {"prompt": "b", "zoom": NaN}]', "level 1: zoom must be from 1.25 to 16, got nan"),
        ('["a", {"prompt": "b", "zoom": "2"}]', "level 1: zoom must be a number, got '2'"),
        ('["a", {"prompt": "b", "center": [1.2, 0.5]}]', "level 1: center x must be in 0..1, got 1.2"),
        ('["a", {"prompt": "b", "center": [0.1, 0.5]}]', "level 1: center x = 0.1 puts part of the inset outside"),
        ('["a", {"prompt": "b", "center": [0.5]}]', "level 1: center must be two numbers"),
        ('["a", {"prompt": "b", "negative": 5}]', "level 1: negative must be text, got 5"),
    ],
)
def test_entries_that_do_not_fit_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_prompts(text)


@pytest.mark.parametrize("text", ["[cat:dog:0.5] in a garden", "{a|b} road", "[a|b]", "[1,2", "(a leaf:1.2)"])
def test_prompt_syntax_is_no_json(text):
    assert [level.prompt for level in parse_prompts(text)] == [text]


def test_a_persons_unknown_field_is_still_an_error_but_a_number_is_not():
    assert parse_prompts('[{"level": 1, "prompt": "a"}]')[0].prompt == "a"
    with pytest.raises(ValueError, match="unknown field 'size'"):
        parse_prompts('[{"prompt": "a", "size": 1}]')


def test_an_instruction_asks_for_what_can_be_read():
    text = write_instruction("from a galaxy\nto a cell", levels=7, zoom=4, style="ink drawing")
    assert "exactly 7 plain lines" in text and "4,096 times" in text and "ink drawing" in text
    assert "from a galaxy to a cell" in text
    one = write_instruction("from a galaxy to a cell", zoom=2.5, task="next level from a picture")
    assert "2.5 times closer" in one and "one plain line" in one


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"theme": "  "}, "theme is empty"),
        ({"levels": 1}, "levels must be from 2 to 64, got 1"),
        ({"zoom": 17}, "zoom must be from 1.25 to 16, got 17"),
        ({"task": "dance"}, "task must be one of all levels, next level from a picture, got 'dance'"),
    ],
)
def test_an_instruction_that_cannot_be_written(changed, message):
    with pytest.raises(ValueError, match=message):
        write_instruction(**{"theme": "a zoom", **changed})
