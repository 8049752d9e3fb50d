"""A real ComfyUI server as a child process, with folders of its own and this pack linked in."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import processes
from .client import ComfyClient
from .console import Problem
from .workflow import PACK

PACK_NAME = "zoom-stack"
_TAIL_LINES = 30
_PATIENCE = 600  # seconds until it has to answer
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


class ComfyServer:
    """ComfyUI at `comfyui` in our own Python, with this pack, keeping all it writes below `base`.

    It reads the models of `comfyui` too. output: the folder of what it saves, if not below `base`. port: 0 for any.
    """

    def __init__(
        self, comfyui: Path, base: Path, output: Path | None = None, port: int = 0, arguments: Sequence[str] = ()
    ) -> None:
        port = port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.client = ComfyClient(self.url)
        self.base, self.output, self.log_path = base, output or base / "output", base / "server.log"
        self._comfyui, self._arguments = comfyui, ["--port", str(port), *arguments]
        self._process: subprocess.Popen | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Start the server and wait until it answers; `on_wait` is called while waiting. Problem where it does not."""
        for folder in ("custom_nodes", "input", "models", "temp", "user"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        self.output.mkdir(parents=True, exist_ok=True)
        link_folder(PACK, self.base / "custom_nodes" / PACK_NAME)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        # torch's threads wait for each other by spinning else: a tenth quicker, and twice as slow beside other work.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        options = {"cwd": self._comfyui, "stderr": subprocess.STDOUT, "env": environment}
        with open(self.log_path, "wb") as log:
            self._process = processes.spawn(self._command(), stdout=log, **options)
        deadline = time.monotonic() + _PATIENCE
        while not self.client.answers():
            if self._process.poll() is not None:
                raise self.problem(f"ComfyUI stopped while starting (exit code {self._process.returncode}).")
            if time.monotonic() > deadline:
                self.stop()
                raise self.problem(f"ComfyUI did not answer within {_PATIENCE} s.")
            on_wait()
            time.sleep(0.15)

    def stop(self) -> None:
        """End the server and everything it started."""
        if self._process is not None:
            processes.stop(self._process)
            self._process = None

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the server's log."""
        text = _COLORS.sub("", self.log_path.read_text("utf-8", "replace"))
        return "\n".join(text.splitlines()[-lines:])

    def problem(self, what: str) -> Problem:
        """What happened to the server, with the end of its log."""
        return Problem(f"{what} The end of its log:\n{self.log_tail()}\nThe whole log: {self.log_path}")

    def _command(self) -> list[str | Path]:
        folders = [path for path in (self._comfyui / "models").glob("*") if path.is_dir()]
        models = self.base / "model_paths.yaml"
        # JSON is YAML, and spares us a YAML writer.
        models.write_text(json.dumps({"installed": {folder.name: str(folder) for folder in folders}}), "utf-8")
        command = [sys.executable, self._comfyui / "main.py", "--disable-api-nodes", "--disable-auto-launch"]
        command += ["--base-directory", self.base, "--output-directory", self.output]
        command += ["--database-url", f"sqlite:///{(self.base / 'user' / 'comfyui.db').as_posix()}"]
        return [*command, "--extra-model-paths-config", models, "--listen", "127.0.0.1", *self._arguments]


def use_cpu(device: str) -> bool:
    """Whether ComfyUI has to be told that there is no GPU; `device` is cpu, gpu or auto."""
    if device != "auto":
        return device == "cpu"
    # Looked up before asking torch, which takes seconds to import. /dev/dxg: a GPU under WSL, /dev/kfd: an AMD one.
    driver = any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))
    if sys.platform != "win32" and not driver:
        return True
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode != 0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def link_folder(target: Path, link: Path) -> None:
    """Make `link` lead to the folder `target`, wherever an earlier link led to."""
    if sys.platform == "win32":
        # Symbolic links need special rights on Windows; junctions, which are removed like empty folders, do not.
        import _winapi

        if os.path.lexists(link):
            link.rmdir()
        _winapi.CreateJunction(str(target.resolve()), str(link))
    else:
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve(), target_is_directory=True)
