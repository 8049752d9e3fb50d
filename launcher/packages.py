"""Running pip: with its progress on one line, its output in a log, and its failures explained."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
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


class Pip:
    """pip of one Python, writing its log to one file."""

    def __init__(self, python: Path, log_path: Path, scratch: Path) -> None:
        self._python, self._log_path, self._scratch = python, log_path, scratch

    def run(self, arguments: Sequence[str], status: Status, site_packages: Path | None = None) -> None:
        """Run pip with these arguments; Problem when it fails."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        # Wheels are unpacked in the temporary folder, which is often too small for torch.
        environment = {**os.environ, **{name: str(self._scratch) for name in ("TMPDIR", "TEMP", "TMP")}}
        environment.pop("PYTHONPATH", None)
        options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        command = [self._python, "-m", "pip", arguments[0], *options, *arguments[1:]]
        code = run_logged(command, self._log_path, status, _Reader(status, site_packages), environment)
        if code:
            raise Problem(self._explain(code))

    def _explain(self, code: int) -> str:
        log = self._log_path.read_text("utf-8", "replace")
        meaning = next((text for pattern, text in _EXPLANATIONS.items() if re.search(pattern, log)), "")
        tail = "\n".join("    " + line for line in log.splitlines()[-_TAIL_LINES:])
        return (
            f"Installing packages failed (pip ended with code {code}).\n{meaning}\n{tail}\nThe whole log:"
            f" {self._log_path}"
        )


def run_logged(
    command: Sequence[str | Path],
    log_path: Path,
    status: Status,
    on_lines: Callable[[list[str]], None],
    environment: dict[str, str],
) -> int:
    """Run a command with its output in a file, handing on new lines (or none) a few times a second; its exit code."""
    # The file is polled instead of a pipe read, because a blocked read cannot be interrupted on Windows.
    with open(log_path, "wb") as log:
        process = processes.spawn(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    rest = ""
    try:
        with open(log_path, encoding="utf-8", errors="replace") as output:
            while True:
                code = process.poll()
                *lines, rest = (rest + output.read()).split("\n")
                on_lines(lines)
                if code is not None:
                    return code
                time.sleep(0.2)
    finally:
        processes.stop(process)


class _Reader:
    """Turns pip's lines into a status."""

    def __init__(self, status: Status, site_packages: Path | None) -> None:
        self._status, self._site_packages = status, site_packages
        self._found = self._to_install = self._before = 0
        self._detail, self._topic = "", ""

    def __call__(self, lines: list[str]) -> None:
        for line in lines:
            self._read(line)
        if self._to_install:
            done = min(self._installed() - self._before, self._to_install)
            self._detail = f"installing: {done} of {self._to_install} packages"
        self._status.show(self._detail, self._topic)

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
        self._status.show(self._detail, self._topic)

    def _installed(self) -> int:
        return len(list(self._site_packages.glob("*.dist-info"))) if self._site_packages else 0
