"""The level editor's own reading and writing of the prompts text, against zoom_core on the same cases."""

from __future__ import annotations

import json

import pytest

from zoom_core import parse_prompts

MODULES = "/extensions/zoom-stack"
READ = """async ([modules, cases]) => {
    const {levelsOf, readRows, writeRows} = await import(`${modules}/editor/prompts.mjs`)
    const {t} = await import(`${modules}/editor/words.mjs`)
    await import(`${modules}/words/languages.mjs`)
    const ask = async (text) => {
        const answer = await fetch("/zoom-stack/prompts", {method: "POST", body: JSON.stringify({text})})
        return answer.json()
    }
    const read = async (text, settings) => {
        const own = readRows(text)
        const {rows, error} = own ? {rows: own} : await ask(text)
        if (error) return {said: error, asked: true, rows: null}
        const {levels, problem} = levelsOf(rows, settings)
        return {said: levels ?? t(problem.key, problem.params), asked: !own, rows}
    }
    const answers = []
    for (const [text, negative, zoom, prefix, suffix, count, loop] of cases) {
        const settings = {negative, zoom, prefix, suffix, count, loop}
        const first = await read(text, settings)
        const written = first.rows && writeRows(first.rows)
        answers.push({...first, written, again: written === null ? null : (await read(written, settings)).said})
    }
    return answers
}"""

TEXTS = [
    "a\nb\nc",
    "  a galaxy \n\n a star\r\n\ta planet\n",
    # Line ends and white space that Python and JavaScript see differently.
    "a\x1cb\x85c\u2028d\x0be\x1f",
    "\ufeffa\nb\n \ufeff",
    "\u3000[x",
    "[masterpiece] a galaxy\nb",
    "a\n[b]\n{c}",
    "\n".join("abcdefgh" * 8),
    "x\n" * 65,
    "",
    "  \n\t",
    "[]",
    '{"prompt": "one"}',
    '["a", {"prompt": "b", "negative": "", "zoom": 2.25, "center": [0.3, 0.7]}]',
    '["a", {"prompt": "b\\nc"}, {"prompt": " d "}]',
    '["\\u00e9 \\ud83d\\ude00 \\"quoted\\" <b>bold</b>", "مدينة"]',
    '[{"prompt": "a", "prompt": "z"}]',
    '[{"prompt": "a", "zoom": 1, "center": [0.1, 0.1]}, "b"]',
    '[{"prompt": "a", "zoom": 99}, "b"]',
    '["a", {"prompt": "b", "zoom": 3.3333333, "center": [0.15, 0.85]}]',
    '["a", {"prompt": "b", "zoom": 2, "center": [0.25, 0.7499999]}]',
    '["a", {"prompt": "b", "zoom": 2, "center": [0.249, 0.5]}]',
    "[1]",
    '["a", null]',
    '["a", [1, 2.5, "\u00fc"]]',
    '[{"zom": 1}, 5]',
    '[{"prompt": "a", "it\'s": 2}]',
    '[{"zoom": 2}]',
    '["a", "  "]',
    '[{"prompt": 3}]',
    '["a", {"prompt": "b", "negative": 5}]',
    '["a", {"prompt": "b", "negative": null}]',
    '["a", {"prompt": "b", "zoom": "2"}]',
    '["a", {"prompt": "b", "zoom": "it\'s"}]',
    '["a", {"prompt": "b", "zoom": null}]',
    '["a", {"prompt": "b", "zoom": true}]',
    '["a", {"prompt": "b", "zoom": {"x": [1]}}]',
    '["a", {"prompt": "b", "zoom": 0.5}]',
    '["a", {"prompt": "b", "zoom": 1.2499999}]',
    '["a", {"prompt": "b", "zoom": 100}]',
    '["a", {"prompt": "b", "zoom": 1.23456789e20}]',
    '["a", {"prompt": "b", "zoom": 1e-7}]',
    '["a", {"prompt": "b", "center": [1.2, 0.5]}]',
    '["a", {"prompt": "b", "center": [0.5]}]',
    '["a", {"prompt": "b", "center": [0.5, "x"]}]',
    '["a", {"prompt": "b", "center": "middle"}]',
    '["a", {"prompt": "b", "center": {"x": 1}}]',
    '[\n  "a", "b" "c"\n]',
    '["\U0001f600" x]',
    '["a"] y',
    '["a',
    '["a\tb"]',
    '{"prompt" "x"}',
    '{"prompt": "x"',
    "{a: 1}",
    "[nul]",
    '["\\x"]',
    # What language models write around prompts, and what only looks like it.
    "1. a galaxy\n2. a star",
    "1. a galaxy 2. a star",
    "35mm photograph of a galaxy\n4k star",
    "- a\n- b",
    "Here are your prompts:\n\na galaxy\na star\n\nLet me know if you want more!",
    "<think>hm</think>\na galaxy\na star",
    "```\na galaxy\na star\n```",
    "| level | prompt |\n|---|---|\n| 0 | a galaxy |\n| 1 | a star in it |",
    "**Level 1:** a galaxy\n**Level 2:** a star",
    "Level 1: a galaxy\nLevel 2: a star",
    "# Zoom\na galaxy\na star",
    '"a galaxy"\n"a star"',
    "an image of a galaxy\nan image of a star",
    "an image of a galaxy\na star",
    "a (galaxy:1.2), [cat:dog:0.5]\n{red|blue} star",
    "[cat:dog:0.5] galaxy\na star",
    '["1. a galaxy", "2. a star"]',
    '["1. a galaxy", "a star"]',
    '["an image of a galaxy", "an image of a star"]',
    '{"prompts": ["a galaxy", "a star"]}',
    '[{"level": 1, "description": "a galaxy"}, {"level": 2, "description": "a star"}]',
    "['a galaxy', 'a star',]",
    "sorry, I can't\nhelp",
    "I am a robot.\nin a box",
    "a galaxy:\na star",
    "note the colours\nthis is red\nall of it",
    "a galaxy\nnote the colours",
    "Sure, a galaxy.",
    "a\u200bb\n***\nc",
    "x\n" * 1200,
]
OTHERS = [
    ("", 2.0, "", "", 0, False),
    ("x\ny\nz", 4.0, " photo ", ", 35mm", 0, False),
    ("blur", 1.3, "", "at night", 0, True),
    ("", 2.5, "", "", 3, False),
]
NOT_FINITE = [
    '["a", {"prompt": "b", "zoom": NaN}]',
    '["a", {"prompt": "b", "zoom": -Infinity}]',
    '["a", {"prompt": "b", "center": [0.5, NaN]}]',
]
CASES = [(text, *others) for text in TEXTS for others in OTHERS]
CASES += [(text, *OTHERS[0]) for text in NOT_FINITE]


def read(text: str, *others) -> list[dict] | str:
    """The levels of a text, or what is wrong with it."""
    try:
        levels = parse_prompts(text, *others)
    except ValueError as error:
        return str(error)
    return [json.loads(json.dumps(vars(level))) for level in levels]


@pytest.fixture(scope="module")
def answers(chromium, comfy) -> list[dict]:
    page = chromium.new_page()
    page.goto(f"{comfy.url}/system_stats")
    given = page.evaluate(READ, [MODULES, [list(case) for case in CASES]])
    page.close()
    return given


def sentence(said: list | str) -> list | str:
    """What was said, without the text that a sentence may quote at its end."""
    return said.split(" It begins: ")[0] if isinstance(said, str) else said


def test_the_browser_reads_a_text_as_the_server_does(answers):
    expected = [read(*case) for case in CASES]
    assert sum(isinstance(answer, str) for answer in expected) > 60
    assert sum(isinstance(answer, list) for answer in expected) > 60
    for case, given, wanted in zip(CASES, answers, expected):
        assert sentence(given["said"]) == sentence(wanted), case


def test_it_reads_plain_lines_and_arrays_without_the_server(answers):
    own = {case[0] for case, given in zip(CASES, answers) if not given["asked"]}
    assert {
        TEXTS[0],
        "a\n[b]\n{c}",
        "35mm photograph of a galaxy\n4k star",
        "a (galaxy:1.2), [cat:dog:0.5]\n{red|blue} star",
    } <= own
    assert '["a", {"prompt": "b", "negative": "", "zoom": 2.25, "center": [0.3, 0.7]}]' in own
    assert len(own) > 25


def test_what_the_browser_writes_says_the_same(answers):
    for case, given in zip(CASES, answers):
        if isinstance(given["said"], list):
            assert given["again"] == given["said"], case
            assert read(given["written"], *case[1:]) == given["said"], case


def test_a_text_stays_plain_lines_as_long_as_no_row_needs_more(answers):
    written = {case[0]: given["written"] for case, given in zip(CASES, answers)}
    assert written["  a galaxy \n\n a star\r\n\ta planet\n"] == "a galaxy\na star\na planet"
    assert written["a\n[b]\n{c}"] == "a\n[b]\n{c}"
    assert written['{"prompt": "one"}'] == "one"
    assert written["1. a galaxy\n2. a star"] == "a galaxy\na star"
    assert json.loads(written['["a", {"prompt": "b\\nc"}, {"prompt": " d "}]']) == ["a", "b\nc", "d"]
