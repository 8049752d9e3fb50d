"""The folder where set-ups are kept, outside the checkout: where it is, locks, room on the disk."""

from __future__ import annotations

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
    home = Path(os.path.expanduser("~"))
    usual = {"win32": os.environ.get("LOCALAPPDATA") or home / "AppData/Local", "darwin": home / "Library/Caches"}
    place = usual.get(sys.platform) or os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    folder = Path(os.environ.get(VARIABLE) or Path(place, "zoom-stack")).expanduser().resolve()
    advice = f"set {VARIABLE} to a folder with room to use that instead"
    return writable_folder(folder, f"Cannot write to {folder} ({advice})")


def writable_folder(folder: Path, complaint: str) -> Path:
    """That folder, made if need be; Problem, which begins with `complaint`, where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise Problem(f"{complaint}: {'it is a file' if folder.is_file() else error.strerror}.") from error
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
    path.parent.mkdir(exist_ok=True)
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
