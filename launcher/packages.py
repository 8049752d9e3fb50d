"""Running pip and the like: with their progress on one line, their output in a log, and their failures explained."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import processes
from .cache import VARIABLE
from .console import Problem, Status

_TAIL_LINES = 12
# Of what pip collects or downloads: versions, platforms, reasons.
_DETAILS = re.compile(r"-\d\S*|[=<>~!]=\S*| \(from .*")

# What pip says, and what that means for the person. The first that matches is told.
_OFFLINE = (
    r"Retrying \(|NewConnectionError|Max retries|name resolution|getaddrinfo|Timeout|ProxyError|SSLError|IncompleteRead"
)
_EXPLANATIONS = {
    r"No space left on device|Errno 28|not enough space on the disk": (
        f"The disk is full. Make room, or set {VARIABLE} to a folder on another disk."
    ),
    "ensurepip": (
        "Your Python comes without venv. On Debian or Ubuntu: sudo apt install "
        f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
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


def pip(title: str, python: Path, cache: Path, *arguments: str | Path) -> None:
    """Run pip of one Python, with its log and its temporary files in the cache; see `run_logged`."""
    scratch = cache / "scratch"
    scratch.mkdir(exist_ok=True)
    # Wheels are unpacked in the temporary folder, which is often too small for torch.
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)), "PYTHONPATH": ""}
    environment |= {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"}
    run_logged(title, [python, "-m", "pip", *arguments], cache / "setup-pip.log", environment)


def run_logged(
    title: str, command: Sequence[str | Path], log_path: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command with its output in a file and its last line in a status line.

    Where it fails: Problem with what that means and the end of its output.
    """
    # The file is polled instead of a pipe read, because a blocked read cannot be interrupted on Windows.
    with open(log_path, "wb") as log:
        process = processes.spawn(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        with Status(title) as status:
            while process.poll() is None:
                time.sleep(0.2)
                last = "".join(log_path.read_text("utf-8", "replace").splitlines()[-1:]).strip()
                status.show(_DETAILS.sub("", last), topic=last.partition(" ")[0])
            if process.returncode:
                raise Problem(_explain(title, log_path))
    finally:
        processes.stop(process)


def _explain(title: str, log_path: Path) -> str:
    said = log_path.read_text("utf-8", "replace")
    meaning = next((text for pattern, text in _EXPLANATIONS.items() if re.search(pattern, said)), "")
    tail = "\n".join("    " + line for line in said.splitlines()[-_TAIL_LINES:])
    return f"{title} failed.\n{meaning}\n{tail}\nThe whole log: {log_path}"
