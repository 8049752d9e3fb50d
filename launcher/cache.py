"""The folder where set-ups are kept, outside the checkout: where it is, locks, room on the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .console import Problem

VARIABLE = "ZOOM_STACK_CACHE"


def cache_folder() -> Path:
    """The platform's usual cache folder for us, or what ZOOM_STACK_CACHE says; it exists afterwards."""
    if os.environ.get(VARIABLE):
        folder = Path(os.environ[VARIABLE]).expanduser().resolve()
    elif os.name == "nt":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "zoom-stack"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "zoom-stack"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoom-stack"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "writable").write_bytes(b"")
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        advice = f"Set {VARIABLE} to a folder with room to use that instead."
        raise Problem(f"Cannot write to {folder}: {reason}.\n{advice}") from error
    return folder


def key(*parts: Any) -> str:
    """A short name for everything a cached thing was made from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]


def need_room(folder: Path, gigabytes: float) -> None:
    """Complain when the disk of `folder` has less room than that."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise Problem(
            f"The set-up needs about {gigabytes:.0f} GB in {folder}, but only {free:.1f} GB are free there.\n"
            f"Make room, or set {VARIABLE} to a folder on another disk."
        )


def write_whole(path: Path, data: Any) -> None:
    """Write JSON so that the file is either whole or not there."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(data, indent=1), "utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one when there is none or it is damaged."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


class Lock:
    """A lock between processes that the system releases when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it."""
        handle = open(self._path, "a+b")
        try:
            _lock_file(handle)
        except OSError:
            handle.close()
            return False
        self._file = handle
        return True

    def acquire(self, on_wait: Callable[[], None]) -> None:
        """Take the lock, waiting for whoever has it; `on_wait` is called once if so."""
        if self.try_acquire():
            return
        on_wait()
        while not self.try_acquire():
            time.sleep(0.5)

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


if os.name == "nt":
    import msvcrt

    def _lock_file(handle: Any) -> None:
        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock_file(handle: Any) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
