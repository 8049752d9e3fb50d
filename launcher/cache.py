"""The folder where set-ups are kept, outside the checkout: where it is, locks, room on the disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import IO, Any

from .console import Problem

VARIABLE = "ZOOM_STACK_CACHE"


def cache_folder() -> Path:
    """The platform's usual cache folder for us, or what ZOOM_STACK_CACHE says; it exists afterwards."""
    if os.environ.get(VARIABLE):
        folder = Path(os.environ[VARIABLE]).expanduser().resolve()
    elif sys.platform == "win32":
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


def try_lock(path: Path) -> IO[bytes] | None:
    """A file that is locked until it is closed, or its holder dies, however it dies; None where somebody has it."""
    file = open(path, "a+b")
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
