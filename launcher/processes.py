"""Child processes that never outlive us, and signals that never interrupt half a spawn."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
_PR_SET_PDEATHSIG = 1
_children: list[subprocess.Popen] = []
_shielded = False  # a request to stop has to wait
_pending = 0  # the signal that asked for it


class Stopped(KeyboardInterrupt):
    """Someone asked us to stop, by the signal that is its argument."""


def install_signal_handlers() -> None:
    """Turn every request to stop (Ctrl-C, SIGTERM, a closed terminal) into `Stopped`."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _on_signal)


def _on_signal(signum: int, _frame: object) -> None:
    global _pending
    _pending = signum
    if not _shielded:
        raise Stopped(signum)


def _die_with(parent: int) -> None:
    """In a new child, on Linux: have the kernel kill it when its parent is killed without warning."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            # It died before the kernel knew that we care.
            os._exit(1)


def spawn(command: Sequence[str | Path], **options: Any) -> subprocess.Popen:
    """Start a command in a process group of its own, so that `stop` reaches its children too."""
    global _shielded
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options.update(start_new_session=True, preexec_fn=partial(_die_with, os.getpid()))
    _shielded = True
    try:
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, **options)
        _children.append(process)
    finally:
        _shielded = False
    if _pending:
        raise Stopped(_pending)
    return process


def stop(process: subprocess.Popen, grace: float = 8.0) -> None:
    """End a process and its group: politely first, then for good. Returns once it is gone."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True)
    else:
        for signum in (signal.SIGINT, signal.SIGKILL):
            # Nobody may be left in the group: macOS answers EPERM when only zombies are.
            with suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signum)
                process.wait(grace)
    process.wait()
    if process in _children:
        _children.remove(process)


def stop_all() -> None:
    """At the end: stop every process that `spawn` started and that is still there, whatever signals come."""
    global _shielded
    _shielded = True
    while _children:
        # Longer than a single process gets: a pytest among them has servers of its own to stop.
        stop(_children[-1], grace=20.0)


def wait(process: subprocess.Popen) -> int:
    """Wait for a spawned process in a way that Ctrl-C can interrupt on Windows too, and end it; its exit code."""
    try:
        while process.poll() is None:
            time.sleep(0.1)
    finally:
        stop(process)
    return process.returncode
