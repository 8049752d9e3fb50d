"""The level editor's own reading and writing of the prompts text, against zoom_core on the same cases."""

from __future__ import annotations

import json

import pytest

from zoom_core import parse_prompts

MODULES = "/extensions/zoom-stack/editor"
READ = """async ([modules, cases]) => {
    const {parsePrompts, readRows, writeRows} = await import(`${modules}/prompts.mjs`)
    const {t} = await import(`${modules}/words.mjs`)
    const read = (text, settings) => {
        const {levels, problem} = parsePrompts(text, settings)
        return levels ?? t(problem.key, problem.params)
    }
    return cases.map(([text, negative, zoom, prefix, suffix]) => {
        const settings = {negative, zoom, prefix, suffix}
        const written = writeRows(readRows(text).rows)
        return {first: read(text, settings), again: read(written, settings), written}
    })
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
    '["a", {"prompt": "b", "zoom": NaN}]',
    '["a", {"prompt": "b", "zoom": -Infinity}]',
    '["a", {"prompt": "b", "center": [1.2, 0.5]}]',
    '["a", {"prompt": "b", "center": [0.5, NaN]}]',
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
]
OTHERS = [("", 2.0, "", ""), ("x\ny\nz", 4.0, " photo ", ", 35mm"), ("blur", 1.3, "", "at night")]
CASES = [(text, *others) for text in TEXTS for others in OTHERS]


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


def place(sentence: list | str) -> list | str:
    """A sentence without the JSON reader's own reason, which differs between versions of Python."""
    if isinstance(sentence, str) and "does not parse at" in sentence:
        return sentence.split(": ")[0]
    return sentence


def test_the_browser_reads_a_text_as_the_server_does(answers):
    expected = [read(*case) for case in CASES]
    assert sum(isinstance(answer, str) for answer in expected) > 60
    assert sum(isinstance(answer, list) for answer in expected) > 30
    for case, given, wanted in zip(CASES, answers, expected):
        assert place(given["first"]) == place(wanted), case


def test_what_the_browser_writes_says_the_same(answers):
    for case, given in zip(CASES, answers):
        if isinstance(given["first"], list):
            assert given["again"] == given["first"], case
            assert read(given["written"], *case[1:]) == given["first"], case


def test_a_text_stays_plain_lines_as_long_as_no_row_needs_more(answers):
    written = {case[0]: given["written"] for case, given in zip(CASES, answers)}
    assert written["  a galaxy \n\n a star\r\n\ta planet\n"] == "a galaxy\na star\na planet"
    assert written["a\n[b]\n{c}"] == "a\n[b]\n{c}"
    assert written['{"prompt": "one"}'] == "one"
    assert json.loads(written['["a", {"prompt": "b\\nc"}, {"prompt": " d "}]']) == ["a", "b\nc", "d"]
