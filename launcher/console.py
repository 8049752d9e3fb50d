"""What the person sees: plain lines, and one status line that is rewritten while something takes long."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


class Problem(Exception):
    """Something the person can act on; its text is all they need to see."""


def say(text: str = "") -> None:
    """Print a line now."""
    print(text, flush=True)


def bar(fraction: float, width: int = 24) -> str:
    """A progress bar, in characters that every console has."""
    filled = round(max(0.0, min(1.0, fraction)) * width)
    return "[" + "#" * filled + "." * (width - filled) + "]"


class Status:
    """One line about work under way, with the time it has taken; as a context manager it says "done" at the end.

    On a terminal the line is rewritten in place. In a log file a line is written once for every new `topic`.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title, self._stream = title, stream or sys.stdout
        self._started = time.monotonic()
        self._terminal = self._stream.isatty()
        self._told: set[str] = set()
        self.show(topic=title)

    def show(self, detail: str = "", topic: str = "") -> None:
        """Say how far it is. `topic` names the part of the work that `detail` is about."""
        text = f"{self._title} {detail}".rstrip()
        if self._terminal:
            self._rewrite(text, f"  {self._clock()}")
        elif topic and topic not in self._told:
            self._told.add(topic)
            self._stream.write(text + "\n")
        self._stream.flush()

    def __enter__(self) -> Status:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._rewrite(f"{self._title} done ({self._clock()})")
        if kind is None or self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes}:{seconds:02d}"

    def _rewrite(self, line: str, end: str = "") -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            line = "\r" + (line[: width - len(end)] + end).ljust(width)
        self._stream.write(line)
