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


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def bar(fraction: float, width: int = 24) -> str:
    """A progress bar, in characters that every console has."""
    filled = round(max(0.0, min(1.0, fraction)) * width)
    return "[" + "#" * filled + "." * (width - filled) + "]"


class Status:
    """One line about work under way, with the time it has taken.

    On a terminal the line is rewritten in place. In a log file a line is written once for every new `topic`.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title, self._stream = title, stream or sys.stdout
        self._started = time.monotonic()
        self._terminal = self._stream.isatty()
        self._told: set[str] = set()
        self._open = False
        self.show("", topic=title)

    @property
    def seconds(self) -> float:
        """How long this has been going on."""
        return time.monotonic() - self._started

    def show(self, detail: str, topic: str = "") -> None:
        """Say how far it is. `topic` names the part of the work that `detail` is about."""
        text = f"{self._title} {detail}".rstrip()
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            line = f"{text}  {clock(self.seconds)}"
            self._write("\r" + line[:width].ljust(width))
            self._open = True
        elif topic and topic not in self._told:
            self._told.add(topic)
            self._write(text + "\n")

    def finish(self, text: str = "done") -> None:
        """Replace the line by its result."""
        line = f"{self._title} {text} ({clock(self.seconds)})"
        if self._terminal:
            line = "\r" + line.ljust(shutil.get_terminal_size().columns - 1)
        self._write(line + "\n")
        self._open = False

    def break_off(self) -> None:
        """Leave the line as it is, and go on below it."""
        if self._open:
            self._write("\n")
            self._open = False

    def __enter__(self) -> Status:
        return self

    def __exit__(self, *exc: object) -> None:
        self.break_off()

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
