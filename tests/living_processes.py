"""Which processes of run.py are still there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil


def living_processes(folder: Path) -> dict[psutil.Process, str]:
    """All living processes that name `folder` in their command line, and that line."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and str(folder) in line:
                found[process] = line
    return found
