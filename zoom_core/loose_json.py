"""JSON as language models write it: single or curly quotes, trailing commas, comments, cut short."""

from __future__ import annotations

import re
from typing import Any

MAX_DEPTH = 16
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
_SPACE = re.compile(r"(?:\s|//[^\n]*(?=\n)|#[^\n]*(?=\n))*")
_NUMBER = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?")
_WORDS = {"null": None, "None": None, "true": True, "True": True, "false": False, "False": False}
_CODE = re.compile(r"u([0-9a-fA-F]{4})")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class NotJson(ValueError):
    """The text is not JSON, not even loosely; `position` says where."""

    def __init__(self, position: int):
        super().__init__(f"not JSON at character {position}")
        self.position = position


class Cut(NotJson):
    """The text ends in the middle of a value."""


def read_value(text: str, position: int = 0) -> tuple[Any, int]:
    """(the value that begins at `position`, where it ends). Raises NotJson.

    Arrays and objects that the end of the text cuts short hold what is complete.
    """
    return _value(text, position, 0)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    at = _skip(text, at)
    if depth > MAX_DEPTH:
        raise NotJson(at)
    if text[at] in _QUOTES:
        return _string(text, at)
    if text[at] == "[":
        return _members(text, at + 1, "]", [], depth)
    if text[at] == "{":
        return _members(text, at + 1, "}", {}, depth)
    if number := _NUMBER.match(text, at):
        digits = number.group()
        return (int(digits) if digits.lstrip("-").isdecimal() else float(digits)), number.end()
    for word, value in _WORDS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    raise NotJson(at)


def _string(text: str, at: int) -> tuple[str, int]:
    close, parts = _QUOTES[text[at]], []
    at += 1
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            code = _CODE.match(text, at + 1)
            parts.append(chr(int(code.group(1), 16)) if code else _ESCAPES.get(text[at + 1], text[at + 1]))
            at = code.end() if code else at + 2
        elif char == close and _ends_here(text, at + 1, close):
            return "".join(parts), at + 1
        else:
            parts.append(char)
            at += 1
    raise Cut(at)


def _ends_here(text: str, after: int, close: str) -> bool:
    """Whether a quote closes the string: an apostrophe inside a word does not."""
    return close not in "'\u2019" or text[after : after + 1] in "" or not text[after].isalnum()


def _members(text: str, at: int, close: str, found: Any, depth: int) -> tuple[Any, int]:
    """The members of an array (found is a list) or object (a dict) up to `close`."""
    try:
        return _closed(text, at, close, found, depth)
    except Cut:
        # Half an entry of a list says nothing; half an object may hold a list.
        if depth and (not found or isinstance(found, dict) and not any(isinstance(v, list) for v in found.values())):
            raise
        return found, len(text)


def _closed(text: str, at: int, close: str, found: Any, depth: int) -> tuple[Any, int]:
    while True:
        at = _skip(text, at)
        if text[at] == close:
            return found, at + 1
        value, at = _value(text, at, depth + 1)
        if isinstance(found, dict):
            key, at = value, _skip(text, at)
            if not isinstance(key, str) or text[at] != ":":
                raise NotJson(at)
            found[key], at = _value(text, at + 1, depth + 1)
        else:
            found.append(value)
        at = _skip(text, at)
        if text[at] == ",":
            at += 1
        elif text[at] != close:
            raise NotJson(at)


def _skip(text: str, at: int) -> int:
    """The next character that counts; Cut where there is none."""
    space = _SPACE.match(text, at)
    at = space.end() if space else at
    if at >= len(text):
        raise Cut(at)
    return at
