"""Which ComfyUI this pack works with; it needs nothing but the standard library to say so."""

from __future__ import annotations

import re

OLDEST = "0.24.0"


def complaint(version: str | None) -> str | None:
    """One sentence about a ComfyUI that is too old (None: one from before it had a version), else None."""
    if version is not None and _numbers(version) >= _numbers(OLDEST):
        return None
    found = f"this is {version}" if version else "this one is older than its version numbers"
    return f"Zoom Stack needs ComfyUI {OLDEST} or newer; {found}. Please update ComfyUI."


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
