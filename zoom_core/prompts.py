"""Prompts as a person types them -> levels. Text only, no tensors."""

from __future__ import annotations

import json
from typing import Any

from .levels import MAX_LEVELS, ZoomLevel, ZoomLevels

FIELDS = ("prompt", "negative", "zoom", "center")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _json_entries(text: str) -> list[dict[str, Any]]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"prompts starts like JSON but does not parse at line {error.lineno}, column {error.colno}: "
            f"{error.msg}. Give one prompt a line, or a JSON array."
        ) from error
    entries = []
    for i, entry in enumerate(data if isinstance(data, list) else [data]):
        if isinstance(entry, str):
            entry = {"prompt": entry}
        if not isinstance(entry, dict):
            raise ValueError(f"prompts: entry {i} must be text or an object, got {json.dumps(entry)}.")
        unknown = [key for key in entry if key not in FIELDS]
        if unknown:
            raise ValueError(
                f"prompts: entry {i} has the unknown field {unknown[0]!r}; the fields are {', '.join(FIELDS)}."
            )
        if not isinstance(entry.get("prompt"), str) or not entry["prompt"].strip():
            raise ValueError(f"prompts: entry {i} needs a 'prompt' that is not empty.")
        if isinstance(entry.get("center"), list):
            entry = {**entry, "center": tuple(entry["center"])}
        entries.append(entry)
    return entries


def _joined(prefix: str, prompt: str, suffix: str) -> str:
    text = " ".join(filter(None, (prefix.strip(), prompt.strip())))
    suffix = suffix.strip()
    space = "" if not suffix or suffix[0] in ",.;:" else " "
    return text + space + suffix


def parse_prompts(
    prompts: str, negative: str = "", zoom: float = 2.0, prefix: str = "", suffix: str = ""
) -> ZoomLevels:
    """The levels that a text describes, outermost first.

    prompts: one a line (blank lines do not count), or a JSON array of strings or of objects with
        prompt, negative, zoom, center.
    negative: one line for all levels, or one line a level.
    zoom: magnification from each level to the next where an object names none.
    prefix, suffix: put before and after every prompt.
    Raises ValueError naming the entry, what was expected and what came.
    """
    if prompts.lstrip()[:1] in ("[", "{"):
        entries = _json_entries(prompts)
    else:
        entries = [{"prompt": line} for line in _lines(prompts)]
    if not entries:
        raise ValueError("prompts is empty: write at least one prompt, one a line, outermost first.")
    if len(entries) > MAX_LEVELS:
        raise ValueError(f"prompts has {len(entries)} entries, at most {MAX_LEVELS} levels are possible.")
    negatives = _lines(negative) or [""]
    if len(negatives) not in (1, len(entries)):
        raise ValueError(
            f"negative has {len(negatives)} lines, prompts has {len(entries)} entries: give 1 or {len(entries)}."
        )
    if len(negatives) == 1:
        negatives *= len(entries)
    return ZoomLevels(
        ZoomLevel(**{"negative": own, "zoom": zoom, **entry, "prompt": _joined(prefix, entry["prompt"], suffix)})
        for entry, own in zip(entries, negatives)
    )


def parse_int_ranges(text: str, count: int, name: str) -> list[int]:
    """Level numbers from a text such as "2, 5-7", sorted, each once.

    count: how many levels there are (numbers run from 0 to count - 1).
    Raises ValueError naming the part that does not parse or lies outside.
    """
    chosen: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{name}: {part!r} is neither a level number nor a range such as 5-7.")
        low, high = int(first), int(last) if dash else int(first)
        if low > high:
            raise ValueError(f"{name}: the range {part!r} runs backwards.")
        if high >= count:
            raise ValueError(f"{name}: level {high} does not exist, the levels are 0 to {count - 1}.")
        chosen.update(range(low, high + 1))
    return sorted(chosen)
