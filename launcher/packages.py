"""Running pip: with its progress on one line, its output in a log, and its failures explained."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import processes
from .cache import VARIABLE
from .console import Problem, Status

_TAIL_LINES = 12
_COLLECTING = re.compile(r"Collecting ([A-Za-z0-9._-]+)")
_DOWNLOADING = re.compile(r"\s*Downloading (\S+?)(?:-\d\S*)? \(([\d.]+ [kMG]?B)\)")
_INSTALLING = re.compile(r"Installing collected packages: (.*)")

# What pip says, and what that means for the person. The first that matches is told.
_OFFLINE = (
    r"Retrying \(|NewConnectionError|Max retries|name resolution|getaddrinfo|Timeout|ProxyError|SSLError|IncompleteRead"
)
_EXPLANATIONS = {
    r"No space left on device|Errno 28|not enough space on the disk": (
        f"The disk is full. Make room, or set {VARIABLE} to a folder on another disk."
    ),
    r"DO NOT MATCH THE HASHES": (
        "What was downloaded is not what was expected. Try again; if it stays so, do not trust the package index."
    ),
    _OFFLINE: (
        "The package index could not be reached. Check the network connection (and the proxy and PIP_INDEX_URL, if "
        "you use them), then start again: what pip has downloaded is kept."
    ),
    r"No matching distribution found|is not a supported wheel": (
        "The package index offers no release that fits this computer and Python version (or could not be reached)."
    ),
    r"Permission denied|Access is denied": f"A file could not be written. Set {VARIABLE} to a folder of your own.",
}


def pip(python: Path, cache: Path, status: Status, *arguments: str | Path) -> None:
    """Run pip of one Python, with its log and its temporary files in the cache; Problem when it fails."""
    log, scratch = cache / "setup-pip.log", cache / "scratch"
    scratch.mkdir(exist_ok=True)
    # Wheels are unpacked in the temporary folder, which is often too small for torch.
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))}
    environment |= {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"}
    environment.pop("PYTHONPATH", None)

    def explain(said: str) -> str:
        meaning = next((text for pattern, text in _EXPLANATIONS.items() if re.search(pattern, said)), "")
        tail = "\n".join("    " + line for line in said.splitlines()[-_TAIL_LINES:])
        return f"Installing packages failed.\n{meaning}\n{tail}\nThe whole log: {log}"

    run_logged([python, "-m", "pip", *arguments], log, status, explain, _Reader(python.parent.parent), environment)


def run_logged(
    command: Sequence[str | Path],
    log_path: Path,
    status: Status,
    explain: Callable[[str], str],
    read: Callable[[list[str]], tuple[str, str]] = lambda lines: ("", ""),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command with its output in a file; Problem with what `explain` makes of that where it fails.

    read: gets the new lines (or none) a few times a second, and gives the status' detail and topic.
    """
    # The file is polled instead of a pipe read, because a blocked read cannot be interrupted on Windows.
    with open(log_path, "wb") as log:
        process = processes.spawn(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    rest, code = "", None
    try:
        with open(log_path, encoding="utf-8", errors="replace") as output:
            while code is None:
                time.sleep(0.2)
                code = process.poll()
                *lines, rest = (rest + output.read()).split("\n")
                status.show(*read(lines))
    finally:
        processes.stop(process)
    if code:
        raise Problem(explain(log_path.read_text("utf-8", "replace")))


class _Reader:
    """Turns pip's lines into a status' detail and topic; `environment` is the folder that it installs to."""

    def __init__(self, environment: Path) -> None:
        self._environment = environment
        self._found = self._to_install = self._before = 0
        self._detail, self._topic = "", ""

    def __call__(self, lines: list[str]) -> tuple[str, str]:
        for line in lines:
            self._read(line)
        if self._to_install:
            done = min(self._installed() - self._before, self._to_install)
            self._detail = f"installing: {done} of {self._to_install} packages"
        return self._detail, self._topic

    def _read(self, line: str) -> None:
        if match := _COLLECTING.match(line):
            self._found += 1
            self._detail, self._topic = f"finding {match[1]} (package {self._found})", "finding packages"
        elif match := _DOWNLOADING.match(line):
            self._detail = f"downloading {match[1]}, {match[2]} (package {self._found})"
            if match[2].endswith("GB") or (match[2].endswith("MB") and float(match[2].split()[0]) > 100):
                # A line of its own in a log too, because it takes long.
                self._topic = self._detail
        elif match := _INSTALLING.match(line):
            self._to_install, self._before, self._topic = match[1].count(",") + 1, self._installed(), "installing"

    def _installed(self) -> int:
        places = ("lib/python*/site-packages", "Lib/site-packages")  # as POSIX systems and Windows have them
        return len({info.name for place in places for info in self._environment.glob(f"{place}/*.dist-info")})
