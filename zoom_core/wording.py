"""How values are quoted in errors: short, whatever came."""

from __future__ import annotations

import reprlib
from typing import Any

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80
_repr.maxlist = _repr.maxdict = _repr.maxtuple = 4


def quoted(value: Any) -> str:
    """`repr(value)`, cut in the middle where it is long (about 80 characters), never deep."""
    return _repr.repr(value)


def opening(text: str, limit: int = 160) -> str:
    """The first `limit` characters of a text on one line, in quotes, for an error that says what came."""
    start = " ".join(text[: 4 * limit].split())
    return repr(start if len(start) <= limit and len(text) <= 4 * limit else start[:limit] + " ...")


def magnification(factor: float) -> str:
    """A magnification for people: 4,096 or about 10^12."""
    if factor < 100:
        return f"{factor:.3g}"
    return f"{factor:,.0f}" if factor < 1e7 else f"about 10^{len(str(int(factor))) - 1}"
