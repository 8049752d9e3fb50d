"""Files that are whole or not there, and never take the place of another."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PART = ".zoom-stack-"
# A part that another computer left in a shared folder: its process cannot be asked.
_STALE = 7 * 24 * 3600


@contextlib.contextmanager
def part_in(folder: str | os.PathLike, suffix: str = "") -> Iterator[Path]:
    """A new empty hidden file in `folder` to write into; what is still there afterwards is removed.

    Its name is short whatever the final one will be, and says whose it is (`remove_stale_parts`).
    Raises OSError where the folder cannot be written.
    """
    part = Path(folder) / f"{_PART}{_host()}-{os.getpid()}-{secrets.token_hex(4)}.part{suffix}"
    part.touch(exist_ok=False)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def publish_new(part: Path, name: Callable[[int], str], first: int = 1) -> Path:
    """Gives a finished part the first name of name(first), name(first + 1), ... that nobody has.

    Two processes that publish at once get two names: the name is taken in one step, by a hard
    link, or, where the file system has none, by an empty file that only its maker replaces.
    Raises OSError where the folder cannot be written.
    """
    number = first
    while True:
        target = part.with_name(name(number))
        try:
            _take(part, target)
        except FileExistsError:
            number += 1
            continue
        return target


def _take(part: Path, target: Path) -> None:
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(part, target)
        except OSError:
            target.unlink(missing_ok=True)
            raise


def is_regular(path: str | os.PathLike) -> bool:
    """Whether a path is a plain file (or a link to one): a pipe or a device would block its reader."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def remove_stale_parts(folder: str | os.PathLike) -> int:
    """Removes the parts below `folder` whose process was killed; how many there were."""
    removed = 0
    for root, _, files in os.walk(folder):
        for file in files:
            if file.startswith(_PART) and _is_stale(Path(root, file)):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(root, file))
                    removed += 1
    return removed


def _is_stale(part: Path) -> bool:
    host, _, rest = part.name[len(_PART) :].partition("-")
    process = rest.partition("-")[0]
    try:
        if host == _host() and process.isdecimal():
            return int(process) != os.getpid() and not _runs(int(process))
        return time.time() - part.stat().st_mtime > _STALE
    except OSError:
        return False


def _host() -> str:
    return "".join(filter(str.isalnum, socket.gethostname()))[:16] or "host"


def _runs(process: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        # os.kill would end the process there.
        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
