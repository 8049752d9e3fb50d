"""What language models answer when they are asked for prompts, and what is read out of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from zoom_core import parse_prompts
from zoom_core.answers import read_entries

SKY = ["a spiral galaxy", "a yellow star", "a blue planet"]

# Name of the shape -> the answer of a model in that shape; all of them mean SKY.
SHAPES = json.loads((Path(__file__).parent / "fixtures" / "answers.json").read_text("utf-8"))


def test_there_are_at_least_sixty():
    assert len(SHAPES) >= 60


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_is_read(shape):
    assert [level.prompt for level in parse_prompts(SHAPES[shape])] == SKY


# What people type, with marks of their own, is not an answer.
TYPED = [
    "[cat:dog:0.5] in a garden\n(a red leaf:1.2)",
    "[[cat]] on a roof\n{a|b} on a road",
    "[cat|dog]\n[a:b]",
    "2 cats\n3 dogs",
    "1980s diner, film grain\n4k photograph of a cup",
    "16:9 wide shot\n1:1 square",
    "a photo of a leaf\nan image of a star",
    '"Hello" on a sign\na door',
    "3-d render of a house\n3-d render of a door",
    "a coast -- seen from above\na beach - sand",
    "# of stars\nmany stars",
    "a *very* red leaf\na_leaf_with_veins",
    "embedding:style, a leaf\n<lora:name:1> a cell",
    "\u661f\u7cfb\n\u884c\u661f\n\u0643\u0648\u0643\u0628",
    "a 5. avenue street\na house",
]


@pytest.mark.parametrize("text", TYPED)
def test_typed_lines_stay_as_they_are(text):
    assert [level.prompt for level in parse_prompts(text)] == text.splitlines()


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help with that.", "```\n```", "<think>hm</think>", "<answer></answer>", "---\n***"],
)
def test_nothing_usable_is_an_error_that_quotes_what_came(text):
    with pytest.raises(ValueError, match="prompts holds nothing that can be used as a prompt: .") as error:
        parse_prompts(text)
    assert text.split()[0].strip("\n") in str(error.value)


def test_a_model_cut_while_it_thinks_says_so():
    with pytest.raises(ValueError, match="has finished thinking: give it a larger max_length.*The user wants"):
        parse_prompts("<think>The user wants a zoom from a galaxy")


def test_a_wrong_count_quotes_what_came():
    with pytest.raises(ValueError, match=r"prompts has 2 levels, expected 3\. It begins: '1\. a star 2\. a planet'"):
        parse_prompts("1. a star\n2. a planet", count=3)
    assert len(parse_prompts("1. a star\n2. a planet", count=2)) == 2


def test_an_array_cut_off_is_noticed_by_its_count():
    with pytest.raises(ValueError, match="prompts has 2 levels, expected 3"):
        parse_prompts('["a galaxy", "a star", "a pla', count=3)


def test_broken_up_and_shuffled_answers_never_crash():
    """Any text is either read or refused with a ValueError, in a moment and a few words."""
    rng = random.Random(5)
    pieces = [
        "<think>",
        "</think>",
        "```",
        "```json\n",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        ",",
        ":",
        "\\",
        "\\u12",
        "1. ",
        "- ",
    ]
    pieces += [
        "**",
        "# ",
        "|",
        "\n",
        "\n\n",
        "Level 3",
        "prompt",
        "null",
        "1e999",
        "-",
        "\u201c",
        "\u2019s",
        "\x00",
        "Here is:",
    ]
    answers = list(SHAPES.values())
    for _ in range(4000):
        text = rng.choice(answers)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(text) + 1)
            cut = rng.randrange(at, min(at + 20, len(text)) + 1)
            text = text[:at] + rng.choice(pieces) * rng.choice((1, 1, 1, 30)) + text[cut:]
        try:
            assert all(level.prompt.strip() for level in parse_prompts(text))
        except ValueError as error:
            assert 10 < len(str(error)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '["' * 100_000,
        '{"a":' * 50_000,
        "[" * 5000 + "]" * 5000,
        '["a", {"prompt": "b", "zoom": ' + "9" * 400 + "}]",
        '["a", {"prompt": "b", "zoom": 1e400}]',
        '[{"prompt": "a", "' + "x" * 100_000 + '": 1}]',
        "a\n" * 400_000,
        "*" * 300_000,
        "1. " * 200_000,
        "<think>" * 50_000,
        "| " * 200_000,
        "x" * 1_000_001,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_is_refused_in_few_words(text):
    try:
        levels = parse_prompts(text)
        assert len(levels) == 1
    except ValueError as error:
        assert len(str(error)) < 1000


def test_reading_entries_leaves_a_persons_objects_alone():
    assert read_entries('{"prompt": "a", "zoom": 3}') == [{"prompt": "a", "zoom": 3}]
