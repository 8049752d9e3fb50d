"""A real ComfyUI server as a child process, with folders of its own and this pack linked in."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import processes
from .client import ComfyClient, ServerGone
from .console import Problem

PACK_NAME = "zoom-stack"
_TAIL_LINES = 30
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_WANTED_FLAGS = ("--disable-api-nodes", "--disable-auto-launch")


class ServerFailed(Problem):
    """The server did not come up, or died; the message ends with the last lines of its log."""


class ComfyServer:
    """ComfyUI at `comfyui`, run by `python`, keeping all it writes below `base`.

    Use it as a context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        comfyui: Path,
        python: str,
        base: Path,
        pack: Path | None = None,
        *,
        cpu: bool = False,
        output: Path | None = None,
        models: Path | None = None,
        port: int = 0,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.comfyui, self.python, self.base = Path(comfyui), str(python), Path(base)
        self.pack, self.cpu, self.models = pack, cpu, models
        self.output = output or self.base / "output"
        self.arguments, self.environment = list(arguments), dict(environment or {})
        self.log_path = self.base / "server.log"
        self.port = port  # 0: a free one
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> ComfyClient:
        """A new client of this server."""
        return ComfyClient("127.0.0.1", self.port)

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def __enter__(self) -> ComfyServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self, timeout: float = 600.0, on_wait: Callable[[float], None] | None = None) -> None:
        """Start the server and wait until it answers; `on_wait(seconds)` is called while waiting."""
        self._make_folders()
        self.port = self.port or free_port()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **self.environment}
        with open(self.log_path, "wb") as log:
            self._process = processes.spawn(
                self._command(), cwd=self.comfyui, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        try:
            self._wait_until_ready(self._process, timeout, on_wait or (lambda seconds: None))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and everything it started."""
        if self._process is not None:
            processes.stop(self._process)
            self._process = None

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the server's log."""
        if not self.log_path.exists():
            return ""
        text = _COLORS.sub("", self.log_path.read_text("utf-8", "replace"))
        return "\n".join(text.splitlines()[-lines:])

    def _make_folders(self) -> None:
        for folder in ("custom_nodes", "input", "models", "temp", "user"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        self.output.mkdir(parents=True, exist_ok=True)
        if self.pack is not None:
            link_folder(self.pack, self.base / "custom_nodes" / PACK_NAME)

    def _command(self) -> list[str]:
        # Flags came and went between versions; an installed ComfyUI may know only some of these.
        known = (self.comfyui / "comfy" / "cli_args.py").read_text("utf-8", "replace")
        command = [self.python, str(self.comfyui / "main.py"), "--listen", "127.0.0.1", "--port", str(self.port)]
        command += ["--base-directory", str(self.base), "--output-directory", str(self.output)]
        if '"--database-url"' in known:
            command += ["--database-url", f"sqlite:///{(self.base / 'user' / 'comfyui.db').as_posix()}"]
        command += [flag for flag in _WANTED_FLAGS if f'"{flag}"' in known]
        if self.models is not None:
            command += ["--extra-model-paths-config", str(self._model_paths(self.models))]
        if self.cpu:
            command.append("--cpu")
        return command + self.arguments

    def _model_paths(self, models: Path) -> Path:
        """A file that lends the server the model folders of `models` for reading."""
        folders = sorted(path for path in models.iterdir() if path.is_dir())
        # JSON is YAML, and spares us a YAML writer.
        content = {"installed": {folder.name: str(folder) for folder in folders}}
        path = self.base / "model_paths.yaml"
        path.write_text(json.dumps(content), "utf-8")
        return path

    def _wait_until_ready(self, process: subprocess.Popen, timeout: float, on_wait: Callable[[float], None]) -> None:
        started = time.monotonic()
        while True:
            waited = time.monotonic() - started
            if process.poll() is not None:
                raise ServerFailed(
                    f"ComfyUI stopped while starting (exit code {process.returncode}). The end of its log:\n"
                    f"{self.log_tail()}\nThe whole log: {self.log_path}"
                )
            if waited > timeout:
                raise ServerFailed(f"ComfyUI did not answer within {timeout:.0f} s.\n{self.log_tail()}")
            try:
                self.client.get("/system_stats", timeout=5)
                return
            except (ServerGone, RuntimeError, ValueError):
                on_wait(waited)
                time.sleep(0.15)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def link_folder(target: Path, link: Path) -> None:
    """Make `link` lead to the folder `target`; a link that leads elsewhere is replaced."""
    target = target.resolve()
    if link.is_symlink() or link.exists():
        if link.resolve() == target:
            return
        if not link.is_symlink() and not _is_junction(link):
            raise FileExistsError(f"{link} is in the way: expected a link to {target}")
        # A junction is removed like an empty folder, a symbolic link like a file.
        link.unlink() if link.is_symlink() else link.rmdir()
    if os.name == "nt":
        # Symbolic links need special rights on Windows; junctions do not.
        import _winapi

        _winapi.CreateJunction(str(target), str(link))
    else:
        link.symlink_to(target, target_is_directory=True)


def _is_junction(path: Path) -> bool:
    mount_point = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT
    return getattr(os.lstat(path), "st_reparse_tag", 0) == mount_point
