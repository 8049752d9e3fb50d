"""Prompts as a person types them -> levels. Text only, no tensors."""

from __future__ import annotations

import json
from typing import Any

from . import answers
from .levels import MAX_LEVELS, ZoomLevel, ZoomLevels
from .wording import opening, quoted

FIELDS = ("prompt", "negative", "zoom", "center")
# 64 levels of 10,000 characters; the text encoders read far less.
MAX_CHARACTERS = 1_000_000
# Fields that language models add: the prompt under another name, and numbers that say nothing new.
_SAME = {"description": "prompt", "text": "prompt", "caption": "prompt", "negative_prompt": "negative"}
_NUMBERS = ("level", "index", "id", "number", "step", "scale", "title", "name", "magnification")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _entry(value: Any, i: int) -> dict[str, Any]:
    """One entry as an object with a prompt; raises ValueError naming it."""
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        raise ValueError(f"prompts: entry {i} must be text or an object, got {_as_json(value)}.")
    entry = {}
    for key, field in value.items():
        known = key if _SAME.get(key) in value else _SAME.get(key, key)
        if known not in _NUMBERS:
            entry[known] = field
    unknown = [key for key in entry if key not in FIELDS]
    if unknown:
        fields = ", ".join(FIELDS)
        raise ValueError(f"prompts: entry {i} has the unknown field {quoted(unknown[0])}; the fields are {fields}.")
    if not isinstance(entry.get("prompt"), str) or not entry["prompt"].strip():
        raise ValueError(f"prompts: entry {i} needs a 'prompt' that is not empty.")
    if isinstance(entry.get("center"), list):
        entry["center"] = tuple(entry["center"])
    return entry


def _as_json(value: Any) -> str:
    if isinstance(value, list):
        return quoted(value)
    return quoted(json.dumps(value)).strip("'")


def read_rows(text: str) -> list[dict[str, Any]]:
    """The entries of a prompts text as objects with `prompt` and what else they say; only their form is checked.

    Raises ValueError where the text cannot be read.
    """
    values = _strict_json(text)
    if values is None:
        values = answers.read_entries(text)
        if all(isinstance(value, str) and value.strip() for value in values):
            return [{"prompt": prompt} for prompt in answers.without_marks(values)]
    entries = [_entry(value, i) for i, value in enumerate(values)]
    prompts = answers.without_marks([entry["prompt"] for entry in entries])
    return [{**entry, "prompt": prompt} for entry, prompt in zip(entries, prompts)]


def _strict_json(text: str) -> list[Any] | None:
    """The entries of a JSON array or object; None for any other text."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        data = json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError(f"prompts is nested too deeply: expected a JSON array, got {opening(text)}.") from error
    except ValueError:
        return None
    return data if isinstance(data, list) else answers.entries_of(data)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def _joined(prefix: str, prompt: str, suffix: str) -> str:
    text = " ".join(filter(None, (prefix.strip(), prompt.strip())))
    suffix = suffix.strip()
    space = "" if not suffix or suffix[0] in ",.;:" else " "
    return text + space + suffix


def parse_prompts(
    prompts: str,
    negative: str = "",
    zoom: float = 2.0,
    prefix: str = "",
    suffix: str = "",
    count: int = 0,
    loop: bool = False,
) -> ZoomLevels:
    """The levels that a text describes, outermost first.

    prompts: one a line (blank lines do not count), or a JSON array of strings or of objects with
        prompt, negative, zoom, center, or what a language model answered (see `answers`).
    negative: one line for all levels, or one line a level.
    zoom: magnification from each level to the next where an object names none.
    prefix, suffix: put before and after every prompt. count: how many levels there must be, 0 for any.
    loop: the innermost level holds the first again, at the first one's own zoom and center.
    Raises ValueError naming the entry, what was expected and what came.
    """
    for name, text in (("prompts", prompts), ("negative", negative), ("prefix", prefix), ("suffix", suffix)):
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"{name} has {len(text):,} characters, at most {MAX_CHARACTERS:,} are possible.")
    entries = read_rows(prompts)
    if not entries:
        raise ValueError("prompts is empty: write at least one prompt, one a line, outermost first.")
    if count and len(entries) != count:
        raise ValueError(f"prompts has {len(entries)} levels, expected {count}. It begins: {opening(prompts)}.")
    if len(entries) > MAX_LEVELS:
        raise ValueError(f"prompts has {len(entries)} entries, at most {MAX_LEVELS} levels are possible.")
    negatives = _lines(negative) or [""]
    if len(negatives) not in (1, len(entries)):
        raise ValueError(
            f"negative has {len(negatives)} lines, prompts has {len(entries)} entries: give 1 or {len(entries)}."
        )
    if len(negatives) == 1:
        negatives *= len(entries)
    levels = []
    for entry, own in zip(entries, negatives):
        fields: dict[str, Any] = {"negative": own, "zoom": zoom, **entry}
        fields["prompt"] = _joined(prefix, entry["prompt"], suffix)
        levels.append(ZoomLevel(**fields))
    return ZoomLevels(levels, loop=loop)


def parse_int_ranges(text: str, count: int, name: str) -> list[int]:
    """Level numbers from a text such as "2, 5-7", sorted, each once.

    count: how many levels there are (numbers run from 0 to count - 1).
    Raises ValueError naming the part that does not parse or lies outside.
    """
    chosen: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{name}: {quoted(part)} is neither a level number nor a range such as 5-7.")
        if max(len(first), len(last)) > 9:
            raise ValueError(f"{name}: level {quoted(part)} does not exist, the levels are 0 to {count - 1}.")
        low, high = int(first), int(last) if dash else int(first)
        if low > high:
            raise ValueError(f"{name}: the range {quoted(part)} runs backwards.")
        if high >= count:
            raise ValueError(f"{name}: level {high} does not exist, the levels are 0 to {count - 1}.")
        chosen.update(range(low, high + 1))
    return sorted(chosen)
