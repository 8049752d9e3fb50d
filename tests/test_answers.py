"""What language models answer when they are asked for prompts, and what is read out of it."""

from __future__ import annotations

import random

import pytest

from zoom_core import parse_prompts
from zoom_core.answers import read_entries

SKY = ["a spiral galaxy", "a yellow star", "a blue planet"]

# Each of these is an answer in one of the shapes that models give; all of them mean SKY.
SHAPES = {
    "plain lines": "a spiral galaxy\na yellow star\na blue planet",
    "blank lines between": "\n\na spiral galaxy\n\na yellow star\n\n\na blue planet\n",
    "windows line ends": "a spiral galaxy\r\na yellow star\r\na blue planet\r\n",
    "byte order mark": "\ufeffa spiral galaxy\n\u200ba yellow star\na blue planet",
    "numbers with points": "1. a spiral galaxy\n2. a yellow star\n3. a blue planet",
    "numbers with brackets": "1) a spiral galaxy\n2) a yellow star\n3) a blue planet",
    "numbers in brackets": "(1) a spiral galaxy\n(2) a yellow star\n(3) a blue planet",
    "numbers in square brackets": "[1] a spiral galaxy\n[2] a yellow star\n[3] a blue planet",
    "numbers with colons": "1: a spiral galaxy\n2: a yellow star\n3: a blue planet",
    "numbers with dashes": "1 - a spiral galaxy\n2 \u2013 a yellow star\n3 \u2014 a blue planet",
    "number signs": "#1: a spiral galaxy\n#2: a yellow star\n#3: a blue planet",
    "numbers from nought": "0. a spiral galaxy\n1. a yellow star\n2. a blue planet",
    "indented numbers": "   1. a spiral galaxy\n   2. a yellow star\n   3. a blue planet",
    "every number a one": "1. a spiral galaxy\n1. a yellow star\n1. a blue planet",
    "one line of numbers": "1. a spiral galaxy 2. a yellow star 3. a blue planet",
    "hyphens": "- a spiral galaxy\n- a yellow star\n- a blue planet",
    "asterisks": "* a spiral galaxy\n* a yellow star\n* a blue planet",
    "round bullets": "\u2022 a spiral galaxy\n\u2022 a yellow star\n\u2022 a blue planet",
    "arrows": "\u2192 a spiral galaxy\n\u2192 a yellow star\n\u2192 a blue planet",
    "level n": "Level 1: a spiral galaxy\nLevel 2: a yellow star\nLevel 3: a blue planet",
    "bold level n": "**Level 1:** a spiral galaxy\n**Level 2:** a yellow star\n**Level 3:** a blue planet",
    "bold level n, colon outside": "**Level 1**: a spiral galaxy\n**Level 2**: a yellow star\n**Level 3**: a blue planet",
    "level n with a scale": "Level 1 (x1): a spiral galaxy\nLevel 2 (x4): a yellow star\nLevel 3 (x16): a blue planet",
    "scale n": "Scale 1 - a spiral galaxy\nScale 2 - a yellow star\nScale 3 - a blue planet",
    "step n": "STEP 1. a spiral galaxy\nSTEP 2. a yellow star\nSTEP 3. a blue planet",
    "prompt n": "Prompt #1: a spiral galaxy\nPrompt #2: a yellow star\nPrompt #3: a blue planet",
    "bulleted level n": "- Level 1: a spiral galaxy\n- Level 2: a yellow star\n- Level 3: a blue planet",
    "numbers and bold names": "1. **Galaxy:** a spiral galaxy\n2. **Star:** a yellow star\n3. **Planet:** a blue planet",
    "bullets and bold names": "- **Galaxy**: a spiral galaxy\n- **Star**: a yellow star\n- **Planet**: a blue planet",
    "all bold": "**a spiral galaxy**\n**a yellow star**\n**a blue planet**\n\nLet me know if you want more!",
    "headings above": "### Level 1\na spiral galaxy\n### Level 2\na yellow star\n### Level 3\na blue planet",
    "named headings": "## Level 1: The Galaxy\na spiral galaxy\n\n## Level 2: The Star\na yellow star\n\n## Level 3: The Planet\na blue planet",
    "bold headings": "**Level 1: The Galaxy**\na spiral galaxy\n\n**Level 2: The Star**\na yellow star\n\n**Level 3: The Planet**\na blue planet",
    "headings without numbers": "## Galaxy\na spiral galaxy\n## Star\na yellow star\n## Planet\na blue planet",
    "a title": "# Zoom prompts\na spiral galaxy\na yellow star\na blue planet",
    "an introduction": "Here are three prompts, widest first:\n\n1. a spiral galaxy\n2. a yellow star\n3. a blue planet",
    "an introduction to plain lines": "Sure! Here are the prompts:\na spiral galaxy\na yellow star\na blue planet",
    "introduction and farewell": "Certainly! Here is your zoom:\n\na spiral galaxy\na yellow star\na blue planet\n\nLet me know if you would like changes.",
    "a note at the end": "1. a spiral galaxy\n2. a yellow star\n3. a blue planet\n\nNote: each level keeps one viewpoint.",
    "rules between": "a spiral galaxy\n---\na yellow star\n---\na blue planet",
    "straight quotes": '"a spiral galaxy"\n"a yellow star"\n"a blue planet"',
    "quotes and commas": '"a spiral galaxy",\n"a yellow star",\n"a blue planet"',
    "curly quotes": "\u201ca spiral galaxy\u201d\n\u201ca yellow star\u201d\n\u201ca blue planet\u201d",
    "numbered quotes": '1. "a spiral galaxy"\n2. "a yellow star"\n3. "a blue planet"',
    "code marks": "`a spiral galaxy`\n`a yellow star`\n`a blue planet`",
    "a fence": "```\na spiral galaxy\na yellow star\na blue planet\n```",
    "a fence with a language": "Here you go:\n\n```text\na spiral galaxy\na yellow star\na blue planet\n```\nEnjoy!",
    "a fence cut off": "```\na spiral galaxy\na yellow star\na blue planet",
    "a fence for each": "Level 1\n```\na spiral galaxy\n```\nLevel 2\n```\na yellow star\n```\nLevel 3\n```\na blue planet\n```",
    "tildes": "~~~\na spiral galaxy\na yellow star\na blue planet\n~~~",
    "thoughts": "<think>The user wants 3 levels.\n1. wide\n2. near</think>\na spiral galaxy\na yellow star\na blue planet",
    "thoughts opened by the template": "First a galaxy, then\n1. a star?\n</think>\n\na spiral galaxy\na yellow star\na blue planet",
    "thoughts twice": "<think>a</think>\n<think>b\nc</think>a spiral galaxy\na yellow star\na blue planet",
    "thoughts after the answer, cut": "a spiral galaxy\na yellow star\na blue planet\n<think>Is that enough? I could",
    "other thoughts": "<thinking>\nlet me see\n</thinking>\na spiral galaxy\na yellow star\na blue planet",
    "an answer tag": "<answer>\na spiral galaxy\na yellow star\na blue planet\n</answer>",
    "an end token": "a spiral galaxy\na yellow star\na blue planet<|im_end|>",
    "HTML breaks": "a spiral galaxy<br>a yellow star<br/>a blue planet",
    "a JSON array": '["a spiral galaxy", "a yellow star", "a blue planet"]',
    "JSON over lines": '[\n  "a spiral galaxy",\n  "a yellow star",\n  "a blue planet"\n]',
    "JSON in a fence": '```json\n["a spiral galaxy", "a yellow star", "a blue planet"]\n```',
    "JSON after a sentence": 'Here is the list:\n["a spiral galaxy", "a yellow star", "a blue planet"]\nHave fun!',
    "single quotes": "['a spiral galaxy', 'a yellow star', 'a blue planet']",
    "curly quotes in an array": "[\u201ca spiral galaxy\u201d, \u201ca yellow star\u201d, \u201ca blue planet\u201d]",
    "trailing comma": '["a spiral galaxy", "a yellow star", "a blue planet",]',
    "array cut after a string": '["a spiral galaxy", "a yellow star", "a blue planet"',
    "array cut in a string": '["a spiral galaxy", "a yellow star", "a blue planet", "a green coa',
    "array with comments": '[\n  "a spiral galaxy", // wide\n  "a yellow star", # near\n  "a blue planet"\n]',
    "an assignment": 'prompts = ["a spiral galaxy", "a yellow star", "a blue planet"]',
    "objects": '[{"prompt": "a spiral galaxy"}, {"prompt": "a yellow star"}, {"prompt": "a blue planet"}]',
    "numbered objects": '[{"level": 1, "prompt": "a spiral galaxy"}, {"level": 2, "prompt": "a yellow star"}, {"level": 3, "prompt": "a blue planet"}]',
    "described objects": '[{"scale": "galaxy", "description": "a spiral galaxy"}, {"scale": "star", "description": "a yellow star"}, {"scale": "planet", "description": "a blue planet"}]',
    "objects in single quotes": "[{'prompt': 'a spiral galaxy'}, {'prompt': 'a yellow star'}, {'prompt': 'a blue planet'}]",
    "objects cut off": '[{"prompt": "a spiral galaxy"}, {"prompt": "a yellow star"}, {"prompt": "a blue planet"}, {"prom',
    "an object with a list": '{"prompts": ["a spiral galaxy", "a yellow star", "a blue planet"]}',
    "an object with objects": '{"levels": [{"prompt": "a spiral galaxy"}, {"prompt": "a yellow star"}, {"prompt": "a blue planet"}]}',
    "an object by number": '{"1": "a spiral galaxy", "2": "a yellow star", "3": "a blue planet"}',
    "an object by level": '{"level_1": "a spiral galaxy", "level_2": "a yellow star", "level_3": "a blue planet"}',
    "JSON lines": '{"prompt": "a spiral galaxy"}\n{"prompt": "a yellow star"}\n{"prompt": "a blue planet"}',
    "an image of": "An image of a spiral galaxy\nAn image of a yellow star\nAn image of a blue planet",
    "numbered images of": "1. An image of a spiral galaxy\n2. An image showing a yellow star\n3. The image shows a blue planet",
    "images of in JSON": '["An image of a spiral galaxy", "An image of a yellow star", "An image of a blue planet"]',
    "numbers in JSON": '["1. a spiral galaxy", "2. a yellow star", "3. a blue planet"]',
    "a table": "| Level | Prompt |\n|---|---|\n| 1 | a spiral galaxy |\n| 2 | a yellow star |\n| 3 | a blue planet |",
    "points under numbers": "1. **Galaxy**\n   - Prompt: a spiral galaxy\n   - Zoom: 4\n2. **Star**\n   - Prompt: a yellow star\n   - Zoom: 4\n3. **Planet**\n   - Prompt: a blue planet\n   - Zoom: 4",
    "a label a line": "Prompt: a spiral galaxy\nPrompt: a yellow star\nPrompt: a blue planet",
    "text wrapped": "1. a spiral\n   galaxy\n2. a yellow star\n3. a blue\n   planet",
}


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
